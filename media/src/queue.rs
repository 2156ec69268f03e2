//! The bounded queue that stands before an offloaded or remote hop and at an output.
//!
//! Bounds are frames, bytes and age; [`WhenFull`] says what happens at the first two. Nothing leaves the queue unseen:
//! every operation that can lose a frame returns a `#[must_use]` [`Shed`] that says how many, how large and why. Video is
//! never thinned into something undecodable: a loss reaches to the next key frame, and says when one must be asked for.
//!
//! One queue carries one kind of frame, as an edge does. An empty queue takes any one frame, so that a frame larger than
//! the byte bound passes instead of blocking for ever; the bound is exceeded by that one frame at most.
//!
//! Absent from here: clocks, wakers and locks. Every operation is O(1), amortised over the frames it removes.

mod outcome;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::outcome::{DropReason, Pop, Push, Shed};
use crate::frame::{Frame, Payload};
use crate::time::Timestamp;

/// What a queue may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Frames; 0 counts as 1.
    pub frames: usize,
    /// Payload bytes ([`Payload::size`]).
    pub bytes: usize,
    /// How long after the time it is due (else: after it was pushed) a frame is still worth delivering; `None` is for ever.
    pub age: Option<Duration>,
}

/// What happens to a frame that meets a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is handed back: the producer waits, and in the end the transport stops reading.
    Block,
    /// The oldest frames give way: the consumer hears a gap and is up to date after it.
    DropOldest,
    /// It is lost: the consumer hears what was queued first, and the gap after it.
    DropNewest,
}

/// A frame with the times that the queue keeps of it.
#[derive(Clone, Debug)]
struct Entry {
    frame: Frame,
    pushed: Timestamp,
    /// On the queue's own line: later by `forward` than the clock's.
    due: Timestamp,
}

/// A first-in first-out queue of frames with bounds. See the module's text.
#[derive(Clone, Debug)]
pub struct BoundedQueue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// By how much all that is queued is due earlier than its entry says. Moving one number instead of every entry keeps
    /// [`Self::bring_forward`] O(1).
    forward: Duration,
    limits: QueueLimits,
    when_full: WhenFull,
    /// See [`Self::set_waiting`].
    waiting: bool,
    /// Video was lost behind the newest queued frame: what comes is useless until a key frame.
    awaiting_key: bool,
}

impl BoundedQueue {
    /// An empty queue. Allocates when the first frame comes.
    #[must_use]
    pub const fn new(limits: QueueLimits, when_full: WhenFull) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            forward: Duration::ZERO,
            limits,
            when_full,
            waiting: false,
            awaiting_key: false,
        }
    }

    /// Puts a frame at the end; its age counts from `now`.
    #[inline]
    pub fn push(&mut self, now: Timestamp, frame: Frame) -> Push {
        self.push_due(now, now, frame)
    }

    /// Puts a frame at the end whose age counts from `due`, the time it is to be delivered.
    #[inline]
    pub fn push_due(&mut self, now: Timestamp, due: Timestamp, frame: Frame) -> Push {
        let size = frame.payload.size();
        if self.fits(size) && !self.awaiting_key {
            self.append(now, due, frame, size);
            return Push::Accepted;
        }
        self.push_slow(now, due, frame, size)
    }

    /// Takes the oldest frame that is still wanted, due or not.
    #[inline]
    pub fn pop(&mut self, now: Timestamp) -> Pop {
        let shed = self.expire(now);
        let (frame, waited) = match self.take_front() {
            Some(entry) => (Some(entry.frame), now.saturating_since(entry.pushed)),
            None => (None, Duration::ZERO),
        };
        Pop {
            frame,
            waited,
            shed,
        }
    }

    /// Takes the oldest frame that is still wanted if it is due by `now`; [`Self::next_due`] says when to come again.
    pub fn pop_due(&mut self, now: Timestamp) -> Pop {
        let shed = self.expire(now);
        if self.next_due().is_some_and(|due| due <= now) {
            let mut pop = self.pop(now);
            pop.shed.merge(shed);
            return pop;
        }
        Pop {
            frame: None,
            waited: Duration::ZERO,
            shed,
        }
    }

    /// Removes frames at the front that nobody wants any more. [`Self::pop`] does so by itself; a producer that finds
    /// it full calls this first.
    pub fn expire(&mut self, now: Timestamp) -> Shed {
        let mut shed = Shed::default();
        while let Some(reason) = self.entries.front().and_then(|e| self.expired(e, now)) {
            self.shed_front(reason, &mut shed);
        }
        shed
    }

    /// Empties the queue. Video that follows is dropped up to a key frame.
    pub fn clear(&mut self) -> Shed {
        let mut shed = Shed::default();
        while let Some(entry) = self.take_front() {
            shed.add(DropReason::Flushed, entry.frame.payload.size());
            if is_video(&entry.frame) {
                self.want_key(&mut shed);
            }
        }
        shed
    }

    /// Frames held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Payload bytes held.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> QueueLimits {
        self.limits
    }

    /// What happens at the bounds.
    #[must_use]
    pub const fn when_full(&self) -> WhenFull {
        if self.waiting {
            WhenFull::Block
        } else {
            self.when_full
        }
    }

    /// Under `waiting` a full queue blocks whatever else was asked for, and neither age nor deadline applies: a stream whose
    /// sender waits is never thinned out.
    pub const fn set_waiting(&mut self, waiting: bool) {
        self.waiting = waiting;
    }

    /// Video is dropped up to the next key frame: its consumer comes in the middle of the stream.
    pub const fn await_key_frame(&mut self) {
        self.awaiting_key = true;
    }

    /// Whether video is dropped up to the next key frame.
    #[must_use]
    pub const fn is_awaiting_key_frame(&self) -> bool {
        self.awaiting_key
    }

    /// Whether a frame of `bytes` would be taken without a loss.
    #[must_use]
    pub fn fits(&self, bytes: usize) -> bool {
        self.entries.is_empty()
            || (self.entries.len() < self.limits.frames
                && self.bytes.saturating_add(bytes) <= self.limits.bytes)
    }

    /// Frames and bytes that may still come: the credit to give to a sender.
    #[must_use]
    pub fn room(&self) -> (usize, usize) {
        (
            self.limits.frames.max(1).saturating_sub(self.entries.len()),
            self.limits.bytes.saturating_sub(self.bytes),
        )
    }

    /// The oldest frame.
    #[must_use]
    pub fn front(&self) -> Option<&Frame> {
        self.entries.front().map(|entry| &entry.frame)
    }

    /// What it holds, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.entries.iter().map(|entry| &entry.frame)
    }

    /// When the oldest frame is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.entries.front().map(|entry| self.due(entry))
    }

    /// When the newest frame is due.
    #[must_use]
    pub fn last_due(&self) -> Option<Timestamp> {
        self.entries.back().map(|entry| self.due(entry))
    }

    /// Makes everything that is queued due earlier by so much: what lay before it is lost, and need not be waited for.
    pub fn bring_forward(&mut self, by: Duration) {
        self.forward += by;
    }

    /// The queue is full, or waits for a key frame.
    #[cold]
    fn push_slow(&mut self, now: Timestamp, due: Timestamp, frame: Frame, size: usize) -> Push {
        let mut shed = Shed::default();
        if self.when_full() == WhenFull::Block && !self.fits(size) {
            return Push::Full(frame);
        }
        if !self.fits(size) {
            shed = self.expire(now);
        }
        while self.when_full() == WhenFull::DropOldest && !self.fits(size) {
            self.shed_front(DropReason::QueueFull, &mut shed);
        }
        let accepted = self.admit(now, due, frame, size, &mut shed);
        if shed.is_empty() {
            Push::Accepted
        } else {
            Push::Dropped { accepted, shed }
        }
    }

    /// Queues a frame if it fits and can be decoded; says whether it did.
    fn admit(
        &mut self,
        now: Timestamp,
        due: Timestamp,
        frame: Frame,
        size: usize,
        shed: &mut Shed,
    ) -> bool {
        if self.awaiting_key && is_delta(&frame) {
            shed.add(DropReason::NoKeyFrame, size);
            shed.key_frame_wanted = true;
            return false;
        }
        if !self.fits(size) {
            shed.add(DropReason::QueueFull, size);
            if is_video(&frame) {
                self.want_key(shed);
            }
            return false;
        }
        self.awaiting_key = false;
        self.append(now, due, frame, size);
        true
    }

    fn append(&mut self, now: Timestamp, due: Timestamp, frame: Frame, size: usize) {
        if self.entries.is_empty() {
            self.forward = Duration::ZERO;
        }
        self.bytes += size;
        self.entries.push_back(Entry {
            frame,
            pushed: now,
            due: due + self.forward,
        });
    }

    fn due(&self, entry: &Entry) -> Timestamp {
        entry.due.saturating_sub(self.forward)
    }

    fn take_front(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.frame.payload.size();
        Some(entry)
    }

    /// Loses the front frame, and with video everything up to the next key frame.
    fn shed_front(&mut self, reason: DropReason, shed: &mut Shed) {
        let Some(first) = self.take_front() else {
            return;
        };
        shed.add(reason, first.frame.payload.size());
        if !is_video(&first.frame) {
            return;
        }
        while self.front().is_some_and(is_delta) {
            if let Some(entry) = self.take_front() {
                shed.add(DropReason::NoKeyFrame, entry.frame.payload.size());
            }
        }
        if self.entries.is_empty() {
            self.want_key(shed);
        }
    }

    fn want_key(&mut self, shed: &mut Shed) {
        self.awaiting_key = true;
        shed.key_frame_wanted = true;
    }

    fn expired(&self, entry: &Entry, now: Timestamp) -> Option<DropReason> {
        if self.waiting {
            return None;
        }
        if self
            .limits
            .age
            .is_some_and(|age| now.saturating_since(self.due(entry)) > age)
        {
            return Some(DropReason::Age);
        }
        entry
            .frame
            .meta
            .deadline
            .is_some_and(|deadline| now > deadline)
            .then_some(DropReason::Deadline)
    }
}

const fn is_video(frame: &Frame) -> bool {
    matches!(frame.payload, Payload::Video(_))
}

fn is_delta(frame: &Frame) -> bool {
    matches!(&frame.payload, Payload::Video(video) if !video.key)
}
