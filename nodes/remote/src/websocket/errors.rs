//! What the WebSocket library says as an error of this crate: a connection that broke, a worker that speaks something else, or one that
//! refuses.

use tokio_tungstenite::tungstenite::Error as Broken;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::error::RemoteError;
use crate::refusal;

/// Why there was no upgrade.
pub(super) fn refused(error: Broken) -> RemoteError {
    match error {
        Broken::Http(response) => {
            let (parts, body) = response.into_parts();
            refusal::error(parts.status, &parts.headers, &body.unwrap_or_default())
        }
        Broken::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            RemoteError::Incompatible(
                "the worker's WebSocket does not speak tidegate.v1.proto: point 'endpoints' at one that does".into(),
            )
        }
        Broken::Protocol(ProtocolError::HandshakeIncomplete) => RemoteError::Network(
            "worker closed the connection instead of answering the upgrade".into(),
        ),
        Broken::Protocol(error @ ProtocolError::HttparseError(_)) => {
            RemoteError::Protocol(format!(
                "what answers the upgrade is no HTTP: {error}: write https:// if it speaks TLS"
            ))
        }
        other => broken(other),
    }
}

/// Why an open stream cannot go on.
pub(super) fn broken(error: Broken) -> RemoteError {
    match error {
        Broken::Io(error) => {
            RemoteError::Network(format!("connection to the worker broke: {error}"))
        }
        Broken::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Broken::ConnectionClosed
        | Broken::AlreadyClosed => {
            RemoteError::Network("worker closed the connection without a word".into())
        }
        Broken::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            RemoteError::TooLarge(format!("{size} bytes, where {max_size} are taken"))
        }
        other => RemoteError::Protocol(other.to_string()),
    }
}

/// A worker that closes before the session has ended.
pub(super) fn closed(reason: Option<&CloseFrame>) -> RemoteError {
    let text = match reason {
        Some(CloseFrame { code, reason }) if reason.is_empty() => {
            format!("worker closed the stream with code {}", u16::from(*code))
        }
        Some(CloseFrame { code, reason }) => {
            let reason = refusal::quote(reason.as_str().as_bytes());
            format!(
                "worker closed the stream with code {}: {reason}",
                u16::from(*code)
            )
        }
        None => "worker closed the stream before the session had ended".to_owned(),
    };
    match reason.map(|frame| frame.code) {
        Some(CloseCode::Size) => RemoteError::TooLarge(text),
        _ => RemoteError::Network(text),
    }
}
