//! One GET over HTTP/1.1 to an address that was looked at first.
//!
//! A connection a request: manifests are fetched rarely. No task drives the connection: it is polled beside the response. No
//! cookies, no proxies, no credentials, no compression.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::addresses::is_public;

/// How long one address of several may take to accept a connection.
const CONNECT: Duration = Duration::from_millis(1_500);

/// Redirects that are followed.
const REDIRECTS: usize = 3;

/// Hosts that may be at any address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed(Vec<String>);

impl Allowed {
    /// Names or addresses, each with or without a port.
    pub(crate) fn new(hosts: &[String]) -> Self {
        Self(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    fn names(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let whole = format!("{host}:{port}");
        self.0
            .iter()
            .any(|listed| *listed == host || *listed == whole)
    }
}

/// What a GET gave.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<HeaderValue>,
    /// For how long it may be taken as it is, if the server says so.
    pub(crate) max_age: Option<Duration>,
    pub(crate) body: Bytes,
    location: Option<HeaderValue>,
}

impl Download {
    /// Where it redirects to. A redirect from `https` to `http` is an error: it would give up what was asked for.
    fn redirect(&self, from: &Uri) -> Result<Option<Uri>, String> {
        let Some(location) = self
            .location
            .as_ref()
            .filter(|_| self.status.is_redirection())
        else {
            return Ok(None);
        };
        let bad = "redirects to what is no address: look at the server";
        let to: Uri = location
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(bad)?;
        if to.scheme().is_some() {
            if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
                return Err("redirects from https to http: mend the server's redirect".to_owned());
            }
            return Ok(Some(to));
        }
        let mut parts = from.clone().into_parts();
        if let Some(authority) = to.authority() {
            parts.authority = Some(authority.clone());
        }
        let path = to
            .path_and_query()
            .filter(|path| path.as_str().starts_with('/'));
        parts.path_and_query = Some(path.ok_or(bad)?.clone());
        Uri::from_parts(parts).map(Some).map_err(|_| bad.to_owned())
    }
}

/// Makes GETs.
#[derive(Clone)]
pub(crate) struct Client {
    allowed: Allowed,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Client {
    pub(crate) fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            tls: Arc::default(),
        }
    }

    /// Gets what is there, or where it redirects to, at most `limit` bytes of it. `None`: it is still what the tag says. Cancel safe.
    pub(crate) async fn follow(
        &self,
        url: &str,
        etag: Option<HeaderValue>,
        limit: usize,
    ) -> Result<Option<Download>, String> {
        let mut uri: Uri = url
            .parse()
            .map_err(|error| format!("is no address: {error}"))?;
        for _ in 0..=REDIRECTS {
            let answer = self.get(&uri, etag.clone(), limit).await?;
            if answer.status == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            if answer.status.is_success() {
                return Ok(Some(answer));
            }
            let Some(next) = answer.redirect(&uri)? else {
                let status = answer.status;
                return Err(format!("was answered with {status}: look at the server"));
            };
            uri = next;
        }
        Err(format!(
            "leads through more than {REDIRECTS} redirects: write the address where they end"
        ))
    }

    /// Gets what is there, at most `limit` bytes of it; a tag asks whether it has changed. Cancel safe.
    async fn get(
        &self,
        uri: &Uri,
        etag: Option<HeaderValue>,
        limit: usize,
    ) -> Result<Download, String> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("begins with neither http:// nor https://: write one of them".into()),
        };
        let host = uri.host().ok_or("names no host: write https://host/path")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let stream = connect(&self.addresses(host, port).await?).await?;
        if !tls {
            return exchange(stream, request(uri, etag)?, limit).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(self.tls()?);
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| {
            format!("cannot be fetched, for TLS fails: {error}; look at the server's certificate")
        })?;
        exchange(stream, request(uri, etag)?, limit).await
    }

    /// The addresses of a host that may be connected to.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| {
                format!(
                    "cannot be fetched, for host '{host}' cannot be resolved: {error}: look at its name in the URL"
                )
            })?;
        let mut found: Vec<_> = found.collect();
        if !self.allowed.names(host, port) {
            found.retain(|address| is_public(address.ip()));
            if found.is_empty() {
                return Err(format!(
                    "may not be fetched, for host '{host}' is at a private address: add '{host}' to 'manifest_hosts' of the configuration if it is meant"
                ));
            }
        }
        Ok(found)
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(config))))
    }
}

/// The first address that takes the connection. All of them were looked at.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut last = "host has no address".to_owned();
    for address in addresses {
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("{address} takes no connection within {CONNECT:?}"),
        }
    }
    Err(format!(
        "cannot be fetched: {last}; look whether the server runs"
    ))
}

fn request(uri: &Uri, etag: Option<HeaderValue>) -> Result<Request<Empty<Bytes>>, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // What stands before it may be a password.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let mut request = Request::get(path)
        .header(header::HOST, host)
        .header(
            header::ACCEPT,
            "application/yaml, application/json, text/plain, */*;q=0.5",
        )
        .header(
            header::USER_AGENT,
            concat!("tidegate/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close");
    if let Some(etag) = etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    request
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

/// One request on a connection of its own, which is polled in place.
async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    limit: usize,
) -> Result<Download, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let broke = |error: hyper::Error| format!("cannot be fetched: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broke)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broke)?;
        read(response, limit).await
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        ended = &mut connection => ended.map_err(broke)?,
    }
    // The connection is over; what it brought is still to be read.
    answer.await
}

async fn read(response: Response<Incoming>, limit: usize) -> Result<Download, String> {
    let (head, body) = response.into_parts();
    let header = |name| head.headers.get(name).cloned();
    let body = match head.status.is_success() {
        true => Limited::new(body, limit).collect().await.map_err(|error| {
            match error.downcast_ref::<http_body_util::LengthLimitError>() {
                Some(_) => format!("is larger than {limit} bytes: make it smaller"),
                None => format!("cannot be fetched: {error}"),
            }
        })?,
        false => http_body_util::Collected::default(),
    };
    Ok(Download {
        status: head.status,
        etag: header(header::ETAG),
        max_age: header(header::CACHE_CONTROL).and_then(|value| max_age(value.to_str().ok()?)),
        location: header(header::LOCATION),
        body: body.to_bytes(),
    })
}

/// What `Cache-Control` allows (RFC 9111 §5.2.2).
fn max_age(text: &str) -> Option<Duration> {
    let mut found = None;
    for part in text.split(',') {
        let part = part.trim().to_ascii_lowercase();
        if part == "no-cache" || part == "no-store" {
            return Some(Duration::ZERO);
        }
        let seconds = part
            .strip_prefix("max-age=")
            .map(|age| age.trim_matches('"'));
        found = seconds.and_then(|age| age.parse().ok()).or(found);
    }
    found.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_how_long_a_manifest_may_be_kept() {
        let seconds = |text| max_age(text).map(|age| age.as_secs());
        assert_eq!(seconds("max-age=5"), Some(5));
        assert_eq!(seconds("public, Max-Age=\"70\""), Some(70));
        assert_eq!(seconds("max-age=5, no-cache"), Some(0));
        assert_eq!(seconds("private"), None);
        assert_eq!(seconds("max-age=soon"), None);
    }

    fn redirect(from: &str, location: &str) -> Result<Option<String>, String> {
        let download = Download {
            status: StatusCode::FOUND,
            etag: None,
            max_age: None,
            body: Bytes::new(),
            location: Some(location.parse().expect("a value")),
        };
        let from = from.parse().expect("an address");
        Ok(download.redirect(&from)?.map(|uri| uri.to_string()))
    }

    #[test]
    fn redirects_are_followed_as_written_but_never_out_of_tls() {
        let to = |from, location| redirect(from, location).map(Option::unwrap_or_default);
        assert_eq!(
            to("https://a/x", "/y?z=1"),
            Ok("https://a/y?z=1".to_owned())
        );
        assert_eq!(
            to("http://a/x", "https://b/y"),
            Ok("https://b/y".to_owned())
        );
        assert!(to("https://a/x", "http://a/y").is_err());
        assert!(to("https://a/x", "y z").is_err());
    }
}
