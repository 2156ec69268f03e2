//! `audio.gain`: louder or softer.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Audio, AudioFormat, Kind};

use super::adapt::map_audio;
use super::identity::Pass;
use super::params::within;
use super::pcm::any_pcm;
use super::typed::{Inputs, Typed, audio_input};
use crate::node::Node;
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::StreamFormat;

pub(super) struct Gain;

/// One of the two says how much.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Decibels: 6 doubles the amplitude, -6 halves it; -120 to 60.
    gain_db: Option<f64>,
    /// What each sample is multiplied with; -1000 to 1000, where a negative one also inverts.
    factor: Option<f64>,
}

impl Params {
    #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
    fn factor(&self) -> f32 {
        self.factor
            .or_else(|| self.gain_db.map(|db| 10_f64.powf(db / 20.0)))
            .unwrap_or(1.0) as f32
    }
}

impl Typed for Gain {
    type Params = Params;

    const NAME: &'static str = "audio.gain";
    const EXAMPLE: &'static str = r#"{"gain_db": 6}"#;
    const SUMMARY: &'static str = "Makes sound louder or softer. What exceeds full scale is kept in float samples and clipped \
                                   where they are written as 16 bits or encoded.";
    const COST: &'static str = "0.2 µs for 20 ms of 48 kHz mono";
    const REPLAY: Replay = Replay::Same;

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        match (params.gain_db, params.factor) {
            (Some(db), None) => within("gain_db", db, -120.0..=60.0),
            (None, Some(factor)) => within("factor", factor, -1_000.0..=1_000.0),
            (None, None) => Err(ParamError::new(
                "",
                "says not how much: set gain_db (decibels) or factor",
            )),
            (Some(_), Some(_)) => Err(ParamError::new(
                "factor",
                "contradicts gain_db: set one of the two",
            )),
        }
    }

    fn ports(&self, _: &Params) -> Ports {
        Ports {
            inputs: vec![Port::input("in", any_pcm(), "Sound.")],
            outputs: vec![Port::output(
                "out",
                Kind::Audio,
                "The same, louder or softer.",
            )],
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        let format = audio_input(inputs, 0)?;
        if is_one(params.factor()) {
            return Ok(vec![StreamFormat::audio(format)]);
        }
        let output = AudioFormat::pcm_f32(format.sample_rate, format.channels);
        Ok(vec![StreamFormat::audio(output)])
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let AudioFormat {
            sample_rate,
            channels,
            ..
        } = audio_input(inputs, 0)?;
        let factor = params.factor();
        if is_one(factor) {
            return Ok(Box::new(Pass));
        }
        Ok(map_audio(move |audio| {
            let samples = audio.to_f32();
            let louder = samples.iter().map(|sample| sample * factor).collect();
            Audio::from_f32(sample_rate, channels, louder)
        }))
    }
}

/// Whether it changes nothing at all.
fn is_one(factor: f32) -> bool {
    factor.to_bits() == 1.0_f32.to_bits()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_media::{Frame, MediaTime, Payload};

    use super::super::testing::{Bench, audio, error, f32_of, pcm, s16};
    use super::*;

    #[test]
    fn six_decibels_are_nearly_twice_the_amplitude_and_marks_stay() {
        let mut bench = Bench::new("audio.gain", json!({"gain_db": 6.0206}), &[pcm(16_000, 1)]);
        let mut input = audio(40, 16_000, 1, vec![0.25, -0.125]);
        input.meta.utterance = 2;
        input.meta.is_final = true;
        let output = bench.frame(input.clone());
        assert_eq!(output[0].meta, input.meta);
        let samples = f32_of(&output[0]);
        assert!((samples[0] - 0.5).abs() < 1e-5 && (samples[1] + 0.25).abs() < 1e-5);
    }

    #[test]
    fn sixteen_bit_sound_comes_out_as_float() {
        let mut bench = Bench::new("audio.gain", json!({"factor": -2}), &[s16(8_000, 1)]);
        assert_eq!(bench.formats, [pcm(8_000, 1)]);
        let input = Frame::new(
            MediaTime::ZERO,
            Payload::Audio(Audio::from_s16(8_000, 1, vec![8_192])),
        );
        assert_eq!(f32_of(&bench.frame(input)[0]), [-0.5]);
    }

    #[test]
    fn a_factor_of_one_hands_the_same_memory_on() {
        let mut bench = Bench::new("audio.gain", json!({"gain_db": 0}), &[pcm(16_000, 1)]);
        let input = audio(0, 16_000, 1, vec![0.1; 8]);
        let output = bench.frame(input.clone());
        let (Payload::Audio(before), Payload::Audio(after)) = (&input.payload, &output[0].payload)
        else {
            panic!("not audio");
        };
        assert_eq!(before.data.as_ptr(), after.data.as_ptr());
    }

    #[test]
    fn parameters_that_do_not_do_are_named_with_the_mend() {
        let at = |params| error("audio.gain", params, &[pcm(16_000, 1)]);
        assert!(at(json!({})).message.contains("set gain_db"));
        assert_eq!(at(json!({"gain_db": 1, "factor": 1})).path, "factor");
        assert_eq!(at(json!({"gain_db": 61})).path, "gain_db");
        assert_eq!(at(json!({"gain_db": "loud"})).path, "gain_db");
        assert!(at(json!(null)).message.contains("set gain_db"));
    }
}
