//! A WebSocket as a link, whatever is said on it: a [`Codec`] knows that. [`NativeCodec`] is the native stream in both subprotocols.
//! The socket is read and written in the session's own task.
//!
//! Text and binary messages are bounded by the socket's own limits, set where it is upgraded. Reading stops when the session has no
//! room, which TCP carries to the client; its silence counts for nothing then. After the last word what it still sends is read and
//! thrown away for a little while: a socket that is dropped with unread input takes that last word back.

mod codec;
mod leaving;
mod native;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::Sink;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tokio_tungstenite::tungstenite;

pub(crate) use self::codec::{Codec, Outgoing};
use self::leaving::{Goodbye, Parting};
pub(crate) use self::native::NativeCodec;
pub(crate) use super::subprotocol::Subprotocol;
use crate::connections::Place;
use crate::session::link::{Link, LinkEvent, LinkMessage, Transport, Wishes};

/// Frames written and not yet taken by the socket.
const WINDOW: u32 = 16;
/// Messages that may wait for a client that is still listened to: one that asks without reading the answers is not heard meanwhile.
const ANSWERS: usize = 64;
/// Silence after which a ping is sent; a client that answers none for as long again is gone.
const PING: Duration = Duration::from_secs(15);
/// How long a client that has taken its last word gets to say its own goodbye.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);
/// What such a client may still send; more, and it is left as it is.
pub(crate) const GOODBYE_BYTES: usize = 16 << 20;

/// What the library says of a message over its limit, as our error.
pub(crate) fn over_limit(error: &axum::Error) -> Option<Error> {
    use tungstenite::error::{CapacityError, Error as Said};
    let source = std::error::Error::source(error)?;
    match source.downcast_ref::<Said>()? {
        Said::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            let text = format!("message of {size} bytes or more: the limit is {max_size} bytes");
            Some(Error::new(Code::TooLarge, text))
        }
        _ => None,
    }
}

/// A socket that carries WebSocket messages; tests have their own.
pub(crate) trait Socket:
    Stream<Item = Result<Message, axum::Error>> + Sink<Message> + Send + Unpin
{
}

impl<S> Socket for S where
    S: Stream<Item = Result<Message, axum::Error>> + Sink<Message> + Send + Unpin
{
}

/// A WebSocket client.
pub(crate) struct WebSocketLink<C: Codec, S: Socket = WebSocket> {
    /// There until the link is dropped.
    socket: Option<S>,
    codec: C,
    outgoing: Outgoing,
    /// Messages that the socket has taken.
    written: u64,
    unflushed: bool,
    gone: bool,
    /// When it was last heard, or was last not listened to.
    heard: Timestamp,
    pinged: bool,
    /// The last word, while the client plays what came before it.
    parting: Option<Parting>,
    /// Set with the last word.
    goodbye: Option<Goodbye>,
    /// Reading is of no use any more: a message over the limit is in the way.
    deaf: bool,
    /// Where the socket goes if no session takes the client, so that it can be told why.
    refused: Option<tokio::sync::oneshot::Sender<S>>,
    /// Its connection counts for as long as it lives.
    place: Option<Place>,
}

impl<C: Codec, S: Socket> Drop for WebSocketLink<C, S> {
    fn drop(&mut self) {
        if let (Some(refused), Some(socket)) = (self.refused.take(), self.socket.take()) {
            // Nobody waits for it: then the client is gone or the gateway is.
            drop(refused.send(socket));
        }
    }
}

impl<C: Codec, S: Socket> WebSocketLink<C, S> {
    /// A client that has said at `now` what it wants.
    pub(crate) fn new(
        socket: S,
        codec: C,
        now: Timestamp,
        refused: tokio::sync::oneshot::Sender<S>,
        place: Option<Place>,
    ) -> Self {
        Self {
            place,
            socket: Some(socket),
            refused: Some(refused),
            codec,
            outgoing: Outgoing::default(),
            written: 0,
            unflushed: false,
            gone: false,
            heard: now,
            pinged: false,
            parting: None,
            goodbye: None,
            deaf: false,
        }
    }

    fn message(&mut self, now: Timestamp, message: Message) -> Option<LinkEvent> {
        match message {
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) => return None,
            message => {
                if let Err(error) = self.codec.decode(message, now, &mut self.outgoing) {
                    return Some(LinkEvent::Failed(error));
                }
            }
        }
        self.codec.event()
    }

    fn fail(&mut self, error: &axum::Error) -> LinkEvent {
        if let Some(error) = over_limit(error) {
            // Still there: it is told why before it is left.
            self.deaf = true;
            return LinkEvent::Failed(error);
        }
        self.gone = true;
        LinkEvent::Closed
    }

    /// Moves what waits into the socket and on.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(socket) = &mut self.socket else {
            return Poll::Ready(());
        };
        let mut socket = Pin::new(socket);
        while !self.outgoing.queue.is_empty() && !self.gone {
            match socket.as_mut().poll_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => self.gone = true,
                Poll::Ready(Ok(())) => {
                    if let Some((_, message)) = self.outgoing.queue.pop_front() {
                        self.written += 1;
                        self.gone = socket.as_mut().start_send(message).is_err();
                        self.unflushed = true;
                    }
                }
            }
        }
        if self.gone {
            self.outgoing.queue.clear();
            return Poll::Ready(());
        }
        if self.unflushed {
            match socket.poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => {
                    self.gone = result.is_err();
                    self.unflushed = false;
                }
            }
        }
        Poll::Ready(())
    }
}

/// Bytes of a message's content.
pub(crate) fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

impl<C: Codec, S: Socket> Link for WebSocketLink<C, S> {
    fn transport(&self) -> Transport {
        Transport::Websocket
    }

    fn wishes(&self) -> &dyn Wishes {
        self.codec.wishes()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp, read: bool) -> Poll<LinkEvent> {
        if self.gone {
            return Poll::Ready(LinkEvent::Closed);
        }
        if !read {
            // Whatever it says, a pong too, stays unread: that it is not heard is not its doing.
            self.heard = now;
            self.pinged = false;
            return Poll::Pending;
        }
        // What a message before meant beside what was told already.
        if let Some(event) = self.codec.event() {
            return Poll::Ready(event);
        }
        loop {
            if self.outgoing.queue.len() >= ANSWERS {
                // What has room again wakes the session, as for frames.
                self.heard = now;
                self.pinged = false;
                return Poll::Pending;
            }
            let Some(socket) = &mut self.socket else {
                return Poll::Ready(LinkEvent::Closed);
            };
            match Pin::new(&mut *socket).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.gone = true;
                    return Poll::Ready(LinkEvent::Closed);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.fail(&error)),
                Poll::Ready(Some(Ok(Message::Close(_)))) => {
                    // The library has its goodbye ready; if it cannot leave now, there is nobody to wait for it.
                    let _ = Pin::new(socket).poll_flush(cx);
                    return Poll::Ready(LinkEvent::Closed);
                }
                Poll::Ready(Some(Ok(message))) => {
                    self.heard = now;
                    self.pinged = false;
                    if let Some(event) = self.message(now, message) {
                        return Poll::Ready(event);
                    }
                }
            }
        }
        self.codec.passed(now, &mut self.outgoing);
        let silence = now.saturating_since(self.heard);
        if silence >= 2 * PING && self.pinged {
            self.gone = true;
            return Poll::Ready(LinkEvent::Closed);
        }
        if silence >= PING && !self.pinged {
            self.pinged = true;
            self.outgoing.word(Message::Ping(Bytes::new()));
        }
        Poll::Pending
    }

    fn send(&mut self, now: Timestamp, message: LinkMessage) {
        if matches!(message, LinkMessage::Opened(_)) {
            self.refused = None;
        }
        let ended = match &message {
            LinkMessage::Ended { reason } => Some(*reason),
            _ => None,
        };
        self.codec.encode(message, now, &mut self.outgoing);
        if let Some(reason) = ended {
            self.part(now, reason);
        }
    }

    fn window(&self) -> u32 {
        WINDOW.saturating_sub(u32::try_from(self.outgoing.queue.len()).unwrap_or(u32::MAX))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        let mut written = self.poll_write(cx);
        if self.parting.is_some() && !self.gone {
            if self.poll_played(cx, now).is_pending() {
                return Poll::Pending;
            }
            written = self.poll_write(cx);
        }
        let Some(goodbye) = self.goodbye.as_mut().filter(|_| !self.gone) else {
            return written;
        };
        if written.is_ready() {
            goodbye.until.get_or_insert(now + GOODBYE);
        }
        // Read even while it takes nothing: it may take its last word only once it has got rid of its own.
        self.poll_goodbye(cx, now)
    }

    fn taken(&self) -> u64 {
        // Messages too: a test's socket has no place.
        self.written + self.place.as_ref().map_or(0, Place::written)
    }

    fn unsent(&self) -> u64 {
        self.outgoing
            .queue
            .iter()
            .filter(|(frame, _)| *frame)
            .count() as u64
    }

    fn timeout(&self) -> Option<Timestamp> {
        if let Some(parting) = &self.parting {
            return Some(parting.until);
        }
        if let Some(goodbye) = &self.goodbye {
            return goodbye.until;
        }
        let patience = if self.pinged { 2 * PING } else { PING };
        let silent = self.heard + patience;
        (!self.gone).then(|| self.codec.timeout().map_or(silent, |at| at.min(silent)))
    }
}

#[cfg(test)]
mod tests;
