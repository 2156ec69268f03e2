//! Which conversions lead from an exact format to what a port or a listener accepts.
//!
//! A conversion is an ordinary node type with parameters; this module only chooses. The chain is the shortest that computes
//! least: channels are reduced before and added after resampling, Opus is decoded straight to the wanted rate where its decoder
//! can. Work between decoder and encoder is always on `pcm_f32`. Nothing here builds a node, and only audio is ever converted.
//!
//! The node types and parameters it relies on, each with one input `in` and one output `out`:
//!
//! | type | takes | parameters | gives |
//! | --- | --- | --- | --- |
//! | `audio.dejitter` | packets of any codec | `sample_rate`, `channels` | `pcm_f32/<sample_rate>/<channels>` |
//! | `audio.decode` | any codec, a steady time line | `sample_rate`, `channels` | `pcm_f32/<sample_rate>/<channels>` |
//! | `audio.encode` | `pcm_f32` at a rate that the codec has | `codec` | opus: `opus/48000/<channels of input>`; G.711: `<codec>/<rate>/<channels>` |
//! | `audio.resample` | `pcm_f32` | `sample_rate` | the same at that rate |
//! | `audio.channels` | `pcm_f32` | `channels` | the same with that many channels |
//! | `audio.pcm` | `pcm_s16` or `pcm_f32` | `codec` | the same samples written as that codec |

use serde_json::{Value, json};
use tidegate_media::{AudioFormat, Codec, Kind};

use crate::error::{Code, Error};
use crate::stream::{Accepts, AudioPattern, StreamFormat};

/// Rates that Opus encodes from and decodes to without a resampler (RFC 6716 §2.1.3), in Hz, best first.
const OPUS_RATES: [u32; 5] = [48_000, 24_000, 16_000, 12_000, 8_000];

/// G.711 has one rate (RFC 3551 §4.5.14), in Hz.
const G711_RATE: u32 = 8_000;

/// One step of a chain of conversions.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// Its short name, the last part of the inserted hop's id: `dejitter`, `decode`, `resample`, `channels`, `encode` or `pcm`.
    pub name: &'static str,
    /// The node type that does it.
    pub node_type: &'static str,
    /// The node's parameters.
    pub params: Value,
    /// What comes out of it.
    pub output: StreamFormat,
}

/// The chain of conversions that turns `from` into something that `to` admits; empty if it is admitted as it is.
///
/// # Errors
/// `incompatible` if no chain does: the kinds differ, or a video codec would have to change.
pub fn conversions(from: StreamFormat, to: &Accepts) -> Result<Vec<Conversion>, Error> {
    if to.admits(&from) {
        return Ok(Vec::new());
    }
    let any = AudioPattern::default();
    let (format, packets, pattern) = match (from, to) {
        (StreamFormat::Audio { format, packets }, Accepts::Audio(pattern)) => {
            (format, packets, pattern)
        }
        (StreamFormat::Audio { format, packets }, Accepts::Kind(Kind::Audio)) => {
            (format, packets, &any)
        }
        _ => return Err(mismatch(from, to)),
    };
    let mut chain = Chain {
        steps: Vec::new(),
        format,
    };
    let target = target(format, packets, pattern);
    if packets || !format.codec.is_pcm() {
        chain.decode(packets, target);
    } else if format.codec == Codec::PcmS16 && chain.needs_float(target) {
        chain.pcm(Codec::PcmF32);
    }
    chain.mix_and_resample(target);
    match target.codec {
        Codec::PcmF32 | Codec::PcmS16 => chain.pcm(target.codec),
        codec => chain.encode(codec),
    }
    match chain.steps.last() {
        Some(last) if to.admits(&last.output) => Ok(chain.steps),
        _ => Err(mismatch(from, to)),
    }
}

fn mismatch(from: StreamFormat, to: &Accepts) -> Error {
    let message = match to.kind() {
        Some(kind) if kind != from.kind() => {
            format!("{} does not go where {kind} is expected", from.kind())
        }
        _ => format!("no conversion leads from {from} to {to}"),
    };
    Error::new(Code::Incompatible, message)
}

/// The format to arrive at: each property is kept where the pattern admits it, else the pattern's best.
fn target(from: AudioFormat, packets: bool, pattern: &AudioPattern) -> AudioFormat {
    let codec = if pattern.codecs.is_empty() {
        if packets || !from.codec.is_pcm() {
            Codec::PcmF32
        } else {
            from.codec
        }
    } else {
        keep_or_first(&pattern.codecs, from.codec)
    };
    let sample_rate = match codec {
        Codec::PcmS16 | Codec::PcmF32 => keep_or_first(&pattern.sample_rates, from.sample_rate),
        // What the encoder takes; its output is on the clock of 48 kHz whatever that is.
        Codec::Opus if OPUS_RATES.contains(&from.sample_rate) => from.sample_rate,
        Codec::Opus => OPUS_RATES[0],
        Codec::Pcmu | Codec::Pcma => pattern.sample_rates.first().copied().unwrap_or(G711_RATE),
    };
    let heard = match (packets, from.codec) {
        // SDP always says two channels (RFC 7587 §4.1), and a sender that we did not ask for stereo sends one.
        (true, Codec::Opus) => 1,
        _ => from.channels,
    };
    let channels = match codec {
        Codec::Opus => heard.min(2),
        Codec::Pcmu | Codec::Pcma if pattern.channels.is_empty() => 1,
        _ => keep_or_first(&pattern.channels, heard),
    };
    AudioFormat {
        codec,
        sample_rate,
        channels,
    }
}

fn keep_or_first<T: Copy + PartialEq>(accepted: &[T], value: T) -> T {
    if accepted.contains(&value) {
        value
    } else {
        accepted.first().copied().unwrap_or(value)
    }
}

/// A chain under construction and the format at its end.
struct Chain {
    steps: Vec<Conversion>,
    format: AudioFormat,
}

impl Chain {
    fn push(
        &mut self,
        name: &'static str,
        node_type: &'static str,
        params: Value,
        output: AudioFormat,
    ) {
        self.format = output;
        self.steps.push(Conversion {
            name,
            node_type,
            params,
            output: StreamFormat::audio(output),
        });
    }

    /// Decodes straight to the target's rate and channels as far as the decoder can.
    fn decode(&mut self, packets: bool, target: AudioFormat) {
        let opus = self.format.codec == Codec::Opus;
        let sample_rate = match opus {
            true if OPUS_RATES.contains(&target.sample_rate) => target.sample_rate,
            true => OPUS_RATES[0],
            false => self.format.sample_rate,
        };
        let channels = if opus {
            target.channels.min(2)
        } else {
            self.format.channels
        };
        let output = AudioFormat::pcm_f32(sample_rate, channels);
        let params = json!({"sample_rate": sample_rate, "channels": channels});
        if packets {
            self.push("dejitter", "audio.dejitter", params, output);
        } else {
            self.push("decode", "audio.decode", params, output);
        }
    }

    fn needs_float(&self, target: AudioFormat) -> bool {
        self.format.sample_rate != target.sample_rate
            || self.format.channels != target.channels
            || !target.codec.is_pcm()
    }

    /// Whichever order resamples fewer channels.
    fn mix_and_resample(&mut self, target: AudioFormat) {
        if target.channels < self.format.channels {
            self.channels(target.channels);
        }
        if target.sample_rate != self.format.sample_rate {
            let output = AudioFormat {
                sample_rate: target.sample_rate,
                ..self.format
            };
            let params = json!({"sample_rate": target.sample_rate});
            self.push("resample", "audio.resample", params, output);
        }
        if target.channels > self.format.channels {
            self.channels(target.channels);
        }
    }

    fn channels(&mut self, channels: u8) {
        let output = AudioFormat {
            channels,
            ..self.format
        };
        self.push(
            "channels",
            "audio.channels",
            json!({"channels": channels}),
            output,
        );
    }

    fn pcm(&mut self, codec: Codec) {
        if self.format.codec != codec {
            let output = AudioFormat {
                codec,
                ..self.format
            };
            self.push("pcm", "audio.pcm", json!({"codec": codec.as_str()}), output);
        }
    }

    fn encode(&mut self, codec: Codec) {
        let sample_rate = match codec {
            Codec::Opus => AudioFormat::WEBRTC_OPUS.sample_rate,
            _ => self.format.sample_rate,
        };
        let output = AudioFormat {
            codec,
            sample_rate,
            ..self.format
        };
        self.push(
            "encode",
            "audio.encode",
            json!({"codec": codec.as_str()}),
            output,
        );
    }
}

#[cfg(test)]
mod tests;
