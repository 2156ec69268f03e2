//! `audio.decode`: coded sound with a steady time line becomes float PCM.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::codec::decoder;
use tidegate_media::{Audio, AudioDecoder, AudioFormat, Codec, Kind, Payload};

use super::adapt::map;
use super::typed::{Inputs, Typed, audio_input};
use crate::node::{DropReason, Node};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::{Accepts, StreamFormat};

pub(super) struct Decode;

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Rate of what comes out, in Hz. Opus decodes straight to 8000, 12000, 16000, 24000 or 48000 (the default); the other
    /// codecs have the rate that they have.
    pub(super) sample_rate: Option<u32>,
    /// Channels of what comes out. Opus decodes straight to 1 or 2; by default what the input says.
    pub(super) channels: Option<u8>,
}

impl Params {
    /// The format that comes out for an input format.
    pub(super) fn output(&self, input: AudioFormat) -> Result<AudioFormat, ParamError> {
        let rate = self.sample_rate.unwrap_or(input.sample_rate);
        let channels = self.channels.unwrap_or(input.channels);
        let output = decoder_of(input, rate, channels)?.map_or_else(
            || AudioFormat::pcm_f32(input.sample_rate, input.channels),
            |decoder| decoder.output(),
        );
        if output.sample_rate != rate {
            let message = format!(
                "{} has its own rate of {} Hz: leave this out, and add audio.resample",
                input.codec.as_str(),
                output.sample_rate
            );
            return Err(ParamError::new("sample_rate", message));
        }
        if output.channels != channels {
            let message = format!(
                "{} has its own {} channels: leave this out, and add audio.channels",
                input.codec.as_str(),
                output.channels
            );
            return Err(ParamError::new("channels", message));
        }
        Ok(output)
    }
}

/// A decoder, or `None` for what is PCM already.
fn decoder_of(
    input: AudioFormat,
    rate: u32,
    channels: u8,
) -> Result<Option<Box<dyn AudioDecoder>>, ParamError> {
    if input.codec.is_pcm() {
        return Ok(None);
    }
    let path = match input.codec {
        Codec::Opus => "sample_rate",
        _ => "",
    };
    decoder(input, rate, channels)
        .map(Some)
        .map_err(|error| ParamError::new(path, error.to_string()))
}

impl Typed for Decode {
    type Params = Params;

    const NAME: &'static str = "audio.decode";
    const SUMMARY: &'static str = "Decodes Opus, G.711 or 16-bit PCM to float PCM. The input has a steady time line; packets \
                                   as they come from the network go to audio.dejitter instead.";
    const COST: &'static str =
        "Opus: 31 µs for 20 ms to 48 kHz mono, 22 µs to 16 kHz; G.711: under 1 µs";
    const REPLAY_DOC: &'static str = "makes the same again, except of Opus";

    fn ports(&self, _: &Params) -> Ports {
        let accepts = Accepts::Kind(Kind::Audio);
        Ports {
            inputs: vec![Port::input("in", accepts, "Sound in any codec.")],
            outputs: vec![Port::output("out", Kind::Audio, "Float PCM.")],
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        let output = params.output(audio_input(inputs, 0)?)?;
        Ok(vec![StreamFormat::audio(output)])
    }

    fn replay(&self, _: &Params, inputs: Inputs<'_>) -> Replay {
        match audio_input(inputs, 0) {
            Ok(format) if format.codec != Codec::Opus => Replay::Same,
            _ => Replay::Differs,
        }
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let input = audio_input(inputs, 0)?;
        let output = params.output(input)?;
        let (rate, channels) = (output.sample_rate, output.channels);
        let mut decoder = decoder_of(input, rate, channels)?;
        Ok(map(move |frame| {
            let Payload::Audio(audio) = &frame.payload else {
                return Err(DropReason::Undecodable);
            };
            let mut samples = Vec::new();
            match &mut decoder {
                None if input.codec == Codec::PcmF32 => return Ok(frame.payload.clone()),
                None => samples = audio.to_f32().into_owned(),
                // The mark that closes an utterance may carry nothing.
                Some(_) if audio.data.is_empty() => {}
                Some(decoder) => {
                    let decoded = decoder.decode(&audio.data, &mut samples);
                    decoded.map_err(|_| DropReason::Undecodable)?;
                }
            }
            Ok(Payload::Audio(Audio::from_f32(rate, channels, samples)))
        }))
    }
}
