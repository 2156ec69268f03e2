//! AAC (the low-complexity profile) in ADTS frames, written as it comes.

use std::io::Write;

use syom::{AacError, EncodeOptions, Encoder};

use super::FileError;
use crate::format::AudioFormat;
use crate::frame::Audio;

/// Of each channel; speech is transparent at it.
const BITS_PER_SECOND: u32 = 64_000;

/// Encodes PCM as a stream of ADTS frames.
pub struct AacWriter<W: Write> {
    target: W,
    format: AudioFormat,
    encoder: Encoder,
    /// There is something to be ended.
    begun: bool,
}

impl<W: Write> AacWriter<W> {
    /// A new file for PCM at `rate` Hz.
    ///
    /// # Errors
    /// A rate or channel count that AAC does not have.
    pub fn new(target: W, rate: u32, channels: u8) -> Result<Self, FileError> {
        let bits = BITS_PER_SECOND * u32::from(channels);
        let options = EncodeOptions::adts().with_bitrate_bps(bits);
        let encoder = Encoder::new(rate, usize::from(channels), &options);
        Ok(Self {
            target,
            format: AudioFormat::pcm_s16(rate, channels),
            encoder: encoder.map_err(|error| failed(&error))?,
            begun: false,
        })
    }

    /// Appends a frame of PCM; what makes a frame of AAC is written.
    ///
    /// # Errors
    /// Another rate or channel count, coded audio; the target failed.
    pub fn write(&mut self, audio: &Audio) -> Result<(), FileError> {
        super::fits(audio, self.format)?;
        let samples = audio.to_s16();
        if samples.is_empty() {
            return Ok(());
        }
        self.begun = true;
        let channels = usize::from(self.format.channels);
        let plane = |channel: usize| {
            let samples = samples.iter().skip(channel).step_by(channels);
            samples.map(|&s| f32::from(s) / 32_768.0).collect()
        };
        let planes: Vec<Vec<f32>> = (0..channels).map(plane).collect();
        let planes: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
        let mut frames = Vec::new();
        let fed = self.encoder.feed(&planes, |frame| {
            frames.extend_from_slice(frame.au);
            Ok(())
        });
        fed.map_err(|error| failed(&error))?;
        let written = self.target.write_all(&frames);
        written.map_err(FileError::io("write"))
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// The target failed.
    pub fn finish(mut self) -> Result<W, FileError> {
        let mut frames = Vec::new();
        if self.begun {
            let finished = self.encoder.finish(|frame| {
                frames.extend_from_slice(frame.au);
                Ok(())
            });
            finished.map_err(|error| failed(&error))?;
        }
        let written = self.target.write_all(&frames);
        written.map_err(FileError::io("write"))?;
        self.target.flush().map_err(FileError::io("write"))?;
        Ok(self.target)
    }
}

fn failed(error: &AacError) -> FileError {
    FileError::Encode(error.to_string())
}

impl<W: Write> std::fmt::Debug for AacWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AacWriter")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
