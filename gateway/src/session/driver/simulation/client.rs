//! A client somewhere: sends, listens, gives credit, dawdles, interrupts and hangs up; and what its link gets is checked.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tidegate_media::{Frame, MediaTime, Payload, Timestamp};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Accepts, StreamFormat};

use super::Rng;
use super::shape::Shape;
use crate::session::link::{Features, Link, LinkEvent, LinkMessage, Transport, Wishes};
use crate::session::ports::PortFacts;

/// Frames that stand in the network before the driver reads them, at most.
const UNREAD: usize = 12;

/// A client, from the outside.
pub(super) struct Client {
    rng: Rng,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Marks its frames.
    number: u64,
    mode: Mode,
    features: Features,
    window: u32,
    /// Its own inputs and how many frames it has sent to each.
    sent: BTreeMap<usize, u64>,
    ended: bool,
    interrupted: bool,
    /// It hung up or broke a rule.
    gone: bool,
    arriving: VecDeque<LinkEvent>,
    waker: Option<Waker>,
    /// Frames that the driver has read.
    read: u64,
    /// What it may still send to each input (credits).
    credit: BTreeMap<usize, u32>,
    /// What it has given for each output (credits).
    given: BTreeMap<usize, u64>,
    /// Messages written and not taken by the network, and which are frames.
    unflushed: VecDeque<bool>,
    room: u32,
    /// Messages, and frames, that the network has taken.
    taken: u64,
    received: u64,
    /// How long it reads nothing when it has sent its last.
    pause: Duration,
    opened: bool,
    closed: bool,
    numbers: BTreeMap<usize, u64>,
    newest: BTreeMap<(usize, u64), u64>,
    counts: BTreeMap<(usize, u64), u64>,
    acknowledged: BTreeMap<usize, u64>,
    acks: u64,
    /// Where it was told that a replay begins.
    kept: BTreeMap<usize, u64>,
    /// There are several inputs: what is made of one may be said to come of another that was joined to it before.
    several: bool,
    outputs_ended: Vec<usize>,
}

/// The same, as the driver has it.
struct SimLink {
    wanted: Wanted,
    state: Arc<Mutex<State>>,
}

struct Wanted {
    mode: Mode,
    features: Features,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Client")
            .field("mode", &state.mode)
            .field("features", &state.features)
            .field("sent", &state.sent)
            .field("numbers", &state.numbers)
            .field("given", &state.given)
            .field("unread", &state.arriving)
            .field("unflushed", &state.unflushed.len())
            .field("gone", &state.gone)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(seed: u64, number: u64, shape: &Shape) -> Self {
        let mut rng = Rng(seed);
        let credits = rng.one_in(2);
        let state = State {
            number,
            mode: if rng.one_in(2) {
                Mode::Waits
            } else {
                Mode::Live
            },
            features: Features {
                credits,
                stats: rng.one_in(3),
                acks: rng.one_in(2),
            },
            window: if !credits && rng.one_in(4) {
                u32::MAX
            } else {
                1 + rng.small(16)
            },
            sent: BTreeMap::new(),
            ended: false,
            interrupted: false,
            gone: false,
            arriving: VecDeque::new(),
            waker: None,
            read: 0,
            credit: BTreeMap::new(),
            given: BTreeMap::new(),
            unflushed: VecDeque::new(),
            room: 4,
            taken: 0,
            received: 0,
            pause: super::ms(rng.below(5) * 1_500),
            opened: false,
            closed: false,
            numbers: BTreeMap::new(),
            newest: BTreeMap::new(),
            counts: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            acks: 0,
            kept: BTreeMap::new(),
            several: shape.plan.inputs.len() > 1,
            outputs_ended: Vec::new(),
        };
        Self {
            rng,
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(super) fn link(&self) -> Box<dyn Link> {
        let State { mode, features, .. } = *lock(&self.state);
        Box::new(SimLink {
            wanted: Wanted { mode, features },
            state: Arc::clone(&self.state),
        })
    }

    /// Is there for as long as anybody holds it.
    pub(super) fn alive(&self) -> Weak<dyn Any> {
        let state: Weak<Mutex<State>> = Arc::downgrade(&self.state);
        state
    }

    /// It does something.
    pub(super) fn act(&mut self) {
        let mut state = lock(&self.state);
        if !state.opened || state.closed || state.gone {
            return;
        }
        match self.rng.index(100) {
            0 if self.rng.one_in(6) => {
                state.gone = true;
                state.arriving.push_back(LinkEvent::Closed);
            }
            1 => {
                state.interrupted = true;
                state.arriving.push_back(LinkEvent::Interrupt);
            }
            2 if self.rng.one_in(4) => state.end(),
            n if n < 60 => {
                let inputs: Vec<_> = state.sent.keys().copied().collect();
                if let Some(&input) = inputs.get(self.rng.index(inputs.len().max(1))) {
                    state.speak(input);
                }
            }
            n if n < 80 => {
                let outputs: Vec<_> = state.given.keys().copied().collect();
                if let Some(&output) = outputs.get(self.rng.index(outputs.len().max(1))) {
                    state.grant(output, 1 + self.rng.small(4));
                }
            }
            _ => state.room += 1 + self.rng.small(6),
        }
        state.wake();
    }

    /// What its network would take is not held back by a driver that sleeps.
    pub(super) fn nothing_waits(&self) {
        let state = lock(&self.state);
        let served = Arc::strong_count(&self.state) > 1;
        assert!(
            !served || state.room == 0 || state.unflushed.is_empty(),
            "{} messages wait for nothing",
            state.unflushed.len()
        );
    }

    /// It sends no more.
    pub(super) fn finish(&mut self) {
        let mut state = lock(&self.state);
        if state.opened && !state.closed && !state.gone {
            state.end();
        }
        state.room = 0;
    }

    pub(super) fn hang_up(&mut self) {
        let mut state = lock(&self.state);
        if state.opened && !state.closed && !std::mem::replace(&mut state.gone, true) {
            state.arriving.push_back(LinkEvent::Closed);
        }
        state.wake();
    }

    /// It takes what comes, slowly, and after a pause; `since` it sent its last.
    pub(super) fn take(&mut self, since: Duration) {
        let mut state = lock(&self.state);
        if since < state.pause {
            return;
        }
        let outputs: Vec<_> = state.given.keys().copied().collect();
        for output in outputs {
            if state.arriving.len() < 2 * UNREAD && !state.gone && !state.closed {
                state.grant(output, 8);
            }
        }
        state.room += 1 + self.rng.small(3);
        state.wake();
    }

    /// Frames of it that the driver has read.
    pub(super) fn read(&self) -> u64 {
        lock(&self.state).read
    }

    /// Frames that its link was given.
    pub(super) fn heard(&self) -> u64 {
        lock(&self.state).numbers.values().sum()
    }

    /// Frames that its network was given.
    pub(super) fn received(&self) -> u64 {
        lock(&self.state).received
    }

    pub(super) fn acknowledged(&self) -> u64 {
        lock(&self.state).acks
    }

    pub(super) fn mode(&self) -> Mode {
        lock(&self.state).mode
    }

    pub(super) fn interrupted(&self) -> bool {
        lock(&self.state).interrupted
    }

    /// Whether it left before it had heard everything.
    pub(super) fn was_cut(&self) -> bool {
        lock(&self.state).gone
    }

    /// Every frame that was read came out of every output that its input reaches, once.
    pub(super) fn got_everything(&self, shape: &Shape) {
        let state = lock(&self.state);
        for (output, inputs) in shape.reaches.iter().enumerate() {
            for &input in inputs {
                let origin = state.number << 8 | input as u64;
                let count = state.counts.get(&(output, origin)).copied();
                let sent = state.sent[&input];
                assert_eq!(count.unwrap_or(0), sent, "in{input} at out{output}");
            }
        }
        // What is told of the last frames may be left out for the end.
        for (input, seq) in &state.acknowledged {
            assert!(*seq <= state.sent[input]);
        }
    }

    /// It was told that the session has ended, unless it had hung up or the last to leave ended it.
    pub(super) fn was_told(&self, all_left: bool) {
        let state = lock(&self.state);
        assert!(
            state.closed || state.gone || all_left || !state.opened,
            "it was not told"
        );
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.arriving.push_back(LinkEvent::End { input: None });
        }
    }

    fn speak(&mut self, input: usize) {
        if self.ended || self.arriving.len() >= UNREAD {
            return;
        }
        if self.features.credits {
            let Some(left) = self.credit.get_mut(&input).filter(|left| **left > 0) else {
                return;
            };
            *left -= 1;
        }
        let sent = self.sent.entry(input).or_default();
        *sent += 1;
        let data = [self.number << 8 | input as u64, *sent]
            .map(u64::to_le_bytes)
            .concat();
        let mut frame = Frame::new(MediaTime::ZERO, Payload::Binary(Bytes::from(data)));
        frame.meta.seq = *sent;
        self.arriving.push_back(LinkEvent::Frame { input, frame });
    }

    fn grant(&mut self, output: usize, frames: u32) {
        if self.features.credits {
            *self.given.entry(output).or_default() += u64::from(frames);
            self.arriving
                .push_back(LinkEvent::Credit { output, frames });
        }
    }

    /// The network takes so many messages at most; gives how many it took.
    fn flush(&mut self, most: u32) -> u32 {
        let mut took = 0;
        while took < most
            && let Some(is_frame) = self.unflushed.pop_front()
        {
            took += 1;
            self.taken += 1;
            self.received += u64::from(is_frame);
        }
        took
    }

    fn hear(&mut self, output: usize, frame: &Frame) {
        let number = self.numbers.entry(output).or_default();
        *number += 1;
        assert_eq!(frame.meta.seq, *number, "out{output} is numbered by one");
        assert!(
            !self.outputs_ended.contains(&output),
            "a frame behind the end"
        );
        let Payload::Binary(data) = &frame.payload else {
            panic!("what came in is what comes out");
        };
        let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().expect("8 bytes"));
        let (origin, n) = (word(0), word(8));
        let newest = self.newest.entry((output, origin)).or_default();
        assert!(*newest < n, "in order and once: {n} after {newest}");
        *newest = n;
        *self.counts.entry((output, origin)).or_default() += 1;
        let cause = usize::from(frame.meta.caused_port).checked_sub(1);
        let own = cause.filter(|input| !self.several && self.sent.contains_key(input));
        if let Some(input) = own {
            let seq = self.acknowledged.get(&input).copied().unwrap_or(0);
            assert!(
                frame.meta.caused_by > seq,
                "in{input} was acknowledged up to {seq} before what {} caused",
                frame.meta.caused_by
            );
        }
    }
}

impl Wishes for Wanted {
    fn feeds(&self, _: &PortFacts) -> Option<StreamFormat> {
        Some(StreamFormat::Binary)
    }

    fn listens(&self, _: &PortFacts) -> Option<Accepts> {
        Some(Accepts::Anything)
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn features(&self) -> Features {
        self.features
    }
}

impl Link for SimLink {
    fn transport(&self) -> Transport {
        Transport::Local
    }

    fn wishes(&self) -> &dyn Wishes {
        &self.wanted
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, _: Timestamp, read: bool) -> Poll<LinkEvent> {
        let mut state = lock(&self.state);
        assert!(
            !state.closed,
            "nothing is read from a client that was told the end"
        );
        let next = match read {
            true => state.arriving.pop_front(),
            // That it has gone shows without reading.
            false => state
                .arriving
                .pop_front_if(|event| matches!(event, LinkEvent::Closed)),
        };
        match next {
            Some(event) => {
                state.read += u64::from(matches!(event, LinkEvent::Frame { .. }));
                Poll::Ready(event)
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn send(&mut self, _: Timestamp, message: LinkMessage) {
        let mut state = lock(&self.state);
        assert!(!state.closed, "{message:?} behind the end");
        let is_frame = matches!(message, LinkMessage::Frame { .. });
        match message {
            LinkMessage::Opened(info) => {
                state.opened = true;
                state.sent = info.inputs.iter().map(|(input, ..)| (*input, 0)).collect();
                state.given = info
                    .outputs
                    .iter()
                    .map(|(output, ..)| (*output, 0))
                    .collect();
            }
            LinkMessage::Frame { output, frame } => {
                let frames = state.unflushed.iter().filter(|is_frame| **is_frame).count();
                // What silent outputs were granted is not kept for them; they may still use it.
                let window = state.window as usize;
                let most = window.saturating_add(window.max(state.given.len()));
                assert!(frames < most, "more than the link takes");
                if state.features.credits {
                    let given = state.given[&output];
                    let number = state.numbers.get(&output).copied().unwrap_or(0);
                    assert!(
                        number < given,
                        "more on out{output} than the client gave credit for"
                    );
                }
                state.hear(output, &frame);
            }
            LinkMessage::Credit { input, frames, .. } => {
                *state.credit.entry(input).or_default() += frames;
            }
            LinkMessage::Ack { input, seq } => {
                assert!(seq <= state.sent[&input], "it was never sent {seq}");
                let before = state.acknowledged.insert(input, seq).unwrap_or(0);
                assert!(before < seq, "{seq} after {before}");
                state.acks += 1;
            }
            LinkMessage::ReplayFrom { input, seq } => {
                assert!(state.several, "nothing here keeps anything");
                let acknowledged = state.acknowledged.get(&input).copied().unwrap_or(0);
                let kept = state.kept.insert(input, seq).unwrap_or(seq);
                assert!(
                    kept.min(acknowledged + 1) <= seq,
                    "{seq} was forgotten before"
                );
            }
            LinkMessage::OutputEnded { output } => state.outputs_ended.push(output),
            LinkMessage::Ended { .. } => state.closed = true,
            _ => {}
        }
        state.unflushed.push_back(is_frame);
        if state.window == u32::MAX {
            state.flush(u32::MAX);
        }
    }

    fn window(&self) -> u32 {
        let state = lock(&self.state);
        match state.window {
            u32::MAX => u32::MAX,
            window => window.saturating_sub(u32::try_from(state.unflushed.len()).expect("few")),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, _: Timestamp) -> Poll<()> {
        let mut state = lock(&self.state);
        let room = state.room;
        state.room -= state.flush(room);
        if state.unflushed.is_empty() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn taken(&self) -> u64 {
        lock(&self.state).taken
    }

    fn unsent(&self) -> u64 {
        let state = lock(&self.state);
        let frames = state.unflushed.iter().filter(|is_frame| **is_frame);
        frames.count() as u64
    }
}
