//! A gate: the bounded queue before an offloaded or remote hop's port or a listener, and what stands behind it while it is full.
//!
//! A queue that blocks cannot refuse a frame that was already made, since nothing upstream can hold it. Such frames stand in
//! `overrun`, in order, until there is room. The graph then asks its driver to stop (`input_ready`, `hop_ready`) and pauses the
//! timers that feed the gate, so the overrun is what one input frame, hop event or timer makes at most, and
//! [`OVERRUN_MAX`] frames if a driver does not listen.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_media::queue::{BoundedQueue, Pop, Push, QueueLimits, Shed};
use tidegate_media::{Frame, Meta, Timestamp};

use crate::plan::{Queue, WhenFull};

/// Frames that may stand behind a full queue before the graph takes its driver for deaf. A second of 16 kHz audio in 10 ms
/// frames is 100; a long text spoken by a hop that is not held back is some thousand.
pub const OVERRUN_MAX: usize = 8_192;

/// A bounded queue that nothing already accepted is lost at.
#[derive(Debug)]
pub(super) struct Gate {
    queue: BoundedQueue,
    overrun: VecDeque<(Timestamp, Timestamp, Frame)>,
    overrun_bytes: u64,
    /// No more frames will come.
    pub(super) ending: bool,
}

/// What became of an offered frame.
#[must_use = "every dropped frame is counted, with its reason"]
pub(super) struct Offered {
    pub(super) shed: Shed,
    /// The frame itself is among what was lost.
    pub(super) refused: bool,
    /// More stands behind the queue than any honest driver lets come.
    pub(super) overflows: bool,
}

impl Gate {
    pub(super) fn new(queue: &Queue) -> Self {
        let when_full = match queue.when_full {
            WhenFull::Block => tidegate_media::queue::WhenFull::Block,
            WhenFull::DropOldest => tidegate_media::queue::WhenFull::DropOldest,
            WhenFull::DropNewest => tidegate_media::queue::WhenFull::DropNewest,
        };
        let limits = QueueLimits {
            frames: usize::try_from(queue.frames).unwrap_or(usize::MAX),
            bytes: usize::try_from(queue.bytes).unwrap_or(usize::MAX),
            age: queue.age.filter(|_| queue.when_full != WhenFull::Block),
        };
        Self {
            queue: BoundedQueue::new(limits, when_full),
            overrun: VecDeque::new(),
            overrun_bytes: 0,
            ending: false,
        }
    }

    /// Takes a frame that is due at `due`.
    pub(super) fn offer(&mut self, now: Timestamp, due: Timestamp, frame: Frame) -> Offered {
        let mut shed = Shed::default();
        let mut refused = false;
        let back = if self.overrun.is_empty() {
            match self.queue.push_due(now, due, frame) {
                Push::Accepted => None,
                Push::Full(frame) => Some(frame),
                Push::Dropped {
                    accepted,
                    shed: lost,
                } => {
                    shed = lost;
                    refused = !accepted;
                    None
                }
            }
        } else {
            Some(frame)
        };
        let overflows = self.overrun.len() >= OVERRUN_MAX;
        if let Some(frame) = back {
            self.overrun_bytes += frame.payload.size() as u64;
            self.overrun.push_back((now, due, frame));
        }
        Offered {
            shed,
            refused,
            overflows,
        }
    }

    /// Takes the oldest frame that is due.
    pub(super) fn take(&mut self, now: Timestamp) -> Pop {
        let mut shed = Shed::default();
        loop {
            let mut pop = self.queue.pop_due(now);
            if !self.overrun.is_empty() {
                pop.shed.merge(self.refill());
            }
            shed.merge(pop.shed);
            // All that was queued may have expired, and what stood behind it be due.
            if pop.frame.is_some() || self.queue.next_due().is_none_or(|due| due > now) {
                return Pop { shed, ..pop };
            }
        }
    }

    /// Drops video up to the next key frame: for a listener that comes in the middle.
    pub(super) fn await_key_frame(&mut self) {
        self.queue.await_key_frame();
    }

    /// Empties it.
    pub(super) fn clear(&mut self) -> Shed {
        let mut shed = self.queue.clear();
        while !self.overrun.is_empty() {
            shed.merge(self.refill());
            shed.merge(self.queue.clear());
        }
        shed
    }

    pub(super) fn set_waiting(&mut self, waiting: bool) -> Shed {
        self.queue.set_waiting(waiting);
        self.refill()
    }

    /// Whether those who send must wait.
    pub(super) fn is_full(&self) -> bool {
        !self.overrun.is_empty()
            || (self.queue.when_full() == tidegate_media::queue::WhenFull::Block
                && !self.queue.fits(1))
    }

    /// Whether a frame that is due would pass through it at once.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.queue.is_empty() && !self.queue.is_awaiting_key_frame()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Frames that wait.
    pub(super) fn frames(&self) -> u32 {
        u32::try_from(self.queue.len() + self.overrun.len()).unwrap_or(u32::MAX)
    }

    /// Payload bytes that wait.
    pub(super) const fn bytes(&self) -> u64 {
        self.queue.bytes() as u64 + self.overrun_bytes
    }

    /// What it and the place behind it hold.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Meta> {
        let behind = self.overrun.iter().map(|(_, _, frame)| frame);
        self.queue.iter().chain(behind).map(|frame| &frame.meta)
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.queue.next_due()
    }

    /// When the newest queued frame is due.
    pub(super) fn last_due(&self) -> Option<Timestamp> {
        self.queue.last_due()
    }

    /// Makes everything that is queued due earlier.
    pub(super) fn bring_forward(&mut self, by: Duration) {
        self.queue.bring_forward(by);
    }

    /// Moves what stands behind the queue into it, as far as it fits.
    fn refill(&mut self) -> Shed {
        let mut shed = Shed::default();
        while let Some((came, due, frame)) = self.overrun.pop_front() {
            let bytes = frame.payload.size() as u64;
            match self.queue.push_due(came, due, frame) {
                Push::Accepted => {}
                Push::Dropped { shed: lost, .. } => shed.merge(lost),
                Push::Full(frame) => {
                    self.overrun.push_front((came, due, frame));
                    break;
                }
            }
            self.overrun_bytes -= bytes;
        }
        shed
    }
}
