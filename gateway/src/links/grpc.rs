//! `Gateway.Stream` as a link: reads the request stream in the session's own task, writes into a queue that it owns ([`super::outbox`]).
//!
//! Reading stops when the session has no room, which HTTP/2 flow control carries to the client.

use std::task::{Context, Poll};

use tidegate_media::Timestamp;
use tidegate_proto::message::PortFormats;
use tidegate_proto::v1::server_message::Message;
use tidegate_proto::{protobuf, v1};

use super::native::Native;
use super::outbox::{Outbox, Said};
use super::wire::malformed;
use crate::grpc::reader::{Reader, Unreadable};
use crate::session::link::{Link, LinkEvent, LinkMessage, Transport, Wishes};

/// Messages that wait before the link says that it has no room. Enough that a burst of outputs takes one wake-up, few enough that
/// a client that does not read is felt by the session's queues at once.
pub(crate) const ROOM: usize = 16;

impl Said for v1::ServerMessage {
    fn is_frame(&self) -> bool {
        matches!(self.message, Some(Message::Frame(_)))
    }

    fn is_last_word(&self) -> bool {
        matches!(self.message, Some(Message::Error(_) | Message::Ended(_)))
    }
}

/// A gRPC client.
pub(crate) struct GrpcLink {
    native: Native,
    formats: PortFormats,
    incoming: Reader,
    /// The client has sent its last message.
    half_closed: bool,
    outgoing: Outbox<v1::ServerMessage>,
    /// It has been told the end.
    ended: bool,
}

impl GrpcLink {
    /// A client whose `open` has been read.
    pub(crate) fn new(
        native: Native,
        incoming: Reader,
        outgoing: Outbox<v1::ServerMessage>,
    ) -> Self {
        Self {
            formats: native.formats(),
            native,
            incoming,
            half_closed: false,
            outgoing,
            ended: false,
        }
    }
}

impl Link for GrpcLink {
    fn transport(&self) -> Transport {
        Transport::Grpc
    }

    fn wishes(&self) -> &dyn Wishes {
        &self.native
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp, read: bool) -> Poll<LinkEvent> {
        // The only sign of a client that cancels after its last message, or while nothing is read from it.
        if self.outgoing.poll_dropped(cx).is_ready() {
            return Poll::Ready(LinkEvent::Closed);
        }
        if self.half_closed || !read {
            return Poll::Pending;
        }
        let message = match self.incoming.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(message))) => message,
            Poll::Ready(end) => {
                self.half_closed = true;
                return Poll::Ready(match end {
                    None => LinkEvent::End { input: None },
                    Some(Err(Unreadable::Bad(error))) => LinkEvent::Failed(error),
                    _ => LinkEvent::Closed,
                });
            }
        };
        let decoded = protobuf::decode_client_bytes(message, now, &self.formats)
            .map_err(|error| malformed(&error))
            .and_then(|message| self.native.decode(message));
        Poll::Ready(decoded.unwrap_or_else(LinkEvent::Failed))
    }

    fn send(&mut self, now: Timestamp, message: LinkMessage) {
        self.ended |= matches!(message, LinkMessage::Ended { .. });
        let Some(message) = self.native.encode(message) else {
            return;
        };
        self.outgoing.push(protobuf::encode_server(message, now));
    }

    fn window(&self) -> u32 {
        u32::try_from(self.outgoing.room()).unwrap_or(u32::MAX)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, _now: Timestamp) -> Poll<()> {
        if self.ended {
            self.outgoing.poll_empty(cx)
        } else {
            self.outgoing.poll_room(cx)
        }
    }

    fn taken(&self) -> u64 {
        self.outgoing.taken()
    }

    fn unsent(&self) -> u64 {
        self.outgoing.frames()
    }
}
