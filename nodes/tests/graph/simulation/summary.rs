//! What seeds came to, one and all: a simulation that meets nothing proves nothing.

use tidegate_nodes::node::DropReason;

/// What a seed came to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) trace: u64,
    pub(super) heard: u64,
    pub(super) finished: bool,
    pub(super) failed: bool,
    pub(super) interrupted: bool,
    pub(super) dropped: [u64; DropReason::ALL.len()],
}

/// What all seeds came to.
#[derive(Default)]
pub(super) struct Summary {
    sessions: u64,
    pub(super) heard: u64,
    pub(super) finished: u64,
    pub(super) failed: u64,
    pub(super) interrupted: u64,
    pub(super) dropped: [u64; DropReason::ALL.len()],
}

impl Summary {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.sessions += 1;
        self.heard += outcome.heard;
        self.finished += u64::from(outcome.finished);
        self.failed += u64::from(outcome.failed);
        self.interrupted += u64::from(outcome.interrupted);
        for (sum, dropped) in self.dropped.iter_mut().zip(outcome.dropped) {
            *sum += dropped;
        }
    }

    /// The seeds met what they are there to meet.
    pub(super) fn assert_varied(&self) {
        assert_eq!(self.finished + self.failed, self.sessions);
        assert!(
            self.heard > 50 * self.sessions,
            "{} frames heard",
            self.heard
        );
        assert!(self.failed * 20 > self.sessions, "{} failed", self.failed);
        assert!(
            self.finished * 2 > self.sessions,
            "{} finished",
            self.finished
        );
        assert!(
            self.interrupted * 10 > self.sessions,
            "{} interrupted",
            self.interrupted
        );
        use DropReason as R;
        for reason in [
            R::QueueFull,
            R::Age,
            R::Deadline,
            R::Interrupted,
            R::NoListener,
            R::Condition,
            R::HopEnded,
            R::Detached,
            R::AwaitingKeyFrame,
        ] {
            assert!(
                self.dropped[reason as usize] > 0,
                "nothing was ever dropped as {reason:?}"
            );
        }
    }
}
