//! G.711 μ-law and A-law (ITU-T G.711), both ways, one byte a sample.
//!
//! Decoding looks up a table made at compile time; encoding finds the segment by the position of the highest bit. Loss is
//! concealed by repeating the last pitch period ([`super::conceal`]). Packets of any length are taken; the encoder makes
//! packets of 20 ms (RFC 3551 §4.2).

use std::time::Duration;

use bytes::Bytes;

use super::conceal::Concealer;
use super::{AudioDecoder, AudioEncoder, CodecError};
use crate::format::{AudioFormat, Codec};
use crate::frame::{Audio, quantise};
use crate::reframe::Reframer;
use crate::time::MediaTime;

/// Which of the two curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// μ-law: North America, Japan; Twilio.
    Mu,
    /// A-law: elsewhere.
    A,
}

impl Law {
    const fn codec(self) -> Codec {
        match self {
            Self::Mu => Codec::Pcmu,
            Self::A => Codec::Pcma,
        }
    }

    const fn table(self) -> &'static [i16; 256] {
        match self {
            Self::Mu => &MU,
            Self::A => &A,
        }
    }

    /// The sample that a code stands for.
    #[must_use]
    pub const fn expand(self, code: u8) -> i16 {
        self.table()[code as usize]
    }

    /// The code nearest to a sample.
    #[must_use]
    pub const fn compress(self, sample: i16) -> u8 {
        match self {
            Self::Mu => compress_mu(sample),
            Self::A => compress_a(sample),
        }
    }
}

static MU: [i16; 256] = {
    let mut table = [0; 256];
    let mut code: i16 = 0;
    while code < 256 {
        let bits = !code & 0xFF;
        let magnitude = ((((bits & 0x0F) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
        table[code as usize] = if bits & 0x80 == 0 {
            magnitude
        } else {
            -magnitude
        };
        code += 1;
    }
    table
};

static A: [i16; 256] = {
    let mut table = [0; 256];
    let mut code: i16 = 0;
    while code < 256 {
        let bits = code ^ 0x55;
        let (segment, step) = ((bits >> 4) & 7, (bits & 0x0F) << 4);
        let magnitude = match segment {
            0 => step + 8,
            segment => (step + 0x108) << (segment - 1),
        };
        table[code as usize] = if bits & 0x80 == 0 {
            -magnitude
        } else {
            magnitude
        };
        code += 1;
    }
    table
};

const fn compress_mu(sample: i16) -> u8 {
    let sign: u32 = if sample < 0 { 0x80 } else { 0 };
    let magnitude = sample.unsigned_abs() as u32;
    let biased = if magnitude > 32_635 {
        32_635
    } else {
        magnitude
    } + 0x84;
    let segment = 24 - biased.leading_zeros();
    let step = (biased >> (segment + 3)) & 0x0F;
    !(sign | (segment << 4) | step).to_le_bytes()[0]
}

const fn compress_a(sample: i16) -> u8 {
    let sign: u32 = if sample < 0 { 0 } else { 0x80 };
    // One's complement, so that −1 and 0 lie symmetric about the threshold between the signs.
    let magnitude = (if sample < 0 { !sample } else { sample }).unsigned_abs() as u32;
    let code = if magnitude < 0x100 {
        magnitude >> 4
    } else {
        let segment = 24 - magnitude.leading_zeros();
        (segment << 4) | ((magnitude >> (segment + 3)) & 0x0F)
    };
    ((sign | code) ^ 0x55).to_le_bytes()[0]
}

fn check(law: Law, rate: u32, channels: u8) -> Result<(), CodecError> {
    let codec = law.codec().as_str();
    if !(4_000..=48_000).contains(&rate) {
        let allowed = "8000 Hz as a rule, 4000 to 48000 at all";
        return Err(CodecError::Rate {
            codec,
            rate,
            allowed,
        });
    }
    if !(1..=2).contains(&channels) {
        let allowed = "1 or 2";
        return Err(CodecError::Channels {
            codec,
            channels,
            allowed,
        });
    }
    Ok(())
}

/// Decodes G.711 at its own rate and channels.
#[derive(Clone, Debug)]
pub struct G711Decoder {
    law: Law,
    output: AudioFormat,
    concealer: Concealer,
}

impl G711Decoder {
    /// A decoder for `channels` interleaved channels at `rate` Hz (8,000 as a rule).
    ///
    /// # Errors
    /// A rate beyond 4–48 kHz, or channels other than 1 and 2.
    pub fn new(law: Law, rate: u32, channels: u8) -> Result<Self, CodecError> {
        check(law, rate, channels)?;
        Ok(Self {
            law,
            output: AudioFormat::pcm_f32(rate, channels),
            concealer: Concealer::new(rate, channels),
        })
    }
}

impl AudioDecoder for G711Decoder {
    fn output(&self) -> AudioFormat {
        self.output
    }

    fn packet_samples(&self, packet: &[u8]) -> Result<u32, CodecError> {
        // A packet longer than a second is no packet: it bounds what one can make the decoder do.
        let samples = packet.len() / usize::from(self.output.channels);
        u32::try_from(samples)
            .ok()
            .filter(|samples| (1..=self.output.sample_rate).contains(samples))
            .ok_or(CodecError::Packet {
                codec: self.law.codec().as_str(),
                bytes: packet.len(),
            })
    }

    fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<u32, CodecError> {
        let samples = self.packet_samples(packet)?;
        let table = self.law.table();
        let start = out.len();
        let whole = packet.len() - packet.len() % usize::from(self.output.channels);
        out.extend(
            packet[..whole]
                .iter()
                .map(|&code| f32::from(table[usize::from(code)]) / 32_768.0),
        );
        self.concealer.heard(&mut out[start..]);
        Ok(samples)
    }

    fn conceal(&mut self, samples: u32, out: &mut Vec<f32>) {
        self.concealer.conceal(samples as usize, out);
    }

    fn reset(&mut self) {
        self.concealer = Concealer::new(self.output.sample_rate, self.output.channels);
    }
}

/// Encodes G.711 in packets of 20 ms.
#[derive(Clone, Debug)]
pub struct G711Encoder {
    law: Law,
    rate: u32,
    channels: u8,
    reframer: Reframer,
}

impl G711Encoder {
    /// An encoder for `channels` interleaved channels at `rate` Hz (8,000 as a rule).
    ///
    /// # Errors
    /// A rate beyond 4–48 kHz, or channels other than 1 and 2.
    pub fn new(law: Law, rate: u32, channels: u8) -> Result<Self, CodecError> {
        check(law, rate, channels)?;
        Ok(Self {
            law,
            rate,
            channels,
            reframer: Reframer::new(rate, channels, rate as usize / 50),
        })
    }

    fn packet(law: Law, format: AudioFormat, samples: &[f32]) -> Audio {
        let codes: Vec<u8> = samples.iter().map(|&s| law.compress(quantise(s))).collect();
        Audio::encoded(format, Bytes::from(codes))
    }
}

impl AudioEncoder for G711Encoder {
    fn input(&self) -> AudioFormat {
        AudioFormat::pcm_f32(self.rate, self.channels)
    }

    fn output(&self) -> AudioFormat {
        AudioFormat {
            codec: self.law.codec(),
            sample_rate: self.rate,
            channels: self.channels,
        }
    }

    fn lookahead(&self) -> Duration {
        Duration::ZERO
    }

    fn packet_duration(&self) -> Duration {
        self.output().duration_of(self.rate / 50)
    }

    fn push(
        &mut self,
        at: MediaTime,
        samples: &[f32],
        emit: &mut dyn FnMut(MediaTime, Audio),
    ) -> Result<(), CodecError> {
        let (law, format) = (self.law, self.output());
        self.reframer.push(at, samples, |at, frame| {
            emit(at, Self::packet(law, format, frame))
        });
        Ok(())
    }

    fn flush(&mut self, emit: &mut dyn FnMut(MediaTime, Audio)) -> Result<(), CodecError> {
        let (law, format) = (self.law, self.output());
        self.reframer
            .flush(|at, frame| emit(at, Self::packet(law, format, frame)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_recommendation() {
        // Decision and reconstruction values of G.711 tables 1a to 2b, scaled from 13/14 to 16 bits.
        for (law, code, value) in [
            (Law::Mu, 0xFF, 0),
            (Law::Mu, 0x7F, 0),
            (Law::Mu, 0x80, 32_124),
            (Law::Mu, 0x00, -32_124),
            (Law::Mu, 0xF0, 120),
            (Law::A, 0xD5, 8),
            (Law::A, 0x55, -8),
            (Law::A, 0xAA, 32_256),
            (Law::A, 0x2A, -32_256),
        ] {
            assert_eq!(law.expand(code), value, "{law:?} {code:#x}");
        }
    }

    #[test]
    fn every_code_survives_expansion_and_compression() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255 {
                let back = law.compress(law.expand(code));
                // μ-law has two zeros; the negative one becomes the positive.
                let same = back == code || (law == Law::Mu && code == 0x7F && back == 0xFF);
                assert!(same, "{law:?} {code:#x} became {back:#x}");
            }
        }
    }

    #[test]
    fn the_error_stays_within_half_a_step_of_the_segment() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let error = (i32::from(law.expand(law.compress(sample))) - i32::from(sample)).abs();
                let clipped = i32::from(sample).abs() > 32_000;
                let most = (i32::from(sample).abs() + 256) / 32;
                assert!(clipped || error <= most, "{law:?} {sample}: off by {error}");
            }
        }
    }
}
