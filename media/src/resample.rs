//! Streaming sample-rate conversion, anti-aliased, for input chunks of any size, with exact media times.
//!
//! The work is done by rubato: by FFT where the rates have a short common block (all the usual pairs), else by windowed
//! sinc interpolation, whose cost and delay don't depend on the pair. The filter's delay is compensated: a sound keeps its
//! media time, it only comes out [`Resampler::delay`] later. Equal rates pass through unchanged.

use std::time::Duration;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, Indexing, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use crate::time::MediaTime;
use crate::timeline::{Joint, Timeline};

/// Why a resampler cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResampleError {
    /// A rate outside of what sound has.
    #[error("cannot resample from {from} Hz to {to} Hz: rates from {min} to {max} Hz are possible",
        min = Resampler::RATE_MIN, max = Resampler::RATE_MAX)]
    Rate {
        /// Input rate in Hz.
        from: u32,
        /// Output rate in Hz.
        to: u32,
    },
    /// No channels at all.
    #[error("cannot resample audio without channels")]
    Channels,
    /// The library refused.
    #[error("cannot resample from {from} Hz to {to} Hz: {reason}")]
    Library {
        /// Input rate in Hz.
        from: u32,
        /// Output rate in Hz.
        to: u32,
        /// Its words.
        reason: String,
    },
}

/// Converts one stream of interleaved float samples.
pub struct Resampler {
    from: u32,
    to: u32,
    channels: usize,
    /// `None` when the rates are equal.
    engine: Option<Box<dyn rubato::Resampler<f32>>>,
    /// Input that does not fill a block yet, interleaved.
    pending: Vec<f32>,
    /// Output samples still to be cut from the front: the filter's delay.
    to_skip: usize,
    /// Input taken, in media time.
    line: Timeline,
    /// Output samples of each channel since the time line began.
    made: u64,
}

impl Resampler {
    /// Lowest rate in Hz.
    pub const RATE_MIN: u32 = 1_000;
    /// Highest rate in Hz.
    pub const RATE_MAX: u32 = 768_000;
    /// Fewest samples of a block on its slower side: keeps the pass band at 90 % of the band or more.
    const BLOCK_MIN: u32 = 80;
    /// Longest block that is still low delay, in fractions of a second: 15 ms.
    const BLOCKS_A_SECOND_MIN: u32 = 66;

    /// A converter `from` one rate `to` another, both in Hz.
    ///
    /// # Errors
    /// Rates outside [`Self::RATE_MIN`]`..=`[`Self::RATE_MAX`], or no channels.
    pub fn new(from: u32, to: u32, channels: u8) -> Result<Self, ResampleError> {
        let rates = Self::RATE_MIN..=Self::RATE_MAX;
        if !rates.contains(&from) || !rates.contains(&to) {
            return Err(ResampleError::Rate { from, to });
        }
        if channels == 0 {
            return Err(ResampleError::Channels);
        }
        let channels = usize::from(channels);
        let engine = if from == to {
            None
        } else {
            Some(engine(from, to, channels)?)
        };
        Ok(Self {
            from,
            to,
            channels,
            to_skip: engine.as_ref().map_or(0, |engine| engine.output_delay()),
            engine,
            pending: Vec::new(),
            line: Timeline::new(from),
            made: 0,
        })
    }

    /// How much later a sound comes out than it went in, when the input comes in multiples of [`Self::block`].
    #[must_use]
    pub fn delay(&self) -> Duration {
        let samples = self.engine.as_ref().map_or(0, |e| e.output_delay()) as u64;
        MediaTime::from_samples(samples, self.to).saturating_since(MediaTime::ZERO)
    }

    /// The unit of work: input shorter than this waits for the rest of its block.
    #[must_use]
    pub fn block(&self) -> Duration {
        let samples = self.engine.as_ref().map_or(0, |e| e.input_frames_next()) as u64;
        MediaTime::from_samples(samples, self.from).saturating_since(MediaTime::ZERO)
    }

    /// Takes a chunk that starts at `at` and hands what comes out of it to `emit`, with its media time. A hole in the
    /// input ends the run before it: its tail is emitted first.
    pub fn push(
        &mut self,
        at: MediaTime,
        samples: &[f32],
        mut emit: impl FnMut(MediaTime, Vec<f32>),
    ) {
        if self.line.join(at, 0) == Joint::Leap {
            self.flush(&mut emit);
            self.line.restart(at);
        }
        let samples = &samples[..samples.len() - samples.len() % self.channels];
        self.line.advance((samples.len() / self.channels) as u64);
        let output = if self.engine.is_none() {
            samples.to_vec()
        } else {
            self.pending
                .extend(samples.iter().map(|&sample| sane(sample)));
            self.run()
        };
        self.hand_out(output, &mut emit);
    }

    /// Ends the stream: emits what the filter still holds, so that as much comes out as went in, and starts anew.
    pub fn flush(&mut self, mut emit: impl FnMut(MediaTime, Vec<f32>)) {
        let mut output = Vec::new();
        let owed = usize::try_from(self.owed()).unwrap_or(usize::MAX);
        while output.len() / self.channels < owed {
            let Some(block) = self.engine.as_ref().map(|e| e.input_frames_next()) else {
                break;
            };
            self.pending.resize(block * self.channels, 0.0);
            output.extend(self.run());
        }
        output.truncate(owed.saturating_mul(self.channels));
        self.hand_out(output, &mut emit);
        self.reset();
    }

    /// Forgets everything, the place in time included.
    pub fn reset(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.reset();
            self.to_skip = engine.output_delay();
        }
        self.pending.clear();
        self.made = 0;
        self.line.reset();
    }

    /// Output samples that the input so far will make and that have not come out.
    fn owed(&self) -> u64 {
        let whole = u128::from(self.line.samples()) * u128::from(self.to) / u128::from(self.from);
        u64::try_from(whole)
            .unwrap_or(u64::MAX)
            .saturating_sub(self.made)
    }

    fn hand_out(&mut self, output: Vec<f32>, emit: &mut impl FnMut(MediaTime, Vec<f32>)) {
        if !output.is_empty() {
            let passed = MediaTime::from_samples(self.made, self.to);
            self.made += (output.len() / self.channels) as u64;
            emit(
                self.line.start() + passed.saturating_since(MediaTime::ZERO),
                output,
            );
        }
    }

    /// Converts every whole block that is pending, less the filter's delay at the start.
    fn run(&mut self) -> Vec<f32> {
        let mut output = Vec::new();
        let Some(engine) = &mut self.engine else {
            return output;
        };
        let available = self.pending.len() / self.channels;
        let mut consumed = 0;
        let mut made = 0;
        while available - consumed >= engine.input_frames_next() {
            let room = (made + engine.output_frames_next()) * self.channels;
            output.resize(room, 0.0);
            let indexing = Indexing {
                input_offset: consumed,
                output_offset: made,
                partial_len: None,
                active_channels_mask: None,
            };
            let step = InterleavedSlice::new(&self.pending, self.channels, available)
                .ok()
                .zip(
                    InterleavedSlice::new_mut(&mut output, self.channels, room / self.channels)
                        .ok(),
                )
                .and_then(|(from, mut to)| {
                    engine
                        .process_into_buffer(&from, &mut to, Some(&indexing))
                        .ok()
                });
            let (read, written) = step.expect("buffers were sized as the resampler asked");
            consumed += read;
            made += written;
        }
        output.truncate(made * self.channels);
        self.pending.drain(..consumed * self.channels);
        let skipped = self.to_skip.min(made);
        self.to_skip -= skipped;
        output.drain(..skipped * self.channels);
        output
    }
}

/// A sample that cannot overflow in the transforms, which panic on what is not finite: 120 dB above full scale is the most,
/// and what is no number is silence.
const fn sane(sample: f32) -> f32 {
    if sample.is_nan() {
        0.0
    } else {
        sample.clamp(-1e6, 1e6)
    }
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

fn engine(
    from: u32,
    to: u32,
    channels: usize,
) -> Result<Box<dyn rubato::Resampler<f32>>, ResampleError> {
    let refused = |reason: rubato::ResamplerConstructionError| ResampleError::Library {
        from,
        to,
        reason: reason.to_string(),
    };
    let common = gcd(from, to);
    let slower = from.min(to) / common;
    // Blocks of at least 5 ms and `BLOCK_MIN` samples, in whole multiples of the pair's shortest common block.
    let units = Resampler::BLOCK_MIN
        .div_ceil(slower)
        .max((common).div_ceil(200));
    if common / units >= Resampler::BLOCKS_A_SECOND_MIN {
        let block = (units * (from / common)) as usize;
        let fft = Fft::<f32>::new_custom(
            from as usize,
            to as usize,
            block,
            1,
            channels,
            WindowFunction::BlackmanHarris,
            FixedSync::Both,
        )
        .map_err(refused)?;
        return Ok(Box::new(fft));
    }
    let parameters = SincInterpolationParameters {
        sinc_len: 128,
        f_cutoff: None,
        interpolation: SincInterpolationType::Cubic,
        oversampling_factor: 256,
        window: WindowFunction::BlackmanHarris,
    };
    let ratio = f64::from(to) / f64::from(from);
    let block = (from / 200).max(16) as usize;
    let sinc = Async::<f32>::new_sinc(ratio, 1.0, &parameters, block, channels, FixedAsync::Input)
        .map_err(refused)?;
    Ok(Box::new(sinc))
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
