//! What one hop of one session does over several streams, attempts and tiers, as a state machine without I/O.
//!
//! ```text
//! HopCommand ─► ring ─► the active stream's exchange ─► Action::Send      Action::Open ─► opened()
//! HopEvent  ◄─ ledger ◄─ exchange ◄─ message(), closed(), broken()        Action::Close
//! ```
//!
//! There is at most one active stream, and at most one that is to replace it: being opened, open and waiting for a good moment, or to
//! be tried after a while. A stream that breaks is replaced: what its worker had not acknowledged is sent again from the [`Ring`], in order
//! and marked `replayed`, and the [`Ledger`] sees that no output is given twice.
//!
//! Kept true: the graph is given no more credit than the worker gave, and where nothing may be lost, than the ring has room for; frames
//! go to a worker in the order in which the graph sent them as far as the worker's credit allows; after `Failed`, or after the last
//! output's end, nothing comes out. The pool is asked under its lock, one call at a time.
//!
//! Absent: transports, futures, the clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::{DropReason, HopCommand, HopEvent, HopNote};
use tidegate_proto::ServerMessage;
use tidegate_proto::message::Opened;

use crate::credit::Allowance;
use crate::error::RemoteError;
use crate::link::Counts;
use crate::replay::{Hold, Ledger, Ring};
use crate::tiers::Partial;
use crate::watch::Due;

mod attempts;
mod episode;
mod faults;
mod flow;
mod heard;
mod setup;
#[cfg(test)]
mod simulation;
mod stream;
mod takeover;
#[cfg(test)]
mod tests;
mod unary;

use attempts::Coming;
use episode::Episode;
pub(crate) use episode::Way;
pub(crate) use setup::{Action, Setup};
use stream::Stream;
pub(crate) use stream::StreamId;
use takeover::Takeover;
use unary::Call;

/// A ring that is full while its worker asks for more gives way after this long: what the worker waits for may be in what it has
/// not been sent.
const FULL_MAX: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Failover {
    setup: Setup,
    ways: Vec<Way>,
    ring: Ring,
    ledger: Ledger,
    allowances: Vec<Allowance>,
    active: Option<Stream>,
    coming: Option<Coming>,
    episode: Episode,
    takeover: Option<Takeover>,
    /// Of a unary hop: the call under way.
    call: Option<Call>,
    /// The tier of the newest stream.
    tier: Option<usize>,
    /// What the graph was last told that the hop holds.
    holds: tidegate_nodes::Hold,
    ended: Vec<bool>,
    /// Utterances that the stream before had not done.
    due: VecDeque<Due>,
    /// Since when the ring is full though its worker asks for more.
    full_since: Option<Timestamp>,
    /// The ring forgets rather than stop the graph, until it is empty again.
    gives_way: bool,
    /// The endpoint of the newest stream.
    endpoint: Arc<str>,
    streams: u64,
    begun: bool,
    over: bool,
    actions: VecDeque<Action>,
    events: VecDeque<HopEvent>,
}

impl Failover {
    /// A hop whose first stream is to be opened: [`Failover::poll_action`] says where.
    pub(crate) fn new(now: Timestamp, setup: Setup, ways: Vec<Way>) -> Self {
        let inputs = setup.ports.inputs.len();
        let limits = setup.replay;
        let hold = |(_, format): &(String, Option<tidegate_nodes::StreamFormat>)| {
            let audio = format.is_some_and(|format| format.audio_format().is_some());
            match setup.partial {
                Some(Partial::Supersede) => Hold::Nothing,
                _ if setup.unary => Hold::Calls,
                Some(Partial::Hold) => Hold::Utterances,
                None if audio => Hold::Utterances,
                None => Hold::Nothing,
            }
        };
        let holds: Vec<_> = setup.ports.outputs.iter().map(hold).collect();
        let mut this = Self {
            ring: Ring::new(inputs, limits),
            ledger: Ledger::new(inputs, holds.into_iter(), limits),
            allowances: vec![Allowance::default(); inputs],
            active: None,
            coming: None,
            episode: Episode::new(now, ways.len()),
            takeover: None,
            call: None,
            tier: None,
            holds: tidegate_nodes::Hold::default(),
            ended: vec![false; setup.ports.outputs.len()],
            due: VecDeque::new(),
            full_since: None,
            gives_way: false,
            endpoint: Arc::from(""),
            streams: 0,
            begun: false,
            over: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            setup,
            ways,
        };
        if this.setup.unary {
            // The first call opens the first stream.
            this.begun = true;
            this.settle(now);
        } else {
            this.attempt(now);
        }
        this
    }

    /// What the graph wants.
    pub(crate) fn command(&mut self, now: Timestamp, command: HopCommand) {
        if self.over {
            return;
        }
        match command {
            HopCommand::Frame { port, frame } => self.frame(now, port, frame),
            HopCommand::End { port } => {
                self.ring.end(port);
                self.settle(now);
            }
            HopCommand::Interrupt => self.interrupt(now),
        }
    }

    fn frame(&mut self, now: Timestamp, port: usize, frame: Frame) {
        if !self.is_joined(port) {
            let reason = DropReason::NoListener;
            self.events
                .push_back(HopEvent::Dropped { reason, frames: 1 });
            return;
        }
        let spent = self.allowances[port].spend(frame.payload.size());
        if !spent || self.ring.has_ended(port) {
            let text = "the graph sent a frame to a remote hop without credit or after the end";
            let error = tidegate_nodes::Error::from(RemoteError::Internal(text));
            self.end(Some(HopEvent::Failed(error)));
            return;
        }
        self.ring.push(port, frame);
        self.settle(now);
        if self.setup.unary {
            return;
        }
        let replaying = self
            .active
            .as_ref()
            .is_none_or(|active| self.ring.is_replaying(&active.cursor));
        if !replaying {
            self.ring.shrink(self.forgets());
        }
    }

    fn interrupt(&mut self, now: Timestamp) {
        self.ledger.interrupted(&self.ring, &mut self.events);
        self.due.clear();
        if self.call.take().is_some() {
            self.give_call_up(now);
        }
        if let Some(active) = &mut self.active {
            let stream = active.id;
            if active.exchange.may_discard() {
                // What waits is older than the interrupt, which is to overtake it.
                self.actions.push_back(Action::Discard { stream });
            }
            let message = active.exchange.interrupt(now);
            self.actions.push_back(Action::Send {
                stream,
                message,
                place: None,
            });
        }
        let cursor = self.active.as_mut().map(|active| &mut active.cursor);
        let frames = u32::try_from(self.ring.clear(cursor)).unwrap_or(u32::MAX);
        if frames > 0 {
            let reason = DropReason::Interrupted;
            self.events.push_back(HopEvent::Dropped { reason, frames });
        }
        self.settle(now);
    }

    /// What the driver is to do next.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What the graph is to hear next.
    pub(crate) fn poll_event(&mut self) -> Option<HopEvent> {
        self.events.pop_front()
    }

    /// Whether [`Self::poll_action`] has something.
    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Whether [`Self::poll_event`] has something.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Nothing more will come but what [`Self::poll_event`] still has.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// A stream has stood, or nobody gave one.
    pub(crate) const fn has_begun(&self) -> bool {
        self.begun || self.over
    }

    /// The endpoint of the newest stream, as configured.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A message of a stream.
    pub(crate) fn message(&mut self, now: Timestamp, id: StreamId, message: ServerMessage) {
        if let Some(stream) = self.stream(id) {
            stream.exchange.receive(now, message);
            self.hear(now);
            self.settle(now);
        }
    }

    /// A stream's transport reports an error, or its end (`None`).
    pub(crate) fn broken(&mut self, now: Timestamp, id: StreamId, error: Option<RemoteError>) {
        if let Some(stream) = self.stream(id) {
            match error {
                Some(error) => stream.exchange.failed(error),
                None => stream.exchange.closed(),
            }
            self.hear(now);
            self.settle(now);
        }
    }

    /// The worker of a stream waits for a key frame.
    pub(crate) fn key_frame_wanted(&mut self, id: StreamId, port: usize) {
        if self.active.as_ref().is_some_and(|active| active.id == id) {
            self.events.push_back(HopEvent::KeyFrameWanted { port });
        }
    }

    /// A stream's transport took frames.
    pub(crate) fn taken(&mut self, now: Timestamp, id: StreamId, counts: &Counts) {
        if let Some(stream) = self.stream(id) {
            stream.exchange.taken(counts);
            self.settle(now);
        }
    }

    /// The newest frames left a stream's queue unsent.
    pub(crate) fn discarded(&mut self, id: StreamId, counts: &Counts) {
        if let Some(stream) = self.stream(id) {
            stream.exchange.discarded(counts);
        }
    }

    /// The driver's answer to [`Action::Open`].
    pub(crate) fn opened(
        &mut self,
        now: Timestamp,
        id: StreamId,
        opened: Result<&Opened, RemoteError>,
    ) {
        self.answered(now, id, opened);
        self.settle(now);
    }

    /// Whether frames of some port can go on only after the transport of this stream takes what is queued.
    pub(crate) fn waits_for_transport(&self, id: StreamId) -> bool {
        let Some(active) = self.active.as_ref().filter(|active| active.id == id) else {
            return false;
        };
        let mut ports = self.allowances.iter().enumerate();
        ports.any(|(port, allowance)| {
            let (unsent, _) = self.ring.unsent(&active.cursor, port);
            active.exchange.is_queued(port) && (allowance.is_spent() || unsent > 0)
        })
    }

    /// The graph took nothing for so long, which no worker is to blame for.
    pub(crate) fn forgive(&mut self, by: Duration) {
        if let Some(active) = &mut self.active {
            active.exchange.forgive(by);
        }
        let call = self.call.iter_mut().filter_map(|call| call.until.as_mut());
        let due = self.due.iter_mut().map(|(.., since)| since);
        let opening = self.coming.as_mut().and_then(Coming::opening_until);
        for at in due.chain(call).chain(opening).chain(&mut self.full_since) {
            *at += by;
        }
    }

    /// Time has come to what [`Self::poll_timeout`] said, or may have.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        if self.over || self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        if let Some(active) = &mut self.active {
            active.exchange.handle_timeout(now);
        }
        self.hear(now);
        self.coming_due(now);
        self.call_due(now);
        self.takeover_due(now);
        if self.full_since.is_some_and(|since| since + FULL_MAX <= now) {
            self.gives_way = true;
            self.full_since = None;
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        if self.over {
            return None;
        }
        let active = self
            .active
            .as_ref()
            .and_then(|active| active.exchange.poll_timeout());
        let coming = self.coming.as_ref().and_then(Coming::due);
        let full = self.full_since.map(|since| since + FULL_MAX);
        let call = self.call.as_ref().and_then(|call| call.until);
        let due = [active, coming, full, call, self.takeover_at()];
        due.into_iter().flatten().min()
    }

    fn stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        if self.over {
            return None;
        }
        let ready = match &mut self.coming {
            Some(Coming::Ready(stream, _)) => Some(stream),
            _ => None,
        };
        self.active
            .iter_mut()
            .chain(ready)
            .find(|stream| stream.id == id)
    }

    fn is_joined(&self, port: usize) -> bool {
        self.setup
            .ports
            .inputs
            .get(port)
            .is_some_and(|(_, format)| format.is_some())
    }

    /// Ends the hop.
    fn end(&mut self, last: Option<HopEvent>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.events.extend(last);
        let coming = self.coming.take();
        let streams = self.active.take().map(|active| active.id);
        let streams = streams
            .into_iter()
            .chain(coming.and_then(|coming| coming.stream()));
        self.actions
            .extend(streams.map(|stream| Action::Close { stream }));
    }

    fn note(&mut self, note: HopNote) {
        self.events.push_back(HopEvent::Note(note));
    }
}

/// A pool is left as it is by a panic elsewhere: each of its calls is whole.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
