//! Reaching the gateway: its address, connections with and without TLS, and single HTTP requests.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::ServerName};

use super::PATIENCE;

/// Largest answer that is read: a description of a large pipeline has a hundredth.
const ANSWER: usize = 4 << 20;

/// A connection, whatever secures it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where the gateway is.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: String,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
}

/// Why the gateway cannot be reached or does not do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum TargetError {
    #[error("--url '{0}' is no address of a gateway: write http://HOST:PORT or https://HOST:PORT")]
    Url(String),
    #[error("the system's certificates cannot be used: {0}")]
    Certificates(String),
    #[error(
        "no gateway at {url}: start one by `tidegate serve`, or name another by --url: {source}"
    )]
    Connect { url: String, source: std::io::Error },
    #[error("{url} did not answer within {} s", PATIENCE.as_secs())]
    Silent { url: String },
    #[error("{url} does not speak HTTP: {message}")]
    Http { url: String, message: String },
    #[error("{url} asks for a token: {}", if *.given { "the one of --token is not it" } else { "give it by --token" })]
    Token { url: String, given: bool },
    #[error("{url}: {status}: {detail}")]
    Refused {
        url: String,
        status: StatusCode,
        detail: String,
    },
}

/// An answer that was a success.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Target {
    /// The gateway at a URL; a path in it is ignored.
    ///
    /// # Errors
    /// It is no URL of HTTP, or TLS cannot be set up.
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, TargetError> {
        let bad = || TargetError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let (port, secure) = match uri.scheme_str() {
            Some("http") => (80, false),
            Some("https") => (443, true),
            _ => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = if secure { Some(client_tls()?) } else { None };
        let scheme = if secure { "https" } else { "http" };
        Ok(Self {
            url: format!("{scheme}://{authority}"),
            port: authority.port_u16().unwrap_or(port),
            host,
            tls,
            token: token.filter(|token| !token.is_empty()),
        })
    }

    /// The value of `Authorization`, if there is a token that can stand there.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let token = self.token.as_ref()?;
        HeaderValue::from_str(&format!("Bearer {token}")).ok()
    }

    /// The gateway's host and port.
    pub(super) fn host(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The same address for WebSocket.
    pub(super) fn websocket(&self, path: &str) -> String {
        format!("{}{path}", self.url.replacen("http", "ws", 1))
    }

    /// A new connection, without Nagle's algorithm.
    ///
    /// # Errors
    /// Nobody listens there, or TLS failed.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, TargetError> {
        let failed = |source| TargetError::Connect {
            url: self.url.clone(),
            source,
        };
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = self.patiently(connecting).await?.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|_| TargetError::Url(self.url.clone()))?;
        let securing = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        Ok(Box::new(self.patiently(securing).await?.map_err(failed)?))
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// The gateway cannot be reached or refuses.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: String,
    ) -> Result<Answer, TargetError> {
        let stream = self.connect().await?;
        self.patiently(self.exchange(stream, method, path, kind, body))
            .await?
    }

    async fn exchange(
        &self,
        stream: Box<dyn Stream>,
        method: Method,
        path: &str,
        kind: &'static str,
        body: String,
    ) -> Result<Answer, TargetError> {
        let url = format!("{}{path}", self.url);
        let broken = |message: String| TargetError::Http {
            url: url.clone(),
            message,
        };
        let host = self.url.split_once("://").map_or("", |(_, host)| host);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, kind);
        if let Some(value) = self.authorization() {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| broken(error.to_string()))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(error.to_string()))?;
        let answer = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|e| e.to_string())?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER)
                .collect()
                .await
                .map_err(|e| e.to_string())?;
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            Ok::<_, String>((head, body))
        };
        tokio::pin!(answer);
        // The connection moves the bytes; when it ends first, the answer says why it is not there.
        let answer = tokio::select! {
            answer = &mut answer => answer,
            _ = connection => answer.await,
        };
        let (head, body) = answer.map_err(broken)?;
        if head.status.is_success() {
            return Ok(Answer {
                headers: head.headers,
                body,
            });
        }
        if head.status == StatusCode::UNAUTHORIZED {
            let given = self.token.is_some();
            return Err(TargetError::Token { url, given });
        }
        let problem: Value = serde_json::from_str(&body).unwrap_or_default();
        let detail = problem["detail"]
            .as_str()
            .unwrap_or("no details")
            .to_owned();
        Err(TargetError::Refused {
            url,
            status: head.status,
            detail,
        })
    }

    /// A pipeline's description.
    ///
    /// # Errors
    /// As for [`Target::request`].
    pub(super) async fn pipeline(&self, name: &str) -> Result<Value, TargetError> {
        let path = format!("/v1/pipelines/{name}");
        let answer = self
            .request(Method::GET, &path, "application/json", String::new())
            .await?;
        serde_json::from_str(&answer.body).map_err(|error| TargetError::Http {
            url: format!("{}{path}", self.url),
            message: error.to_string(),
        })
    }

    /// Waits for something, but not for ever.
    ///
    /// # Errors
    /// It took too long.
    pub(super) async fn patiently<T>(
        &self,
        what: impl Future<Output = T>,
    ) -> Result<T, TargetError> {
        let waited = tokio::time::timeout(PATIENCE, what).await;
        waited.map_err(|_| TargetError::Silent {
            url: self.url.clone(),
        })
    }
}

fn client_tls() -> Result<Arc<ClientConfig>, TargetError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found
            .errors
            .first()
            .map_or("there are none".to_owned(), ToString::to_string);
        return Err(TargetError::Certificates(why));
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TargetError::Certificates(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_and_a_port() {
        let target = Target::new("http://127.0.0.1:9000/ignored", None).expect("a URL");
        assert_eq!((target.host.as_str(), target.port), ("127.0.0.1", 9000));
        assert_eq!(target.websocket("/x"), "ws://127.0.0.1:9000/x");
        let target = Target::new("http://[::1]", None).expect("a URL");
        assert_eq!((target.host.as_str(), target.port), ("::1", 80));
        for bad in ["127.0.0.1:8080", "ftp://x", "http://", ""] {
            assert!(
                matches!(Target::new(bad, None), Err(TargetError::Url(_))),
                "{bad}"
            );
        }
    }
}
