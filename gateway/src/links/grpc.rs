//! `Gateway.Stream` as a link: reads the request stream in the session's own task, writes through a small bounded channel.
//!
//! Reading stops when the session has no room, which HTTP/2 flow control carries to the client.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream as _;
use tidegate_media::Timestamp;
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};
use tidegate_proto::message::PortFormats;
use tidegate_proto::{protobuf, v1};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use tonic::{Status, Streaming};

use super::native::Native;
use super::wire::malformed;
use crate::session::link::{Features, Link, LinkEvent, LinkMessage, Transport};
use crate::session::ports::PortFacts;

/// Messages between the session and the HTTP/2 connection. Enough that a burst of outputs takes one wake-up, few enough that a
/// client that does not read is felt by the queues at once.
pub(crate) const CHANNEL: usize = 16;

type Outgoing = Result<v1::ServerMessage, Status>;

/// A gRPC client.
pub(crate) struct GrpcLink {
    native: Native,
    formats: PortFormats,
    incoming: Streaming<v1::ClientMessage>,
    /// The client has sent its last message.
    half_closed: bool,
    gone: bool,
    outgoing: PollSender<Outgoing>,
    /// Resolves when the connection has dropped the response: the only sign of a client that cancels after its last message.
    dropped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Messages besides frames that found the channel full: a handful at most, by the protocol.
    waiting: VecDeque<v1::ServerMessage>,
}

impl GrpcLink {
    /// A client whose `open` has been read.
    pub(crate) fn new(
        native: Native,
        incoming: Streaming<v1::ClientMessage>,
        outgoing: mpsc::Sender<Outgoing>,
    ) -> Self {
        let watched = outgoing.clone();
        Self {
            formats: native.formats(),
            native,
            incoming,
            half_closed: false,
            gone: false,
            outgoing: PollSender::new(outgoing),
            dropped: Box::pin(async move { watched.closed().await }),
            waiting: VecDeque::new(),
        }
    }

    /// Sends what waits as far as the channel has room.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.waiting.is_empty() && !self.gone {
            match self.outgoing.poll_reserve(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => self.gone = true,
                Poll::Ready(Ok(())) => {
                    if let Some(message) = self.waiting.pop_front() {
                        self.gone = self.outgoing.send_item(Ok(message)).is_err();
                    }
                }
            }
        }
        if self.gone {
            self.waiting.clear();
        }
        Poll::Ready(())
    }
}

/// What the library says of a message that it cannot read, as our error; `None` if the client is gone.
pub(crate) fn unreadable(status: &Status) -> Option<Error> {
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => {
            let text = format!("message over the limit: {}", status.message());
            Some(Error::new(Code::TooLarge, text))
        }
        tonic::Code::Internal | tonic::Code::InvalidArgument => {
            let text = format!("message is not protobuf: {}", status.message());
            Some(Error::new(Code::BadRequest, text))
        }
        _ => None,
    }
}

impl Link for GrpcLink {
    fn transport(&self) -> Transport {
        Transport::Grpc
    }

    fn wanted_ports(&self) -> &[String] {
        self.native.wanted_ports()
    }

    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        self.native.feeds(port)
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        Some(self.native.listens(port))
    }

    fn mode(&self) -> Mode {
        self.native.mode()
    }

    fn features(&self) -> Features {
        self.native.features()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp, read: bool) -> Poll<LinkEvent> {
        if self.gone {
            return Poll::Ready(LinkEvent::Closed);
        }
        if self.half_closed {
            return self.dropped.as_mut().poll(cx).map(|()| LinkEvent::Closed);
        }
        if !read {
            return Poll::Pending;
        }
        match Pin::new(&mut self.incoming).poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.half_closed = true;
                Poll::Ready(LinkEvent::End { input: None })
            }
            Poll::Ready(Some(Ok(message))) => {
                let decoded = protobuf::decode_client(message, now, &self.formats)
                    .map_err(|error| malformed(&error))
                    .and_then(|message| self.native.decode(message));
                Poll::Ready(decoded.unwrap_or_else(LinkEvent::Failed))
            }
            Poll::Ready(Some(Err(status))) => {
                self.half_closed = true;
                Poll::Ready(unreadable(&status).map_or(LinkEvent::Closed, LinkEvent::Failed))
            }
        }
    }

    fn send(&mut self, now: Timestamp, message: LinkMessage) {
        let Some(message) = self.native.encode(message) else {
            return;
        };
        self.waiting
            .push_back(protobuf::encode_server(message, now));
    }

    fn window(&self) -> u32 {
        // What waits here is sent on the next flush; the two together are never more than the channel holds.
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        u32::try_from(CHANNEL)
            .unwrap_or(u32::MAX)
            .saturating_sub(waiting)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, _now: Timestamp) -> Poll<()> {
        self.poll_push(cx)
    }
}
