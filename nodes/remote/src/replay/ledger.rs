//! What was given out, so that a replay gives nothing twice.
//!
//! Of a deterministic worker an output of a replay is a repetition if its cause was acknowledged on an earlier stream, or if as many outputs
//! of that cause were given out as came before it. Any other worker may say something else the second time: what it says of an
//! utterance that it had begun supersedes what it said before, by a higher `revision`; or nothing of an utterance is given out before
//! it is complete (`hold`). What it says of inputs that are no utterance is counted as of a deterministic one: at worst it is wrong, never
//! double.
//!
//! A worker numbers utterances of its own from 1 on each stream; they are put where the ones before left off.

use std::collections::VecDeque;

use smallvec::SmallVec;
use tidegate_media::Frame;
use tidegate_nodes::{DropReason, HopEvent};

use super::ring::{ReplayLimits, Ring};
use crate::exchange::Cause;

/// Utterances of one output that are remembered; a replay hardly ever reaches back beyond the last two.
const UTTERANCES_MAX: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    outputs: Vec<Output>,
    /// Per input: on an earlier stream all that these caused was given out.
    settled: Vec<u64>,
    /// Per input: what these caused is not wanted.
    void: Vec<u64>,
    limits: ReplayLimits,
    deterministic: bool,
    begun: bool,
}

/// One output port.
#[derive(Debug)]
struct Output {
    hold: Hold,
    /// With the cause of those that were counted there.
    held: VecDeque<(Option<Cause>, Frame)>,
    held_bytes: usize,
    utterances: SmallVec<[Utterance; 2]>,
    /// Added to the utterances of the present stream; `None`: not known yet.
    shift: Option<i64>,
    /// The newest utterance given out, and what caused the newest output.
    last: u64,
    last_cause: Option<Cause>,
}

/// What is given out only when it is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing.
    #[default]
    Nothing,
    /// Utterances.
    Utterances,
    /// All that comes of a unary call.
    Calls,
}

/// An utterance of which something was given out.
#[derive(Clone, Copy, Debug)]
struct Utterance {
    number: u64,
    /// Highest revision given out.
    revision: u32,
    /// Added to the revisions of the present stream.
    raise: u32,
    /// Its final output was given out.
    closed: bool,
    /// On an earlier stream.
    done: bool,
}

/// What became of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was given out, or will be when its utterance is complete.
    New,
    /// It was given out before.
    Repeated,
    /// An interrupt made it void.
    Void,
}

impl Ledger {
    pub(crate) fn new(
        inputs: usize,
        outputs: impl Iterator<Item = Hold>,
        limits: ReplayLimits,
    ) -> Self {
        let output = |hold| Output {
            hold,
            held: VecDeque::new(),
            held_bytes: 0,
            utterances: SmallVec::new(),
            shift: Some(0),
            last: 0,
            last_cause: None,
        };
        Self {
            outputs: outputs.map(output).collect(),
            settled: vec![0; inputs],
            void: vec![0; inputs],
            limits,
            deterministic: false,
            begun: false,
        }
    }

    /// A stream begins, which will repeat what the ring still has.
    pub(crate) fn begin(&mut self, deterministic: bool, ring: &mut Ring) {
        self.deterministic = deterministic;
        if !std::mem::replace(&mut self.begun, true) {
            return;
        }
        for (port, settled) in self.settled.iter_mut().enumerate() {
            *settled = ring.acked(port);
        }
        for (port, output) in self.outputs.iter_mut().enumerate() {
            output.shift = None;
            output.held_bytes = 0;
            for (cause, _) in output.held.drain(..) {
                if let Some(tally) = cause.and_then(|cause| ring.tally(cause)) {
                    tally.take_back(port);
                }
            }
            for utterance in &mut output.utterances {
                utterance.done = utterance.closed;
                utterance.raise = utterance.revision.saturating_add(1);
            }
        }
        ring.rewind();
    }

    /// The graph wants nothing of what was sent up to now.
    pub(crate) fn interrupted(&mut self, ring: &Ring, out: &mut VecDeque<HopEvent>) {
        for (port, void) in self.void.iter_mut().enumerate() {
            *void = ring.newest(port);
        }
        for output in &mut self.outputs {
            let frames = u32::try_from(output.held.len()).unwrap_or(u32::MAX);
            output.held.clear();
            output.held_bytes = 0;
            if frames > 0 {
                let reason = DropReason::Interrupted;
                out.push_back(HopEvent::Dropped { reason, frames });
            }
        }
    }

    /// An output came on the present stream.
    pub(crate) fn output(
        &mut self,
        ring: &mut Ring,
        port: usize,
        cause: Option<Cause>,
        mut frame: Frame,
        out: &mut VecDeque<HopEvent>,
    ) -> Verdict {
        if let Some(cause) = cause
            && self
                .void
                .get(cause.port)
                .is_some_and(|&void| cause.seq <= void)
        {
            return Verdict::Void;
        }
        let by_utterance = !self.deterministic && frame.meta.utterance > 0;
        let settled = |cause: Cause| self.settled.get(cause.port).copied().unwrap_or(0);
        let new = match cause {
            None => true,
            _ if by_utterance => true,
            Some(cause) if cause.seq <= settled(cause) => false,
            Some(cause) => ring.tally(cause).is_none_or(|tally| tally.count(port)),
        };
        let Some(output) = self.outputs.get_mut(port) else {
            return Verdict::New;
        };
        if !new {
            output.learn(cause, frame.meta.utterance);
            return Verdict::Repeated;
        }
        if frame.meta.utterance > 0 {
            output.renumber(ring, cause, &mut frame, self.deterministic);
            if by_utterance && !output.revise(&mut frame) {
                return Verdict::Repeated;
            }
        }
        output.last_cause = cause.or(output.last_cause);
        let counted = cause.filter(|_| !by_utterance);
        let holds = match output.hold {
            _ if self.deterministic => false,
            Hold::Nothing => false,
            Hold::Utterances => frame.meta.utterance > 0,
            Hold::Calls => true,
        };
        output.give(port, counted, frame, holds, self.limits, out);
        Verdict::New
    }

    /// Gives out what is held on a port: no more of it will come.
    pub(crate) fn release(&mut self, port: usize, out: &mut VecDeque<HopEvent>) {
        if let Some(output) = self.outputs.get_mut(port) {
            output.release(port, out);
        }
    }

    /// Gives out all that is held: everything that was sent is answered.
    pub(crate) fn release_all(&mut self, out: &mut VecDeque<HopEvent>) {
        for port in 0..self.outputs.len() {
            self.release(port, out);
        }
    }

    /// A unary call is done: what is said of the next one repeats nothing.
    pub(crate) fn call_done(&mut self, out: &mut VecDeque<HopEvent>) {
        self.release_all(out);
        for output in &mut self.outputs {
            output.utterances.clear();
        }
    }
}

impl Output {
    /// What was repeated tells how the present stream counts utterances.
    fn learn(&mut self, cause: Option<Cause>, number: u64) {
        if number > 0 && self.last > 0 && cause.is_some() && cause == self.last_cause {
            self.shift
                .get_or_insert(self.last.cast_signed() - number.cast_signed());
        }
    }

    /// Puts an utterance's number where the streams before left off.
    fn renumber(
        &mut self,
        ring: &Ring,
        cause: Option<Cause>,
        frame: &mut Frame,
        deterministic: bool,
    ) {
        let number = frame.meta.utterance;
        let shift = self.shift.unwrap_or_else(|| {
            let entry = cause.and_then(|cause| ring.get(cause.port, cause.seq));
            let of_input = entry.is_some_and(|frame| frame.meta.utterance == number);
            let begun = self.utterances.iter().find(|one| !one.closed);
            let begun = begun.filter(|_| !deterministic);
            let place = match begun {
                _ if of_input => number,
                Some(begun) => begun.number,
                None if number > self.last => number,
                None => self.last + 1,
            };
            place.cast_signed().wrapping_sub(number.cast_signed())
        });
        self.shift = Some(shift);
        frame.meta.utterance = number.saturating_add_signed(shift).max(1);
    }

    /// Makes an output of an utterance supersede what was said of it on earlier streams; false if nothing is to be said any more.
    fn revise(&self, frame: &mut Frame) -> bool {
        let meta = &mut frame.meta;
        let mut known = self.utterances.iter();
        let Some(one) = known.find(|one| one.number == meta.utterance) else {
            return true;
        };
        meta.revision = meta.revision.saturating_add(one.raise);
        !one.done
    }

    /// Gives out a frame.
    fn say(&mut self, port: usize, frame: Frame, out: &mut VecDeque<HopEvent>) {
        let meta = &frame.meta;
        if meta.utterance > 0 {
            self.last = self.last.max(meta.utterance);
            let mut known = self.utterances.iter_mut();
            if let Some(one) = known.find(|one| one.number == meta.utterance) {
                one.revision = one.revision.max(meta.revision);
                one.closed |= meta.is_final;
            } else {
                if self.utterances.len() == UTTERANCES_MAX {
                    self.utterances.remove(0);
                }
                self.utterances.push(Utterance {
                    number: meta.utterance,
                    revision: meta.revision,
                    raise: 0,
                    closed: meta.is_final,
                    done: false,
                });
            }
        }
        out.push_back(HopEvent::Frame { port, frame });
    }

    fn give(
        &mut self,
        port: usize,
        cause: Option<Cause>,
        frame: Frame,
        holds: bool,
        limits: ReplayLimits,
        out: &mut VecDeque<HopEvent>,
    ) {
        let whole_call = self.hold == Hold::Calls;
        let utterance = frame.meta.utterance;
        let other = self
            .held
            .front()
            .is_some_and(|(_, held)| held.meta.utterance != utterance);
        if other && !whole_call || !holds {
            self.release(port, out);
        }
        if !holds {
            self.say(port, frame, out);
            return;
        }
        let last = frame.meta.is_final && !whole_call;
        self.held_bytes += frame.payload.size();
        self.held.push_back((cause, frame));
        // Held without end it would never be heard at all.
        if last || self.held.len() > limits.frames || self.held_bytes > limits.bytes {
            self.release(port, out);
        }
    }

    fn release(&mut self, port: usize, out: &mut VecDeque<HopEvent>) {
        self.held_bytes = 0;
        while let Some((_, frame)) = self.held.pop_front() {
            self.say(port, frame, out);
        }
    }
}
