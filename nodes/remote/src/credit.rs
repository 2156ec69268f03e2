//! Credit of one port, as counting without I/O.
//!
//! Towards the worker ([`SendWindow`]) two bounds hold at once: what the worker said it takes, and what may wait in this process
//! until the transport takes it. The graph gets the smaller of the two, in portions, so that a frame does not cost a message.
//! From the worker ([`ReceiveWindow`]) credit is renewed as frames are handed on, again in portions.

use tidegate_proto::message::Credit;

/// Frames of one port that the graph may have handed over and that the transport has not taken yet, credit that the graph has
/// and did not use included. Hides a scheduling gap of 64 × 10 ms; more would only be older when it arrives.
const LOCAL_FRAMES: u64 = 64;
/// Payload bytes, likewise: some large tensors, and small beside a session's queues.
const LOCAL_BYTES: i128 = 8 << 20;
/// Frames of one output that the worker may send ahead.
const RECEIVE_FRAMES: u32 = 64;
/// So much credit cannot be used up, and so little can be added that nothing overflows.
const ENDLESS: i128 = 1 << 96;

/// What may go to the worker on one port.
#[derive(Debug)]
pub(crate) struct SendWindow {
    /// Given by the worker, not passed on to the graph yet; `None`: the worker does not count.
    peer_frames: Option<u64>,
    peer_bytes: i128,
    /// Passed on to the graph, not used yet. One frame may overdraw the bytes.
    passed_frames: u64,
    passed_bytes: i128,
    /// Sent by the graph, not taken by the transport yet.
    queued_frames: u64,
    queued_bytes: i128,
}

/// More credit for the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) frames: u32,
    pub(crate) bytes: u64,
}

impl SendWindow {
    /// A window onto a worker that gives credit, or onto one that relies on its transport.
    pub(crate) fn new(worker_counts: bool) -> Self {
        Self {
            peer_frames: worker_counts.then_some(0),
            peer_bytes: if worker_counts { 0 } else { ENDLESS },
            passed_frames: 0,
            passed_bytes: 0,
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

    /// The graph used credit for a frame; false if it had none.
    #[must_use]
    pub(crate) fn sent(&mut self, bytes: usize) -> bool {
        let Some(left) = self.passed_frames.checked_sub(1) else {
            return false;
        };
        self.passed_frames = left;
        self.passed_bytes -= bytes as i128;
        self.queued_frames += 1;
        self.queued_bytes += bytes as i128;
        true
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

    /// Credit to pass on to the graph, once it has used half of what it may have.
    pub(crate) fn grant(&mut self) -> Option<Grant> {
        let frames_room = LOCAL_FRAMES.saturating_sub(self.passed_frames + self.queued_frames);
        let bytes_room = LOCAL_BYTES - self.passed_bytes.max(0) - self.queued_bytes;
        let frames = self.peer_frames.unwrap_or(u64::MAX).min(frames_room);
        let bytes = self.peer_bytes.min(bytes_room).max(0);
        let low_on_frames = frames > 0 && self.passed_frames <= LOCAL_FRAMES / 2;
        let low_on_bytes = bytes > 0 && self.passed_bytes <= LOCAL_BYTES / 2;
        if !low_on_frames && !low_on_bytes {
            return None;
        }
        if let Some(peer) = &mut self.peer_frames {
            *peer -= frames;
        }
        if self.peer_bytes < ENDLESS {
            self.peer_bytes -= bytes;
        }
        self.passed_frames += frames;
        self.passed_bytes += bytes;
        Some(Grant {
            // Both are at most the local bounds.
            frames: u32::try_from(frames).unwrap_or(u32::MAX),
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        })
    }

    /// Whether the graph can send nothing until the transport takes what is queued.
    pub(crate) const fn waits_for_transport(&self) -> bool {
        self.queued_frames > 0 && (self.passed_frames == 0 || self.passed_bytes <= 0)
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
        let mut window = SendWindow::new(true);
        assert_eq!(window.grant(), None);
        window.credited(&credit(2, Credit::UNCOUNTED));
        let first = window.grant().expect("credit");
        assert_eq!(first.frames, 2);
        assert_eq!(window.grant(), None);
        assert!(window.sent(10) && window.sent(10) && !window.sent(10));
    }

    #[test]
    fn a_worker_that_does_not_count_is_bounded_by_the_queue() {
        let mut window = SendWindow::new(false);
        let first = window.grant().expect("credit");
        assert_eq!(u64::from(first.frames), LOCAL_FRAMES);
        for _ in 0..first.frames {
            assert!(window.sent(1));
        }
        assert!(window.waits_for_transport());
        assert_eq!(window.grant(), None);
        window.taken(10, 10);
        assert_eq!(window.grant().map(|grant| grant.frames), Some(10));
    }

    #[test]
    fn a_frame_larger_than_the_window_passes_and_is_paid_back() {
        let mut window = SendWindow::new(false);
        let first = window.grant().expect("credit");
        let large = usize::try_from(first.bytes).expect("fits") + 5;
        assert!(window.sent(large));
        assert!(window.waits_for_transport());
        assert_eq!(window.grant(), None);
        window.taken(1, large as u64);
        let second = window.grant().expect("credit");
        // Room is what is neither passed on nor queued; the overdraft of 5 stays with the graph.
        assert_eq!(second.bytes, first.bytes);
    }

    #[test]
    fn what_an_interrupt_discards_may_be_sent_again() {
        let mut window = SendWindow::new(true);
        window.credited(&credit(1, Credit::UNCOUNTED));
        assert!(window.grant().is_some());
        assert!(window.sent(3));
        assert_eq!(window.grant(), None);
        window.discarded(1, 3);
        assert_eq!(window.grant().map(|grant| grant.frames), Some(1));
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
            let mut window = SendWindow::new(true);
            let (mut given, mut sent, mut queued, mut queued_bytes) = (0u64, 0u64, 0u64, 0u64);
            for (step, frames, bytes) in steps {
                match step {
                    0 => { window.credited(&credit(frames, bytes)); given += u64::from(frames) }
                    1 => { let _ = window.grant(); }
                    2 if window.sent(usize::try_from(bytes).expect("fits")) => {
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
