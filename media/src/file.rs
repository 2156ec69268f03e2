//! Media files: read as a stream of frames, written as they come.
//!
//! Reading: WAV, FLAC, MP3, Ogg/Vorbis, AAC (ADTS and MP4) by symphonia, Ogg/Opus by the `ogg` and `opus` crates. Writing:
//! WAV, FLAC, Ogg/Opus, AAC (ADTS) and MP3 to any `Write`, without seeking and as it comes. A file is a stranger's: what it claims is checked against
//! [`FileLimits`], damage gives an error or a gap that is counted, and memory does not grow with the file.
//!
//! Absent: paths and directories. Whoever opens a file decides whether that is allowed.

mod aac;
mod flac;
mod mp3;
mod opus_read;
mod opus_write;
mod read;
mod wav;

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use crate::format::AudioFormat;
use crate::frame::Audio;

pub use self::aac::AacWriter;
pub use self::flac::FlacWriter;
pub use self::mp3::Mp3Writer;
pub use self::opus_read::OpusPackets;
pub use self::opus_write::{OggOpusWriter, OpusFile};
pub use self::read::AudioFile;
pub use self::wav::WavWriter;

/// What a file may claim and contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Longest playing time.
    pub duration: Duration,
    /// Highest sample rate in Hz.
    pub rate_max: u32,
    /// Most channels.
    pub channels_max: u8,
    /// Most packets in a row that cannot be decoded before the file counts as broken.
    pub broken_packets_max: u32,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(6 * 3_600),
            rate_max: *crate::SAMPLE_RATES.end(),
            channels_max: 8,
            broken_packets_max: 50,
        }
    }
}

/// Why a media file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The encoder failed.
    #[error("the sound cannot be encoded: {0}")]
    Encode(String),
    /// Reading or writing failed.
    #[error("could not {operation} the media file")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// None of the formats known.
    #[error(
        "not a media file of a known format: use wav, flac, mp3, ogg/opus, ogg/vorbis, aac or m4a"
    )]
    Unrecognised,
    /// Nothing in it can be heard.
    #[error("the media file has no audio that can be decoded{0}")]
    NoAudio(&'static str),
    /// It is damaged.
    #[error("the media file is damaged: {0}")]
    Malformed(String),
    /// It uses what is not supported.
    #[error("the media file uses what is not supported: {0}")]
    Unsupported(String),
    /// It exceeds a limit.
    #[error("the media file has {what} {value}, at most {most} is allowed")]
    Limit {
        /// What exceeds.
        what: &'static str,
        /// By how much.
        value: u64,
        /// What is allowed.
        most: u64,
    },
    /// A frame that does not fit the file being written.
    #[error("a frame of {actual} does not fit a file of {expected}: convert it first")]
    Format {
        /// The frame's format.
        actual: String,
        /// The file's.
        expected: String,
    },
    /// Opus failed.
    #[error("opus failed on the media file")]
    Codec(#[from] crate::codec::CodecError),
}

impl FileError {
    fn io(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }
}

/// Whether a frame is PCM of the rate and channels that a file has; its samples may be written down in another way.
fn fits(audio: &Audio, file: AudioFormat) -> Result<(), FileError> {
    let frame = audio.format;
    let alike = (frame.sample_rate, frame.channels) == (file.sample_rate, file.channels);
    if frame.codec.is_pcm() && alike {
        return Ok(());
    }
    Err(FileError::Format {
        actual: frame.to_string(),
        expected: file.to_string(),
    })
}

impl FileLimits {
    /// Checks what a file says of itself.
    fn check(&self, rate: u32, channels: u64) -> Result<u8, FileError> {
        let limit = |what, value, most| Err(FileError::Limit { what, value, most });
        if rate == 0 {
            return Err(FileError::Malformed("its sample rate is zero".into()));
        }
        if rate > self.rate_max {
            return limit(
                "a sample rate of",
                u64::from(rate),
                u64::from(self.rate_max),
            );
        }
        match u8::try_from(channels) {
            Ok(0) => Err(FileError::Malformed("it has no channels".into())),
            Ok(count) if count <= self.channels_max => Ok(count),
            _ => limit("channels:", channels, u64::from(self.channels_max)),
        }
    }

    /// Checks how much has been played, in samples of each channel.
    fn check_length(&self, samples: u64, rate: u32) -> Result<(), FileError> {
        let most = self.duration.as_secs();
        let seconds = samples / u64::from(rate.max(1));
        if seconds > most {
            return Err(FileError::Limit {
                what: "a length in seconds of",
                value: seconds,
                most,
            });
        }
        Ok(())
    }
}
