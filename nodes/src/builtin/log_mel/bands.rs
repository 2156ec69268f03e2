//! Mel bands: triangles on Slaney's scale (linear below 1 kHz, logarithmic above), each of the same area (M. Slaney, Auditory
//! Toolbox, 1998).

use realfft::num_complex::Complex;

/// Least power, so that silence has a logarithm.
const FLOOR: f32 = 1e-10;

/// Weights of the spectrum's bins in each band.
pub(super) struct Bands {
    /// First bin and weights of each band.
    bands: Vec<(usize, Vec<f32>)>,
}

impl Bands {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a few hundred bands and bins; weights are f32"
    )]
    pub(super) fn new(rate: u32, n_fft: usize, mels: usize, f_min: f64, f_max: f64) -> Self {
        let (low, high) = (to_mel(f_min), to_mel(f_max));
        let edge = |index: usize| to_hz(low + (high - low) * index as f64 / (mels + 1) as f64);
        let hz = |bin: usize| bin as f64 * f64::from(rate) / n_fft as f64;
        let bands = (0..mels).map(|mel| {
            let (from, peak, to) = (edge(mel), edge(mel + 1), edge(mel + 2));
            let weight = |bin: usize| {
                let rise = (hz(bin) - from) / (peak - from);
                let fall = (to - hz(bin)) / (to - peak);
                (rise.min(fall).max(0.0) * 2.0 / (to - from)) as f32
            };
            let first = (0..=n_fft / 2).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
            let weights = (first..=n_fft / 2).map(weight).take_while(|&w| w > 0.0);
            (first, weights.collect())
        });
        Self {
            bands: bands.collect(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.bands.len()
    }

    /// Appends log10 of the power of each band.
    pub(super) fn row(&self, spectrum: &[Complex<f32>], out: &mut Vec<f32>) {
        for (first, weights) in &self.bands {
            let bins = spectrum[*first..].iter().zip(weights);
            let power: f32 = bins.map(|(bin, weight)| bin.norm_sqr() * weight).sum();
            out.push(power.max(FLOOR).log10());
        }
    }
}

/// Where the scale turns from linear to logarithmic, in Hz and in mel.
const TURN: (f64, f64) = (1_000.0, 15.0);
/// Hz of a mel below the turn.
const LINEAR: f64 = 200.0 / 3.0;

/// Mels of which each multiplies the frequency by e, above the turn.
fn mels_per_e() -> f64 {
    27.0 / 6.4_f64.ln()
}

fn to_mel(hz: f64) -> f64 {
    if hz < TURN.0 {
        hz / LINEAR
    } else {
        TURN.1 + (hz / TURN.0).ln() * mels_per_e()
    }
}

fn to_hz(mel: f64) -> f64 {
    if mel < TURN.1 {
        mel * LINEAR
    } else {
        TURN.0 * ((mel - TURN.1) / mels_per_e()).exp()
    }
}
