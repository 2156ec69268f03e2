//! What encoded pictures say of themselves without being decoded: whether they are key frames.
//!
//! Looks at a frame's head only, never past its end; what it cannot read it does not call a key frame.

use crate::format::VideoCodec;

/// Whether a picture can be decoded without any earlier one. VP8: a whole frame (RFC 6386); H.264: an access unit in
/// Annex B form (ITU-T H.264).
#[must_use]
pub fn is_key(codec: VideoCodec, data: &[u8]) -> bool {
    match codec {
        VideoCodec::Vp8 => is_vp8_key(data),
        VideoCodec::H264 => {
            nal_units(data).any(|unit| unit.first().is_some_and(|head| head & 0x1F == IDR))
        }
    }
}

/// Type of a NAL unit that holds a slice of an IDR picture (H.264 table 7-1).
const IDR: u8 = 5;

/// A key frame's first bit is zero, and the start code follows its three-byte tag (RFC 6386 §9.1).
fn is_vp8_key(data: &[u8]) -> bool {
    matches!(data, [tag, _, _, 0x9D, 0x01, 0x2A, ..] if tag & 1 == 0)
}

/// Width and height in pixels that a VP8 key frame names (RFC 6386 §9.1).
#[must_use]
pub fn vp8_size(data: &[u8]) -> Option<(u16, u16)> {
    if !is_vp8_key(data) {
        return None;
    }
    let [width_low, width_high, height_low, height_high] = *data.get(6..10)? else {
        return None;
    };
    // The upper two bits are a scaling hint.
    let join = |low, high| u16::from_le_bytes([low, high]) & 0x3FFF;
    Some((join(width_low, width_high), join(height_low, height_high)))
}

/// The NAL units of a byte stream, without their start codes (H.264 Annex B.1).
pub fn nal_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(data);
    std::iter::from_fn(move || {
        let unit = rest?;
        let (end, next) = match start_code(unit) {
            Some(at) => (at, Some(&unit[at + 3..])),
            None => (unit.len(), None),
        };
        rest = next;
        Some(trim_zeros(&unit[..end]))
    })
}

fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    start_code(data).map(|at| &data[at + 3..])
}

/// Where the next `00 00 01` begins.
fn start_code(data: &[u8]) -> Option<usize> {
    data.windows(3).position(|window| window == [0, 0, 1])
}

/// A unit never ends in zero: those are padding or belong to the next start code (H.264 Annex B.1).
fn trim_zeros(unit: &[u8]) -> &[u8] {
    let end = unit
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    &unit[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn vp8_key_frames_are_told_by_tag_and_start_code() {
        let key = [
            0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x41, 0xFF,
        ];
        assert!(is_key(VideoCodec::Vp8, &key));
        assert_eq!(vp8_size(&key), Some((640, 360)));
        let mut delta = key;
        delta[0] |= 1;
        assert!(!is_key(VideoCodec::Vp8, &delta));
        assert!(!is_key(VideoCodec::Vp8, &key[..5]));
    }

    #[test]
    fn h264_access_units_are_key_frames_when_they_hold_an_idr_slice() {
        let key = [
            0, 0, 0, 1, 0x67, 0x42, 0, 0, 0, 1, 0x68, 0xCE, 0, 0, 1, 0x65, 0x88,
        ];
        let units: Vec<&[u8]> = nal_units(&key).collect();
        assert_eq!(units, [&[0x67, 0x42][..], &[0x68, 0xCE], &[0x65, 0x88]]);
        assert!(is_key(VideoCodec::H264, &key));
        assert!(!is_key(VideoCodec::H264, &[0, 0, 0, 1, 0x41, 0x9A]));
        assert!(!is_key(VideoCodec::H264, &[0x65, 0x88]));
    }

    #[test]
    fn hostile_bytes_never_panic() {
        let mut rng = Rng::new(4);
        for _ in 0..5_000 {
            let bytes: Vec<u8> = (0..rng.below(24))
                .map(|_| rng.next().to_le_bytes()[0] & 3)
                .collect();
            let _ = (
                is_key(VideoCodec::Vp8, &bytes),
                is_key(VideoCodec::H264, &bytes),
                vp8_size(&bytes),
            );
        }
    }
}
