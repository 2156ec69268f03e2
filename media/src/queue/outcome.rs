//! What queue operations report: what became of a frame, what was lost, and why.

use std::time::Duration;

use crate::frame::Frame;

/// Why a frame did not go on; the `reason` label of `tidegate_hop_dropped_frames_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// It waited longer than the queue's age bound.
    Age,
    /// Its own deadline had passed.
    Deadline,
    /// Video that cannot be decoded, since a frame before it was lost.
    NoKeyFrame,
    /// The queue was emptied, by an interrupt for example.
    Flushed,
}

impl DropReason {
    /// All reasons, in the order of [`Shed::counts`].
    pub const ALL: [Self; 5] = [
        Self::QueueFull,
        Self::Age,
        Self::Deadline,
        Self::NoKeyFrame,
        Self::Flushed,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Age => "age",
            Self::Deadline => "deadline",
            Self::NoKeyFrame => "awaiting_key_frame",
            Self::Flushed => "interrupted",
        }
    }
}

/// Frames that were lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "every dropped frame is counted, with its reason"]
pub struct Shed {
    counts: [u32; DropReason::ALL.len()],
    /// Payload bytes of all of them.
    pub bytes: usize,
    /// Video was cut and no key frame is in sight: the sender must be asked for one.
    pub key_frame_wanted: bool,
}

impl Shed {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames() == 0
    }

    /// Frames lost for any reason.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// The reasons that apply, each with its frames.
    pub fn counts(&self) -> impl Iterator<Item = (DropReason, u32)> + '_ {
        DropReason::ALL
            .into_iter()
            .zip(self.counts)
            .filter(|&(_, count)| count > 0)
    }

    /// Adds what another operation lost.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.bytes += other.bytes;
        self.key_frame_wanted |= other.key_frame_wanted;
    }

    pub(super) fn add(&mut self, reason: DropReason, bytes: usize) {
        self.counts[reason as usize] += 1;
        self.bytes += bytes;
    }
}

/// What became of a pushed frame.
#[derive(Debug, PartialEq)]
#[must_use = "a frame handed back or dropped must not be forgotten"]
pub enum Push {
    /// It is queued and nothing was lost.
    Accepted,
    /// Nothing was lost: the queue is full and blocks. Push it again once [`super::BoundedQueue::pop`] or
    /// [`super::BoundedQueue::expire`] made room.
    Full(Frame),
    /// Frames were lost: older ones, or this one when `accepted` is false.
    Dropped {
        /// Whether the pushed frame is in the queue.
        accepted: bool,
        /// What was lost.
        shed: Shed,
    },
}

/// What a pop gave.
#[derive(Debug, PartialEq)]
#[must_use = "frames may have expired on the way"]
pub struct Pop {
    /// The oldest frame that is still wanted.
    pub frame: Option<Frame>,
    /// How long that frame was in the queue.
    pub waited: Duration,
    /// Frames before it that had expired.
    pub shed: Shed,
}
