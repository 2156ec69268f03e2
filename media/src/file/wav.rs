//! WAV, written as a stream: 16-bit or float PCM.
//!
//! A stream's length is not known when its header is written: the sizes say "all that follows" (all ones), which players
//! and libraries take. [`WavWriter::finish_seekable`] puts the true sizes in where the target can seek.

use std::io::{Seek, SeekFrom, Write};

use super::FileError;
use crate::format::{AudioFormat, Codec};
use crate::frame::Audio;

/// Writes PCM frames into a WAV stream.
#[derive(Debug)]
pub struct WavWriter<W: Write> {
    target: W,
    format: AudioFormat,
    /// Bytes of samples written.
    bytes: u64,
}

/// Where the sizes stand in the header: of the whole, of the samples in frames, and in bytes.
const RIFF_SIZE_AT: u64 = 4;
const FACT_AT: u64 = 46;
const DATA_SIZE_AT: u64 = 54;
const HEADER_BYTES: u64 = 58;

impl<W: Write> WavWriter<W> {
    /// Writes the header for PCM of `format`.
    ///
    /// # Errors
    /// A format other than 16-bit or float PCM; the target failed.
    pub fn new(mut target: W, format: AudioFormat) -> Result<Self, FileError> {
        let header = header(format)?;
        target.write_all(&header).map_err(FileError::io("write"))?;
        Ok(Self {
            target,
            format,
            bytes: 0,
        })
    }

    /// Appends a frame of PCM, converted between 16-bit and float where needed.
    ///
    /// # Errors
    /// Another rate or channel count, coded audio; the target failed.
    pub fn write(&mut self, audio: &Audio) -> Result<(), FileError> {
        let wanted = AudioFormat {
            codec: self.format.codec,
            ..audio.format
        };
        if wanted != self.format || !audio.format.codec.is_pcm() {
            return Err(FileError::Format {
                actual: audio.format.to_string(),
                expected: self.format.to_string(),
            });
        }
        let converted;
        let data: &[u8] = if audio.format.codec == self.format.codec {
            &audio.data
        } else if self.format.codec == Codec::PcmS16 {
            converted = Audio::from_s16(
                wanted.sample_rate,
                wanted.channels,
                audio.to_s16().into_owned(),
            );
            &converted.data
        } else {
            converted = Audio::from_f32(
                wanted.sample_rate,
                wanted.channels,
                audio.to_f32().into_owned(),
            );
            &converted.data
        };
        self.target
            .write_all(data)
            .map_err(FileError::io("write"))?;
        self.bytes += data.len() as u64;
        Ok(())
    }

    /// Ends the stream and gives the target back.
    ///
    /// # Errors
    /// The target failed.
    pub fn finish(mut self) -> Result<W, FileError> {
        if self.bytes % 2 == 1 {
            self.target
                .write_all(&[0])
                .map_err(FileError::io("write"))?;
        }
        self.target.flush().map_err(FileError::io("write"))?;
        Ok(self.target)
    }
}

impl<W: Write + Seek> WavWriter<W> {
    /// Ends the stream with the true sizes in its header, as far as 32 bits hold them.
    ///
    /// # Errors
    /// The target failed.
    pub fn finish_seekable(self) -> Result<W, FileError> {
        let (bytes, format) = (self.bytes, self.format);
        let mut target = self.finish()?;
        let frame = format.codec.sample_bytes().unwrap_or(1) as u64 * u64::from(format.channels);
        let sizes = [
            (RIFF_SIZE_AT, HEADER_BYTES - 8 + bytes + bytes % 2),
            (FACT_AT, bytes / frame.max(1)),
            (DATA_SIZE_AT, bytes),
        ];
        for (at, size) in sizes {
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            target
                .seek(SeekFrom::Start(at))
                .map_err(FileError::io("write"))?;
            target
                .write_all(&size.to_le_bytes())
                .map_err(FileError::io("write"))?;
        }
        target
            .seek(SeekFrom::End(0))
            .map_err(FileError::io("write"))?;
        target.flush().map_err(FileError::io("write"))?;
        Ok(target)
    }
}

/// The header, with a `fact` chunk as float data demands, sizes all ones.
fn header(format: AudioFormat) -> Result<Vec<u8>, FileError> {
    let (tag, sample_bytes) = match format.codec {
        Codec::PcmS16 => (1_u16, 2_u16),
        Codec::PcmF32 => (3, 4),
        Codec::Opus | Codec::Pcmu | Codec::Pcma => {
            return Err(FileError::Format {
                actual: format.to_string(),
                expected: "pcm_s16 or pcm_f32".into(),
            });
        }
    };
    let frame_bytes = sample_bytes * u16::from(format.channels);
    let mut header = Vec::with_capacity(58);
    header.extend_from_slice(b"RIFF\xFF\xFF\xFF\xFFWAVEfmt \x12\0\0\0");
    header.extend_from_slice(&tag.to_le_bytes());
    header.extend_from_slice(&u16::from(format.channels).to_le_bytes());
    header.extend_from_slice(&format.sample_rate.to_le_bytes());
    let byte_rate = format.sample_rate.saturating_mul(u32::from(frame_bytes));
    header.extend_from_slice(&byte_rate.to_le_bytes());
    header.extend_from_slice(&frame_bytes.to_le_bytes());
    header.extend_from_slice(&(sample_bytes * 8).to_le_bytes());
    header.extend_from_slice(b"\0\0fact\x04\0\0\0\xFF\xFF\xFF\xFFdata\xFF\xFF\xFF\xFF");
    Ok(header)
}
