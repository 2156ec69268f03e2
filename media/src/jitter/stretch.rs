//! Time stretching of short pieces of sound: takes a pitch period out or puts one in, by overlap-add at the lag at which
//! the sound resembles itself best (WSOLA; Verhelst and Roelands 1993).
//!
//! Pitch and timbre stay. A piece that does not resemble itself, a consonant for example, is left alone unless the
//! caller insists or it is nearly silent. Works on one piece at a time, without delay and without state.

use std::ops::Range;

/// How hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Only where it cannot be heard.
    Careful,
    /// Also where it can be heard a little.
    Urgent,
}

/// Stretches interleaved float samples of one format.
#[derive(Clone, Copy, Debug)]
pub struct Stretcher {
    rate: usize,
    channels: usize,
}

/// Where a piece resembles itself.
#[derive(Clone, Copy, Debug)]
struct Match {
    lag: usize,
    /// Normalised cross-correlation at that lag, −1 to 1.
    likeness: f32,
}

impl Stretcher {
    /// Mean square below which sound counts as silence: −50 dB of full scale.
    const SILENCE: f32 = 1e-5;

    /// For `channels` channels at `rate` Hz.
    #[must_use]
    pub fn new(rate: u32, channels: u8) -> Self {
        Self {
            rate: rate as usize,
            channels: usize::from(channels.max(1)),
        }
    }

    /// Takes up to `most` samples of each channel out of the piece; says how many. The piece's ends stay as they are.
    pub fn shrink(&self, piece: &mut Vec<f32>, most: usize, effort: Effort) -> usize {
        let Some(lag) = self.find(piece, most, effort) else {
            return 0;
        };
        let overlap = self.overlap(piece.len() / self.channels);
        for i in 0..overlap * self.channels {
            let share = ratio(i / self.channels + 1, overlap + 1);
            let later = piece[i + lag * self.channels];
            piece[i] = piece[i] * (1.0 - share) + later * share;
        }
        piece.drain(overlap * self.channels..(overlap + lag) * self.channels);
        lag
    }

    /// Puts up to `most` samples of each channel into the piece; says how many. The piece's ends stay as they are.
    pub fn grow(&self, piece: &mut Vec<f32>, most: usize, effort: Effort) -> usize {
        let Some(lag) = self.find(piece, most, effort) else {
            return 0;
        };
        let overlap = self.overlap(piece.len() / self.channels);
        let mut longer = Vec::with_capacity(piece.len() + lag * self.channels);
        longer.extend_from_slice(&piece[..lag * self.channels]);
        for i in 0..overlap * self.channels {
            let share = ratio(i / self.channels + 1, overlap + 1);
            let onward = piece[i + lag * self.channels];
            longer.push(onward * (1.0 - share) + piece[i] * share);
        }
        longer.extend_from_slice(&piece[overlap * self.channels..]);
        *piece = longer;
        lag
    }

    /// The best lag of at most `most` samples, if it is good enough.
    fn find(&self, piece: &[f32], most: usize, effort: Effort) -> Option<usize> {
        let mono = self.mono(piece);
        let frames = mono.len();
        let overlap = self.overlap(frames);
        // Lags from 2.5 ms (a pitch of 400 Hz) to 15 ms (66 Hz).
        let shortest = self.rate / 400;
        let longest = (self.rate * 15 / 1_000)
            .min(frames.saturating_sub(overlap))
            .min(most);
        if shortest == 0 || longest < shortest || overlap == 0 {
            return None;
        }
        if power(&mono) < Self::SILENCE {
            return Some(longest);
        }
        let least = match effort {
            Effort::Careful => 0.85,
            Effort::Urgent => 0.5,
        };
        let best = self.search(&mono, overlap, shortest..longest + 1);
        (best.likeness >= least).then_some(best.lag)
    }

    /// Searches coarsely at about 8 kHz, then around the best at the full rate.
    fn search(&self, mono: &[f32], window: usize, lags: Range<usize>) -> Match {
        let step = (self.rate / 8_000).max(1);
        let coarse: Vec<f32> = mono
            .chunks_exact(step)
            .map(|chunk| chunk.iter().sum::<f32>())
            .collect();
        let rough = best_match(
            &coarse,
            window / step,
            lags.start / step..lags.end.div_ceil(step),
        );
        let centre = rough.lag * step;
        let near = centre.saturating_sub(step).max(lags.start)..(centre + step + 1).min(lags.end);
        best_match(mono, window, near)
    }

    fn mono(&self, piece: &[f32]) -> Vec<f32> {
        piece
            .chunks_exact(self.channels)
            .map(|frame| frame.iter().sum())
            .collect()
    }

    /// Length of the cross-fade: 5 ms, at most a quarter of the piece.
    const fn overlap(&self, frames: usize) -> usize {
        let usual = self.rate / 200;
        if usual < frames / 4 {
            usual
        } else {
            frames / 4
        }
    }
}

/// Compares the first `window` samples with those a lag later, for each lag; the likest wins.
fn best_match(mono: &[f32], window: usize, lags: Range<usize>) -> Match {
    let mut best = Match {
        lag: lags.start,
        likeness: -1.0,
    };
    let last = mono.len().saturating_sub(window);
    let head = &mono[..window.min(mono.len())];
    for lag in lags.start..lags.end.min(last + 1) {
        let (mut cross, mut ours, mut theirs) = (0.0_f32, 1e-9_f32, 1e-9_f32);
        for (a, b) in head.iter().zip(&mono[lag..lag + head.len()]) {
            cross += a * b;
            ours += a * a;
            theirs += b * b;
        }
        let likeness = cross / (ours * theirs).sqrt();
        if likeness > best.likeness {
            best = Match { lag, likeness };
        }
    }
    best
}

fn power(mono: &[f32]) -> f32 {
    mono.iter().map(|s| s * s).sum::<f32>() / ratio(mono.len(), 1).max(1.0)
}

/// `part` of `whole` as a float; both are sample counts of one piece.
fn ratio(part: usize, whole: usize) -> f32 {
    let small = |n: usize| f32::from(u16::try_from(n).unwrap_or(u16::MAX));
    small(part) / small(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{energy, fit, tone, vowel};

    /// Steps between neighbouring samples: a click is one that the sound itself does not have.
    fn steepest(samples: &[f32]) -> f32 {
        samples
            .windows(2)
            .map(|w| (w[1] - w[0]).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_keeps_pitch_level_and_phase_when_shortened_and_lengthened() {
        for rate in [8_000, 16_000, 48_000] {
            let stretcher = Stretcher::new(rate, 1);
            for (longer, mut piece) in
                [false, true].map(|g| (g, tone(220.0, rate, 0, rate as usize / 50)))
            {
                let before = piece.len();
                let most = rate as usize / 100;
                let moved = if longer {
                    stretcher.grow(&mut piece, most, Effort::Careful)
                } else {
                    stretcher.shrink(&mut piece, most, Effort::Careful)
                };
                assert!(
                    moved >= rate as usize / 400 && moved <= most,
                    "{rate}: {moved}"
                );
                assert_eq!(
                    piece.len(),
                    if longer {
                        before + moved
                    } else {
                        before - moved
                    }
                );
                let (snr, _) = fit(220.0, rate, 0, &piece);
                assert!(snr > 20.0, "{rate}, longer {longer}: {snr:.1} dB");
            }
        }
    }

    #[test]
    fn speech_is_stretched_without_clicks_and_at_its_ends_unchanged() {
        let stretcher = Stretcher::new(16_000, 1);
        let sound = vowel(16_000, 0, 16_000);
        let (mut out, mut moved) = (Vec::new(), 0);
        for piece in sound.chunks(320) {
            let mut piece = piece.to_vec();
            let (first, last) = (piece[0], piece[319]);
            moved += stretcher.shrink(&mut piece, 160, Effort::Careful);
            assert!((piece[0] - first).abs() < 0.02);
            assert!((piece[piece.len() - 1] - last).abs() < f32::EPSILON);
            out.extend(piece);
        }
        assert_eq!(out.len() + moved, sound.len());
        assert!(moved > 4_000, "only {moved} of 16000 samples");
        assert!(steepest(&out) < 1.1 * steepest(&sound));
        assert!((energy(&out) / energy(&sound) - 1.0).abs() < 0.25);
    }

    #[test]
    fn noise_is_left_alone_unless_it_is_silence() {
        let mut rng = crate::testing::Rng::new(5);
        let stretcher = Stretcher::new(16_000, 2);
        #[expect(clippy::cast_possible_truncation, reason = "a test signal")]
        let mut noise: Vec<f32> = (0..640).map(|_| rng.unit() as f32 - 0.5).collect();
        assert_eq!(stretcher.shrink(&mut noise, 160, Effort::Careful), 0);
        for sample in &mut noise {
            *sample *= 0.001;
        }
        assert_eq!(stretcher.shrink(&mut noise, 160, Effort::Careful), 160);
        assert_eq!(noise.len(), 320);
    }

    #[test]
    fn pieces_too_short_to_stretch_stay_as_they_are() {
        let stretcher = Stretcher::new(48_000, 1);
        for frames in [0, 1, 7, 120] {
            let mut piece = vec![0.0; frames];
            assert_eq!(stretcher.shrink(&mut piece, 480, Effort::Urgent), 0);
            assert_eq!(stretcher.grow(&mut piece, 480, Effort::Urgent), 0);
            assert_eq!(piece.len(), frames);
        }
    }
}
