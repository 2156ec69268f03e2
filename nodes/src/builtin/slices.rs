//! Sound cut into short slices without a copy, and mixed down to one channel.

use std::borrow::Cow;
use std::time::Duration;

use tidegate_media::{Audio, MediaTime};

/// Frames up to this length are left whole.
const WHOLE: Duration = Duration::from_millis(40);

/// PCM as slices of 20 ms that share its memory; as it is if it is short or coded.
pub(super) fn slices(at: MediaTime, audio: &Audio) -> Vec<(MediaTime, Audio)> {
    let format = audio.format;
    let size = format.samples_in(Duration::from_millis(20)) as usize;
    let (Some(bytes), true) = (format.codec.sample_bytes(), size > 0) else {
        return vec![(at, audio.clone())];
    };
    if audio.duration() <= WHOLE {
        return vec![(at, audio.clone())];
    }
    let step = size * bytes * usize::from(format.channels.max(1));
    (0..audio.data.len().div_ceil(step))
        .map(|index| {
            let range = index * step..((index + 1) * step).min(audio.data.len());
            let passed = MediaTime::from_samples((index * size) as u64, format.sample_rate);
            let start = at + passed.saturating_since(MediaTime::ZERO);
            (start, Audio::encoded(format, audio.data.slice(range)))
        })
        .collect()
}

/// The mean of all channels.
pub(super) fn mono(audio: &Audio) -> Cow<'_, [f32]> {
    let channels = audio.format.channels;
    let samples = audio.to_f32();
    if channels <= 1 {
        return samples;
    }
    let share = 1.0 / f32::from(channels);
    let frames = samples.chunks_exact(usize::from(channels));
    Cow::Owned(
        frames
            .map(|frame| frame.iter().sum::<f32>() * share)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sound_is_cut_without_a_copy_or_a_loss() {
        let audio = Audio::from_f32(8_000, 2, vec![0.5; 2 * 1_000]);
        let slices = slices(MediaTime::from_micros(7), &audio);
        assert_eq!(slices.len(), 7);
        assert_eq!(slices[1].0, MediaTime::from_micros(20_007));
        assert_eq!(slices.iter().map(|s| s.1.samples).sum::<u32>(), 1_000);
        assert_eq!(slices[0].1.data.as_ptr(), audio.data.as_ptr());
    }

    #[test]
    fn channels_become_their_mean() {
        let audio = Audio::from_f32(8_000, 2, vec![1.0, 0.0, -0.5, -0.5]);
        assert_eq!(*mono(&audio), [0.5, -0.5]);
    }
}
