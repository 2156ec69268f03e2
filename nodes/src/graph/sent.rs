//! What a hop was sent, remembered until it answers: from the number in an output's `caused_by` to the input's times.

use std::collections::VecDeque;

use tidegate_media::Timestamp;

use super::state::Newest;

/// Entries kept for one port. A hop that answers later than this many frames gets the times of the oldest one kept.
const KEPT_MAX: usize = 1_024;

/// Entries kept after they were acknowledged, since a hop may consume input before it answers.
const KEPT_AFTER_ACK: u64 = 256;

/// A frame that was sent to a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) ingress: Timestamp,
    pub(super) caused_by: u64,
    pub(super) caused_port: u16,
    pub(super) since: u64,
    pub(super) replayed: bool,
    pub(super) enqueued: Timestamp,
    pub(super) sent: Timestamp,
}

impl Sent {
    /// What it was caused by.
    pub(super) const fn newest(&self) -> Newest {
        Newest {
            ingress: self.ingress,
            caused_by: self.caused_by,
            caused_port: self.caused_port,
        }
    }
}

/// The frames sent to one input port of a hop, newest last; numbered from 1 by 1.
#[derive(Debug, Default)]
pub(super) struct SentRing {
    entries: VecDeque<Sent>,
    /// Number of the newest entry; 0 before the first.
    newest: u64,
    /// Up to here the hop acknowledged or answered.
    settled: u64,
    /// Up to here it acknowledged.
    acknowledged: u64,
}

impl SentRing {
    /// Remembers a frame and gives its number.
    pub(super) fn push(&mut self, sent: Sent) -> u64 {
        if self.entries.len() == KEPT_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(sent);
        self.newest += 1;
        self.newest
    }

    /// The number of the newest frame sent; 0 if there is none.
    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether a frame with this number was sent on this port.
    pub(super) const fn was_sent(&self, seq: u64) -> bool {
        seq > 0 && seq <= self.newest
    }

    /// The frame with this number, if it is remembered.
    pub(super) fn get(&self, seq: u64) -> Option<&Sent> {
        let first = self.first();
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.entries.get(index)
    }

    /// The oldest frame that is remembered.
    pub(super) fn oldest(&self) -> Option<&Sent> {
        self.entries.front()
    }

    /// The newest frame.
    pub(super) fn last(&self) -> Option<&Sent> {
        self.entries.back()
    }

    /// Frames neither acknowledged nor answered.
    pub(super) fn in_flight(&self) -> u32 {
        u32::try_from(self.newest - self.settled).unwrap_or(u32::MAX)
    }

    /// The hop answered a frame, and so has consumed everything before it.
    pub(super) fn answered(&mut self, seq: u64) {
        self.settled = self.settled.max(seq.min(self.newest));
    }

    /// The hop consumed everything up to this number.
    pub(super) fn acknowledged(&mut self, seq: u64) {
        self.answered(seq);
        self.acknowledged = self.acknowledged.max(seq.min(self.newest));
        let keep_from = self.settled.saturating_sub(KEPT_AFTER_ACK);
        while self.first() < keep_from && !self.entries.is_empty() {
            self.entries.pop_front();
        }
    }

    /// What the hop has not acknowledged, frames up to `flushed` left out. What is forgotten counts as consumed, since no more than that
    /// is kept for anybody.
    pub(super) fn under_way(&self, flushed: u64) -> impl Iterator<Item = &Sent> {
        let done = self.acknowledged.max(flushed);
        let skipped = (done + 1).saturating_sub(self.first());
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.entries.iter().skip(skipped)
    }

    fn first(&self) -> u64 {
        self.newest + 1 - self.entries.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(at: u64) -> Sent {
        Sent {
            ingress: Timestamp::from_nanos(at),
            caused_by: at,
            caused_port: 0,
            since: at,
            replayed: false,
            enqueued: Timestamp::from_nanos(at),
            sent: Timestamp::from_nanos(at),
        }
    }

    #[test]
    fn frames_are_found_by_number_until_the_ring_is_full() {
        let mut ring = SentRing::default();
        assert_eq!(ring.get(0), None);
        for number in 1..=2_000 {
            assert_eq!(ring.push(sent(number)), number);
        }
        assert_eq!(ring.get(2_000), Some(&sent(2_000)));
        assert_eq!(ring.get(2_001), None);
        assert_eq!(ring.get(976), None);
        assert_eq!(ring.oldest(), Some(&sent(977)));
    }

    #[test]
    fn acknowledging_forgets_what_no_answer_will_name() {
        let mut ring = SentRing::default();
        for number in 1..=400 {
            ring.push(sent(number));
        }
        ring.acknowledged(300);
        assert_eq!(ring.in_flight(), 100);
        assert_eq!(ring.get(43), None);
        assert_eq!(ring.get(44), Some(&sent(44)));
        let first = |ring: &SentRing, flushed| ring.under_way(flushed).next().map(|s| s.since);
        assert_eq!(
            (first(&ring, 0), first(&ring, 350)),
            (Some(301), Some(351)),
            "what was flushed is not waited for"
        );
        ring.acknowledged(u64::MAX);
        assert_eq!((ring.in_flight(), first(&ring, 0)), (0, None));
    }
}
