//! Running totals of one hop: plain integers that the driver reads and turns into metrics.
//!
//! For every hop but in-place nodes, which may make more or less than they take, `frames_in` equals `frames_out` plus everything
//! in `dropped` plus `queue_frames` (and, of an offloaded or remote hop, what it has taken: it answers for that itself).

use std::sync::Arc;

use tidegate_media::queue::{self, Shed};

use super::sampling;
use crate::node::{DropReason, Reception};
use crate::plan::Placement;

/// What a row of [`Graph::hop_stats`](super::Graph::hop_stats) stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A hop of the plan.
    Hop,
    /// An input of the pipeline. Dropped here: what came after its end or was not of its format.
    Input,
    /// An output of the pipeline: its listeners' queues together.
    Output,
    /// A conversion that belongs to a client; clients at the same input or output share the row.
    Conversion,
}

/// Running totals of one hop.
#[derive(Clone, Debug)]
pub struct HopStats {
    /// The hop's id; of an input or output its name; of a conversion `<input or output>:<conversion>`.
    pub id: Arc<str>,
    /// Its node type; `input` or `output` for those.
    pub node_type: Arc<str>,
    /// Where its work is done.
    pub placement: Placement,
    /// Inserted by the compiler or for a client.
    pub inserted: bool,
    /// What it stands for.
    pub role: Role,
    /// Frames that arrived.
    pub frames_in: u64,
    /// Payload bytes that arrived.
    pub bytes_in: u64,
    /// Frames that it made. A frame that goes to several edges counts once, and so does one of a port that nothing is joined to.
    pub frames_out: u64,
    /// Payload bytes that it made.
    pub bytes_out: u64,
    /// Frames that did not go on, by [`DropReason`] as index.
    pub dropped: [u64; DropReason::ALL.len()],
    /// Frames that wait in the graph before it (an output: before its listeners).
    pub queue_frames: u32,
    /// Payload bytes of those.
    pub queue_bytes: u64,
    /// Frames sent to it and neither acknowledged nor answered yet.
    pub in_flight: u32,
    /// What its jitter buffer last said, if it is one.
    pub reception: Option<Reception>,
    /// Calls of the node, timers included; picks those that are timed.
    pub(super) calls: u64,
}

impl HopStats {
    pub(super) fn new(id: &str, node_type: &str, role: Role) -> Self {
        Self {
            id: id.into(),
            node_type: node_type.into(),
            placement: Placement::InPlace,
            inserted: role == Role::Conversion,
            role,
            frames_in: 0,
            bytes_in: 0,
            frames_out: 0,
            bytes_out: 0,
            dropped: [0; DropReason::ALL.len()],
            queue_frames: 0,
            queue_bytes: 0,
            in_flight: 0,
            reception: None,
            calls: 0,
        }
    }

    /// Everything that was dropped, for whatever reason.
    #[must_use]
    pub fn dropped_frames(&self) -> u64 {
        self.dropped.iter().sum()
    }

    #[inline]
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.frames_in += 1;
        self.bytes_in += bytes as u64;
    }

    #[inline]
    pub(super) fn left(&mut self, bytes: usize) {
        self.frames_out += 1;
        self.bytes_out += bytes as u64;
    }

    #[inline]
    pub(super) fn drop_frames(&mut self, reason: DropReason, frames: u32) {
        self.dropped[reason as usize] += u64::from(frames);
    }

    pub(super) fn shed(&mut self, shed: &Shed) {
        self.shed_as(shed, DropReason::Interrupted);
    }

    /// Counts what a queue lost; what was emptied out of it is counted as `flushed`.
    pub(super) fn shed_as(&mut self, shed: &Shed, flushed: DropReason) {
        for (reason, frames) in shed.counts() {
            let reason = match reason {
                queue::DropReason::QueueFull => DropReason::QueueFull,
                queue::DropReason::Age => DropReason::Age,
                queue::DropReason::Deadline => DropReason::Deadline,
                queue::DropReason::NoKeyFrame => DropReason::AwaitingKeyFrame,
                queue::DropReason::Flushed => flushed,
            };
            self.drop_frames(reason, frames);
        }
    }

    /// Counts a call and says whether it is to be timed.
    #[inline]
    pub(super) fn sample(&mut self) -> bool {
        self.calls += 1;
        sampling::picks(self.calls)
    }
}
