//! Credit of one port, as counting without I/O.
//!
//! Towards the worker ([`SendWindow`], one a stream) two bounds hold at once: what the worker said it takes, and what may wait in this
//! process until the transport takes it. The graph gets ([`Allowance`], one a hop, which outlives streams) no more than that, in portions,
//! so that a frame does not cost a message. From the worker ([`ReceiveWindow`]) credit is renewed as frames are handed on, again in
//! portions.

use tidegate_proto::message::Credit;

/// Frames of one port that the graph may have handed over and that the transport has not taken yet, credit that the graph has
/// and did not use included. Hides a scheduling gap of 64 × 10 ms; more would only be older when it arrives.
pub(crate) const LOCAL_FRAMES: u64 = 64;
/// Payload bytes, likewise: some large tensors, and small beside a session's queues.
const LOCAL_BYTES: i128 = 8 << 20;
/// Frames of one output that the worker may send ahead.
const RECEIVE_FRAMES: u32 = 64;
/// So much credit cannot be used up, and so little can be added that nothing overflows.
const ENDLESS: i128 = 1 << 96;

/// What may go to the worker on one port of one stream.
#[derive(Debug)]
pub(crate) struct SendWindow {
    /// Given by the worker, not used yet; `None`: the worker does not count. One frame may overdraw the bytes.
    peer_frames: Option<u64>,
    peer_bytes: i128,
    /// Sent, not taken by the transport yet.
    queued_frames: u64,
    queued_bytes: i128,
}

/// Frames and payload bytes that something has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) frames: u64,
    /// Below nothing where a frame overdrew it.
    pub(crate) bytes: i128,
}

impl Room {
    /// What the graph may be given before there is a stream.
    pub(crate) const LOCAL: Self = Self {
        frames: LOCAL_FRAMES,
        bytes: LOCAL_BYTES,
    };

    /// The lesser of both.
    pub(crate) fn at_most(self, other: Self) -> Self {
        Self {
            frames: self.frames.min(other.frames),
            bytes: self.bytes.min(other.bytes),
        }
    }

    /// What is left beside so much.
    pub(crate) fn less(self, frames: u64, bytes: usize) -> Self {
        Self {
            frames: self.frames.saturating_sub(frames),
            bytes: self.bytes - bytes as i128,
        }
    }
}

impl SendWindow {
    /// A window onto a worker that gives credit, or onto one that relies on its transport.
    pub(crate) fn new(worker_counts: bool) -> Self {
        Self {
            peer_frames: worker_counts.then_some(0),
            peer_bytes: if worker_counts { 0 } else { ENDLESS },
            queued_frames: 0,
            queued_bytes: 0,
        }
    }

    /// The worker takes more.
    pub(crate) fn credited(&mut self, credit: &Credit) {
        if let Some(frames) = &mut self.peer_frames {
            *frames = frames.saturating_add(u64::from(credit.frames));
            self.peer_bytes = if credit.bytes == Credit::UNCOUNTED {
                ENDLESS
            } else {
                (self.peer_bytes + i128::from(credit.bytes)).min(ENDLESS)
            };
        }
    }

    /// What may be sent now.
    pub(crate) fn room(&self) -> Room {
        let frames = LOCAL_FRAMES.saturating_sub(self.queued_frames);
        let bytes = LOCAL_BYTES - self.queued_bytes;
        Room {
            frames: self.peer_frames.unwrap_or(u64::MAX).min(frames),
            bytes: self.peer_bytes.min(bytes),
        }
    }

    /// Whether a frame may be sent now.
    pub(crate) fn is_open(&self) -> bool {
        let room = self.room();
        room.frames > 0 && room.bytes > 0
    }

    /// A frame was sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(peer) = &mut self.peer_frames {
            *peer = peer.saturating_sub(1);
        }
        if self.peer_bytes < ENDLESS {
            self.peer_bytes -= bytes as i128;
        }
        self.queued_frames += 1;
        self.queued_bytes += bytes as i128;
    }

    /// The transport took frames.
    pub(crate) fn taken(&mut self, frames: u64, bytes: u64) {
        self.queued_frames = self.queued_frames.saturating_sub(frames);
        self.queued_bytes = (self.queued_bytes - i128::from(bytes)).max(0);
    }

    /// Frames left the queue without being sent, so the worker still takes as many.
    pub(crate) fn discarded(&mut self, frames: u64, bytes: u64) {
        self.taken(frames, bytes);
        if let Some(peer) = &mut self.peer_frames {
            *peer = peer.saturating_add(frames);
            self.peer_bytes = (self.peer_bytes + i128::from(bytes)).min(ENDLESS);
        }
    }

    /// Whether the worker counts.
    pub(crate) const fn is_counted(&self) -> bool {
        self.peer_frames.is_some()
    }

    /// Whether frames wait for the transport.
    pub(crate) const fn is_queued(&self) -> bool {
        self.queued_frames > 0
    }
}

/// What the graph may still hand over on one port.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    frames: u64,
    /// One frame may overdraw them.
    bytes: i128,
}

/// More credit for the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) frames: u32,
    pub(crate) bytes: u64,
}

impl Allowance {
    /// The graph used it for a frame; false if it had none.
    #[must_use]
    pub(crate) fn spend(&mut self, bytes: usize) -> bool {
        let Some(left) = self.frames.checked_sub(1) else {
            return false;
        };
        self.frames = left;
        self.bytes -= bytes as i128;
        true
    }

    /// Frames that the graph may hand over without asking.
    pub(crate) const fn frames(self) -> u64 {
        self.frames
    }

    /// Whether the graph can hand over nothing.
    pub(crate) const fn is_spent(self) -> bool {
        self.frames == 0 || self.bytes <= 0
    }

    /// Credit to give where there is `room` for what was given before and this, once half of the most is used.
    pub(crate) fn grant(&mut self, room: Room) -> Option<Grant> {
        let frames = room.frames.saturating_sub(self.frames);
        let bytes = (room.bytes - self.bytes.max(0)).clamp(0, LOCAL_BYTES);
        let low_on_frames = frames > 0 && self.frames <= LOCAL_FRAMES / 2;
        let low_on_bytes = bytes > 0 && self.bytes <= LOCAL_BYTES / 2;
        if !low_on_frames && !low_on_bytes {
            return None;
        }
        self.frames += frames;
        self.bytes += bytes;
        Some(Grant {
            // Both are at most the local bounds.
            frames: u32::try_from(frames).unwrap_or(u32::MAX),
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        })
    }
}

/// What may come from the worker on one port.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    /// Frames that the worker may still send; `None`: credit is not counted.
    left: Option<u32>,
    handed_on: u32,
}

impl ReceiveWindow {
    /// A window, and the credit to send first.
    pub(crate) fn new(counted: bool) -> (Self, Option<u32>) {
        let left = counted.then_some(RECEIVE_FRAMES);
        (Self { left, handed_on: 0 }, left)
    }

    /// One that has nothing left, as if its worker had flooded it.
    #[cfg(test)]
    pub(crate) const fn exhausted() -> Self {
        Self {
            left: Some(0),
            handed_on: 0,
        }
    }

    /// A frame came and is handed on. Credit to send, if it is time; an error if the worker had none left.
    pub(crate) fn received(&mut self) -> Result<Option<u32>, BeyondCredit> {
        let Some(left) = &mut self.left else {
            return Ok(None);
        };
        *left = left.checked_sub(1).ok_or(BeyondCredit)?;
        self.handed_on += 1;
        if self.handed_on < RECEIVE_FRAMES / 2 {
            return Ok(None);
        }
        *left += self.handed_on;
        Ok(Some(std::mem::take(&mut self.handed_on)))
    }
}

/// The worker sent more than it was given credit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BeyondCredit;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_proto::PortName;

    use super::*;

    fn credit(frames: u32, bytes: u64) -> Credit {
        let port = PortName::new("in").expect("a name");
        Credit {
            port,
            frames,
            bytes,
        }
    }

    #[test]
    fn the_graph_gets_nothing_before_the_worker_gave_something() {
        let (mut window, mut graph) = (SendWindow::new(true), Allowance::default());
        assert_eq!(graph.grant(window.room()), None);
        window.credited(&credit(2, Credit::UNCOUNTED));
        let first = graph.grant(window.room()).expect("credit");
        assert_eq!(first.frames, 2);
        assert_eq!(graph.grant(window.room()), None);
        assert!(graph.spend(10) && graph.spend(10) && !graph.spend(10));
    }

    #[test]
    fn a_worker_that_does_not_count_is_bounded_by_the_queue() {
        let (mut window, mut graph) = (SendWindow::new(false), Allowance::default());
        let first = graph.grant(window.room()).expect("credit");
        assert_eq!(u64::from(first.frames), LOCAL_FRAMES);
        for _ in 0..first.frames {
            assert!(graph.spend(1) && window.is_open());
            window.sent(1);
        }
        assert!(window.is_queued() && !window.is_open());
        assert_eq!(graph.grant(window.room()), None);
        window.taken(10, 10);
        let more = graph.grant(window.room());
        assert_eq!(more.map(|grant| grant.frames), Some(10));
    }

    #[test]
    fn a_frame_larger_than_the_window_passes_and_is_paid_back() {
        let (mut window, mut graph) = (SendWindow::new(false), Allowance::default());
        let first = graph.grant(window.room()).expect("credit");
        let large = usize::try_from(first.bytes).expect("fits") + 5;
        assert!(graph.spend(large));
        window.sent(large);
        assert!(!window.is_open() && graph.is_spent());
        assert_eq!(graph.grant(window.room()), None);
        window.taken(1, large as u64);
        let second = graph.grant(window.room()).expect("credit");
        // Room is what is neither passed on nor queued; the overdraft of 5 stays with the graph.
        assert_eq!(second.bytes, first.bytes);
    }

    #[test]
    fn what_an_interrupt_discards_may_be_sent_again() {
        let mut window = SendWindow::new(true);
        window.credited(&credit(1, Credit::UNCOUNTED));
        window.sent(3);
        assert!(!window.is_open());
        window.discarded(1, 3);
        assert!(window.is_open());
    }

    #[test]
    fn a_worker_that_keeps_to_its_credit_is_never_found_out() {
        let (mut window, first) = ReceiveWindow::new(true);
        let mut left = first.expect("counted");
        for _ in 0..1_000 {
            left = left.checked_sub(1).expect("credit is renewed in time");
            left += window.received().expect("within credit").unwrap_or(0);
        }
    }

    #[test]
    fn a_worker_beyond_its_credit_is_found_out() {
        assert_eq!(ReceiveWindow::exhausted().received(), Err(BeyondCredit));
        let (mut uncounted, none) = ReceiveWindow::new(false);
        assert_eq!((none, uncounted.received()), (None, Ok(None)));
    }

    proptest! {
        /// Whatever happens in whatever order, the graph never has sent more than the worker gave, and the queue keeps its bound.
        #[test]
        fn no_bound_is_ever_passed(steps in proptest::collection::vec((0..4u8, 1..5u32, 0..2_000_000u64), 0..200)) {
            let (mut window, mut graph) = (SendWindow::new(true), Allowance::default());
            let (mut given, mut sent, mut queued, mut queued_bytes) = (0u64, 0u64, 0u64, 0u64);
            for (step, frames, bytes) in steps {
                match step {
                    0 => { window.credited(&credit(frames, bytes)); given += u64::from(frames) }
                    1 => { let _ = graph.grant(window.room()); }
                    2 if window.is_open() && graph.spend(usize::try_from(bytes).expect("fits")) => {
                        window.sent(usize::try_from(bytes).expect("fits"));
                        sent += 1; queued += 1; queued_bytes += bytes;
                    }
                    3 if queued > 0 => { window.taken(queued, queued_bytes); queued = 0; queued_bytes = 0 }
                    _ => {}
                }
                prop_assert!(sent <= given);
                prop_assert!(queued <= LOCAL_FRAMES);
            }
        }
    }
}
