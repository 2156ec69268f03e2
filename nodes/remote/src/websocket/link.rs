//! An open WebSocket as a link.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream as _;
use futures_util::Sink as _;
use tidegate_media::Timestamp;
use tidegate_proto::{ClientMessage, PortFormats, ServerMessage, protobuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::errors;
use crate::auth::Credential;
use crate::connector::ConnectorConfig;
use crate::dial::Stream;
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace, Link};
use crate::outbox::{Outbox, Outflow, outbox};
use crate::pulse::{Beat, Pulse};

/// Both directions of an open socket. There is no task: the socket is written and read where it is polled.
pub(super) struct WebSocketLink {
    socket: WebSocketStream<Stream>,
    outbox: Outbox<Message>,
    outflow: Outflow<Message>,
    formats: PortFormats,
    credential: Credential,
    pulse: Pulse,
    /// Something was written that the kernel does not have yet.
    unflushed: bool,
    /// The close message was written; nothing may follow it.
    closing: bool,
    over: bool,
}

impl WebSocketLink {
    pub(super) fn new(
        socket: WebSocketStream<Stream>,
        formats: PortFormats,
        credential: Credential,
        config: &ConnectorConfig,
    ) -> Self {
        let (outbox, outflow) = outbox();
        Self {
            socket,
            outbox,
            outflow,
            formats,
            credential,
            pulse: Pulse::new(config.keepalive_interval, config.keepalive_timeout),
            unflushed: false,
            closing: false,
            over: false,
        }
    }

    /// Moves what is queued into the socket, as far as it has room.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), RemoteError> {
        let mut socket = Pin::new(&mut self.socket);
        while !self.closing {
            match socket.as_mut().poll_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready.map_err(errors::broken)?,
            }
            let message = match Pin::new(&mut self.outflow).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(message)) => message,
                Poll::Ready(None) => {
                    self.closing = true;
                    Message::Close(None)
                }
            };
            socket
                .as_mut()
                .start_send(message)
                .map_err(errors::broken)?;
            self.unflushed = true;
        }
        if self.unflushed
            && let Poll::Ready(flushed) = socket.poll_flush(cx)
        {
            flushed.map_err(errors::broken)?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        loop {
            let Some(message) = std::task::ready!(Pin::new(&mut self.socket).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            self.pulse.heard();
            let decoded = match message {
                Err(error) => Err(errors::broken(error)),
                Ok(Message::Close(reason)) => Err(errors::closed(reason.as_ref())),
                Ok(Message::Ping(_)) => {
                    // The answer was queued by the library.
                    self.unflushed = true;
                    Ok(None)
                }
                Ok(message) => decode(message, now, &self.formats),
            };
            if let Some(decoded) = decoded.transpose() {
                return Poll::Ready(Some(decoded));
            }
        }
    }

    fn drive(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        let written = self.write(cx);
        // What the worker said before its connection broke comes first: it says why.
        if let Poll::Ready(message) = self.read(cx, now) {
            return Poll::Ready(message);
        }
        if let Err(error) = written {
            return Poll::Ready(Some(Err(error)));
        }
        while let Poll::Ready(beat) = self.pulse.poll(cx) {
            match beat {
                Beat::Ask if self.closing => {}
                Beat::Ask => {
                    if let Err(error) = self.outbox.push(None, Message::Ping(Bytes::new())) {
                        return Poll::Ready(Some(Err(error)));
                    }
                    if let Err(error) = self.write(cx) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Beat::Dead(patience) => {
                    let text = format!("worker gave no sign of life for {patience:?}");
                    return Poll::Ready(Some(Err(RemoteError::Network(text))));
                }
            }
        }
        if self.unflushed
            && let Err(error) = self.write(cx)
        {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Pending
    }
}

impl Link for WebSocketLink {
    fn send(
        &mut self,
        message: ClientMessage,
        frame: Option<FramePlace>,
        now: Timestamp,
    ) -> Result<(), RemoteError> {
        let bytes = protobuf::encode_client_bytes(message, now);
        self.outbox.push(frame, Message::Binary(bytes))
    }

    fn discard_frames(&mut self) -> Counts {
        self.outbox.discard_frames()
    }

    fn take_sent(&mut self) -> Counts {
        self.outbox.take_sent()
    }

    fn wake_when_taken(&mut self, cx: &Context<'_>) {
        self.outbox.wake_when_taken(cx.waker());
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let message = std::task::ready!(self.drive(cx, now));
        self.over = !matches!(message, Some(Ok(_)));
        Poll::Ready(message)
    }

    fn credential(&mut self) -> Option<&mut Credential> {
        Some(&mut self.credential)
    }
}

impl Drop for WebSocketLink {
    fn drop(&mut self) {
        self.outbox.close();
        if !self.over {
            // What the kernel takes now is what the worker gets, before the socket is closed; it sees that, too.
            let mut cx = Context::from_waker(std::task::Waker::noop());
            drop(self.write(&mut cx));
        }
    }
}

/// What came off the socket as a message of the program's own; `None`: nothing, or something of a newer version.
pub(super) fn decode(
    message: Message,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<Option<ServerMessage>, RemoteError> {
    match message {
        Message::Binary(bytes) => Ok(protobuf::decode_server_bytes(bytes, now, formats)?),
        Message::Text(_) => Err(RemoteError::Protocol(
            "a text message under tidegate.v1.proto".into(),
        )),
        _ => Ok(None),
    }
}
