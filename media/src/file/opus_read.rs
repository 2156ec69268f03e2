//! Ogg/Opus, read: packets with their media times, and what the header says (RFC 7845).

use std::collections::VecDeque;
use std::io::{Read, Seek};

use bytes::Bytes;
use ogg::PacketReader;

use super::{FileError, FileLimits};
use crate::codec::packet::{OPUS_CLOCK, opus_samples};
use crate::codec::{AudioDecoder, OpusDecoder};
use crate::format::{AudioFormat, Codec};
use crate::frame::{Audio, Frame, Payload};
use crate::time::MediaTime;

/// What the identification header says (RFC 7845 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) channels: u8,
    /// Samples at 48 kHz that a decoder makes before the sound begins.
    pub(super) pre_skip: u16,
    /// Output gain in 1/256 dB.
    pub(super) gain: i16,
}

impl Head {
    pub(super) fn parse(packet: &[u8]) -> Result<Self, FileError> {
        let malformed = |what: &str| FileError::Malformed(format!("opus header: {what}"));
        let Some((b"OpusHead", rest)) = packet.split_first_chunk::<8>() else {
            return Err(FileError::Unrecognised);
        };
        let &[
            version,
            channels,
            skip_low,
            skip_high,
            _,
            _,
            _,
            _,
            gain_low,
            gain_high,
            family,
            ..,
        ] = rest
        else {
            return Err(malformed("too short"));
        };
        if version & 0xF0 != 0 {
            return Err(FileError::Unsupported(format!(
                "opus header version {version}"
            )));
        }
        // Family 0 is mono and stereo; the others need several decoders and a mapping.
        if family != 0 || !(1..=2).contains(&channels) {
            return Err(FileError::Unsupported(format!(
                "opus with {channels} channels in mapping family {family}: mix it down to stereo"
            )));
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([skip_low, skip_high]),
            gain: i16::from_le_bytes([gain_low, gain_high]),
        })
    }
}

/// A packet on its way out.
#[derive(Debug)]
pub(super) struct OggPacket {
    pub(super) data: Bytes,
    /// Samples at 48 kHz of the whole stream up to its page's end, pre-skip included, as far as the page says.
    pub(super) page_end: Option<u64>,
}

/// The packets of the first Opus stream in an Ogg file, as frames of coded audio.
///
/// Media time zero is the first sound: the packets that only fill the decoder (pre-skip) lie before it and have negative
/// times.
pub struct OpusPackets<R: Read + Seek> {
    reader: PacketReader<R>,
    serial: u32,
    pub(super) head: Head,
    limits: FileLimits,
    /// The first page's packets, read ahead to learn where the count of samples begins.
    ahead: VecDeque<OggPacket>,
    /// Granule position before the first packet: not zero in a recording cut out of a longer one (RFC 7845 §4.3).
    base: u64,
    samples: u64,
    ended: bool,
}

impl<R: Read + Seek> OpusPackets<R> {
    /// Opens an Ogg file and reads up to the first packet of its first Opus stream.
    ///
    /// # Errors
    /// It is not Ogg/Opus, is damaged, or has more channels than stereo.
    pub fn open(source: R, limits: FileLimits) -> Result<Self, FileError> {
        let mut reader = PacketReader::new(source);
        let first = reader
            .read_packet()
            .map_err(damage)?
            .ok_or(FileError::Unrecognised)?;
        let head = Head::parse(&first.data)?;
        let serial = first.stream_serial();
        let mut packets = Self {
            reader,
            serial,
            head,
            limits,
            ahead: VecDeque::new(),
            base: 0,
            samples: 0,
            ended: false,
        };
        let tags = packets
            .read()?
            .ok_or(FileError::NoAudio(": it ends after its header"))?;
        if !tags.0.data.starts_with(b"OpusTags") {
            return Err(FileError::Malformed(
                "opus comment header is missing".into(),
            ));
        }
        packets.read_first_page()?;
        Ok(packets)
    }

    /// Format of the packets.
    #[must_use]
    pub const fn format(&self) -> AudioFormat {
        AudioFormat {
            codec: Codec::Opus,
            sample_rate: OPUS_CLOCK,
            channels: self.head.channels,
        }
    }

    /// The next packet, and whether it ends the stream.
    fn read(&mut self) -> Result<Option<(OggPacket, bool, bool)>, FileError> {
        while let Some(packet) = self.reader.read_packet().map_err(damage)? {
            if packet.stream_serial() != self.serial {
                continue;
            }
            // All ones: no packet ends on this page (RFC 3533 §6).
            let page_end = Some(packet.absgp_page()).filter(|&end| end != u64::MAX);
            let (page, stream) = (packet.last_in_page(), packet.last_in_stream());
            let data = Bytes::from(packet.data);
            return Ok(Some((OggPacket { data, page_end }, page, stream)));
        }
        Ok(None)
    }

    fn read_first_page(&mut self) -> Result<(), FileError> {
        let mut samples = 0;
        while let Some((packet, page, stream)) = self.read()? {
            samples += u64::from(opus_samples(&packet.data).unwrap_or(0));
            let end = packet.page_end;
            self.ahead.push_back(packet);
            self.ended = stream;
            if page || stream {
                // On the last page the position may be less than the packets hold: that trims the end.
                self.base = if stream {
                    0
                } else {
                    end.unwrap_or(samples).saturating_sub(samples)
                };
                break;
            }
        }
        if self.ahead.is_empty() {
            return Err(FileError::NoAudio(": it ends after its headers"));
        }
        Ok(())
    }

    /// The next packet with the samples counted before it; malformed ones are left out.
    pub(super) fn next_packet(&mut self) -> Result<Option<(u64, OggPacket)>, FileError> {
        loop {
            let packet = match self.ahead.pop_front() {
                Some(packet) => packet,
                None if self.ended => return Ok(None),
                None => match self.read()? {
                    Some((packet, _, last)) => {
                        self.ended = last;
                        packet
                    }
                    None => return Ok(None),
                },
            };
            let Some(samples) = opus_samples(&packet.data) else {
                continue;
            };
            let before = self.samples;
            self.samples += u64::from(samples);
            self.limits.check_length(self.samples, OPUS_CLOCK)?;
            let page_end = packet.page_end.map(|end| end.saturating_sub(self.base));
            return Ok(Some((before, OggPacket { page_end, ..packet })));
        }
    }
}

impl<R: Read + Seek> std::fmt::Debug for OpusPackets<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpusPackets")
            .field("head", &self.head)
            .field("samples", &self.samples)
            .finish_non_exhaustive()
    }
}

impl<R: Read + Seek> Iterator for OpusPackets<R> {
    type Item = Result<Frame, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (before, packet) = match self.next_packet() {
            Ok(next) => next?,
            Err(error) => {
                self.ended = true;
                self.ahead.clear();
                return Some(Err(error));
            }
        };
        let audio = Audio::encoded(self.format(), packet.data);
        let time = MediaTime::from_samples(before, OPUS_CLOCK).as_micros();
        let skip = MediaTime::from_samples(u64::from(self.head.pre_skip), OPUS_CLOCK).as_micros();
        Some(Ok(Frame::new(
            MediaTime::from_micros(time - skip),
            Payload::Audio(audio),
        )))
    }
}

/// Decodes an Ogg/Opus file: pre-skip cut, gain applied, end trimmed (RFC 7845 §4.2, §4.4, §5.1).
pub(super) struct OpusSource<R: Read + Seek> {
    packets: OpusPackets<R>,
    decoder: OpusDecoder,
    /// Samples still to be cut from the front.
    to_skip: u64,
    /// Samples of each channel given out.
    given: u64,
    broken: u32,
}

impl<R: Read + Seek> OpusSource<R> {
    pub(super) fn open(source: R, limits: FileLimits) -> Result<Self, FileError> {
        let packets = OpusPackets::open(source, limits)?;
        let mut decoder = OpusDecoder::new(OPUS_CLOCK, packets.head.channels)?;
        decoder.set_gain(packets.head.gain)?;
        Ok(Self {
            to_skip: u64::from(packets.head.pre_skip),
            packets,
            decoder,
            given: 0,
            broken: 0,
        })
    }

    pub(super) fn format(&self) -> AudioFormat {
        self.decoder.output()
    }

    /// Appends the next packet's sound; `false` at the end.
    pub(super) fn read(&mut self, out: &mut Vec<f32>) -> Result<bool, FileError> {
        let Some((_, packet)) = self.packets.next_packet()? else {
            return Ok(false);
        };
        let channels = usize::from(self.packets.head.channels);
        let mut sound = Vec::new();
        if self.decoder.decode(&packet.data, &mut sound).is_err() {
            self.broken += 1;
            if self.broken > self.packets.limits.broken_packets_max {
                return Err(FileError::Malformed(
                    "too many opus packets cannot be decoded".into(),
                ));
            }
            let samples = opus_samples(&packet.data).unwrap_or(0);
            self.decoder.conceal(samples, &mut sound);
        } else {
            self.broken = 0;
        }
        let made = sound.len() / channels;
        let skipped = usize::try_from(self.to_skip)
            .unwrap_or(usize::MAX)
            .min(made);
        self.to_skip -= skipped as u64;
        let end = packet
            .page_end
            .map(|end| end.saturating_sub(u64::from(self.packets.head.pre_skip)));
        let left = end.map_or(u64::MAX, |end| end.saturating_sub(self.given));
        let kept = (made - skipped).min(usize::try_from(left).unwrap_or(usize::MAX));
        out.extend_from_slice(&sound[skipped * channels..(skipped + kept) * channels]);
        self.given += kept as u64;
        Ok(true)
    }
}

fn damage(error: ogg::OggReadError) -> FileError {
    match error {
        ogg::OggReadError::ReadError(source)
            if source.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            FileError::Io {
                operation: "read",
                source,
            }
        }
        other => FileError::Malformed(format!("ogg: {other}")),
    }
}
