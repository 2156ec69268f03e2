//! `audio.pcm`: the same samples, written as 16-bit integers or as floats.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Audio, AudioFormat, Codec, Kind};

use super::adapt::map_audio;
use super::identity::Pass;
use super::typed::{Inputs, Typed, audio_input};
use crate::node::Node;
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::{Accepts, AudioPattern, StreamFormat};

/// Uncoded sound of any rate and any number of channels, in either writing.
pub(super) fn any_pcm() -> Accepts {
    pcm_at(&[], &[])
}

/// Uncoded sound at these rates with these channel counts (empty: any), in either writing.
pub(super) fn pcm_at(sample_rates: &[u32], channels: &[u8]) -> Accepts {
    Accepts::Audio(AudioPattern {
        codecs: vec![Codec::PcmF32, Codec::PcmS16],
        sample_rates: sample_rates.to_vec(),
        channels: channels.to_vec(),
        packets: false,
    })
}

pub(super) struct Pcm;

/// The writing.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Writing {
    /// Signed 16-bit integers, little-endian.
    PcmS16,
    /// 32-bit floats in -1..1, little-endian.
    PcmF32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// How samples are to be written down.
    codec: Writing,
}

impl Typed for Pcm {
    type Params = Params;

    const NAME: &'static str = "audio.pcm";
    const EXAMPLE: &'static str = r#"{"codec": "pcm_s16"}"#;
    const SUMMARY: &'static str = "Writes the same samples as 16-bit integers or as floats. Louder than full scale saturates.";
    const COST: &'static str = "2 µs for 20 ms of 48 kHz mono";
    const REPLAY: Replay = Replay::Same;

    fn ports(&self, _: &Params) -> Ports {
        Ports {
            inputs: vec![Port::input("in", any_pcm(), "Sound.")],
            outputs: vec![Port::output("out", Kind::Audio, "The same sound.")],
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        let codec = params.codec();
        let format = audio_input(inputs, 0)?;
        Ok(vec![StreamFormat::audio(AudioFormat { codec, ..format })])
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let format = audio_input(inputs, 0)?;
        if format.codec == params.codec() {
            return Ok(Box::new(Pass));
        }
        let (rate, channels) = (format.sample_rate, format.channels);
        Ok(map_audio(move |audio| match params.codec {
            Writing::PcmS16 => Audio::from_s16(rate, channels, audio.to_s16().into_owned()),
            Writing::PcmF32 => Audio::from_f32(rate, channels, audio.to_f32().into_owned()),
        }))
    }
}

impl Params {
    const fn codec(&self) -> Codec {
        match self.codec {
            Writing::PcmS16 => Codec::PcmS16,
            Writing::PcmF32 => Codec::PcmF32,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Bench, audio, error, f32_of, pcm, s16};

    #[test]
    fn there_and_back_is_exact_to_a_sixteenth_bit() {
        let mut narrow = Bench::new("audio.pcm", json!({"codec": "pcm_s16"}), &[pcm(48_000, 2)]);
        let mut wide = Bench::new("audio.pcm", json!({"codec": "pcm_f32"}), &[s16(48_000, 2)]);
        assert_eq!(narrow.formats, [s16(48_000, 2)]);
        assert_eq!(wide.formats, [pcm(48_000, 2)]);
        let input = audio(0, 48_000, 2, vec![0.3, -0.7, 2.0, 0.0]);
        let back = narrow.frame(input).remove(0);
        let back = wide.frame(back);
        let expected = [0.3, -0.7, 1.0, 0.0];
        for (got, expected) in f32_of(&back[0]).iter().zip(expected) {
            assert!((got - expected).abs() <= 1.0 / 32_768.0, "{got}");
        }
    }

    #[test]
    fn an_unknown_writing_names_those_known() {
        let error = error("audio.pcm", json!({"codec": "mp3"}), &[pcm(8_000, 1)]);
        assert_eq!(error.path, "codec");
        assert!(error.message.contains("pcm_s16"), "{error}");
    }
}
