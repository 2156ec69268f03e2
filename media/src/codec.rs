//! Encoders and decoders of sound, behind two traits over interleaved float samples.
//!
//! Opus (RFC 6716) and G.711 (ITU-T). What a peer sends gives `Err`, never a panic. Nothing here waits for packets or
//! counts time by a clock: the jitter buffer decides what is decoded, recovered or concealed.

pub mod conceal;
pub mod g711;
pub mod opus;
pub mod packet;
pub mod pcm;

use std::time::Duration;

use crate::format::{AudioFormat, Codec};
use crate::frame::Audio;
use crate::time::MediaTime;

pub use self::g711::{G711Decoder, G711Encoder, Law};
pub use self::opus::{Application, OpusDecoder, OpusEncoder, OpusSettings};

/// Why encoding or decoding failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A sample rate that the codec does not have.
    #[error("{codec} has no sample rate of {rate} Hz: use {allowed}, or resample before it")]
    Rate {
        /// Codec's name.
        codec: &'static str,
        /// Rate asked for, in Hz.
        rate: u32,
        /// Rates it has.
        allowed: &'static str,
    },
    /// A channel count that the codec does not have.
    #[error("{codec} with {channels} channels is not supported: use {allowed}")]
    Channels {
        /// Codec's name.
        codec: &'static str,
        /// Channels asked for.
        channels: u8,
        /// Counts it has.
        allowed: &'static str,
    },
    /// A setting outside of its range.
    #[error("opus setting {name} is {value}: use {allowed}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: u32,
        /// Values it may have.
        allowed: &'static str,
    },
    /// A packet that is not what its codec defines.
    #[error("malformed {codec} packet of {bytes} bytes")]
    Packet {
        /// Codec's name.
        codec: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// PCM needs no codec.
    #[error("{0} is not a coded format: convert it with codec::pcm")]
    NotCoded(&'static str),
    /// The library failed.
    #[error("opus could not {operation}: {reason}")]
    Library {
        /// What it was to do.
        operation: &'static str,
        /// Its words.
        reason: &'static str,
    },
}

/// Decodes one stream, packet by packet, into interleaved float samples appended to a buffer.
///
/// Sample counts are of each channel, at the rate of [`Self::output`].
pub trait AudioDecoder: Send {
    /// The float PCM that comes out.
    fn output(&self) -> AudioFormat;

    /// Playing time of a packet in samples, without decoding it.
    ///
    /// # Errors
    /// [`CodecError::Packet`] for malformed packets.
    fn packet_samples(&self, packet: &[u8]) -> Result<u32, CodecError>;

    /// Decodes a packet and says how many samples were appended.
    ///
    /// # Errors
    /// [`CodecError::Packet`] for malformed packets; nothing is appended then.
    fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<u32, CodecError>;

    /// Whether a packet carries a copy of what was in the packet before it (in-band FEC).
    fn carries_fec(&self, packet: &[u8]) -> bool {
        let _ = packet;
        false
    }

    /// Makes the `samples` that were lost before the packet `next` from the copy in it; conceals where it has none.
    fn recover(&mut self, next: &[u8], samples: u32, out: &mut Vec<f32>) {
        let _ = next;
        self.conceal(samples, out);
    }

    /// Makes up `samples` of sound for packets that will not come; fades out when the loss lasts.
    fn conceal(&mut self, samples: u32, out: &mut Vec<f32>);

    /// Forgets the past, as at the start of a stream.
    fn reset(&mut self);
}

/// Encodes one stream of interleaved float samples into packets of a fixed length of time.
pub trait AudioEncoder: Send {
    /// The float PCM that goes in.
    fn input(&self) -> AudioFormat;

    /// The format of the packets.
    fn output(&self) -> AudioFormat;

    /// How far the packets lag behind their media time, because the encoder looks ahead.
    fn lookahead(&self) -> Duration;

    /// Playing time of one packet.
    fn packet_duration(&self) -> Duration;

    /// Takes a chunk of any size that starts at `at`, and hands out each packet that is complete. A hole in the input pads
    /// the packet in the making with silence. Silence may give no packets (discontinuous transmission).
    ///
    /// # Errors
    /// [`CodecError::Library`] when the library fails; the packet is lost, the stream goes on.
    fn push(
        &mut self,
        at: MediaTime,
        samples: &[f32],
        emit: &mut dyn FnMut(MediaTime, Audio),
    ) -> Result<(), CodecError>;

    /// Ends the stream: pads the packet in the making with silence and hands it out.
    ///
    /// # Errors
    /// As [`Self::push`].
    fn flush(&mut self, emit: &mut dyn FnMut(MediaTime, Audio)) -> Result<(), CodecError>;

    /// Tells it the share of packets lost on the way, in percent, for codecs that can spend bits on it.
    fn set_loss(&mut self, percent: u8) {
        let _ = percent;
    }
}

/// A decoder for packets of `format` that gives float PCM at `rate` Hz with `channels` channels where the codec can do so
/// by itself (Opus), else in the packets' own rate and channels: see [`AudioDecoder::output`].
///
/// # Errors
/// [`CodecError::NotCoded`] for PCM; a rate or channel count that the codec does not have.
pub fn decoder(
    format: AudioFormat,
    rate: u32,
    channels: u8,
) -> Result<Box<dyn AudioDecoder>, CodecError> {
    Ok(match format.codec {
        Codec::Opus => Box::new(OpusDecoder::new(rate, channels)?),
        Codec::Pcmu => Box::new(G711Decoder::new(
            Law::Mu,
            format.sample_rate,
            format.channels,
        )?),
        Codec::Pcma => Box::new(G711Decoder::new(
            Law::A,
            format.sample_rate,
            format.channels,
        )?),
        Codec::PcmS16 | Codec::PcmF32 => return Err(CodecError::NotCoded(format.codec.as_str())),
    })
}

/// An encoder to `codec` for float PCM at `rate` Hz with `channels` channels; `settings` matter to Opus only.
///
/// # Errors
/// [`CodecError::NotCoded`] for PCM; a rate, channel count or setting that the codec does not have.
pub fn encoder(
    codec: Codec,
    rate: u32,
    channels: u8,
    settings: &OpusSettings,
) -> Result<Box<dyn AudioEncoder>, CodecError> {
    Ok(match codec {
        Codec::Opus => Box::new(OpusEncoder::new(rate, channels, settings)?),
        Codec::Pcmu => Box::new(G711Encoder::new(Law::Mu, rate, channels)?),
        Codec::Pcma => Box::new(G711Encoder::new(Law::A, rate, channels)?),
        Codec::PcmS16 | Codec::PcmF32 => return Err(CodecError::NotCoded(codec.as_str())),
    })
}

#[cfg(test)]
mod tests;
