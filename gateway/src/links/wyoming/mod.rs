//! A request of the Wyoming protocol as a client of a session: speech to text, or text to speech.
//!
//! A [`Talk`] is the state machine of one request. The link reads and writes the connection in the session's own task and gives it back
//! when the session is over, since a connection may carry one request after another. Reading stops where a request has said all: what
//! follows belongs to the next one.

mod asr;
#[cfg(test)]
mod tests;
mod tts;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Code, Error};
use tidegate_proto::wyoming::Event;
use tokio::sync::oneshot;

pub(crate) use self::asr::{Asr, format_of};
pub(crate) use self::tts::Tts;
pub(crate) use self::wire::{Wire, error, unreadable};
use crate::metrics::{Metrics, label};
use crate::session::link::{Link, LinkEvent, LinkMessage, OpenedInfo, Transport, Wishes};

/// Frames written and not yet taken by the socket.
const WINDOW: u32 = 16;

/// One request: what its events mean, and what the session's words are in events.
pub(crate) trait Talk: Send {
    /// What it asks for.
    fn wishes(&self) -> &dyn Wishes;

    /// Takes an event of the client's. Gives why it came to nothing, if it did.
    ///
    /// # Errors
    /// It breaks the protocol, or is of another format than the request began with.
    fn hear(
        &mut self,
        event: Event,
        events: &mut VecDeque<LinkEvent>,
    ) -> Result<Option<&'static str>, Error>;

    /// Whether the request has said all.
    fn is_complete(&self) -> bool;

    /// The session stands.
    fn opened(&mut self, info: &OpenedInfo, events: &mut VecDeque<LinkEvent>);

    /// A frame of the output, as events, which are said with `true`.
    fn made(&mut self, frame: &Frame, say: &mut dyn FnMut(bool, Event));

    /// The output is over.
    fn ended(&mut self, say: &mut dyn FnMut(bool, Event));
}

/// A client with a request.
pub(crate) struct WyomingLink {
    /// There until the link is dropped.
    wire: Option<Wire>,
    talk: Box<dyn Talk>,
    events: VecDeque<LinkEvent>,
    /// An error was told, or the answer is whole.
    answered: bool,
    ended: bool,
    /// Where the connection goes afterwards.
    back: Option<oneshot::Sender<Wire>>,
    metrics: Arc<Metrics>,
}

impl Drop for WyomingLink {
    fn drop(&mut self) {
        if let (Some(back), Some(wire)) = (self.back.take(), self.wire.take()) {
            // Nobody waits for it: the gateway is going.
            drop(back.send(wire));
        }
    }
}

impl WyomingLink {
    /// A request that has begun; the connection comes back by the other value.
    pub(crate) fn new(
        wire: Wire,
        talk: Box<dyn Talk>,
        metrics: &Arc<Metrics>,
    ) -> (Self, oneshot::Receiver<Wire>) {
        let (back, returned) = oneshot::channel();
        let link = Self {
            wire: Some(wire),
            talk,
            events: VecDeque::new(),
            answered: false,
            ended: false,
            back: Some(back),
            metrics: Arc::clone(metrics),
        };
        (link, returned)
    }
}

impl Link for WyomingLink {
    fn transport(&self) -> Transport {
        Transport::Wyoming
    }

    fn wishes(&self) -> &dyn Wishes {
        self.talk.wishes()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, _: Timestamp, read: bool) -> Poll<LinkEvent> {
        let Some(wire) = self.wire.as_mut().filter(|wire| !wire.broken) else {
            return Poll::Ready(LinkEvent::Closed);
        };
        loop {
            if !read {
                return Poll::Pending;
            }
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if self.talk.is_complete() {
                return Poll::Pending;
            }
            let heard = match wire.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(event))) => self.talk.hear(event, &mut self.events),
                Poll::Ready(Ok(None)) => {
                    wire.broken = true;
                    return Poll::Ready(LinkEvent::Closed);
                }
                Poll::Ready(Err(error)) => Err(unreadable(&error)),
            };
            match heard {
                Ok(None) => {}
                Ok(Some(reason)) => count_ignored(&self.metrics, reason),
                Err(error) => return Poll::Ready(LinkEvent::Failed(error)),
            }
        }
    }

    fn send(&mut self, _: Timestamp, message: LinkMessage) {
        let Some(wire) = &mut self.wire else {
            return;
        };
        let mut say = |frame: bool, event: Event| {
            wire.outgoing.push_back((frame, event.encode()));
        };
        match message {
            LinkMessage::Opened(info) => self.talk.opened(&info, &mut self.events),
            LinkMessage::Frame { frame, .. } => self.talk.made(&frame, &mut say),
            LinkMessage::OutputEnded { .. } => {
                self.answered = true;
                self.talk.ended(&mut say);
            }
            LinkMessage::Error(failed) => {
                self.answered = true;
                say(false, error(failed.code, &failed.to_string()));
            }
            LinkMessage::Ended { reason } => {
                self.ended = true;
                // A request is never left without an answer.
                if !self.answered {
                    let code = Code::from_name(reason).unwrap_or(Code::Cancelled);
                    say(false, error(code, "the session ended before the answer"));
                }
            }
            _ => {}
        }
    }

    fn window(&self) -> u32 {
        let queued = self.wire.as_ref().map_or(0, |wire| wire.outgoing.len());
        WINDOW.saturating_sub(u32::try_from(queued).unwrap_or(u32::MAX))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, _: Timestamp) -> Poll<()> {
        match &mut self.wire {
            Some(wire) => wire.poll_flush(cx),
            None => Poll::Ready(()),
        }
    }

    fn taken(&self) -> u64 {
        self.wire.as_ref().map_or(0, |wire| wire.written)
    }

    fn unsent(&self) -> u64 {
        let frames = |wire: &Wire| wire.outgoing.iter().filter(|(frame, _)| *frame).count();
        self.wire.as_ref().map_or(0, frames) as u64
    }
}

/// The only input that a request feeds.
fn first_input(info: &OpenedInfo) -> Option<usize> {
    info.inputs.first().map(|(index, _, _)| *index)
}

/// Counts an event that came to nothing.
pub(crate) fn count_ignored(metrics: &Metrics, reason: &'static str) {
    let labels = vec![label("interface", "wyoming"), label("reason", reason)];
    let name = "tidegate_ignored_messages_total";
    metrics.counter(name, labels).increment(1);
}

/// A client that can be told to wait: nothing of its sound or text is shed.
const MODE: Mode = Mode::Waits;
