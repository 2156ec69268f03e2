//! `audio.channels`: from one channel layout to another.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Audio, AudioFormat, Kind, Payload};

use super::adapt::{Refusal, map};
use super::params::within;
use super::pcm::any_pcm;
use super::typed::{Inputs, Typed, audio_input};
use crate::emitted::check_made;
use crate::node::{DropReason, Node};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::StreamFormat;

/// Most channels on either side.
const CHANNELS_MAX: u8 = 32;

pub(super) struct Channels;

/// One of the three says what comes out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// That many channels: one is copied to all; between other counts each is the mean of all, so that nothing that is
    /// heard goes missing. 1 to 32.
    channels: Option<u8>,
    /// These input channels, counted from 0, in this order.
    pick: Option<Vec<u8>>,
    /// One row for each output channel, one factor for each input channel.
    matrix: Option<Vec<Vec<f32>>>,
}

impl Typed for Channels {
    type Params = Params;

    const NAME: &'static str = "audio.channels";
    const EXAMPLE: &'static str = r#"{"channels": 1}"#;
    const SUMMARY: &'static str =
        "Maps channels: mono to stereo and back, a choice of them, or any mixture by a matrix.";
    const COST: &'static str = "1.5 µs for 20 ms of 48 kHz";
    const REPLAY: Replay = Replay::Same;

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        match (params.channels, &params.pick, &params.matrix) {
            (Some(channels), None, None) => within("channels", channels, 1..=CHANNELS_MAX),
            (None, Some(pick), None) => count("pick", pick.len()),
            (None, None, Some(matrix)) => count("matrix", matrix.len()),
            (None, None, None) => Err(ParamError::new(
                "",
                "says not what comes out: set channels (a number), pick (a list of channels) or matrix",
            )),
            _ => Err(ParamError::new(
                "",
                "set only one of channels, pick and matrix",
            )),
        }
    }

    fn ports(&self, _: &Params) -> Ports {
        Ports {
            inputs: vec![Port::input("in", any_pcm(), "Sound.")],
            outputs: vec![Port::output(
                "out",
                Kind::Audio,
                "The same sound in other channels.",
            )],
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        let format = audio_input(inputs, 0)?;
        let channels = Mapping::new(params, format.channels)?.outputs();
        let output = AudioFormat::pcm_f32(format.sample_rate, channels);
        Ok(vec![StreamFormat::audio(output)])
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let format = audio_input(inputs, 0)?;
        let (rate, from) = (format.sample_rate, format.channels);
        let mapping = Mapping::new(&params, from)?;
        let outputs = usize::from(mapping.outputs());
        Ok(map(move |frame| {
            let Payload::Audio(audio) = &frame.payload else {
                return Err(Refusal::Drop(DropReason::Undecodable));
            };
            check_made(audio.samples as usize * outputs * size_of::<f32>())?;
            let samples = mapping.apply(&audio.to_f32(), usize::from(from));
            let mapped = Audio::from_f32(rate, mapping.outputs(), samples);
            Ok(Payload::Audio(mapped))
        }))
    }
}

fn count(path: &str, length: usize) -> Result<(), ParamError> {
    if (1..=usize::from(CHANNELS_MAX)).contains(&length) {
        return Ok(());
    }
    let message = format!("names {length} output channels: use 1 to {CHANNELS_MAX}");
    Err(ParamError::new(path, message))
}

enum Mapping {
    /// Each output is the mean of all inputs.
    Mean(u8),
    /// Each output is one input.
    Pick(Vec<u8>),
    /// Each output is a weighted sum.
    Matrix(Vec<Vec<f32>>),
}

impl Mapping {
    /// The mapping for an input of `from` channels.
    fn new(params: &Params, from: u8) -> Result<Self, ParamError> {
        if let Some(channels) = params.channels {
            return Ok(if channels == from {
                Self::Pick((0..from).collect())
            } else {
                Self::Mean(channels)
            });
        }
        if let Some(pick) = &params.pick {
            for (index, &channel) in pick.iter().enumerate() {
                if channel >= from {
                    let message = format!(
                        "channel {channel} is not there: the input has {from}, counted from 0"
                    );
                    return Err(ParamError::new(format!("pick[{index}]"), message));
                }
            }
            return Ok(Self::Pick(pick.clone()));
        }
        let matrix = params.matrix.clone().unwrap_or_default();
        for (index, row) in matrix.iter().enumerate() {
            if row.len() != usize::from(from) {
                let message = format!(
                    "row has {} factors: the input has {from} channels, one factor for each",
                    row.len()
                );
                return Err(ParamError::new(format!("matrix[{index}]"), message));
            }
        }
        Ok(Self::Matrix(matrix))
    }

    fn outputs(&self) -> u8 {
        match self {
            Self::Mean(channels) => *channels,
            Self::Pick(pick) => u8::try_from(pick.len()).unwrap_or(u8::MAX),
            Self::Matrix(rows) => u8::try_from(rows.len()).unwrap_or(u8::MAX),
        }
    }

    fn apply(&self, samples: &[f32], from: usize) -> Vec<f32> {
        let frames = samples.chunks_exact(from);
        let mut out = Vec::with_capacity(frames.len() * usize::from(self.outputs()));
        match self {
            Self::Mean(channels) => {
                let share = 1.0 / f32::from(u8::try_from(from).unwrap_or(u8::MAX));
                for frame in frames {
                    let mean = frame.iter().sum::<f32>() * share;
                    out.extend(std::iter::repeat_n(mean, usize::from(*channels)));
                }
            }
            Self::Pick(pick) => {
                for frame in frames {
                    out.extend(pick.iter().map(|&channel| frame[usize::from(channel)]));
                }
            }
            Self::Matrix(rows) => {
                for frame in frames {
                    let weigh = |row: &Vec<f32>| row.iter().zip(frame).map(|(w, s)| w * s).sum();
                    out.extend(rows.iter().map(|row| -> f32 { weigh(row) }));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{Bench, audio, error, f32_of, pcm};

    fn check(params: Value, from: u8, input: &[f32], to: u8, expected: &[f32]) {
        let mut bench = Bench::new("audio.channels", params, &[pcm(48_000, from)]);
        assert_eq!(bench.formats, [pcm(48_000, to)]);
        let output = bench.frame(audio(20, 48_000, from, input.to_vec()));
        assert_eq!(f32_of(&output[0]), expected);
    }

    #[test]
    fn layouts_picks_and_matrices_are_mapped() {
        check(
            json!({"channels": 1}),
            2,
            &[0.5, 0.25, 1.0, -1.0],
            1,
            &[0.375, 0.0],
        );
        check(
            json!({"channels": 2}),
            1,
            &[0.5, -1.0],
            2,
            &[0.5, 0.5, -1.0, -1.0],
        );
        check(json!({"channels": 2}), 2, &[0.5, -1.0], 2, &[0.5, -1.0]);
        check(
            json!({"pick": [1]}),
            2,
            &[0.1, 0.2, 0.3, 0.4],
            1,
            &[0.2, 0.4],
        );
        check(json!({"pick": [1, 0]}), 2, &[0.1, 0.2], 2, &[0.2, 0.1]);
        check(
            json!({"matrix": [[1, -1], [0.5, 0]]}),
            2,
            &[1.0, 0.25],
            2,
            &[0.75, 0.5],
        );
    }

    #[test]
    fn what_does_not_fit_the_input_is_named() {
        let at = |params| error("audio.channels", params, &[pcm(8_000, 2)]);
        assert_eq!(at(json!({"pick": [0, 2]})).path, "pick[1]");
        assert_eq!(at(json!({"matrix": [[1, 0], [1]]})).path, "matrix[1]");
        assert_eq!(at(json!({"channels": 0})).path, "channels");
        assert_eq!(at(json!({"pick": []})).path, "pick");
        assert!(at(json!({})).message.contains("set channels"));
        assert!(
            at(json!({"channels": 1, "pick": [0]}))
                .message
                .contains("only one")
        );
    }

    #[test]
    fn sound_that_would_fill_the_memory_is_not_made() {
        let mut bench = Bench::new("audio.channels", json!({"channels": 32}), &[pcm(8_000, 1)]);
        let why = bench.fails(audio(0, 8_000, 1, vec![0.0; 600_000]));
        assert!(why.contains("64 MiB"), "{why}");
    }
}
