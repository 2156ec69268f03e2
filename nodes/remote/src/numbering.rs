//! Numbers of frames on the wire, which count by one, from those of the graph, which go on when an interrupt takes frames back that
//! were not sent yet; and back again for `caused_by` and `ack`.

use std::collections::VecDeque;

/// Takings-back that are remembered. Answers to what was sent before an older one are counted for a later frame at worst.
const GAPS_MAX: usize = 32;

/// The two counts of one input port.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// How far the graph's count is ahead now.
    ahead: u64,
    /// From which number on the wire on it is how far ahead, oldest first.
    gaps: VecDeque<(u64, u64)>,
}

impl Numbering {
    /// The number on the wire of the frame that the graph gives this number.
    pub(crate) const fn to_wire(&self, seq: u64) -> u64 {
        seq.saturating_sub(self.ahead)
    }

    /// The newest `frames` up to the graph's `newest` were never sent.
    pub(crate) fn skip(&mut self, frames: u64, newest: u64) {
        if frames == 0 {
            return;
        }
        if self.gaps.len() == GAPS_MAX {
            self.gaps.pop_front();
        }
        self.ahead += frames;
        self.gaps
            .push_back(((newest + 1).saturating_sub(self.ahead), self.ahead));
    }

    /// The graph's number of the frame that has this number on the wire; 0 stays 0.
    pub(crate) fn to_graph(&self, wire: u64) -> u64 {
        if self.ahead == 0 || wire == 0 {
            return wire;
        }
        let found = self.gaps.iter().rev().find(|(from, _)| *from <= wire);
        // The worker may name any number; what was never sent is the graph's to disbelieve.
        wire.saturating_add(found.map_or(0, |(_, ahead)| *ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_counts_by_one_over_what_was_taken_back() {
        let mut numbering = Numbering::default();
        // The graph numbers 1 to 5; 4 and 5 are taken back, then 6 to 7; 7 is taken back.
        numbering.skip(2, 5);
        assert_eq!([6, 7].map(|seq| numbering.to_wire(seq)), [4, 5]);
        numbering.skip(1, 7);
        assert_eq!(numbering.to_wire(8), 5);
        assert_eq!(
            [0, 3, 4, 5].map(|wire| numbering.to_graph(wire)),
            [0, 3, 6, 8]
        );
    }

    #[test]
    fn memory_of_it_is_bounded() {
        let mut numbering = Numbering::default();
        for round in 1..=1_000 {
            numbering.skip(1, round * 2);
        }
        assert_eq!(numbering.gaps.len(), GAPS_MAX);
        assert_eq!(numbering.to_graph(u64::MAX), u64::MAX);
        assert_eq!(numbering.to_graph(numbering.to_wire(2_001)), 2_001);
    }
}
