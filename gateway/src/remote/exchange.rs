//! One request over HTTP/1.1 to an address that was looked at first.
//!
//! A connection a request: what is asked for so is asked for rarely. No task drives the connection: it is polled beside the response.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::addresses::is_public;

/// How long one address of several may take to accept a connection.
const CONNECT: Duration = Duration::from_millis(1_500);
/// Largest file of authorities.
const AUTHORITIES: u64 = 1 << 20;

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

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Exchange {
    allowed: Allowed,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
    /// What is done by a request, for those who read that it cannot be: "fetched".
    done: &'static str,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

/// The path of an address, as a request to its server names it.
pub(crate) fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}

impl Exchange {
    /// With servers that the system's authorities vouch for, or in clear text.
    pub(crate) fn new(allowed: Allowed, done: &'static str) -> Self {
        Self {
            allowed,
            tls: Arc::default(),
            done,
        }
    }

    /// Trusts the authorities of this PEM file and no others.
    ///
    /// # Errors
    /// What is wrong with it, after its name.
    pub(crate) fn trusting(mut self, file: &Path) -> Result<Self, String> {
        let text = authorities(file)?;
        let mut roots = RootCertStore::empty();
        for one in CertificateDer::pem_slice_iter(&text) {
            let one = one.map_err(|error| format!("is no PEM: {error}"))?;
            roots
                .add(one)
                .map_err(|error| format!("has what is no authority: {error}"))?;
        }
        if roots.is_empty() {
            return Err("has no certificate: write PEM".to_owned());
        }
        self.tls = Arc::new(OnceLock::from(tls(roots)?));
        Ok(self)
    }

    /// Sends a request, which has the [`path`] of the address, and gives the answer with at most `limit` bytes. Cancel safe.
    ///
    /// # Errors
    /// Why it could not be sent, after the address.
    pub(crate) async fn send<B>(
        &self,
        uri: &Uri,
        mut request: Request<B>,
        limit: usize,
    ) -> Result<Response<Bytes>, String>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("begins with neither http:// nor https://: write one of them".into()),
        };
        let host = uri.host().ok_or("names no host: write https://host/path")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        head(uri, request.headers_mut())?;
        let stream = self.connect(&self.addresses(host, port).await?).await?;
        if !tls {
            return self.exchange(stream, request, limit).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(self.tls()?);
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| {
            format!(
                "cannot be {}, for TLS fails: {error}; look at the server's certificate",
                self.done
            )
        })?;
        self.exchange(stream, request, limit).await
    }

    /// The addresses of a host that may be connected to.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| {
                format!(
                    "cannot be {}, for host '{host}' cannot be resolved: {error}: look at its name in the URL",
                    self.done
                )
            })?;
        let mut found: Vec<_> = found.collect();
        if !self.allowed.names(host, port) {
            found.retain(|address| is_public(address.ip()));
            if found.is_empty() {
                return Err(format!(
                    "may not be {}, for host '{host}' is at a private address: add '{host}' to 'manifest_hosts' of the configuration if it is meant",
                    self.done
                ));
            }
        }
        Ok(found)
    }

    /// The first address that takes the connection. All of them were looked at.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, String> {
        let mut last = "host has no address".to_owned();
        for address in addresses {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("{address} takes no connection within {CONNECT:?}"),
            }
        }
        Err(format!(
            "cannot be {}: {last}; look whether the server runs",
            self.done
        ))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = tls(roots)?;
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }

    /// One request on a connection of its own, which is polled in place.
    async fn exchange<S, B>(
        &self,
        stream: S,
        request: Request<B>,
        limit: usize,
    ) -> Result<Response<Bytes>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let broke = |error: hyper::Error| format!("cannot be {}: {error}", self.done);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broke)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(broke)?;
            self.read(response, limit).await
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

    async fn read(
        &self,
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Response<Bytes>, String> {
        let (head, body) = response.into_parts();
        let body = match head.status.is_success() {
            true => Limited::new(body, limit).collect().await.map_err(|error| {
                match error.downcast_ref::<http_body_util::LengthLimitError>() {
                    Some(_) => format!("is larger than {limit} bytes: make it smaller"),
                    None => format!("cannot be {}: {error}", self.done),
                }
            })?,
            false => http_body_util::Collected::default(),
        };
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// What every request says.
fn head(uri: &Uri, headers: &mut http::HeaderMap) -> Result<(), String> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // What stands before it may be a password.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = HeaderValue::from_str(host).map_err(|error| error.to_string())?;
    headers.insert(header::HOST, host);
    let own = HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
    headers.entry(header::USER_AGENT).or_insert(own);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(())
}

fn tls(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A file with authorities.
///
/// # Errors
/// What is wrong with it, after its name.
pub(crate) fn authorities(file: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut text = Vec::new();
    let bytes = std::fs::File::open(file)
        .and_then(|file| file.take(AUTHORITIES + 1).read_to_end(&mut text))
        .map_err(unreadable)?;
    if bytes as u64 > AUTHORITIES {
        return Err(format!("has more than {AUTHORITIES} bytes"));
    }
    Ok(text)
}
