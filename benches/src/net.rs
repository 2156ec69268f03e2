//! How the bare peers listen: where told to, and saying so on their first line.

use std::io::{self, Write};

use tokio::net::{TcpListener, TcpStream};

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
