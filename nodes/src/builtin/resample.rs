//! `audio.resample`: from one sample rate to another.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Audio, AudioFormat, Kind, MediaTime, Payload, Resampler, SAMPLE_RATES};

use super::adapt::{Cutter, Pieces, Recut};
use super::identity::Pass;
use super::params::within;
use super::pcm::any_pcm;
use super::typed::{Inputs, Typed, audio_input};
use crate::emitted::check_made;
use crate::node::{Node, NodeError};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::StreamFormat;

pub(super) struct Resample;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// The wanted rate in Hz; 4000 to 384000.
    sample_rate: u32,
}

impl Typed for Resample {
    type Params = Params;

    const NAME: &'static str = "audio.resample";
    const EXAMPLE: &'static str = r#"{"sample_rate": 16000}"#;
    const SUMMARY: &'static str =
        "Changes the sample rate, anti-aliased; a sound keeps its media time.";
    const COST: &'static str =
        "3 to 6 µs for 20 ms from 48 to 16 kHz, mono; adds up to 10 ms of delay";
    const REPLAY: Replay = Replay::SameInUtterances;

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within("sample_rate", params.sample_rate, SAMPLE_RATES)
    }

    fn ports(&self, _: &Params) -> Ports {
        Ports {
            inputs: vec![Port::input("in", any_pcm(), "Sound.")],
            outputs: vec![Port::output(
                "out",
                Kind::Audio,
                "The same at the wanted rate.",
            )],
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        let format = audio_input(inputs, 0)?;
        let output = if format.sample_rate == params.sample_rate {
            format
        } else {
            AudioFormat::pcm_f32(params.sample_rate, format.channels)
        };
        Ok(vec![StreamFormat::audio(output)])
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let format = audio_input(inputs, 0)?;
        if format.sample_rate == params.sample_rate {
            return Ok(Box::new(Pass));
        }
        let resampler = Resampler::new(format.sample_rate, params.sample_rate, format.channels)
            .map_err(|error| ParamError::new("sample_rate", error.to_string()))?;
        Ok(Recut::boxed(Converter {
            resampler,
            rate: params.sample_rate,
            channels: format.channels,
        }))
    }
}

struct Converter {
    resampler: Resampler,
    rate: u32,
    channels: u8,
}

impl Cutter for Converter {
    fn push(&mut self, at: MediaTime, audio: &Audio, out: &mut Pieces) -> Result<(), NodeError> {
        let (rate, channels) = (self.rate, self.channels);
        let samples = u64::from(audio.samples) * u64::from(rate);
        let samples = samples / u64::from(audio.format.sample_rate.max(1)) * u64::from(channels);
        check_made(usize::try_from(samples).map_or(usize::MAX, |samples| {
            samples.saturating_mul(size_of::<f32>())
        }))?;
        self.resampler.push(at, &audio.to_f32(), |at, samples| {
            out.push((at, Payload::Audio(Audio::from_f32(rate, channels, samples))));
        });
        Ok(())
    }

    fn flush(&mut self, out: &mut Pieces) -> Result<(), NodeError> {
        let (rate, channels) = (self.rate, self.channels);
        self.resampler.flush(|at, samples| {
            out.push((at, Payload::Audio(Audio::from_f32(rate, channels, samples))));
        });
        Ok(())
    }

    fn reset(&mut self) {
        self.resampler.reset();
    }

    fn nothing(&self) -> Payload {
        Payload::Audio(Audio::from_f32(self.rate, self.channels, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Bench, audio, error, f32_of, micros, pcm, power_at, stream, tone};

    #[test]
    fn a_tone_keeps_its_pitch_its_level_and_its_length() {
        let params = json!({"sample_rate": 16_000});
        let mut bench = Bench::new("audio.resample", params, &[pcm(48_000, 1)]);
        assert_eq!(bench.formats, [pcm(16_000, 1)]);
        let input = tone(1_000.0, 48_000, 48_000, 0.5);
        let mut output = bench.frames(stream(48_000, 1, 960, &input));
        output.extend(bench.end());
        let samples: Vec<f32> = output.iter().flat_map(f32_of).collect();
        assert_eq!(samples.len(), 16_000);
        let middle = &samples[1_000..15_000];
        assert!((power_at(1_000.0, 16_000, middle) - 0.125).abs() < 0.001);
        let mut at = 0;
        for frame in &output {
            assert!((micros(frame) - at).abs() <= 1, "times are seamless");
            at += i64::try_from(frame.duration().as_micros()).expect("short");
        }
    }

    #[test]
    fn the_last_frame_of_an_utterance_is_final_and_nothing_leaks_into_the_next() {
        let params = json!({"sample_rate": 16_000});
        let mut bench = Bench::new("audio.resample", params, &[pcm(48_000, 1)]);
        let mut count = 0;
        for utterance in 1..=2_u64 {
            let mut input = stream(48_000, 1, 960, &tone(500.0, 48_000, 4_800, 0.5));
            for frame in &mut input {
                frame.meta.utterance = utterance;
            }
            input.last_mut().expect("frames").meta.is_final = true;
            let output = bench.frames(input);
            let finals: Vec<_> = output.iter().map(|frame| frame.meta.is_final).collect();
            assert_eq!(finals.iter().filter(|&&f| f).count(), 1);
            assert_eq!(finals.last(), Some(&true));
            assert!(output.iter().all(|frame| frame.meta.utterance == utterance));
            count += output
                .iter()
                .map(|frame| f32_of(frame).len())
                .sum::<usize>();
        }
        assert_eq!(count, 2 * 1_600);
    }

    #[test]
    fn an_interrupt_forgets_what_is_held_back() {
        let params = json!({"sample_rate": 16_000});
        let mut bench = Bench::new("audio.resample", params, &[pcm(48_000, 1)]);
        bench.frames(stream(48_000, 1, 960, &tone(500.0, 48_000, 4_800, 0.5)));
        bench.interrupt();
        let silence = bench.frames(vec![audio(5_000, 48_000, 1, vec![0.0; 4_800])]);
        assert!(silence.iter().all(|f| f32_of(f).iter().all(|&s| s == 0.0)));
        assert!(micros(&silence[0]) >= 5_000_000);
    }

    #[test]
    fn impossible_rates_are_refused() {
        let error = error(
            "audio.resample",
            json!({"sample_rate": 0}),
            &[pcm(8_000, 1)],
        );
        assert_eq!(error.path, "sample_rate");
        assert!(error.message.contains("4000 to 384000"), "{error}");
    }

    #[test]
    fn sound_that_would_fill_the_memory_is_not_made() {
        let params = json!({"sample_rate": 384_000});
        let mut bench = Bench::new("audio.resample", params, &[pcm(4_000, 1)]);
        let why = bench.fails(audio(0, 4_000, 1, vec![0.0; 200_000]));
        assert!(why.contains("64 MiB"), "{why}");
    }
}
