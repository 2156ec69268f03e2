//! What this crate's own tests share: a seeded generator and signals. Not part of the library.

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Uniform in 0..1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

/// A sine of `hz` at `rate` and half of full scale, `count` samples, starting `from` samples into it.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "test signals are short and floats by nature"
)]
pub(crate) fn tone(hz: f64, rate: u32, from: usize, count: usize) -> Vec<f32> {
    let step = std::f64::consts::TAU * hz / f64::from(rate);
    (from..from + count)
        .map(|i| (0.5 * (step * i as f64).sin()) as f32)
        .collect()
}

/// Mean square of the samples.
#[expect(clippy::cast_precision_loss, reason = "test signals are short")]
pub(crate) fn energy(samples: &[f32]) -> f64 {
    let sum: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    sum / samples.len().max(1) as f64
}

/// Fits a sine of `hz` to samples that start `from` samples into [`tone`]: the signal-to-noise ratio in dB, and how late
/// it is in seconds (modulo a period).
#[expect(clippy::cast_precision_loss, reason = "test signals are short")]
pub(crate) fn fit(hz: f64, rate: u32, from: usize, samples: &[f32]) -> (f64, f64) {
    let step = std::f64::consts::TAU * hz / f64::from(rate);
    let (mut ss, mut cc, mut sc, mut ys, mut yc, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (i, &y) in samples.iter().enumerate() {
        let (sin, cos) = (step * (from + i) as f64).sin_cos();
        let y = f64::from(y);
        ss += sin * sin;
        cc += cos * cos;
        sc += sin * cos;
        ys += y * sin;
        yc += y * cos;
        yy += y * y;
    }
    let det = ss * cc - sc * sc;
    let (a, b) = ((ys * cc - yc * sc) / det, (yc * ss - ys * sc) / det);
    let signal = a * ys + b * yc;
    let noise = (yy - signal).max(1e-20);
    let late = -b.atan2(a) / (std::f64::consts::TAU * hz);
    (10.0 * (signal / noise).log10(), late)
}

/// Signal-to-noise ratio in dB of `actual` against what it should be.
pub(crate) fn snr_db(expected: &[f32], actual: &[f32]) -> f64 {
    assert_eq!(expected.len(), actual.len());
    let noise: Vec<f32> = expected.iter().zip(actual).map(|(e, a)| e - a).collect();
    10.0 * (energy(expected) / energy(&noise).max(1e-20)).log10()
}

/// Something like voiced speech: a buzz whose pitch glides around 130 Hz through a vowel's spectrum, in syllables of a
/// quarter second, so that it has pitch, energy and change, and passes for speech with the Opus encoder.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "test signals are short and floats by nature"
)]
pub(crate) fn vowel(rate: u32, from: usize, count: usize) -> Vec<f32> {
    use std::f64::consts::{PI, TAU};
    (from..from + count)
        .map(|i| {
            let time = i as f64 / f64::from(rate);
            let phase = TAU * 130.0 * time - 8.0 * (TAU * 1.5 * time).cos();
            let sum: f64 = (1..=16_u8)
                .map(|k| {
                    let hz = 130.0 * f64::from(k);
                    let formant = |centre: f64| (-((hz - centre) / 180.0).powi(2)).exp();
                    (0.05 + formant(650.0) + 0.6 * formant(1_250.0)) * (phase * f64::from(k)).sin()
                })
                .sum();
            let swell = (PI * 4.0 * time).sin().powi(2);
            (0.25 * swell * sum) as f32
        })
        .collect()
}
