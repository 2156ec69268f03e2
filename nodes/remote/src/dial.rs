//! TCP and TLS to a worker, for the transports that bring no connections of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::auth::TlsIdentity;
use crate::config::Target;
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::pool::Member;
use crate::trouble;

/// After so much silence the kernel asks whether the peer is there,
const QUIET: Duration = Duration::from_secs(10);
/// and gives it up after so much more.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection, encrypted or not.
pub(crate) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// An endpoint's address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Host and port as written: for the `Host` header.
    pub(crate) authority: String,
    /// Before every path; empty, or beginning with a slash and not ending with one.
    pub(crate) base: String,
    pub(crate) encrypted: bool,
    host: String,
    port: u16,
    /// What to connect to instead of asking the name.
    address: Option<SocketAddr>,
}

impl Place {
    /// Where a member is.
    pub(crate) fn of(member: &Member) -> Result<Self, RemoteError> {
        Ok(Self {
            address: member.address,
            ..Self::parse(&member.endpoint)?
        })
    }

    /// Reads an address: `http`, `https`, `ws` or `wss`, a host, and perhaps a port and a path.
    pub(crate) fn parse(endpoint: &str) -> Result<Self, RemoteError> {
        let unusable = |why: &str| {
            RemoteError::Config(format!(
                "endpoint '{endpoint}' cannot be used: {why}: write http://host:port or https://host:port"
            ))
        };
        let uri: Uri = endpoint
            .parse()
            .map_err(|error: http::uri::InvalidUri| unusable(&error.to_string()))?;
        let encrypted = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            Some(other) => return Err(unusable(&format!("'{other}' is no scheme of a worker"))),
            None => return Err(unusable("it has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| unusable("it has no host"))?;
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        Ok(Self {
            authority: match authority.as_str().rsplit_once('@') {
                Some((_, without_user)) => without_user.to_owned(),
                None => authority.as_str().to_owned(),
            },
            base: uri.path().trim_end_matches('/').to_owned(),
            encrypted,
            host: bare.unwrap_or(host).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if encrypted { 443 } else { 80 }),
            address: None,
        })
    }

    /// The address where a worker serves a target in one of its ways (`ws`, `execute`, `whip`). A worker that is one thing only is
    /// asked at the endpoint's own path.
    pub(crate) fn url(&self, target: &Target, way: &str, query: &str) -> Result<Uri, RemoteError> {
        let path = match target {
            Target::Pipeline(name) => format!("{}/v1/pipelines/{}/{way}", self.base, escaped(name)),
            Target::Manifest(_) => format!("{}/v1/{way}", self.base),
            Target::Endpoint if self.base.is_empty() => "/".to_owned(),
            Target::Endpoint => self.base.clone(),
        };
        // RFC 6455 §3 has schemes of its own.
        let scheme = match (way, self.encrypted) {
            ("ws", false) => "ws",
            ("ws", true) => "wss",
            (_, false) => "http",
            (_, true) => "https",
        };
        self.uri(scheme, &path, query)
    }

    /// The address of a path that belongs to no pipeline.
    pub(crate) fn at(&self, path: &str) -> Result<Uri, RemoteError> {
        let scheme = if self.encrypted { "https" } else { "http" };
        self.uri(scheme, &format!("{}{path}", self.base), "")
    }

    fn uri(&self, scheme: &str, path: &str, query: &str) -> Result<Uri, RemoteError> {
        Uri::builder()
            .scheme(scheme)
            .authority(self.authority.as_str())
            .path_and_query(format!("{path}{query}"))
            .build()
            .map_err(|error| {
                RemoteError::Config(format!("the worker cannot be asked for {path}: {error}"))
            })
    }
}

impl Place {
    /// The address of a path below an interface's base: the endpoint's own path, or what is usual.
    pub(crate) fn below(&self, usual: &str, path: &str) -> Result<Uri, RemoteError> {
        let base = if self.base.is_empty() {
            usual
        } else {
            &self.base
        };
        Uri::builder()
            .scheme(if self.encrypted { "https" } else { "http" })
            .authority(self.authority.as_str())
            .path_and_query(format!("{base}{path}"))
            .build()
            .map_err(|error| {
                RemoteError::Config(format!("the server cannot be asked for {path}: {error}"))
            })
    }

    /// An address of the place.
    pub(crate) async fn resolve(&self) -> Result<SocketAddr, RemoteError> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found = found.map_err(|error| unreachable(self, &error))?.next();
        found.ok_or_else(|| {
            RemoteError::Network(format!(
                "worker cannot be reached: '{}' has no address",
                self.host
            ))
        })
    }
}

/// A text as one segment of a path or one value of a query (RFC 3986 §2.1).
pub(crate) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Connects as an identity. Cancel safe.
pub(crate) async fn dial(
    connector: &Connector,
    place: &Place,
    tls: &Arc<TlsIdentity>,
) -> Result<Stream, RemoteError> {
    let tls = place.encrypted.then(|| connector.tls(tls)).transpose()?;
    connect(place, tls).await
}

/// Connects, with TLS if the place is encrypted. Nagle's algorithm is off, and the kernel gives up a peer that is cut off. Cancel safe.
pub(crate) async fn connect(
    place: &Place,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Stream, RemoteError> {
    let tcp = match place.address {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect((place.host.as_str(), place.port)).await,
    };
    let tcp = tcp.map_err(|error| unreachable(place, &error))?;
    settle(&tcp)
        .map_err(|error| RemoteError::Network(format!("socket cannot be used: {error}")))?;
    let Some(tls) = tls.filter(|_| place.encrypted) else {
        return Ok(Either::Left(tcp));
    };
    let name = ServerName::try_from(place.host.clone()).map_err(|error| {
        RemoteError::Config(format!("'{}' is no name for TLS: {error}", place.host))
    })?;
    match TlsConnector::from(tls).connect(name, tcp).await {
        Ok(stream) => Ok(Either::Right(stream)),
        Err(error) => Err(untrusted(place, &error)),
    }
}

fn settle(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET).with_interval(PATIENCE))?;
    // What was written and is not acknowledged, probes included.
    socket.set_tcp_user_timeout(Some(QUIET + PATIENCE))
}

fn unreachable(place: &Place, error: &std::io::Error) -> RemoteError {
    use std::io::ErrorKind as Kind;
    let at = &place.authority;
    RemoteError::Network(match error.kind() {
        Kind::ConnectionRefused => {
            format!(
                "worker cannot be reached: nothing listens at {at} (connection refused): look whether the worker runs, and at its port"
            )
        }
        Kind::TimedOut => format!(
            "worker cannot be reached: {at} does not answer: look at the address, and at firewalls between"
        ),
        _ if error.raw_os_error().is_none() => {
            format!(
                "worker cannot be reached: '{}' has no address: {error}: look at the host's name in 'endpoints'",
                place.host
            )
        }
        _ => format!("worker cannot be reached at {at}: {error}"),
    })
}

fn untrusted(place: &Place, error: &std::io::Error) -> RemoteError {
    let at = &place.authority;
    RemoteError::Network(format!(
        "worker at {at} cannot be reached: {}",
        trouble::said(error)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_says_where_and_whether_it_is_encrypted() {
        let place = |text: &str| Place::parse(text).expect("an endpoint");
        let plain = place("http://10.0.0.1:7001");
        assert_eq!((plain.host.as_str(), plain.port), ("10.0.0.1", 7001));
        let url = |place: &Place, target: &Target| {
            let url = place.url(target, "ws", "?a=b").expect("a path");
            url.to_string()
        };
        let echo = Target::Pipeline("echo one".into());
        assert_eq!(
            url(&plain, &echo),
            "ws://10.0.0.1:7001/v1/pipelines/echo%20one/ws?a=b"
        );
        assert_eq!(url(&plain, &Target::Endpoint), "ws://10.0.0.1:7001/?a=b");
        let six = place("wss://user@[::1]/tide/");
        assert_eq!(
            (six.host.as_str(), six.port, six.encrypted),
            ("::1", 443, true)
        );
        let inline = Target::Manifest("{}".into());
        assert_eq!(url(&six, &inline), "wss://[::1]/tide/v1/ws?a=b");
        assert_eq!(url(&six, &Target::Endpoint), "wss://[::1]/tide?a=b");
    }

    #[test]
    fn what_is_no_endpoint_says_what_is_wrong_with_it() {
        for (text, expected) in [
            ("ftp://a", "'ftp' is no scheme of a worker"),
            ("/a", "it has no scheme"),
            ("http://a b", "invalid"),
        ] {
            let error = Place::parse(text).expect_err("refused").to_string();
            assert!(
                error.contains(expected) && error.contains("write http://"),
                "{error}"
            );
        }
    }
}
