//! `ModelStreamInfer` as a link: reads requests in the session's own task, writes responses into a queue that it owns.
//!
//! Reading stops when the session has no room, which HTTP/2 flow control carries to the client. A request that cannot be taken is
//! answered with its error, and the stream goes on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_media::Timestamp;
use tidegate_nodes::compile::Pipeline;
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};
use tidegate_proto::kserve::{InferRequest, InferResponse, grpc};

use super::statistics::Statistics;
use super::translate::Translator;
use crate::grpc::reader::{Reader, Unreadable};
use crate::links::outbox::{Outbox, Said};
use crate::links::wire::malformed;
use crate::session::link::{Features, Link, LinkEvent, LinkMessage, Transport, Wishes};
use crate::session::ports::PortFacts;

/// Responses that wait before the link says that it has no room.
pub(crate) const ROOM: usize = 16;

/// What the client is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// A response.
    Response(InferResponse),
    /// A request that was not taken, by its id.
    Wrong { id: String, error: Error },
    /// What the session failed of.
    Failed(Error),
    /// The session's end.
    Ended,
}

impl Said for Told {
    fn is_frame(&self) -> bool {
        matches!(self, Self::Response(_))
    }

    fn is_last_word(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Ended)
    }
}

/// Reads a message of the stream.
///
/// # Errors
/// It is no request.
pub(crate) fn decode(message: Bytes) -> Result<InferRequest, Error> {
    grpc::decode_request_bytes(message).map_err(|error| malformed(&error))
}

/// A client of `ModelStreamInfer`.
pub(crate) struct StreamLink {
    translator: Translator,
    incoming: Reader,
    /// Of the request that was read last.
    frames: VecDeque<LinkEvent>,
    /// The client has sent its last message.
    half_closed: bool,
    outgoing: Outbox<Told>,
    /// It has been told the end.
    ended: bool,
    statistics: Arc<Statistics>,
}

impl StreamLink {
    /// A client whose first request has been read.
    ///
    /// # Errors
    /// The request is none for the pipeline.
    pub(crate) fn new(
        pipeline: Arc<Pipeline>,
        first: InferRequest,
        incoming: Reader,
        outgoing: Outbox<Told>,
        statistics: Arc<Statistics>,
    ) -> Result<Self, Error> {
        Ok(Self {
            statistics,
            translator: Translator::new(pipeline, first)?,
            incoming,
            frames: VecDeque::new(),
            half_closed: false,
            outgoing,
            ended: false,
        })
    }

    /// Parameters of the pipeline.
    pub(crate) fn parameters(&self) -> Map<String, Value> {
        self.translator.parameters()
    }

    /// Takes a request; one that is wrong is answered, as long as the client reads answers.
    fn request(&mut self, message: Bytes, now: Timestamp) -> Result<(), Error> {
        let request = decode(message)?;
        let id = request.id.clone();
        match self.translator.request(request, now) {
            Ok(frames) => self.frames.extend(frames),
            Err(error) if self.outgoing.room() == 0 => return Err(error),
            Err(error) => {
                let model = self.translator.model();
                self.statistics.answered(model, Duration::ZERO, false);
                self.outgoing.push(Told::Wrong { id, error });
            }
        }
        Ok(())
    }

    /// Counts what is done, before the client can know it.
    fn count_done(&mut self, now: Timestamp) {
        let done = self.translator.take_done();
        self.count(done, now, true);
    }

    /// Counts the requests that came at these times.
    fn count(&self, came: Vec<Timestamp>, now: Timestamp, well: bool) {
        for came in came {
            let took = now.saturating_since(came);
            let model = self.translator.model();
            self.statistics.answered(model, took, well);
        }
    }

    fn tell(&mut self, responses: Vec<InferResponse>) {
        for response in responses {
            self.outgoing.push(Told::Response(response));
        }
    }
}

impl Wishes for StreamLink {
    fn mode(&self) -> Mode {
        Mode::Waits
    }

    fn plays(&self) -> bool {
        false
    }

    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        self.translator.feeds(port)
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        self.translator.listens(port)
    }

    fn features(&self) -> Features {
        Features {
            acks: true,
            ..Features::default()
        }
    }
}

impl Link for StreamLink {
    fn transport(&self) -> Transport {
        Transport::Grpc
    }

    fn wishes(&self) -> &dyn Wishes {
        self
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp, read: bool) -> Poll<LinkEvent> {
        if self.outgoing.poll_dropped(cx).is_ready() {
            return Poll::Ready(LinkEvent::Closed);
        }
        if !read {
            return Poll::Pending;
        }
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Poll::Ready(frame);
            }
            if self.half_closed {
                return Poll::Pending;
            }
            match ready!(self.incoming.poll_next(cx)) {
                Some(Ok(message)) => {
                    if let Err(error) = self.request(message, now) {
                        self.half_closed = true;
                        return Poll::Ready(LinkEvent::Failed(error));
                    }
                }
                end => {
                    self.half_closed = true;
                    return Poll::Ready(match end {
                        None => LinkEvent::End { input: None },
                        Some(Err(Unreadable::Bad(error))) => LinkEvent::Failed(error),
                        _ => LinkEvent::Closed,
                    });
                }
            }
        }
    }

    fn send(&mut self, now: Timestamp, message: LinkMessage) {
        match message {
            LinkMessage::Opened(info) => {
                let frames = self.translator.opened(*info, now);
                self.frames.extend(frames);
            }
            LinkMessage::Frame { output, frame } => {
                let response = self.translator.response(output, frame);
                self.tell(response.into_iter().collect());
            }
            LinkMessage::Ack { input, seq } => {
                let responses = self.translator.acknowledged(input, seq);
                self.count_done(now);
                self.tell(responses);
            }
            LinkMessage::Error(error) => self.outgoing.push(Told::Failed(error)),
            LinkMessage::Ended { reason } => {
                self.ended = true;
                if reason == "finished" {
                    let responses = self.translator.finished();
                    self.count_done(now);
                    self.tell(responses);
                } else {
                    let left = self.translator.abandoned();
                    self.count(left, now, false);
                    // What failed was said before, and that one stays.
                    let code = Code::from_name(reason).unwrap_or(Code::Cancelled);
                    let text = format!("the session was ended: {reason}");
                    self.outgoing.push(Told::Failed(Error::new(code, text)));
                }
                self.outgoing.push(Told::Ended);
            }
            _ => {}
        }
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
