//! Bytes on a TCP connection, without any client's good manners.

use std::net::SocketAddr;

use tidegate_tests::Deadline;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::ANSWER_SECONDS;

/// Sends these bytes and reads until the gateway closes the connection.
///
/// # Panics
/// If it does not in time.
pub(crate) async fn send_and_read_to_the_end(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // It may close before all is sent; what it said can be read all the same.
    drop(stream.write_all(bytes).await);
    read_to_the_end(stream).await
}

/// Reads until the gateway closes the connection.
///
/// # Panics
/// If it does not in time.
pub(crate) async fn read_to_the_end(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let by = Deadline::secs(ANSWER_SECONDS);
    // A reset is an end, too.
    drop(
        by.wait(stream.read_to_end(&mut said))
            .await
            .expect("the connection is closed in time"),
    );
    said
}

/// Ends a connection by a reset, as a crashed client does.
pub(crate) fn reset(stream: TcpStream) {
    stream
        .set_zero_linger()
        .expect("a socket takes its options");
    drop(stream);
}

/// A request head whose upgrade to a WebSocket on `echo` succeeds.
pub(crate) fn upgrade(address: SocketAddr) -> Vec<u8> {
    format!(
        "GET /v1/pipelines/echo/ws HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: tidegate.v1.json\r\n\r\n"
    )
    .into_bytes()
}

/// One masked WebSocket frame (RFC 6455 §5.2) of up to 125 bytes with this first byte.
pub(crate) fn ws_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    assert!(length < 126, "a short payload");
    let mut frame = vec![first, 0x80 | length, 1, 2, 3, 4];
    let mask = [1, 2, 3, 4].into_iter().cycle();
    frame.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}
