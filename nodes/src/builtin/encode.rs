//! `audio.encode`: PCM becomes Opus or G.711 packets of a fixed length.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_media::codec::{Application, OpusSettings, encoder};
use tidegate_media::{Audio, AudioEncoder, AudioFormat, Codec, Kind, MediaTime, Payload};

use super::adapt::{Cutter, Pieces, Recut};
use super::params::{Span, millis, show, within};
use super::pcm::pcm_at;
use super::typed::{Inputs, Typed, audio_input};
use crate::node::{Node, NodeError};
use crate::registry::{ParamError, Port, Ports, Replay};
use crate::stream::{Accepts, StreamFormat};

pub(super) struct Encode;

/// A codec that can be encoded to.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    /// Opus (RFC 6716).
    Opus,
    /// G.711 μ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// What Opus is tuned for.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tuning {
    /// Intelligible speech at few bits; up to 64 kbit/s at three times the cost of `audio`.
    Voip,
    /// Faithful sound; speech at few bits, or with losses to repair, is treated as `voip` does.
    Audio,
    /// Least delay: 2.5 ms of look-ahead instead of 6.5 ms, without in-band error correction.
    LowDelay,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// The codec. All but this is for Opus only.
    codec: Target,
    /// What it is tuned for.
    #[serde(default = "audio")]
    application: Tuning,
    /// Bits a second, 500 to 512000; by default libopus chooses by rate and channels.
    #[serde(default)]
    bitrate: Option<u32>,
    /// 0 (cheap) to 10 (best): 10 costs three times what 0 costs.
    #[serde(default = "complexity")]
    complexity: u8,
    /// Each packet carries a coarse copy of the one before, as far as `loss` asks for it.
    #[serde(default = "yes")]
    fec: bool,
    /// Share of packets that are expected to be lost, in percent.
    #[serde(default)]
    loss: u8,
    /// Discontinuous transmission: no packets during silence.
    #[serde(default)]
    dtx: bool,
    /// Playing time of a packet: 5ms, 10ms, 20ms, 40ms or 60ms. G.711 always has 20ms.
    #[serde(default = "packet")]
    packet: Span,
}

const fn audio() -> Tuning {
    Tuning::Audio
}

fn complexity() -> u8 {
    OpusSettings::default().complexity
}

const fn yes() -> bool {
    true
}

const fn packet() -> Span {
    millis(20)
}

impl Params {
    const fn codec(&self) -> Codec {
        match self.codec {
            Target::Opus => Codec::Opus,
            Target::Pcmu => Codec::Pcmu,
            Target::Pcma => Codec::Pcma,
        }
    }

    fn settings(&self) -> OpusSettings {
        OpusSettings {
            application: match self.application {
                Tuning::Voip => Application::Voip,
                Tuning::Audio => Application::Audio,
                Tuning::LowDelay => Application::LowDelay,
            },
            bitrate: self.bitrate,
            complexity: self.complexity,
            fec: self.fec,
            loss: self.loss,
            dtx: self.dtx,
            packet_ms: u8::try_from(self.packet.0.as_millis()).unwrap_or(u8::MAX),
        }
    }

    fn encoder(&self, input: AudioFormat) -> Result<Box<dyn AudioEncoder>, ParamError> {
        let (rate, channels) = (input.sample_rate, input.channels);
        encoder(self.codec(), rate, channels, &self.settings())
            .map_err(|error| ParamError::new("", error.to_string()))
    }
}

impl Typed for Encode {
    type Params = Params;

    const NAME: &'static str = "audio.encode";
    const EXAMPLE: &'static str = r#"{"codec": "opus"}"#;
    const SUMMARY: &'static str = "Encodes PCM to Opus or G.711 packets of a fixed length, whatever the length of the frames that \
                                   come in.";
    const COST: &'static str = "Opus: 56 µs (complexity 0) to 150 µs (10) for 20 ms of 48 kHz mono, with 6.5 ms of look-ahead; G.711: \
                                under 2 µs";
    const REPLAY_DOC: &'static str = "makes the same again of sound in utterances, except as Opus";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        if let Some(bitrate) = params.bitrate {
            within("bitrate", bitrate, 500..=512_000)?;
        }
        within("complexity", params.complexity, 0..=10)?;
        within("loss", params.loss, 0..=100)?;
        if ![5, 10, 20, 40, 60].map(millis).contains(&params.packet) {
            let message = format!(
                "{} is not a packet length: use 5ms, 10ms, 20ms, 40ms or 60ms",
                show(params.packet.0)
            );
            return Err(ParamError::new("packet", message));
        }
        Ok(())
    }

    fn ports(&self, params: &Params) -> Ports {
        let accepts: Accepts = match params.codec {
            Target::Opus => pcm_at(&[48_000, 24_000, 16_000, 12_000, 8_000], &[1, 2]),
            Target::Pcmu | Target::Pcma => pcm_at(&[8_000], &[1, 2]),
        };
        Ports {
            inputs: vec![Port::input("in", accepts, "Sound.")],
            outputs: vec![Port::output("out", Kind::Audio, "Packets, one a frame.")],
        }
    }

    fn outputs(
        &self,
        params: &Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError> {
        let encoder = params.encoder(audio_input(inputs, 0)?)?;
        Ok(vec![StreamFormat::audio(encoder.output())])
    }

    fn replay(&self, params: &Params, _: Inputs<'_>) -> Replay {
        match params.codec {
            Target::Opus => Replay::Differs,
            Target::Pcmu | Target::Pcma => Replay::SameInUtterances,
        }
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let input = audio_input(inputs, 0)?;
        Ok(Recut::boxed(Packets {
            encoder: params.encoder(input)?,
            params,
            input,
        }))
    }
}

struct Packets {
    encoder: Box<dyn AudioEncoder>,
    params: Params,
    input: AudioFormat,
}

impl Cutter for Packets {
    fn push(&mut self, at: MediaTime, audio: &Audio, out: &mut Pieces) -> Result<(), NodeError> {
        self.encoder
            .push(at, &audio.to_f32(), &mut |at, packet| {
                out.push((at, Payload::Audio(packet)));
            })
            .map_err(|error| NodeError::new(error.to_string()))
    }

    fn flush(&mut self, out: &mut Pieces) -> Result<(), NodeError> {
        self.encoder
            .flush(&mut |at, packet| out.push((at, Payload::Audio(packet))))
            .map_err(|error| NodeError::new(error.to_string()))
    }

    fn reset(&mut self) {
        // The parameters made an encoder before, so they do again.
        if let Ok(encoder) = self.params.encoder(self.input) {
            self.encoder = encoder;
        }
    }

    fn nothing(&self) -> Payload {
        Payload::Audio(Audio::encoded(self.encoder.output(), bytes::Bytes::new()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_media::Frame;

    use super::super::testing::{Bench, audio, error, f32_of, micros, pcm, power_at, stream, tone};
    use super::*;

    /// Encodes and decodes a tone; gives the packets and what was heard.
    fn round_trip(encode: Value, decode: Value, rate: u32) -> (Vec<Frame>, Vec<f32>, Bench) {
        let mut encoder = Bench::new("audio.encode", encode, &[pcm(rate, 1)]);
        let mut decoder = Bench::new("audio.decode", decode, &encoder.formats);
        let input = tone(1_000.0, rate, rate as usize, 0.5);
        let mut packets = encoder.frames(stream(rate, 1, 441, &input));
        packets.extend(encoder.end());
        let heard = decoder.frames(packets.clone());
        let samples = heard.iter().flat_map(f32_of).collect();
        (packets, samples, decoder)
    }

    #[test]
    fn a_tone_survives_opus_and_packets_last_20_ms() {
        let (packets, samples, decoder) = round_trip(
            json!({"codec": "opus"}),
            json!({"sample_rate": 16_000}),
            48_000,
        );
        assert_eq!(decoder.formats, [pcm(16_000, 1)]);
        assert_eq!(packets.len(), 50);
        for (index, packet) in (0..).zip(&packets) {
            assert_eq!(micros(packet), index * 20_000);
            assert_eq!(packet.duration().as_millis(), 20);
        }
        let power = power_at(1_000.0, 16_000, &samples[1_600..14_400]);
        assert!((power - 0.125).abs() < 0.03, "{power}");
    }

    #[test]
    fn a_tone_survives_both_laws_of_telephony() {
        for codec in ["pcmu", "pcma"] {
            let (packets, samples, decoder) = round_trip(json!({"codec": codec}), json!({}), 8_000);
            assert_eq!(decoder.formats, [pcm(8_000, 1)]);
            assert_eq!(packets.len(), 50);
            let power = power_at(1_000.0, 8_000, &samples);
            assert!((power - 0.125).abs() < 0.002, "{codec}: {power}");
        }
    }

    #[test]
    fn the_last_packet_of_an_utterance_is_final_even_if_it_is_empty() {
        let params = json!({"codec": "opus"});
        let mut encoder = Bench::new("audio.encode", params, &[pcm(48_000, 1)]);
        let mut decoder = Bench::new("audio.decode", json!({}), &encoder.formats);
        let mut last = audio(0, 48_000, 1, vec![0.1; 1_000]);
        last.meta.is_final = true;
        let packets = encoder.frame(last);
        let marks: Vec<_> = packets.iter().map(|p| p.meta.is_final).collect();
        assert_eq!(marks, [false, true]);
        let mut mark = audio(40, 48_000, 1, Vec::new());
        mark.meta.is_final = true;
        let end = decoder.frames(encoder.frame(mark));
        assert!(end[0].meta.is_final && f32_of(&end[0]).is_empty());
    }

    #[test]
    fn a_malformed_packet_is_counted_and_the_stream_goes_on() {
        let opus = StreamFormat::audio(AudioFormat::WEBRTC_OPUS);
        let mut decoder = Bench::new("audio.decode", json!({}), &[opus]);
        let bad = Audio::encoded(AudioFormat::WEBRTC_OPUS, bytes::Bytes::from_static(&[0xFF]));
        assert!(
            decoder
                .frame(Frame::new(MediaTime::ZERO, Payload::Audio(bad)))
                .is_empty()
        );
        assert_eq!(decoder.drops, [(crate::node::DropReason::Undecodable, 1)]);
    }

    #[test]
    fn what_a_codec_lacks_is_named_with_the_mend() {
        let at = |params| error("audio.encode", params, &[pcm(48_000, 1)]);
        assert!(at(json!({})).message.contains("codec"));
        assert_eq!(
            at(json!({"codec": "opus", "packet": "25ms"})).path,
            "packet"
        );
        assert_eq!(
            at(json!({"codec": "opus", "complexity": 11})).path,
            "complexity"
        );
        assert_eq!(at(json!({"codec": "vorbis"})).path, "codec");
        let pcmu = StreamFormat::audio(AudioFormat {
            codec: Codec::Pcmu,
            sample_rate: 8_000,
            channels: 1,
        });
        let refused = error("audio.decode", json!({"sample_rate": 16_000}), &[pcmu]);
        assert_eq!(refused.path, "sample_rate");
        assert!(refused.message.contains("audio.resample"));
    }
}
