//! Calls: a stream for each utterance, or for each frame that is of none, one after the other so that outputs keep their order.
//!
//! A call is retried whole: the ring keeps all its frames until it is done, whatever its worker acknowledges meanwhile. One that is larger
//! than the ring is made once: where the client waits, the hop fails if its stream breaks; where it cannot, what is missing is a gap. With several
//! inputs a call takes the frames of one of them, in their common order; the others are ended at once.

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::{HopEvent, Phase};

use super::{Episode, Failover, Way, lock};
use crate::cache;
use crate::credit::Room;
use crate::error::RemoteError;
use crate::exchange::Cause;
use crate::pool::{EmptyPolicy, Outcome};

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    port: usize,
    utterance: u64,
    first: u64,
    /// The newest of its frames that came.
    seen: u64,
    /// Its last frame, once that is known.
    last: Option<u64>,
    /// It may take until then. What a caller takes to send it does not count.
    pub(super) until: Option<Timestamp>,
    /// It took longer.
    pub(super) late: bool,
    /// What was answered, for the cache; `None`: too much.
    answer: Option<Vec<(usize, Frame)>>,
    answer_bytes: usize,
}

impl Failover {
    /// Begins the next call, or ends the hop after the last one.
    pub(super) fn begin_call(&mut self, now: Timestamp) {
        if !self.setup.unary || self.call.is_some() || self.over {
            return;
        }
        let Some((port, frame)) = self.ring.oldest() else {
            let mut joined = (0..self.allowances.len()).filter(|&port| self.is_joined(port));
            if joined.all(|port| self.ring.has_ended(port)) {
                for port in 0..self.ended.len() {
                    self.end_output(port);
                }
                self.end(None);
            }
            return;
        };
        let meta = frame.meta;
        self.call = Some(Call {
            port,
            utterance: meta.utterance,
            first: meta.seq,
            seen: meta.seq.saturating_sub(1),
            last: None,
            until: None,
            late: false,
            answer: self.setup.cache.is_some().then(Vec::new),
            answer_bytes: 0,
        });
        self.episode = Episode::new(now, self.ways.len());
        self.attempt(now);
    }

    /// Looks whether all of the call is there. Its time begins then: until then it is the caller who takes it.
    pub(super) fn complete_call(&mut self, now: Timestamp) {
        let Some(call) = &mut self.call else { return };
        if call.last.is_some() {
            return;
        }
        while call.last.is_none() {
            let next = (call.seen + 1).max(self.ring.first(call.port));
            let of_call = |frame: &Frame| {
                next == call.first || call.utterance > 0 && frame.meta.utterance == call.utterance
            };
            match self.ring.get(call.port, next) {
                None if self.ring.has_ended(call.port) => call.last = Some(call.seen),
                None => return,
                Some(frame) if !of_call(frame) => call.last = Some(call.seen),
                Some(frame) => {
                    call.seen = next;
                    if call.utterance == 0 || frame.meta.is_final {
                        call.last = Some(next);
                    }
                }
            }
        }
        call.until = self.setup.timeouts.call.map(|limit| now + limit);
    }

    /// Sends what is there of the call, and its end.
    pub(super) fn pump_call(&mut self, now: Timestamp) {
        let (Some(active), Some(call)) = (&mut self.active, &self.call) else {
            return;
        };
        let port = call.port;
        let there = call.last.unwrap_or(call.seen);
        // What was forgotten of it is not awaited.
        let mut left = active.cursor.next(port).max(self.ring.first(port))..=there;
        while !left.is_empty() && active.exchange.can_send(port) {
            active.send_frame(now, &mut self.ring, port, &mut self.actions);
            left.next();
        }
        if call.last.is_none() || !left.is_empty() {
            let held = !active.exchange.can_send(port);
            active.exchange.gathers(now, held);
            return;
        }
        active.exchange.gathered(now);
        for port in 0..self.allowances.len() {
            active.send_end(now, port, &mut self.actions);
        }
    }

    /// The graph may hand over what the transport has taken or has room for, and the ring can keep: each port has its share of it.
    pub(super) fn grant_calls(&mut self) {
        let ports = self.allowances.len().max(1);
        let limits = self.setup.replay;
        let share = (
            (limits.frames / ports).max(1),
            (limits.bytes / ports).max(1),
        );
        self.make_room_for_call(share);
        for port in 0..self.allowances.len() {
            if self.ring.has_ended(port) || !self.is_joined(port) {
                continue;
            }
            let (frames, bytes) = self.ring.queued(port);
            let kept = Room {
                frames: share.0 as u64,
                bytes: share.1 as i128,
            };
            let waits = match &self.active {
                Some(active) => {
                    let (frames, bytes) = self.ring.unsent(&active.cursor, port);
                    active.exchange.room(port).less(frames, bytes)
                }
                None => Room::LOCAL.less(frames, bytes),
            };
            let room = waits.at_most(kept.less(frames, bytes));
            if let Some(grant) = self.allowances[port].grant(room) {
                let (frames, bytes) = (grant.frames, grant.bytes);
                self.events.push_back(HopEvent::Credit {
                    port,
                    frames,
                    bytes,
                });
            }
        }
    }

    /// A call that is larger than its port's share of the ring goes on: its end would never come. What is forgotten of it is missing
    /// if it must be made again.
    fn make_room_for_call(&mut self, share: (usize, usize)) {
        let (Some(active), Some(call)) = (&self.active, &self.call) else {
            return;
        };
        let (frames, bytes) = self.ring.queued(call.port);
        let full = frames >= share.0 as u64 || bytes >= share.1;
        if call.last.is_none() && full && !self.ring.is_replaying(&active.cursor) {
            let left = (share.0 - share.0.div_ceil(8), share.1 - share.1.div_ceil(8));
            self.ring.forget_to(call.port, left.0 as u64, left.1);
        }
    }

    /// Whether the ring no longer has all of the call.
    pub(super) fn is_call_cut(&self) -> bool {
        let cut = |call: &Call| self.ring.first(call.port) > call.first;
        self.call.as_ref().is_some_and(cut)
    }

    /// Keeps an output of the call for the cache.
    pub(super) fn remember(&mut self, port: usize, cause: Option<Cause>, frame: &Frame) {
        let Some(call) = &mut self.call else { return };
        let Some(answer) = &mut call.answer else {
            return;
        };
        call.answer_bytes += frame.payload.size();
        if answer.len() >= cache::ANSWER_FRAMES || call.answer_bytes > cache::ANSWER_BYTES {
            call.answer = None;
            return;
        }
        let mut frame = frame.clone();
        // Counted from the call's first frame, as on a stream of its own.
        let since = cause.map_or(0, |cause| (cause.seq + 1).saturating_sub(call.first));
        frame.meta.caused_by = since;
        answer.push((port, frame));
    }

    /// The worker acknowledges a frame of the call.
    pub(super) fn call_consumed(&mut self, seq: u64) {
        let last = self.call.as_ref().and_then(|call| call.last);
        if let Some(active) = &mut self.active {
            active.consumed |= last.is_some_and(|last| seq >= last);
        }
    }

    /// A new attempt of the call begins.
    pub(super) fn forget_answer(&mut self) {
        if let Some(call) = &mut self.call {
            call.answer_bytes = 0;
            call.answer = self.setup.cache.is_some().then(Vec::new);
        }
    }

    /// The worker says that the call is done.
    pub(super) fn call_ended(&mut self, now: Timestamp) {
        let (Some(active), Some(call)) = (&self.active, &self.call) else {
            return;
        };
        let all_sent = call
            .last
            .is_some_and(|last| active.cursor.next(call.port) > last);
        let empty = active.outputs == 0;
        let tolerated = match self.ways.get(active.place.tier) {
            Some(Way::Pool(pool)) => lock(pool).config().breaker.empty != EmptyPolicy::Fail,
            _ => true,
        };
        // Who acknowledged all and said nothing may have had nothing to say. And what two of them do alike is no failure.
        let whole = active.consumed || !active.exchange.acks() && !empty;
        let alike = self.episode.empties > 0;
        if !all_sent || !(whole || alike) || empty && !tolerated {
            self.broke(now, RemoteError::Empty);
            return;
        }
        let Some(mut active) = self.active.take() else {
            return;
        };
        let Some(call) = self.call.take() else { return };
        let of_pool = matches!(self.ways.get(active.place.tier), Some(Way::Pool(_)));
        let outcome = if empty { Outcome::Empty } else { Outcome::Ok };
        self.finished(now, &mut active.place, outcome);
        self.actions
            .push_back(super::Action::Close { stream: active.id });
        self.ledger.call_done(&mut self.events);
        let (port, last) = (call.port, call.last.unwrap_or(call.first));
        // Two calls may be alike in what was not forgotten.
        let kept = of_pool && self.ring.first(port) <= call.first;
        if let (Some(tier), Some(answer), true) = (&self.setup.cache, call.answer, kept) {
            let frames = (call.first..=last).filter_map(|seq| self.ring.get(port, seq));
            let name = self.setup.ports.inputs.get(port);
            let name = name.map_or("", |(name, _)| name.as_str());
            let mut key = tier.key();
            frames.for_each(|frame| key.add(name, frame));
            tier.keep(now, key.finish(), answer);
        }
        self.ring.acknowledge(port, last);
        self.events
            .push_back(HopEvent::Acknowledged { port, seq: last });
    }

    /// Nobody wants the call any more.
    pub(super) fn give_call_up(&mut self, now: Timestamp) {
        if let Some(mut active) = self.active.take() {
            self.actions
                .push_back(super::Action::Close { stream: active.id });
            self.finished(now, &mut active.place, Outcome::Cancelled);
        }
        let stream = self.coming.take().and_then(|coming| coming.stream());
        self.actions
            .extend(stream.map(|stream| super::Action::Close { stream }));
    }

    /// The call has taken as long as it may: no worker is asked any more.
    pub(super) fn call_due(&mut self, now: Timestamp) {
        let Some(call) = &mut self.call else { return };
        if call.until.is_none_or(|until| until > now) {
            return;
        }
        (call.until, call.late) = (None, true);
        let (phase, limit) = (Phase::Call, self.setup.timeouts.call.unwrap_or_default());
        self.episode.close_pools(&self.ways);
        let error = RemoteError::Timeout { phase, limit };
        if self.active.is_some() {
            self.broke(now, error);
            return;
        }
        self.abandon(now, error);
    }
}
