//! What an Opus packet says of itself, read from its first bytes without decoding (RFC 6716 §3).

/// The clock that Opus packets are counted in, whatever rate they were made at (RFC 7587 §4.1).
pub const OPUS_CLOCK: u32 = 48_000;

/// Longest packet: 120 ms (RFC 6716 §3.2.5, R5), in samples of [`OPUS_CLOCK`].
pub const OPUS_SAMPLES_MAX: u32 = 5_760;

/// Playing time of an Opus packet in samples of 48 kHz, or `None` if it is malformed (RFC 6716 §3.1, §3.2).
#[must_use]
pub fn opus_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3F),
    };
    let samples = frames * frame_samples(toc);
    (1..=OPUS_SAMPLES_MAX).contains(&samples).then_some(samples)
}

/// Channels that were encoded: bit `s` of the first byte (RFC 6716 §3.1); 0 for an empty packet.
#[must_use]
pub fn opus_channels(packet: &[u8]) -> u8 {
    packet.first().map_or(0, |toc| 1 + (toc >> 2 & 1))
}

/// Whether the packet carries a low-rate copy of the packet before it (LBRR, RFC 6716 §4.2.4).
///
/// The flags stand first in the SILK layer's range-coded data, each with probability one half, so they are plain bits:
/// for each channel one activity flag for every 20 ms, then the LBRR flag.
#[must_use]
pub fn opus_carries_fec(packet: &[u8]) -> bool {
    let Some(&toc) = packet.first() else {
        return false;
    };
    // CELT alone has no such copy.
    if toc & 0x80 != 0 {
        return false;
    }
    let silk_frames = frame_samples(toc).div_ceil(960);
    let Some(&bits) = first_frame(packet)
        .filter(|&at| at + 1 < packet.len())
        .and_then(|at| packet.get(at))
    else {
        return false;
    };
    (1..=u32::from(opus_channels(packet))).any(|channel| {
        bits & 0x80_u8
            .checked_shr(channel * (silk_frames + 1) - 1)
            .unwrap_or(0)
            != 0
    })
}

/// Whether a packet says only "silence goes on": discontinuous transmission sends at most a byte after the TOC.
#[must_use]
pub const fn opus_is_dtx(packet: &[u8]) -> bool {
    packet.len() <= 2
}

/// Samples of one frame at 48 kHz: the configuration number's table (RFC 6716 §3.1, table 2).
const fn frame_samples(toc: u8) -> u32 {
    let config = toc >> 3;
    match config {
        0..=11 => [480, 960, 1_920, 2_880][(config & 3) as usize],
        12..=15 => [480, 960][(config & 1) as usize],
        _ => [120, 240, 480, 960][(config & 3) as usize],
    }
}

/// Where the first frame's data begins, by the packet's code (RFC 6716 §3.2).
fn first_frame(packet: &[u8]) -> Option<usize> {
    match packet.first()? & 3 {
        0 | 1 => Some(1),
        2 => Some(1 + length_bytes(*packet.get(1)?)),
        _ => {
            let count = *packet.get(1)?;
            let mut at = 2;
            if count & 0x40 != 0 {
                while *packet.get(at)? == 255 {
                    at += 1;
                }
                at += 1;
            }
            if count & 0x80 != 0 {
                for _ in 1..(count & 0x3F) {
                    at += length_bytes(*packet.get(at)?);
                }
            }
            Some(at)
        }
    }
}

/// Bytes that a frame length takes (RFC 6716 §3.2.1).
const fn length_bytes(first: u8) -> usize {
    if first < 252 { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn durations_agree_with_libopus_for_every_first_byte() {
        let mut rng = Rng::new(1);
        for toc in 0..=255_u8 {
            for _ in 0..8 {
                let packet = [toc, rng.next().to_le_bytes()[0], 0, 0];
                let theirs = opus::packet::get_nb_samples(&packet, 48_000)
                    .ok()
                    .filter(|&samples| samples > 0)
                    .and_then(|samples| u32::try_from(samples).ok());
                assert_eq!(opus_samples(&packet), theirs, "{packet:?}");
            }
        }
        assert_eq!(opus_samples(&[]), None);
        assert_eq!(opus_samples(&[3]), None);
    }

    #[test]
    fn hostile_packets_never_panic() {
        let mut rng = Rng::new(2);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..rng.below(12))
                .map(|_| rng.next().to_le_bytes()[0])
                .collect();
            let _ = (
                opus_samples(&bytes),
                opus_carries_fec(&bytes),
                opus_channels(&bytes),
            );
        }
    }
}
