//! `audio.denoise`: noise suppression by a recurrent network (RNNoise, J.-M. Valin, "A hybrid DSP/deep learning approach to
//! real-time full-band speech enhancement", 2018).
//!
//! The network works on 10 ms at 48 kHz and hands out what it heard 10 ms before; that delay is compensated, so that a sound
//! keeps its media time. Samples that are not numbers become silence: they would stay in the network's memory for ever; what
//! exceeds full scale is clipped.

use std::sync::LazyLock;

use nnnoiseless::{DenoiseState, RnnModel};
use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Audio, AudioFormat, Kind, MediaTime, Payload, Reframer};

use super::adapt::{Cutter, Pieces, Recut};
use super::gather::Gather;
use super::pcm::pcm_at;
use super::typed::{Inputs, Typed, audio_input};
use crate::node::{Node, NodeError};
use crate::registry::{ParamError, Port, Ports};
use crate::stream::StreamFormat;

const RATE: u32 = 48_000;
/// Samples of each channel that the network takes at once.
const SIZE: usize = DenoiseState::FRAME_SIZE;
/// The network counts samples as 16-bit integers do.
const SCALE: f32 = 32_768.0;

/// The weights, shared by all sessions.
static MODEL: LazyLock<RnnModel> = LazyLock::new(RnnModel::default);

pub(super) struct Denoise;

/// It has no parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {}

impl Typed for Denoise {
    type Params = Params;

    const NAME: &'static str = "audio.denoise";
    const SUMMARY: &'static str = "Suppresses noise behind a voice by a neural network (RNNoise). Noise as rooms, fans and streets make it goes down by \
                                   30 to 50 dB; it hardly touches a full-band hiss.";
    const COST: &'static str = "46 µs a channel for 10 ms; adds 10 ms of delay";

    fn ports(&self, _: &Params) -> Ports {
        Ports {
            inputs: vec![Port::input(
                "in",
                pcm_at(&[RATE], &[1, 2]),
                "A noisy voice at 48 kHz.",
            )],
            outputs: vec![Port::output("out", Kind::Audio, "The voice.")],
        }
    }

    fn outputs(&self, _: &Params, inputs: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        let format = audio_input(inputs, 0)?;
        let output = AudioFormat::pcm_f32(format.sample_rate, format.channels);
        Ok(vec![StreamFormat::audio(output)])
    }

    fn build(&self, _: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let channels = audio_input(inputs, 0)?.channels;
        Ok(Recut::boxed(Network {
            reframer: Reframer::new(RATE, channels, SIZE),
            voice: Voice::new(channels),
        }))
    }
}

struct Network {
    reframer: Reframer,
    voice: Voice,
}

/// The network's states and the frame that it has heard and not handed out yet.
struct Voice {
    states: Vec<Box<DenoiseState<'static>>>,
    /// Start of the frame that comes out next.
    held: Option<MediaTime>,
}

impl Voice {
    fn new(channels: u8) -> Self {
        Self {
            states: (0..channels)
                .map(|_| DenoiseState::with_model(&MODEL))
                .collect(),
            held: None,
        }
    }

    /// Hears the interleaved frame that starts at `at`, and adds the one before it to `out`, of which `real` samples count.
    fn step(&mut self, at: MediaTime, frame: &[f32], real: usize, out: &mut Gather) {
        let channels = self.states.len();
        let mut cleaned = vec![0.0; frame.len()];
        for (channel, state) in self.states.iter_mut().enumerate() {
            let (mut heard, mut voice) = ([0.0; SIZE], [0.0; SIZE]);
            for (to, &from) in heard
                .iter_mut()
                .zip(frame.iter().skip(channel).step_by(channels))
            {
                *to = SCALE * sane(from);
            }
            state.process_frame(&mut voice, &heard);
            for (to, from) in cleaned
                .iter_mut()
                .skip(channel)
                .step_by(channels)
                .zip(voice)
            {
                *to = from / SCALE;
            }
        }
        if let Some(held) = self.held.replace(at) {
            out.push(held, &cleaned[..real * channels]);
        }
    }
}

/// A sample as the network's library needs it: what is no number is silence, and what exceeds full scale is clipped. Its
/// inverse transform trusts that nothing overflows.
fn sane(sample: f32) -> f32 {
    if sample.is_nan() {
        0.0
    } else {
        sample.clamp(-1.0, 1.0)
    }
}

impl Network {
    fn gather(&self) -> Gather {
        Gather::new(RATE, self.voice.states.len())
    }
}

impl Cutter for Network {
    fn push(&mut self, at: MediaTime, audio: &Audio, out: &mut Pieces) -> Result<(), NodeError> {
        let mut gather = self.gather();
        let voice = &mut self.voice;
        self.reframer.push(at, &audio.to_f32(), |at, frame| {
            voice.step(at, frame, SIZE, &mut gather);
        });
        gather.finish(out);
        Ok(())
    }

    fn flush(&mut self, out: &mut Pieces) -> Result<(), NodeError> {
        let mut gather = self.gather();
        let voice = &mut self.voice;
        let real = self.reframer.flush(|at, frame| {
            voice.step(at, frame, SIZE, &mut gather);
        });
        if let Some(at) = voice.held {
            let silence = vec![0.0; SIZE * voice.states.len()];
            voice.step(
                at,
                &silence,
                if real == 0 { SIZE } else { real },
                &mut gather,
            );
        }
        gather.finish(out);
        self.reset();
        Ok(())
    }

    fn reset(&mut self) {
        self.reframer.reset();
        let channels = u8::try_from(self.voice.states.len()).unwrap_or(1);
        self.voice = Voice::new(channels);
    }

    fn nothing(&self) -> Payload {
        let channels = u8::try_from(self.voice.states.len()).unwrap_or(1);
        Payload::Audio(Audio::from_f32(RATE, channels, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{
        Bench, audio, f32_of, micros, noise, pcm, power, room_noise, speech_like, stream,
    };
    use super::*;

    fn bench(channels: u8) -> Bench {
        Bench::new("audio.denoise", json!({}), &[pcm(RATE, channels)])
    }

    fn run(bench: &mut Bench, channels: u8, samples: &[f32]) -> Vec<f32> {
        let mut output = bench.frames(stream(RATE, channels, 960, samples));
        output.extend(bench.end());
        output.iter().flat_map(f32_of).collect()
    }

    #[test]
    fn noise_alone_is_suppressed_by_20_db() {
        let input = room_noise(96_000, 0.1, 1);
        let output = run(&mut bench(1), 1, &input);
        assert_eq!(output.len(), input.len());
        let (before, after) = (power(&input[48_000..]), power(&output[48_000..]));
        assert!(
            after < before / 100.0,
            "{:.1} dB",
            10.0 * (after / before).log10()
        );
    }

    #[test]
    fn a_voice_in_noise_comes_nearer_to_the_voice_and_stays_in_time() {
        let clean = speech_like(RATE, 96_000);
        let hiss = room_noise(clean.len(), 0.3, 2);
        let noisy: Vec<f32> = clean.iter().zip(&hiss).map(|(c, n)| c + n).collect();
        let output = run(&mut bench(1), 1, &noisy);
        let distance = |of: &[f32]| {
            let off: Vec<f32> = of.iter().zip(&clean).map(|(a, b)| a - b).collect();
            power(&off[24_000..])
        };
        assert!(
            distance(&output) < 0.7 * distance(&noisy),
            "at least 1.5 dB better"
        );
        // Shifted by the network's own delay it would fit worse.
        assert!(distance(&output) < distance(&output[480..]), "in time");
    }

    #[test]
    fn channels_do_not_mix() {
        let hiss = noise(48_000, 0.1, 3);
        let input: Vec<f32> = hiss.iter().flat_map(|&s| [s, 0.0]).collect();
        let output = run(&mut bench(2), 2, &input);
        assert!(output.iter().skip(1).step_by(2).all(|&s| s == 0.0));
    }

    #[test]
    fn what_is_not_a_number_does_not_stay() {
        let mut bench = bench(1);
        bench.frame(audio(0, RATE, 1, vec![f32::NAN; 960]));
        let later = bench.frames(stream(RATE, 1, 960, &noise(9_600, 0.1, 4)));
        assert!(later.iter().flat_map(f32_of).all(f32::is_finite));
    }

    #[test]
    fn frames_of_20_ms_stay_frames_of_20_ms() {
        let output = bench(1).frames(stream(RATE, 1, 960, &noise(9_600, 0.1, 5)));
        let lengths: Vec<_> = output.iter().map(|f| f.duration().as_millis()).collect();
        assert_eq!(lengths, [10, 20, 20, 20, 20, 20, 20, 20, 20, 20]);
        assert_eq!(micros(&output[1]), 10_000);
    }
}
