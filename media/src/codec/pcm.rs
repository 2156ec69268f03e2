//! Samples as numbers: 16-bit and float, and from one channel layout to another.

use std::borrow::Cow;

use crate::format::Codec;
use crate::frame::Audio;
pub use crate::frame::quantise;

/// A 16-bit sample as a float in −1..1.
#[must_use]
pub fn widen(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}

/// Interleaved samples with `from` channels as `to` channels; borrowed when they are equal.
///
/// One channel is copied to all. To one channel, and between any other counts, the mean of all channels is used, so that
/// nothing that is heard goes missing; layouts beyond stereo are not told apart. Zeros count as one.
#[must_use]
pub fn map_channels(samples: &[f32], from: u8, to: u8) -> Cow<'_, [f32]> {
    let (from, to) = (usize::from(from.max(1)), usize::from(to.max(1)));
    if from == to {
        return Cow::Borrowed(samples);
    }
    let mut mapped = Vec::with_capacity(samples.len() / from * to);
    let share = 1.0 / f32::from(u8::try_from(from).unwrap_or(u8::MAX));
    for frame in samples.chunks_exact(from) {
        let mean = frame.iter().sum::<f32>() * share;
        mapped.extend(std::iter::repeat_n(mean, to));
    }
    Cow::Owned(mapped)
}

/// PCM audio as float PCM with `channels` channels, without a copy where it is that already; `None` for coded audio.
#[must_use]
pub fn to_float(audio: &Audio, channels: u8) -> Option<Audio> {
    if !audio.format.codec.is_pcm() {
        return None;
    }
    if audio.format.codec == Codec::PcmF32 && audio.format.channels == channels {
        return Some(audio.clone());
    }
    let samples = audio.to_f32();
    let mapped = map_channels(&samples, audio.format.channels, channels).into_owned();
    Some(Audio::from_f32(audio.format.sample_rate, channels, mapped))
}

/// PCM audio as 16-bit PCM, without a copy where it is that already; `None` for coded audio.
#[must_use]
pub fn to_s16(audio: &Audio) -> Option<Audio> {
    match audio.format.codec {
        Codec::PcmS16 => Some(audio.clone()),
        Codec::PcmF32 => Some(Audio::from_s16(
            audio.format.sample_rate,
            audio.format.channels,
            audio.to_s16().into_owned(),
        )),
        Codec::Opus | Codec::Pcmu | Codec::Pcma => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mono_goes_to_all_channels_and_many_become_their_mean() {
        assert_eq!(*map_channels(&[0.5, -1.0], 1, 2), [0.5, 0.5, -1.0, -1.0]);
        assert_eq!(*map_channels(&[0.5, 0.0, 1.0, -1.0], 2, 1), [0.25, 0.0]);
        assert_eq!(*map_channels(&[0.3, 0.6, 0.9], 3, 2), [0.6, 0.6]);
        assert!(matches!(map_channels(&[0.1], 1, 1), Cow::Borrowed(_)));
    }

    #[test]
    fn sixteen_bits_survive_the_way_through_float() {
        let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let audio = Audio::from_s16(8_000, 1, all.clone());
        let float = to_float(&audio, 1).expect("it is PCM");
        assert_eq!(*to_s16(&float).expect("it is PCM").to_s16(), all);
    }
}
