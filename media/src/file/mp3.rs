//! MP3 (MPEG-2 Layer III), written whole: the encoder gives nothing before the end.

use std::io::Write;

use oxideav_mp3::ChannelMode;
use oxideav_mp3::stream_encoder::Mp3Encoder;

use super::FileError;
use crate::format::AudioFormat;
use crate::frame::Audio;

/// Encodes 16-bit PCM with one channel as MP3 of a constant bit rate.
pub struct Mp3Writer {
    encoder: Mp3Encoder,
}

impl Mp3Writer {
    /// What it takes.
    pub const INPUT: AudioFormat = AudioFormat::pcm_s16(24_000, 1);
    /// Speech is transparent at it.
    const KBPS: u32 = 64;

    /// A new file.
    ///
    /// # Errors
    /// The encoder cannot be had.
    pub fn new() -> Result<Self, FileError> {
        let mode = ChannelMode::SingleChannel;
        let encoder = Mp3Encoder::new(Self::KBPS, Self::INPUT.sample_rate, mode);
        Ok(Self {
            encoder: encoder.map_err(|error| FileError::Encode(error.to_string()))?,
        })
    }

    /// Appends a frame of PCM.
    ///
    /// # Errors
    /// Another rate or channel count, coded audio.
    pub fn write(&mut self, audio: &Audio) -> Result<(), FileError> {
        let expected = Self::INPUT;
        if !audio.format.codec.is_pcm()
            || (audio.format.sample_rate, audio.format.channels)
                != (expected.sample_rate, expected.channels)
        {
            return Err(FileError::Format {
                actual: audio.format.to_string(),
                expected: expected.to_string(),
            });
        }
        let encoded = self.encoder.push_samples(&audio.to_s16());
        encoded.map_err(|error| FileError::Encode(error.to_string()))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The target failed.
    pub fn finish<W: Write>(self, mut target: W) -> Result<W, FileError> {
        let written = self.encoder.finish(&mut target);
        written.map_err(|error| FileError::Encode(error.to_string()))?;
        target.flush().map_err(FileError::io("write"))?;
        Ok(target)
    }
}

impl std::fmt::Debug for Mp3Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mp3Writer").finish_non_exhaustive()
    }
}
