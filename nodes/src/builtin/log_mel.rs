//! `audio.log_mel`: the logarithm of power in mel bands, the input of most speech recognisers.
//!
//! With its defaults it computes what Whisper's front end does: 80 bands on Slaney's mel scale with area normalisation, a periodic
//! Hann window of 400 samples each 160 at 16 kHz, ends padded by reflection, log10 of no less than 1e-10. Only the last step is
//! left to the recogniser, since it looks at the whole: Whisper then raises what lies more than 8 below the maximum, and
//! takes (x + 4) / 4.

mod bands;

use std::f64::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::timeline::{Joint, Timeline};
use tidegate_media::{Audio, Kind, MediaTime, Payload, Tensor};

use self::bands::Bands;
use super::adapt::{Cutter, Pieces, Recut};
use super::params::within;
use super::pcm::pcm_at;
use super::typed::{Inputs, Typed};
use crate::emitted::check_made;
use crate::node::{Node, NodeError};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::StreamFormat;

pub(super) struct LogMel;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Rate in Hz, 8000 to 48000.
    sample_rate: u32,
    /// Samples of a window, 64 to 4096.
    n_fft: usize,
    /// Samples from one window to the next, 16 to `n_fft`.
    hop: usize,
    /// Bands, 1 to 256.
    mels: usize,
    /// Lower end of the lowest band in Hz.
    f_min: f64,
    /// Upper end of the highest band in Hz; by default half the rate.
    f_max: Option<f64>,
    /// The first window is centred on the first sample, and the ends are padded by reflection. If false, the first window
    /// starts there, and the end is padded with silence.
    center: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            sample_rate: 16_000,
            n_fft: 400,
            hop: 160,
            mels: 80,
            f_min: 0.0,
            f_max: None,
            center: true,
        }
    }
}

impl Params {
    fn f_max(&self) -> f64 {
        self.f_max.unwrap_or(f64::from(self.sample_rate) / 2.0)
    }
}

impl Typed for LogMel {
    type Params = Params;

    const NAME: &'static str = "audio.log_mel";
    const SUMMARY: &'static str = "Log-mel features of sound as float32 tensors [windows, bands], by default with Whisper's parameters.";
    const COST: &'static str = "4 µs for 20 ms";
    const REPLAY: Replay = Replay::SameInUtterances;

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within("sample_rate", params.sample_rate, 8_000..=48_000)?;
        within("n_fft", params.n_fft, 64..=4_096)?;
        within("hop", params.hop, 16..=params.n_fft)?;
        within("mels", params.mels, 1..=256)?;
        let nyquist = f64::from(params.sample_rate) / 2.0;
        within("f_min", params.f_min, 0.0..=nyquist - 1.0)?;
        within("f_max", params.f_max(), params.f_min + 1.0..=nyquist)
    }

    fn ports(&self, params: &Params) -> Ports {
        let accepts = pcm_at(&[params.sample_rate], &[1]);
        Ports {
            inputs: vec![Port::input("in", accepts, "Sound.")],
            outputs: vec![Port::output(
                "out",
                Kind::Tensor,
                "One row for each window that is complete.",
            )],
        }
    }

    fn outputs(&self, _: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Tensor])
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(Recut::boxed(Extractor::new(&params)))
    }
}

struct Extractor {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    bands: Bands,
    hop: usize,
    center: bool,
    /// Samples that no window has passed yet, the padding included.
    pending: Vec<f32>,
    /// The padding before the first sample is in `pending`.
    padded: bool,
    /// Position of the next window's reference: its centre if it is centred, else its start.
    line: Timeline,
    input: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Extractor {
    fn new(params: &Params) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(params.n_fft);
        Self {
            window: hann(params.n_fft),
            bands: Bands::new(
                params.sample_rate,
                params.n_fft,
                params.mels,
                params.f_min,
                params.f_max(),
            ),
            hop: params.hop,
            center: params.center,
            pending: Vec::new(),
            padded: !params.center,
            line: Timeline::new(params.sample_rate),
            input: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
        }
    }

    /// Samples that stand before the reference of a window.
    fn before(&self) -> usize {
        if self.center {
            self.window.len() / 2
        } else {
            0
        }
    }

    /// Puts the reflection of the first samples before them, once there are enough.
    fn pad_start(&mut self, at_end: bool) {
        if self.padded || (self.pending.len() <= self.before() && !at_end) {
            return;
        }
        let start: Vec<f32> = (1..=self.before())
            .rev()
            .map(|index| reflected(&self.pending, index))
            .collect();
        self.pending.splice(0..0, start);
        self.padded = true;
    }

    /// Makes rows of the windows that are complete, up to `most`.
    fn windows(&mut self, most: usize, out: &mut Pieces) -> Result<(), NodeError> {
        let size = self.window.len();
        let ready = (self.pending.len() + self.hop).saturating_sub(size) / self.hop;
        let count = if self.padded { ready.min(most) } else { 0 };
        if count == 0 {
            return Ok(());
        }
        check_made(count * self.bands.count() * size_of::<f32>())?;
        let mut rows = Vec::with_capacity(count * self.bands.count());
        for index in 0..count {
            let samples = &self.pending[index * self.hop..][..size];
            for ((to, sample), weight) in self.input.iter_mut().zip(samples).zip(&self.window) {
                *to = if sample.is_finite() {
                    sample * weight
                } else {
                    0.0
                };
            }
            self.fft
                .process_with_scratch(&mut self.input, &mut self.spectrum, &mut self.scratch)
                .map_err(|error| NodeError::new(format!("audio.log_mel: {error}")))?;
            self.bands.row(&self.spectrum, &mut rows);
        }
        let shape = [count as u64, self.bands.count() as u64];
        let tensor = Tensor::from_vec(&shape, rows)
            .map_err(|error| NodeError::new(format!("audio.log_mel: {error}")))?;
        out.push((self.line.position(), Payload::Tensor(tensor)));
        self.pending.drain(..count * self.hop);
        self.line.advance((count * self.hop) as u64);
        Ok(())
    }

    /// Samples of the input since the reference of the next window.
    fn unseen(&self) -> usize {
        let before = if self.padded { self.before() } else { 0 };
        self.pending.len().saturating_sub(before)
    }
}

impl Cutter for Extractor {
    fn push(&mut self, at: MediaTime, audio: &Audio, out: &mut Pieces) -> Result<(), NodeError> {
        if self.line.join(at, self.unseen() as u64) == Joint::Leap {
            self.flush(out)?;
            self.line.restart(at);
        }
        self.pending.extend_from_slice(&audio.to_f32());
        self.pad_start(false);
        self.windows(usize::MAX, out)
    }

    fn flush(&mut self, out: &mut Pieces) -> Result<(), NodeError> {
        if self.unseen() > 0 {
            let rows = if self.center {
                // As many as Whisper has: one for each whole hop of the sound.
                self.unseen() / self.hop
            } else {
                self.unseen().div_ceil(self.hop)
            };
            self.pad_start(true);
            let last = self.pending.len();
            for index in 1..=self.window.len() {
                let sample = if self.center && index <= self.before() && last > index {
                    self.pending[last - 1 - index]
                } else {
                    0.0
                };
                self.pending.push(sample);
            }
            self.windows(rows, out)?;
        }
        self.reset();
        Ok(())
    }

    fn reset(&mut self) {
        self.pending.clear();
        self.padded = !self.center;
        self.line.reset();
    }

    fn nothing(&self) -> Payload {
        let shape = [0, self.bands.count() as u64];
        let empty = Tensor::from_vec::<f32>(&shape, Vec::new());
        Payload::Tensor(empty.expect("no elements fit a shape without rows"))
    }
}

/// The sample `index` before the first, reflected about it; silence where there are too few.
fn reflected(samples: &[f32], index: usize) -> f32 {
    samples.get(index).copied().unwrap_or(0.0)
}

/// A periodic Hann window.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "windows are short, and samples are f32"
)]
fn hann(size: usize) -> Vec<f32> {
    (0..size)
        .map(|index| (0.5 - 0.5 * (TAU * index as f64 / size as f64).cos()) as f32)
        .collect()
}

#[cfg(test)]
mod tests;
