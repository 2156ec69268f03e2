//! Ogg/Opus, written as a stream (RFC 7845).

use std::io::Write;

use ogg::{PacketWriteEndInfo, PacketWriter};

use super::FileError;
use crate::codec::packet::OPUS_CLOCK;
use crate::codec::{AudioEncoder, OpusEncoder, OpusSettings};
use crate::format::Codec;
use crate::frame::Audio;
use crate::time::MediaTime;

/// Writes Opus packets into an Ogg stream, a page a second or at each [`Self::end_page`].
pub struct OggOpusWriter<W: Write> {
    writer: PacketWriter<'static, W>,
    serial: u32,
    /// The last packet, held back because the end of the stream is marked on it.
    held: Option<Audio>,
    /// Samples at 48 kHz before the held packet.
    samples: u64,
    /// Samples at 48 kHz up to the last page's end.
    paged: u64,
    end_page: bool,
}

impl<W: Write> OggOpusWriter<W> {
    /// Writes the headers. `serial` names the stream within the file; `pre_skip` is the encoder's look-ahead in samples at
    /// 48 kHz; `input_rate` is for information.
    ///
    /// # Errors
    /// The target failed.
    pub fn new(
        target: W,
        serial: u32,
        channels: u8,
        pre_skip: u16,
        input_rate: u32,
    ) -> Result<Self, FileError> {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend_from_slice(&pre_skip.to_le_bytes());
        head.extend_from_slice(&input_rate.to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]);
        let mut tags = b"OpusTags\x08\0\0\0tidegate".to_vec();
        tags.extend_from_slice(&[0; 4]);
        let mut writer = PacketWriter::new(target);
        for header in [head, tags] {
            writer
                .write_packet(header, serial, PacketWriteEndInfo::EndPage, 0)
                .map_err(FileError::io("write"))?;
        }
        Ok(Self {
            writer,
            serial,
            held: None,
            samples: 0,
            paged: 0,
            end_page: false,
        })
    }

    /// Appends a packet. It reaches the target with its page: when a second is full, or after [`Self::end_page`].
    ///
    /// # Errors
    /// It is not an Opus packet; the target failed.
    pub fn write(&mut self, packet: Audio) -> Result<(), FileError> {
        if packet.format.codec != Codec::Opus || packet.samples == 0 {
            return Err(FileError::Format {
                actual: packet.format.to_string(),
                expected: "opus packets".into(),
            });
        }
        if let Some(held) = self.held.replace(packet) {
            let end = self.samples + u64::from(held.samples);
            let page = self.end_page || end - self.paged >= u64::from(OPUS_CLOCK);
            let info = if page {
                PacketWriteEndInfo::EndPage
            } else {
                PacketWriteEndInfo::NormalPacket
            };
            self.put(&held, info, end)?;
            if page {
                (self.paged, self.end_page) = (end, false);
            }
        }
        Ok(())
    }

    /// Asks that what has been written so far reaches the target with the next packet: for live listeners.
    pub const fn end_page(&mut self) {
        self.end_page = true;
    }

    /// Samples at 48 kHz written, the held packet included.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples + self.held.as_ref().map_or(0, |held| u64::from(held.samples))
    }

    /// Ends the stream and gives the target back. `end` trims it: samples at 48 kHz, pre-skip included, that are sound.
    ///
    /// # Errors
    /// The target failed.
    pub fn finish(mut self, end: Option<u64>) -> Result<W, FileError> {
        if let Some(held) = self.held.take() {
            let all = self.samples + u64::from(held.samples);
            let end = end.unwrap_or(all).min(all);
            self.put(&held, PacketWriteEndInfo::EndStream, end)?;
        }
        let mut target = self.writer.into_inner();
        target.flush().map_err(FileError::io("write"))?;
        Ok(target)
    }

    fn put(&mut self, packet: &Audio, info: PacketWriteEndInfo, end: u64) -> Result<(), FileError> {
        self.samples += u64::from(packet.samples);
        self.writer
            .write_packet(packet.data.to_vec(), self.serial, info, end)
            .map_err(FileError::io("write"))
    }
}

/// Encodes float PCM and writes it as Ogg/Opus: as much sound comes out of the file as went in.
pub struct OpusFile<W: Write> {
    encoder: OpusEncoder,
    writer: OggOpusWriter<W>,
    /// Samples of each channel taken, at the encoder's rate.
    taken: u64,
}

impl<W: Write> OpusFile<W> {
    /// For PCM at `rate` Hz (one that Opus has) with 1 or 2 channels.
    ///
    /// # Errors
    /// A rate, channel count or setting that Opus does not have; the target failed.
    pub fn new(
        target: W,
        serial: u32,
        rate: u32,
        channels: u8,
        settings: &OpusSettings,
    ) -> Result<Self, FileError> {
        // A file has no use for holes in it.
        let settings = OpusSettings {
            dtx: false,
            ..*settings
        };
        let encoder = OpusEncoder::new(rate, channels, &settings)?;
        let pre_skip = encoder.lookahead_samples() * (OPUS_CLOCK / rate);
        let pre_skip = u16::try_from(pre_skip).unwrap_or(u16::MAX);
        let writer = OggOpusWriter::new(target, serial, channels, pre_skip, rate)?;
        Ok(Self {
            encoder,
            writer,
            taken: 0,
        })
    }

    /// Appends a frame of PCM; frames are joined, whatever their media times.
    ///
    /// # Errors
    /// Another rate or channel count, coded audio; the target or the encoder failed.
    pub fn write(&mut self, audio: &Audio) -> Result<(), FileError> {
        let input = self.encoder.input();
        let fits = audio.format.codec.is_pcm()
            && (audio.format.sample_rate, audio.format.channels)
                == (input.sample_rate, input.channels);
        if !fits {
            return Err(FileError::Format {
                actual: audio.format.to_string(),
                expected: input.to_string(),
            });
        }
        self.push(&audio.to_f32())
    }

    /// Ends the stream with silence enough to bring the last sound out of the encoder, trimmed by the last page.
    ///
    /// # Errors
    /// The target or the encoder failed.
    pub fn finish(mut self) -> Result<W, FileError> {
        let input = self.encoder.input();
        let lookahead = self.encoder.lookahead_samples();
        let sound = self.taken;
        self.push(&vec![0.0; lookahead as usize * usize::from(input.channels)])?;
        let mut packets = Vec::new();
        self.encoder.flush(&mut |_, packet| packets.push(packet))?;
        for packet in packets {
            self.writer.write(packet)?;
        }
        let scale = u64::from(OPUS_CLOCK / input.sample_rate);
        self.writer
            .finish(Some((sound + u64::from(lookahead)) * scale))
    }

    fn push(&mut self, samples: &[f32]) -> Result<(), FileError> {
        let input = self.encoder.input();
        let at = MediaTime::from_samples(self.taken, input.sample_rate);
        self.taken += (samples.len() / usize::from(input.channels)) as u64;
        let writer = &mut self.writer;
        let mut written = Ok(());
        self.encoder.push(at, samples, &mut |_, packet| {
            if written.is_ok() {
                written = writer.write(packet);
            }
        })?;
        written
    }
}

impl<W: Write> std::fmt::Debug for OggOpusWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpusWriter")
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

impl<W: Write> std::fmt::Debug for OpusFile<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpusFile")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
