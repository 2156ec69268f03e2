//! FLAC, written as a stream (RFC 9639): 16-bit samples, the length left open.

use std::io::Write;

use flacenc::bitsink::ByteSink;
use flacenc::component::{BitRepr as _, Stream, StreamInfo};
use flacenc::config;
use flacenc::error::{Verified, Verify as _};
use flacenc::source::{Fill as _, FrameBuf};

use super::FileError;
use crate::format::AudioFormat;
use crate::frame::Audio;

/// Samples of each channel in a block: what encoders commonly take.
const BLOCK: usize = 4_096;
const BITS: usize = 16;

/// Encodes 16-bit PCM into a FLAC stream, block by block.
pub struct FlacWriter<W: Write> {
    target: W,
    format: AudioFormat,
    info: StreamInfo,
    settings: Verified<config::Encoder>,
    /// Interleaved samples that make no block yet.
    waiting: Vec<i32>,
    blocks: usize,
}

impl<W: Write> FlacWriter<W> {
    /// Writes the header for PCM at `rate` Hz. Its sizes say "unknown", which players and libraries take.
    ///
    /// # Errors
    /// A rate or channel count that FLAC does not have; the target failed.
    pub fn new(mut target: W, rate: u32, channels: u8) -> Result<Self, FileError> {
        let format = AudioFormat::pcm_s16(rate, channels);
        let unfit = || FileError::Format {
            actual: format.to_string(),
            expected: "a rate and channels that FLAC has".into(),
        };
        let info = StreamInfo::new(rate as usize, usize::from(channels), BITS);
        let mut info = info.map_err(|_| unfit())?;
        info.set_block_sizes(BLOCK, BLOCK).map_err(|_| unfit())?;
        let settings = config::Encoder::default();
        let settings = settings.into_verified().map_err(|_| unfit())?;
        let mut sink = ByteSink::new();
        let header = Stream::with_stream_info(info.clone()).write(&mut sink);
        header.map_err(|_| unfit())?;
        let header = sink.as_slice();
        target.write_all(header).map_err(FileError::io("write"))?;
        Ok(Self {
            target,
            format,
            info,
            settings,
            waiting: Vec::new(),
            blocks: 0,
        })
    }

    /// Appends a frame of PCM; what makes a block is written.
    ///
    /// # Errors
    /// Another rate or channel count, coded audio; the target failed.
    pub fn write(&mut self, audio: &Audio) -> Result<(), FileError> {
        super::fits(audio, self.format)?;
        let samples = audio.to_s16();
        self.waiting.extend(samples.iter().map(|&s| i32::from(s)));
        let whole = BLOCK * usize::from(self.format.channels);
        while self.waiting.len() >= whole {
            let rest = self.waiting.split_off(whole);
            let block = std::mem::replace(&mut self.waiting, rest);
            self.block(&block)?;
        }
        Ok(())
    }

    /// Writes the last block and gives the target back.
    ///
    /// # Errors
    /// The target failed.
    pub fn finish(mut self) -> Result<W, FileError> {
        let block = std::mem::take(&mut self.waiting);
        if !block.is_empty() {
            self.block(&block)?;
        }
        self.target.flush().map_err(FileError::io("write"))?;
        Ok(self.target)
    }

    fn block(&mut self, samples: &[i32]) -> Result<(), FileError> {
        let broken = |error: &dyn std::fmt::Display| FileError::Encode(error.to_string());
        let channels = usize::from(self.format.channels);
        let mut buffer = FrameBuf::with_size(channels, samples.len() / channels)
            .map_err(|error| broken(&error))?;
        buffer
            .fill_interleaved(samples)
            .map_err(|error| broken(&error))?;
        let frame =
            flacenc::encode_fixed_size_frame(&self.settings, &buffer, self.blocks, &self.info);
        let frame = frame.map_err(|error| broken(&error))?;
        self.blocks += 1;
        let mut sink = ByteSink::new();
        frame.write(&mut sink).map_err(|error| broken(&error))?;
        let bytes = sink.as_slice();
        self.target.write_all(bytes).map_err(FileError::io("write"))
    }
}

impl<W: Write> std::fmt::Debug for FlacWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlacWriter")
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}
