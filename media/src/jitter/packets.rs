//! The packets that wait for their turn, in order, with their numbers unwrapped.
//!
//! Bounded by count and bytes. Numbers that leap too far are taken for a restarted sender only when a second packet
//! confirms them (RFC 3550 §A.1), so that one stray packet does no harm.

use std::collections::VecDeque;

use super::step::Packet;
use crate::frame::Rtp;
use crate::time::Timestamp;

/// A packet with its numbers unwrapped.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Sequence number, counted on across wraps.
    pub(super) sequence: i64,
    /// Timestamp, counted on across wraps, in clock units from the stream's first packet.
    pub(super) timestamp: i64,
    pub(super) arrived: Timestamp,
    pub(super) packet: Packet,
}

/// Counts 16-bit sequence numbers and 32-bit timestamps on across their wraps.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwrapper {
    /// The newest packet's numbers: raw, then counted on.
    newest: Option<(Rtp, i64, i64)>,
    /// The sequence number that would confirm a leap.
    suspect: Option<u16>,
}

/// What a packet's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// They continue the stream: sequence number and timestamp counted on.
    Known(i64, i64),
    /// They lie far off; another packet must confirm them.
    Suspect,
    /// The sender began anew; call [`Unwrapper::unwrap`] again.
    Restart,
}

impl Unwrapper {
    /// Farthest leap within a stream, in packets: 20 s of 20 ms packets.
    const LEAP_MAX: u16 = 1_000;

    pub(super) fn unwrap(&mut self, rtp: Rtp) -> Numbers {
        let Some((newest, sequence, timestamp)) = self.newest else {
            self.newest = Some((rtp, 0, 0));
            return Numbers::Known(0, 0);
        };
        let packets = signed16(rtp.sequence.wrapping_sub(newest.sequence));
        let units = signed32(rtp.timestamp.wrapping_sub(newest.timestamp));
        // Numbers and times that go opposite ways make no sense either.
        let contrary = packets.signum() * i32::from(i16::try_from(units.signum()).unwrap_or(0)) < 0;
        let far = packets.unsigned_abs() > u32::from(Self::LEAP_MAX) || contrary;
        if far {
            if self.suspect == Some(rtp.sequence) {
                *self = Self::default();
                return Numbers::Restart;
            }
            self.suspect = Some(rtp.sequence.wrapping_add(1));
            return Numbers::Suspect;
        }
        self.suspect = None;
        let known = (sequence + i64::from(packets), timestamp + i64::from(units));
        if packets > 0 {
            self.newest = Some((rtp, known.0, known.1));
        }
        Numbers::Known(known.0, known.1)
    }
}

/// Two's complement reading of a wrapped difference.
fn signed16(difference: u16) -> i32 {
    i32::from(difference.cast_signed())
}

const fn signed32(difference: u32) -> i32 {
    difference.cast_signed()
}

/// What became of an inserted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Insert {
    /// It is the youngest.
    Appended,
    /// It was overtaken and now has its place.
    Reordered,
    /// It is there already.
    Duplicate,
}

/// Packets in the order of their sequence numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Packets {
    held: VecDeque<Held>,
    bytes: usize,
}

impl Packets {
    pub(super) fn insert(&mut self, held: Held) -> Insert {
        let mut at = self.held.len();
        while at > 0 && self.held[at - 1].sequence >= held.sequence {
            if self.held[at - 1].sequence == held.sequence {
                return Insert::Duplicate;
            }
            at -= 1;
        }
        self.bytes += held.packet.payload.len();
        let appended = at == self.held.len();
        self.held.insert(at, held);
        if appended {
            Insert::Appended
        } else {
            Insert::Reordered
        }
    }

    pub(super) fn first(&self) -> Option<&Held> {
        self.held.front()
    }

    pub(super) fn pop(&mut self) -> Option<Held> {
        let held = self.held.pop_front()?;
        self.bytes -= held.packet.payload.len();
        Some(held)
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Which of the last 128 packets before the next one were played.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Played(u128);

impl Played {
    /// The next packet lies so many further on; those passed over were not played.
    pub(super) fn shift(&mut self, packets: i64) {
        let passed = u32::try_from(packets).unwrap_or(u32::MAX);
        self.0 = self.0.checked_shl(passed).unwrap_or(0);
    }

    /// The packet right before the next one was played.
    pub(super) const fn note(&mut self) {
        self.0 |= 1;
    }

    /// Whether the packet so many before the next one was played.
    pub(super) fn contains(self, back: i64) -> bool {
        let back = u32::try_from(back - 1).unwrap_or(u32::MAX);
        self.0.checked_shr(back).unwrap_or(0) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtp(sequence: u16, timestamp: u32) -> Rtp {
        Rtp {
            sequence,
            timestamp,
            marker: false,
        }
    }

    #[test]
    fn numbers_count_on_across_wraps_in_both_directions() {
        let mut unwrapper = Unwrapper::default();
        let start = u32::MAX - 480;
        assert_eq!(unwrapper.unwrap(rtp(65_535, start)), Numbers::Known(0, 0));
        let wrapped = rtp(1, start.wrapping_add(1_920));
        assert_eq!(unwrapper.unwrap(wrapped), Numbers::Known(2, 1_920));
        let overtaken = rtp(0, start.wrapping_add(960));
        assert_eq!(unwrapper.unwrap(overtaken), Numbers::Known(1, 960));
        assert_eq!(
            unwrapper.unwrap(rtp(2, start.wrapping_add(2_880))),
            Numbers::Known(3, 2_880)
        );
    }

    #[test]
    fn packets_played_are_remembered_for_a_while() {
        let mut played = Played::default();
        played.shift(1);
        played.note();
        played.shift(3);
        played.note();
        assert!(played.contains(1) && played.contains(4) && !played.contains(2));
        played.shift(200);
        assert!(!played.contains(201) && !played.contains(1_000_000));
    }

    #[test]
    fn a_stray_packet_is_ignored_and_a_restart_needs_two() {
        let mut unwrapper = Unwrapper::default();
        assert_eq!(unwrapper.unwrap(rtp(10, 0)), Numbers::Known(0, 0));
        assert_eq!(unwrapper.unwrap(rtp(40_000, 77)), Numbers::Suspect);
        assert_eq!(unwrapper.unwrap(rtp(11, 960)), Numbers::Known(1, 960));
        assert_eq!(unwrapper.unwrap(rtp(20_000, 5)), Numbers::Suspect);
        assert_eq!(unwrapper.unwrap(rtp(20_001, 965)), Numbers::Restart);
        assert_eq!(unwrapper.unwrap(rtp(20_001, 965)), Numbers::Known(0, 0));
        assert_eq!(unwrapper.unwrap(rtp(20_002, 5)), Numbers::Suspect);
    }
}
