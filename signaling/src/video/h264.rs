//! H.264 payloads (RFC 6184 §5): which NAL units a packet has, and where a picture starts.
//!
//! Units leave with Annex B start codes. The library takes the payloads apart; what it does not
//! check (a cut aggregate makes it panic, a fragment without its start is taken for whole) is
//! checked before.

use bytes::Bytes;
use rtc::rtp::codec::h264::H264Packet;
use rtc::rtp::packetizer::Depacketizer as _;

const IDR: u8 = 5;
const SPS: u8 = 7;
const DELIMITER: u8 = 9;
const AGGREGATE: u8 = 24;
const FRAGMENT: u8 = 28;

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

/// Whether `payload` begins a picture: parameter sets, a delimiter, or a slice from the first
/// macroblock on.
pub(super) fn is_start(payload: &[u8]) -> bool {
    match kind(payload) {
        Some(AGGREGATE) => aggregate(payload)
            .and_then(|units| units.first().map(|u| unit_starts(u)))
            .unwrap_or(false),
        Some(FRAGMENT) => match payload {
            [_, flags, first, ..] if flags & 0x80 != 0 => slice_starts(flags & 0x1F, *first),
            _ => false,
        },
        Some(_) => unit_starts(payload),
        None => false,
    }
}

fn unit_starts(unit: &[u8]) -> bool {
    match unit {
        [first, second, ..] => slice_starts(first & 0x1F, *second),
        [first] => first & 0x1F == DELIMITER,
        [] => false,
    }
}

/// `first_mb_in_slice` is the first thing in a slice; zero is written as a single set bit.
fn slice_starts(kind: u8, first: u8) -> bool {
    matches!(kind, SPS | DELIMITER) || (matches!(kind, 1 | IDR) && first & 0x80 != 0)
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
            unpack(&[&[0x65, 0x88, 1]]).unwrap(),
            [0, 0, 0, 1, 0x65, 0x88, 1]
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
        assert!(is_start(&[0x67, 1]) && is_start(&[0x65, 0x88]) && is_start(&[0x41, 0x9A]));
        assert!(is_start(&[0x78, 0, 2, 0x67, 1]) && is_start(&[0x7C, 0x85, 0x88]));
        assert!(!is_start(&[0x41, 0x1A]) && !is_start(&[0x7C, 0x05, 0x88]) && !is_start(&[]));
        assert!(is_key(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65]) && !is_key(&[0, 0, 1, 0x41]));
    }
}
