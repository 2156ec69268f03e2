//! Numbers of frames on the wire, which count by one from 1 on each stream, from those of the graph, which begin where a replay begins
//! and go on when frames are taken back that were not sent yet; and back again for `caused_by` and `ack`.

use std::collections::VecDeque;

/// Jumps that are remembered. Answers to what was sent before an older one are counted for a later frame at worst.
const JUMPS_MAX: usize = 32;

/// The two counts of one input port of one stream.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// Newest number on the wire.
    sent: u64,
    /// From which number on the wire on the graph's count is how far ahead, oldest first.
    jumps: VecDeque<(u64, u64)>,
}

impl Numbering {
    /// The next number on the wire, which is for the frame that the graph gives this number.
    pub(crate) fn send(&mut self, seq: u64) -> u64 {
        self.sent += 1;
        let ahead = seq.saturating_sub(self.sent);
        if ahead != self.jumps.back().map_or(0, |(_, ahead)| *ahead) {
            if self.jumps.len() == JUMPS_MAX {
                self.jumps.pop_front();
            }
            self.jumps.push_back((self.sent, ahead));
        }
        self.sent
    }

    /// The newest `frames` were never sent.
    pub(crate) fn take_back(&mut self, frames: u64) {
        self.sent = self.sent.saturating_sub(frames);
        while self.jumps.back().is_some_and(|(from, _)| *from > self.sent) {
            self.jumps.pop_back();
        }
    }

    /// Whether this is the number behind the last one sent.
    pub(crate) const fn is_next(&self, wire: u64) -> bool {
        wire == self.sent + 1
    }

    /// The graph's number of the frame that has this number on the wire; 0 stays 0. `None`: none was sent with this number.
    pub(crate) fn to_graph(&self, wire: u64) -> Option<u64> {
        if wire > self.sent {
            return None;
        }
        if wire == 0 || self.jumps.is_empty() {
            return Some(wire);
        }
        let found = self.jumps.iter().rev().find(|(from, _)| *from <= wire);
        Some(wire + found.map_or(0, |(_, ahead)| *ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_counts_by_one_over_what_was_taken_back() {
        let mut numbering = Numbering::default();
        // The graph numbers 1 to 5; 4 and 5 are taken back, then 6 to 7; 7 is taken back.
        assert_eq!(
            [1, 2, 3, 4, 5].map(|seq| numbering.send(seq)),
            [1, 2, 3, 4, 5]
        );
        numbering.take_back(2);
        assert_eq!([6, 7].map(|seq| numbering.send(seq)), [4, 5]);
        numbering.take_back(1);
        assert_eq!(numbering.send(8), 5);
        assert_eq!(
            [0, 3, 4, 5, 6].map(|wire| numbering.to_graph(wire)),
            [Some(0), Some(3), Some(6), Some(8), None]
        );
    }

    #[test]
    fn a_stream_that_begins_in_the_middle_counts_from_one() {
        let mut numbering = Numbering::default();
        assert_eq!([41, 42].map(|seq| numbering.send(seq)), [1, 2]);
        assert_eq!(
            [0, 2].map(|wire| numbering.to_graph(wire)),
            [Some(0), Some(42)]
        );
    }

    #[test]
    fn memory_of_it_is_bounded() {
        let mut numbering = Numbering::default();
        for round in 1..=1_000 {
            numbering.send(round * 2);
        }
        assert_eq!(numbering.jumps.len(), JUMPS_MAX);
        assert_eq!(numbering.to_graph(1_000), Some(2_000));
    }
}
