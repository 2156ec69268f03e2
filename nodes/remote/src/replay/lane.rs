//! One input port of a ring.

use std::collections::VecDeque;

use tidegate_media::{Frame, Timestamp};

use super::tally::Tally;

/// One input port.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) entries: VecDeque<Entry>,
    /// The graph's number of the newest frame, in the ring or not.
    pub(super) newest: u64,
    /// Consumed by the worker up to here.
    pub(super) acked: u64,
    /// Newest number that was acknowledged or answered.
    pub(super) answered: u64,
    /// Not needed any more up to here.
    pub(super) released: u64,
    /// A replay begins here at the latest; 0: wherever it likes.
    pub(super) from: u64,
    /// The next one, from the next acknowledgement on.
    pub(super) coming: Option<u64>,
    /// It was named on an earlier stream.
    pub(super) from_before: bool,
    /// Newest number that any stream was sent.
    pub(super) sent: u64,
    /// Up to here utterances are closed, and up to here that was looked at.
    pub(super) closed: u64,
    pub(super) scanned: u64,
    /// Where in the common order the port ended.
    pub(super) ended: Option<u64>,
    /// Outputs that the end caused.
    pub(super) end_tally: Tally,
}

/// A frame that may be needed again.
#[derive(Debug)]
pub(super) struct Entry {
    /// Place in the order over all ports.
    pub(super) position: u64,
    /// As the graph gave it.
    pub(super) frame: Frame,
    /// When the present stream was sent it, and as which of all frames; 0: it was not yet.
    pub(super) sent: Timestamp,
    pub(super) order: u64,
    /// Outputs that it caused.
    pub(super) tally: Tally,
}

impl Lane {
    /// Number of the oldest frame kept, or of the next one.
    pub(super) fn first(&self) -> u64 {
        self.newest + 1 - self.entries.len() as u64
    }

    pub(super) fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first())?).ok()
    }

    /// Everything up to this number is consumed: a place that was named for then holds. One behind it takes an earlier one back.
    pub(super) fn place(&mut self, seq: u64) {
        if let Some(from) = self.coming.take() {
            self.from = if from > seq { 0 } else { from };
        } else if self.from_before {
            // A new worker would have named its own by now.
            self.from = 0;
        }
        self.from_before = false;
    }

    /// Where it ended, if this is the number behind its last frame.
    pub(super) fn ended_at(&self, seq: u64) -> Option<u64> {
        self.ended.filter(|_| seq == self.newest + 1)
    }

    /// Nothing up to this number is needed.
    pub(super) fn skip_to(&mut self, seq: u64) {
        let marks = [
            &mut self.acked,
            &mut self.answered,
            &mut self.released,
            &mut self.closed,
            &mut self.scanned,
        ];
        for mark in marks {
            *mark = (*mark).max(seq);
        }
        self.sent = self.sent.max(seq);
        self.from = 0;
        self.coming = None;
    }

    /// Up to which number what is kept belongs to utterances that are closed, or to none.
    pub(super) fn closed_up_to(&mut self) -> u64 {
        let mut at = self.scanned.max(self.first() - 1) + 1;
        while at <= self.acked {
            let here = self.index(at).and_then(|index| self.entries.get(index));
            let Some(meta) = here.map(|entry| entry.frame.meta) else {
                break;
            };
            let next = self.index(at + 1).and_then(|index| self.entries.get(index));
            let left = next.map(|next| next.frame.meta.utterance != meta.utterance);
            let ended = next.is_none() && self.ended.is_some();
            if meta.utterance == 0 || meta.is_final || ended || left == Some(true) {
                self.closed = at;
            } else if left.is_none() {
                // The next frame will tell.
                break;
            }
            self.scanned = at;
            at += 1;
        }
        self.closed
    }
}

impl Entry {
    pub(super) fn rewind(&mut self) {
        self.order = 0;
        self.tally.rewind();
    }

    pub(super) fn size(&self) -> usize {
        self.frame.payload.size()
    }
}
