//! H.264 payloads (RFC 6184 §5): which NAL units a packet has, and where a picture starts.
//!
//! Units leave with Annex B start codes. The library takes the payloads apart; what it does not
//! check (a cut aggregate makes it panic, a fragment without its start is taken for whole) is
//! checked before.

use bytes::Bytes;
use rtc::rtp::codec::h264::H264Packet;
use rtc::rtp::packetizer::Depacketizer as _;

const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const AGGREGATE: u8 = 24;
const FRAGMENT: u8 = 28;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Takes payloads apart; keeps the fragments of one NAL unit.
#[derive(Default)]
pub(super) struct Unpacker {
    library: H264Packet,
    /// Inside a fragmented unit.
    open: bool,
}

impl Unpacker {
    /// Annex B of what `payload` completes, empty within a fragment. `None` if it is malformed.
    pub(super) fn unpack(&mut self, payload: &Bytes) -> Option<Bytes> {
        match kind(payload)? {
            AGGREGATE => {
                aggregate(payload)?;
            }
            FRAGMENT => {
                let flags = *payload.get(1)?;
                let (start, end) = (flags & 0x80 != 0, flags & 0x40 != 0);
                if start == self.open || payload.len() < 3 {
                    return None;
                }
                self.open = !end;
            }
            1..=23 if self.open => return None,
            // The library refuses units as short as a delimiter.
            1..=23 => return Some([&START_CODE[..], payload].concat().into()),
            _ => {}
        }
        self.library.depacketize(payload).ok()
    }
}

/// The type of the first byte; `None` if empty or marked damaged.
fn kind(payload: &[u8]) -> Option<u8> {
    payload
        .first()
        .filter(|first| *first & 0x80 == 0)
        .map(|first| first & 0x1F)
}

/// The units of an aggregate (STAP-A), if its lengths fit.
fn aggregate(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = payload.get(1..)?;
    let mut units = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let unit = after.get(..length).filter(|unit| !unit.is_empty())?;
        units.push(unit);
        rest = &after[length..];
    }
    (!units.is_empty()).then_some(units)
}

/// What `payload` says about where a picture begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// It begins one: a parameter set for the sequence, a delimiter, or a slice from the first
    /// macroblock on.
    Certain,
    /// It may: a unit that may come first in an access unit (§7.4.1.2.3 of H.264), and also in front of
    /// a later slice. It does if the packet before it ended a picture.
    Possible,
    /// It does not.
    No,
}

pub(super) fn start(payload: &[u8]) -> Start {
    match kind(payload) {
        Some(AGGREGATE) => {
            let units = aggregate(payload).unwrap_or_default();
            let certain = units.iter().any(|unit| unit_start(unit) == Start::Certain);
            match units.first() {
                Some(first) if !certain => unit_start(first),
                Some(_) => Start::Certain,
                None => Start::No,
            }
        }
        Some(FRAGMENT) => match payload {
            [_, flags, first, ..] if flags & 0x80 != 0 => slice_start(flags & 0x1F, *first),
            _ => Start::No,
        },
        Some(_) => unit_start(payload),
        None => Start::No,
    }
}

fn unit_start(unit: &[u8]) -> Start {
    match unit {
        [first, rest @ ..] => slice_start(first & 0x1F, rest.first().copied().unwrap_or(0)),
        [] => Start::No,
    }
}

/// `first_mb_in_slice` is the first thing in a slice; zero is written as a single set bit.
fn slice_start(kind: u8, first: u8) -> Start {
    match kind {
        SPS | DELIMITER => Start::Certain,
        1 | IDR if first & 0x80 != 0 => Start::Certain,
        SEI | PPS | 14..=18 => Start::Possible,
        _ => Start::No,
    }
}

/// Whether a picture in Annex B has an IDR slice.
pub(super) fn is_key(picture: &[u8]) -> bool {
    picture
        .windows(4)
        .any(|window| window[..3] == [0, 0, 1] && window[3] & 0x1F == IDR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(payloads: &[&[u8]]) -> Option<Vec<u8>> {
        let mut unpacker = Unpacker::default();
        let mut all = Vec::new();
        for payload in payloads {
            all.extend_from_slice(&unpacker.unpack(&Bytes::copy_from_slice(payload))?);
        }
        Some(all)
    }

    #[test]
    fn single_units_aggregates_and_fragments_become_annex_b() {
        assert_eq!(
            unpack(&[&[0x09, 0xF0], &[0x65, 0x88, 1]]).unwrap(),
            [0, 0, 0, 1, 0x09, 0xF0, 0, 0, 0, 1, 0x65, 0x88, 1]
        );
        assert_eq!(
            unpack(&[&[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2]]).unwrap(),
            [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2]
        );
        assert_eq!(
            unpack(&[&[0x7C, 0x85, 1, 2], &[0x7C, 0x05, 3], &[0x7C, 0x45, 4]]).unwrap(),
            [0, 0, 0, 1, 0x65, 1, 2, 3, 4]
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let bad: [&[&[u8]]; 7] = [
            &[&[]],
            &[&[0x78, 0]],
            &[&[0x78, 0, 9, 0x67]],
            &[&[0x78, 0, 0]],
            &[&[0x7C, 0x05, 3]],
            &[&[0x7C, 0x85, 1], &[0x7C, 0x85, 1]],
            &[&[0x7C, 0x85, 1], &[0x65, 0x88, 1]],
        ];
        for payloads in bad {
            assert_eq!(unpack(payloads), None, "{payloads:x?}");
        }
    }

    #[test]
    fn pictures_start_with_parameter_sets_or_the_first_macroblock() {
        for certain in [
            &[0x67, 1][..],
            &[0x65, 0x88],
            &[0x41, 0x9A],
            &[0x09, 0xF0],
            &[0x78, 0, 2, 0x67, 1],
            &[0x78, 0, 2, 0x06, 1, 0, 2, 0x65, 0x88],
            &[0x7C, 0x85, 0x88],
        ] {
            assert_eq!(start(certain), Start::Certain, "{certain:x?}");
        }
        for possible in [
            &[0x06, 5][..],
            &[0x68, 0xCE],
            &[0x0E, 1],
            &[0x78, 0, 2, 0x06, 1, 0, 2, 0x41, 0x1A],
            &[0x7C, 0x86, 5],
        ] {
            assert_eq!(start(possible), Start::Possible, "{possible:x?}");
        }
        for no in [&[0x41, 0x1A][..], &[0x7C, 0x05, 0x88], &[0x78, 0], &[]] {
            assert_eq!(start(no), Start::No, "{no:x?}");
        }
        assert!(is_key(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65]) && !is_key(&[0, 0, 1, 0x41]));
    }
}
