//! From an upgrade to a session: what every WebSocket passes, whatever is said on it.
//!
//! What is read before there is a session is bounded by the message size, and in time by `limits.open`. Absent: what the first messages
//! mean, which each interface says for itself.

use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use http::StatusCode;
use tidegate_nodes::{Code, Error};

use crate::connections::Place;
use crate::errors::{HttpError, mapping};
use crate::gateway::Gateway;
use crate::links::websocket::{Codec, GOODBYE, GOODBYE_BYTES, WebSocketLink, over_limit, size};
use crate::session::link::Link;
use crate::session::open::Request;

/// Most bytes of a close's reason.
const REASON_BYTES: usize = 123;

/// A client that was upgraded and has no session yet.
pub(super) struct Guest {
    socket: WebSocket,
    /// Its connection counts for as long as it lives.
    place: Option<Place>,
}

/// The upgrade that a request asks for, as far as it does; what to run has been looked at first.
pub(super) type Wanted = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// The same, for who has nothing to say without one.
///
/// # Errors
/// It is a request as any other (426), or a handshake that is wrong.
pub(super) fn wanted(upgrade: Wanted) -> Result<WebSocketUpgrade, HttpError> {
    use WebSocketUpgradeRejection as Rejection;
    upgrade.map_err(|rejection| match rejection {
        Rejection::InvalidConnectionHeader(_)
        | Rejection::InvalidUpgradeHeader(_)
        | Rejection::ConnectionNotUpgradable(_) => {
            let text = "this is the address of a WebSocket: connect to it with a WebSocket client, as ws:// or wss://, and not with a plain GET";
            let error = Error::new(Code::BadRequest, text);
            HttpError::with_status(error, StatusCode::UPGRADE_REQUIRED)
        }
        other => {
            let error = Error::new(Code::BadRequest, other.body_text());
            HttpError::with_status(error, other.status())
        }
    })
}

/// Answers the upgrade. Messages have so many bytes at most; `serve` has the client, in a task of its own.
pub(super) fn accept<F: Future<Output = ()> + Send + 'static>(
    upgrade: WebSocketUpgrade,
    message: usize,
    place: Option<Extension<Place>>,
    serve: impl FnOnce(Guest) -> F + Send + 'static,
) -> Response {
    let place = place.map(|Extension(place)| place);
    upgrade
        .max_message_size(message)
        .max_frame_size(message)
        .write_buffer_size(0)
        .on_upgrade(move |socket| serve(Guest { socket, place }))
}

/// What the client says first, within `limits.open`.
///
/// # Errors
/// `first` failed, or took too long.
pub(super) async fn in_time<T>(
    gateway: &Gateway,
    what: &str,
    first: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let patience = gateway.config.limits.open.0;
    let said = tokio::time::timeout(patience, first).await;
    said.unwrap_or_else(|_| {
        let text = format!("no {what} within {} s of the upgrade", patience.as_secs());
        Err(Error::new(Code::BadRequest, text))
    })
}

impl Guest {
    /// The next message, but for those of the WebSocket itself; `what` it is to be is for the error.
    ///
    /// # Errors
    /// The client has gone, or sent what cannot be read.
    pub(super) async fn next(&mut self, what: &str) -> Result<Message, Error> {
        loop {
            match self.socket.recv().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => {
                    let text = format!("the client left before it sent {what}");
                    return Err(Error::new(Code::Cancelled, text));
                }
                Some(Ok(message)) => return Ok(message),
                Some(Err(error)) => {
                    return Err(over_limit(&error).unwrap_or_else(|| {
                        Error::new(Code::BadRequest, format!("{what} cannot be read: {error}"))
                    }));
                }
            }
        }
    }

    /// Opens the session that `request` asks for with the client's link. Where it is not opened the client comes back, to be told why;
    /// if a session had it already, that has told it.
    pub(super) async fn open<C: Codec + 'static>(
        self,
        gateway: &Arc<Gateway>,
        codec: C,
        request: impl FnOnce(Box<dyn Link>) -> Request,
    ) -> Option<(Error, Self)> {
        let (refused, returned) = tokio::sync::oneshot::channel();
        let (place, now) = (self.place.clone(), gateway.clock.now());
        let link = WebSocketLink::new(self.socket, codec, now, refused, self.place);
        let error = gateway.open(request(Box::new(link))).await.err()?;
        let socket = returned.await.ok()?;
        Some((error, Self { socket, place }))
    }

    /// Sends a last message and the close that stands for an error (and says what it is, where no message does), and reads on until the client has said goodbye: input that is left
    /// unread would take the last word back. Bounded: a client that does not read, or does not stop, is left.
    pub(super) async fn farewell(mut self, message: Option<Message>, error: &Error) {
        let code = mapping(error.code).close;
        // Nothing can be read past a message over the limit; the client still gets its time to read.
        let deaf = error.code == Code::TooLarge;
        let reason = match &message {
            Some(_) => error.code.as_str().into(),
            None => reason(error),
        };
        let close = Message::Close(Some(CloseFrame { code, reason }));
        let last_words = async {
            // The client may have gone already; there is nobody else to tell.
            for message in message.into_iter().chain([close]) {
                drop(self.socket.send(message).await);
            }
            if deaf {
                return std::future::pending().await;
            }
            let mut left = GOODBYE_BYTES;
            while let Some(next) = self.socket.recv().await {
                match next {
                    Ok(Message::Close(_)) => return,
                    Ok(message) => match left.checked_sub(size(&message)) {
                        Some(less) => left = less,
                        None => return,
                    },
                    Err(_) => return,
                }
            }
        };
        drop(tokio::time::timeout(GOODBYE, last_words).await);
    }
}

/// An error as a close can say it: as much as fits into a control frame (RFC 6455 §5.5).
fn reason(error: &Error) -> Utf8Bytes {
    let mut text = error.to_string();
    text.truncate(text.floor_char_boundary(REASON_BYTES));
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_close_is_the_errors_text_as_far_as_it_fits() {
        let short = Error::new(Code::BadRequest, "no start");
        assert_eq!(reason(&short).as_str(), "bad_request: no start");
        let long = reason(&Error::new(Code::BadRequest, "é".repeat(200)));
        assert!(long.starts_with("bad_request: éé"), "{long}");
        assert_eq!(long.len(), REASON_BYTES);
    }
}
