//! A small HTTP/1.1 client: one connection a request, the whole body in memory.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock::Deadline;

/// No request of these tests takes longer.
const REQUEST_MAX_SECONDS: u64 = 60;

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status as a number.
    pub status: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none; the body is in the message.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| {
            panic!(
                "status {} with a body that is no JSON ({e}): {}",
                self.status,
                self.text()
            )
        })
    }

    /// A header as text, empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// Sends one request. `Host` is the address unless a header says otherwise.
///
/// # Errors
/// If nobody listens, the connection breaks, or the answer takes over a minute.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response, String> {
    let mut request = http::Request::builder().method(method).uri(path);
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        request = request.header("host", address.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(body.into()))
        .map_err(|e| format!("bad request: {e}"))?;
    Deadline::secs(REQUEST_MAX_SECONDS)
        .wait(exchange(address, request))
        .await
        .unwrap_or_else(|| {
            Err(format!(
                "{method} {path}: no answer in {REQUEST_MAX_SECONDS} s"
            ))
        })
}

async fn exchange(
    address: SocketAddr,
    request: http::Request<Full<Bytes>>,
) -> Result<Response, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| format!("{address}: {e}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| format!("handshake with {address}: {e}"))?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    };
    // The connection moves only while it is polled; it ends no earlier than the answer.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        broken = connection => match broken {
            Ok(()) => answer.await,
            Err(e) => Err(format!("connection to {address}: {e}")),
        },
    }
}
