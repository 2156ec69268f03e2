//! MP3 (MPEG-2 Layer III), written as it comes, in runs of frames.
//!
//! The encoder gives nothing before its end, so each run has one of its own. At this rate every frame has the same length and carries its
//! own data only (the bit reservoir is never used), and what a frame holds depends on no sound older than the two before it. A run therefore begins two
//! frames early and these are thrown away: the file is the same as one that is encoded whole, which a test holds it to.

use std::io::Write;

use oxideav_mp3::ChannelMode;
use oxideav_mp3::stream_encoder::Mp3Encoder;

use super::FileError;
use crate::format::AudioFormat;
use crate::frame::Audio;

/// Speech is transparent at it.
const KBPS: u32 = 64;
/// Samples of a frame, and its bytes, which are whole ones.
const FRAME: usize = 576;
const FRAME_BYTES: usize = KBPS as usize * 1_000 / 8 * FRAME / 24_000;
/// Samples before a frame that it depends on: the filters' 480 and the granule before, in whole frames. The decoder is as far behind, so
/// as much silence ends a file.
const BEFORE: usize = 2 * FRAME;
/// New samples of a run: 192 ms.
const RUN: usize = 8 * FRAME;

/// Encodes 16-bit PCM with one channel as MP3 of a constant bit rate.
#[derive(Debug)]
pub struct Mp3Writer<W: Write> {
    target: W,
    /// What a run begins with that was encoded already, and what was not.
    waiting: Vec<i16>,
    before: usize,
}

impl<W: Write> Mp3Writer<W> {
    /// What it takes.
    pub const INPUT: AudioFormat = AudioFormat::pcm_s16(24_000, 1);

    /// A new file.
    pub const fn new(target: W) -> Self {
        Self {
            target,
            waiting: Vec::new(),
            before: 0,
        }
    }

    /// Appends a frame of PCM; what makes a run is written.
    ///
    /// # Errors
    /// Another rate or channel count, coded audio; the target failed.
    pub fn write(&mut self, audio: &Audio) -> Result<(), FileError> {
        super::fits(audio, Self::INPUT)?;
        self.waiting.extend_from_slice(&audio.to_s16());
        while self.waiting.len() >= self.before + RUN {
            self.run(RUN)?;
        }
        Ok(())
    }

    /// Encodes so many new samples.
    fn run(&mut self, new: usize) -> Result<(), FileError> {
        let failed = |error: &dyn std::fmt::Display| FileError::Encode(error.to_string());
        let end = self.before + new;
        let mode = ChannelMode::SingleChannel;
        let encoder = Mp3Encoder::new(KBPS, Self::INPUT.sample_rate, mode);
        let mut encoder = encoder.map_err(|error| failed(&error))?;
        let pushed = encoder.push_samples(&self.waiting[..end]);
        pushed.map_err(|error| failed(&error))?;
        let mut frames = Vec::new();
        let finished = encoder.finish(&mut frames);
        finished.map_err(|error| failed(&error))?;
        let frames = frames.get(self.before / FRAME * FRAME_BYTES..);
        let frames = frames.ok_or_else(|| failed(&"it gave too few frames"))?;
        let written = self.target.write_all(frames);
        written.map_err(FileError::io("write"))?;
        self.waiting.drain(..end.saturating_sub(BEFORE));
        self.before = BEFORE;
        Ok(())
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// The target failed.
    pub fn finish(mut self) -> Result<W, FileError> {
        if !self.waiting.is_empty() {
            self.waiting.resize(self.waiting.len() + BEFORE, 0);
            while self.waiting.len() > self.before {
                self.run(RUN.min(self.waiting.len() - self.before))?;
            }
        }
        self.target.flush().map_err(FileError::io("write"))?;
        Ok(self.target)
    }
}
