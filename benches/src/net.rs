//! How the bare peers listen (where told to, and saying so on their first line), and how an offer
//! reaches a peer.

use std::io::{self, Write};
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

/// Binds the address of the first argument, `127.0.0.1:0` without one, and prints
/// `listening on http://ADDRESS` for whoever started the peer.
///
/// # Errors
/// If the address cannot be bound.
pub async fn listen() -> io::Result<TcpListener> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    let mut out = io::stdout();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()?;
    Ok(listener)
}

/// The next connection, with Nagle off: it would add up to 40 ms to each answer.
///
/// # Errors
/// If the listener is broken.
pub async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks for a path and gives the body.
///
/// # Errors
/// If the peer refuses it or breaks off.
pub async fn get(address: SocketAddr, path: &str) -> Result<String, Failure> {
    let request = hyper::Request::get(path)
        .header("host", address.to_string())
        .body(Full::default())?;
    exchange(address, request, hyper::StatusCode::OK).await
}

/// Posts an offer and gives the answer.
///
/// # Errors
/// If the peer refuses it or breaks off.
pub async fn exchange_sdp(address: SocketAddr, path: &str, offer: &str) -> Result<String, Failure> {
    let request = hyper::Request::post(path)
        .header("host", address.to_string())
        .header("content-type", "application/sdp")
        .header("content-length", offer.len())
        .body(Full::new(Bytes::from(offer.to_owned())))?;
    exchange(address, request, hyper::StatusCode::CREATED).await
}

/// One request on a connection of its own.
async fn exchange(
    address: SocketAddr,
    request: hyper::Request<Full<Bytes>>,
    expected: hyper::StatusCode,
) -> Result<String, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = request.uri().path().to_owned();
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        if status == expected {
            Ok(text)
        } else {
            Err(Failure::from(format!("{path}: {status}: {text}")))
        }
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        broken = connection => {
            broken?;
            answer.await
        }
    }
}
