//! The native WebSocket as a link, in both subprotocols. The socket is read and written in the session's own task.
//!
//! Text and binary messages are bounded by the socket's own limits, set where it is upgraded. Reading stops when the session has no
//! room, which TCP carries to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_core::Stream as _;
use futures_util::Sink as _;
use tidegate_media::{Audio, Frame, MediaTime, Payload, Timestamp};
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::{PortFormats, ServerMessage};
use tidegate_proto::{json, protobuf};

use super::native::Native;
use super::wire::malformed;
use crate::place::Place;
use crate::session::link::{Link, LinkEvent, LinkMessage, Transport, Wishes};

/// Frames written and not yet taken by the socket.
const WINDOW: u32 = 16;
/// Silence after which a ping is sent; a client that answers none for as long again is gone.
const PING: std::time::Duration = std::time::Duration::from_secs(15);

/// How messages are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// `tidegate.v1.json`.
    Json,
    /// `tidegate.v1.proto`.
    Proto,
}

impl Subprotocol {
    /// The token of `Sec-WebSocket-Protocol`.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Json => "tidegate.v1.json",
            Self::Proto => "tidegate.v1.proto",
        }
    }

    /// A client's message.
    pub(crate) fn decode(
        self,
        message: Message,
        now: Timestamp,
        formats: &PortFormats,
    ) -> Result<tidegate_proto::message::ClientMessage, Error> {
        let decoded = match (self, &message) {
            (Self::Json, Message::Text(text)) => json::decode_client(text.as_str(), now, formats),
            (Self::Proto, Message::Binary(bytes)) => {
                protobuf::decode_client_bytes(bytes.clone(), now, formats)
            }
            (Self::Json, _) => {
                let text = "binary message without raw audio: name its input in open.raw";
                return Err(Error::new(Code::BadRequest, text));
            }
            (Self::Proto, _) => {
                let text = "text message under tidegate.v1.proto: send binary protobuf messages";
                return Err(Error::new(Code::BadRequest, text));
            }
        };
        decoded.map_err(|error| malformed(&error))
    }

    /// A server's message.
    pub(crate) fn encode(self, message: ServerMessage, now: Timestamp) -> Message {
        match self {
            Self::Json => Message::Text(json::encode_server(&message, now).into()),
            Self::Proto => Message::Binary(protobuf::encode_server_bytes(message, now)),
        }
    }
}

/// What the library says of a message over its limit, as our error.
pub(crate) fn over_limit(error: &axum::Error) -> Option<Error> {
    let text = error.to_string();
    (text.contains("too long") || text.contains("too big"))
        .then(|| Error::new(Code::TooLarge, format!("message over the limit: {text}")))
}

/// A WebSocket client.
pub(crate) struct WebSocketLink {
    /// There until the link is dropped.
    socket: Option<WebSocket>,
    subprotocol: Subprotocol,
    native: Native,
    formats: PortFormats,
    outgoing: std::collections::VecDeque<Message>,
    /// Media time of the next raw message, in samples of the raw input.
    raw_samples: u64,
    unflushed: bool,
    gone: bool,
    heard: Timestamp,
    pinged: bool,
    /// Where the socket goes if no session takes the client, so that it can be told why.
    refused: Option<tokio::sync::oneshot::Sender<WebSocket>>,
    /// Its connection counts for as long as it lives.
    _place: Option<Place>,
}

impl Drop for WebSocketLink {
    fn drop(&mut self) {
        if let (Some(refused), Some(socket)) = (self.refused.take(), self.socket.take()) {
            // Nobody waits for it: then the client is gone or the gateway is.
            drop(refused.send(socket));
        }
    }
}

impl WebSocketLink {
    /// A client whose `open` has been read at `now`.
    pub(crate) fn new(
        socket: WebSocket,
        subprotocol: Subprotocol,
        native: Native,
        now: Timestamp,
        refused: tokio::sync::oneshot::Sender<WebSocket>,
        place: Option<Place>,
    ) -> Self {
        Self {
            _place: place,
            socket: Some(socket),
            refused: Some(refused),
            subprotocol,
            formats: native.formats(),
            native,
            outgoing: std::collections::VecDeque::new(),
            raw_samples: 0,
            unflushed: false,
            gone: false,
            heard: now,
            pinged: false,
        }
    }

    fn message(&mut self, now: Timestamp, message: Message) -> Option<LinkEvent> {
        let result = match message {
            Message::Close(_) => return Some(LinkEvent::Closed),
            Message::Ping(_) | Message::Pong(_) => return None,
            Message::Binary(bytes) if self.subprotocol == Subprotocol::Json => self.raw(bytes),
            message => self
                .subprotocol
                .decode(message, now, &self.formats)
                .and_then(|message| self.native.decode(message)),
        };
        Some(result.unwrap_or_else(LinkEvent::Failed))
    }

    /// A raw binary message: a frame of the one input that `open` named.
    fn raw(&mut self, bytes: Bytes) -> Result<LinkEvent, Error> {
        let (Some(port), _) = self.native.raw() else {
            let text = "binary message without raw audio: name its input in open.raw";
            return Err(Error::new(Code::BadRequest, text));
        };
        let port = port.as_str().to_owned();
        let format = self.formats.audio(&port);
        if let Some(sample) = format.codec.sample_bytes() {
            let whole = sample * usize::from(format.channels.max(1));
            if !bytes.len().is_multiple_of(whole) {
                let text = format!(
                    "raw message of {} bytes is not whole samples of {format}: a sample of all channels has {whole} bytes",
                    bytes.len()
                );
                return Err(Error::new(Code::BadRequest, text));
            }
        }
        let audio = Audio::encoded(format, bytes);
        let media_time = MediaTime::from_samples(self.raw_samples, format.sample_rate);
        self.raw_samples += u64::from(audio.samples);
        self.native
            .frame(&port, Frame::new(media_time, Payload::Audio(audio)))
    }

    fn fail(&mut self, error: &axum::Error) -> LinkEvent {
        if let Some(error) = over_limit(error) {
            // Still there: it is told why before it is left.
            return LinkEvent::Failed(error);
        }
        self.gone = true;
        LinkEvent::Closed
    }
}

impl Link for WebSocketLink {
    fn transport(&self) -> Transport {
        Transport::Websocket
    }

    fn wishes(&self) -> &dyn Wishes {
        &self.native
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp, read: bool) -> Poll<LinkEvent> {
        if self.gone {
            return Poll::Ready(LinkEvent::Closed);
        }
        let silence = now.saturating_since(self.heard);
        if silence >= 2 * PING && self.pinged {
            self.gone = true;
            return Poll::Ready(LinkEvent::Closed);
        }
        if silence >= PING && !self.pinged {
            self.pinged = true;
            self.outgoing.push_back(Message::Ping(Bytes::new()));
        }
        if !read {
            return Poll::Pending;
        }
        loop {
            let Some(socket) = &mut self.socket else {
                return Poll::Ready(LinkEvent::Closed);
            };
            match Pin::new(socket).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    self.gone = true;
                    return Poll::Ready(LinkEvent::Closed);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.fail(&error)),
                Poll::Ready(Some(Ok(message))) => {
                    self.heard = now;
                    self.pinged = false;
                    if let Some(event) = self.message(now, message) {
                        return Poll::Ready(event);
                    }
                }
            }
        }
    }

    fn send(&mut self, now: Timestamp, message: LinkMessage) {
        let ended = matches!(message, LinkMessage::Ended { .. });
        if matches!(message, LinkMessage::Opened(_)) {
            self.refused = None;
        }
        let code = match &message {
            LinkMessage::Ended { reason } => crate::errors::close_code(reason),
            _ => close_code::NORMAL,
        };
        match message {
            LinkMessage::Frame { output, frame }
                if self.subprotocol == Subprotocol::Json && self.native.is_raw_output(output) =>
            {
                if let Payload::Audio(audio) = frame.payload {
                    self.outgoing.push_back(Message::Binary(audio.data));
                }
            }
            message => {
                if let Some(message) = self.native.encode(message) {
                    self.outgoing
                        .push_back(self.subprotocol.encode(message, now));
                }
            }
        }
        if ended {
            let reason = axum::extract::ws::Utf8Bytes::from_static("");
            self.outgoing
                .push_back(Message::Close(Some(CloseFrame { code, reason })));
        }
    }

    fn window(&self) -> u32 {
        WINDOW.saturating_sub(u32::try_from(self.outgoing.len()).unwrap_or(u32::MAX))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, _now: Timestamp) -> Poll<()> {
        let Some(socket) = &mut self.socket else {
            return Poll::Ready(());
        };
        let mut socket = Pin::new(socket);
        while !self.outgoing.is_empty() && !self.gone {
            match socket.as_mut().poll_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => self.gone = true,
                Poll::Ready(Ok(())) => {
                    if let Some(message) = self.outgoing.pop_front() {
                        self.gone = socket.as_mut().start_send(message).is_err();
                        self.unflushed = true;
                    }
                }
            }
        }
        if self.gone {
            self.outgoing.clear();
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

    fn timeout(&self) -> Option<Timestamp> {
        let patience = if self.pinged { 2 * PING } else { PING };
        (!self.gone).then(|| self.heard + patience)
    }
}
