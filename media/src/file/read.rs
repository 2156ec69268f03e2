//! Any readable audio file as float PCM frames of 20 ms.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

use super::opus_read::OpusSource;
use super::{FileError, FileLimits};
use crate::format::AudioFormat;
use crate::frame::{Audio, Frame, Payload};
use crate::reframe::Reframer;
use crate::time::MediaTime;
use crate::timeline::Timeline;

/// An audio file, read as frames of 20 ms of float PCM in the file's own rate and channels; the last may be shorter. Media
/// time zero is the first sample. After an error the iterator ends.
pub struct AudioFile<R: Read + Seek + Send + Sync + 'static> {
    source: Source<R>,
    format: AudioFormat,
    limits: FileLimits,
    duration: Option<Duration>,
    reframer: Reframer,
    line: Timeline,
    ready: VecDeque<Frame>,
    done: bool,
}

enum Source<R: Read + Seek> {
    Opus(Box<OpusSource<R>>),
    Other(Demuxed),
}

/// What symphonia reads.
struct Demuxed {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    broken: u32,
    /// A packet decoded while opening, to learn the format.
    first: Vec<f32>,
}

impl<R: Read + Seek + Send + Sync + 'static> AudioFile<R> {
    /// Opens a file of any known format, by what it contains; `extension` (without the dot) helps where that is unclear.
    ///
    /// # Errors
    /// The format is not known, nothing in it can be decoded, it is damaged or exceeds the limits.
    pub fn open(source: R, extension: Option<&str>, limits: FileLimits) -> Result<Self, FileError> {
        contained(|| Self::open_it(source, extension, limits))
    }

    fn open_it(
        mut source: R,
        extension: Option<&str>,
        limits: FileLimits,
    ) -> Result<Self, FileError> {
        let (source, format, duration) = if is_ogg_opus(&mut source)? {
            let opus = OpusSource::open(source, limits)?;
            let format = opus.format();
            limits.check(format.sample_rate, u64::from(format.channels))?;
            (Source::Opus(Box::new(opus)), format, None)
        } else {
            let (demuxed, format, duration) = Demuxed::open(source, extension, &limits)?;
            (Source::Other(demuxed), format, duration)
        };
        let size = format.sample_rate as usize / 50;
        Ok(Self {
            source,
            format,
            limits,
            duration,
            reframer: Reframer::new(format.sample_rate, format.channels, size),
            line: Timeline::new(format.sample_rate),
            ready: VecDeque::new(),
            done: false,
        })
    }

    /// The PCM that comes out.
    #[must_use]
    pub const fn format(&self) -> AudioFormat {
        self.format
    }

    /// Playing time, where the file says it at its beginning and it is within the limits; only a claim.
    #[must_use]
    pub const fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// Reads until a frame is ready or the file ends.
    fn fill(&mut self) -> Result<(), FileError> {
        while self.ready.is_empty() && !self.done {
            let mut samples = Vec::new();
            let more = match &mut self.source {
                Source::Opus(opus) => opus.read(&mut samples)?,
                Source::Other(demuxed) => demuxed.read(self.format, &self.limits, &mut samples)?,
            };
            let (format, ready) = (self.format, &mut self.ready);
            let mut keep = |at: MediaTime, frame: &[f32]| {
                let audio = Audio::from_f32(format.sample_rate, format.channels, frame.to_vec());
                ready.push_back(Frame::new(at, Payload::Audio(audio)));
            };
            let at = self.line.position();
            self.line
                .advance((samples.len() / usize::from(format.channels)) as u64);
            self.reframer.push(at, &samples, &mut keep);
            if !more {
                self.done = true;
                let channels = usize::from(format.channels);
                let real = self.reframer.pending() * channels;
                self.reframer.flush(|at, frame| keep(at, &frame[..real]));
            }
            self.limits
                .check_length(self.line.samples(), format.sample_rate)?;
        }
        Ok(())
    }
}

impl<R: Read + Seek + Send + Sync + 'static> Iterator for AudioFile<R> {
    type Item = Result<Frame, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = contained(|| self.fill()) {
            self.done = true;
            return Some(Err(error));
        }
        self.ready.pop_front().map(Ok)
    }
}

impl<R: Read + Seek + Send + Sync + 'static> std::fmt::Debug for AudioFile<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioFile")
            .field("format", &self.format)
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}

impl Demuxed {
    fn open<R: Read + Seek + Send + Sync + 'static>(
        source: R,
        extension: Option<&str>,
        limits: &FileLimits,
    ) -> Result<(Self, AudioFormat, Option<Duration>), FileError> {
        let mut hint = Hint::new();
        if let Some(extension) = extension {
            hint.with_extension(extension);
        }
        let stream = MediaSourceStream::new(Box::new(Seekable::new(source)?), Default::default());
        let reader = symphonia::default::get_probe()
            .probe(
                &hint,
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
            .map_err(|error| match error {
                Error::Unsupported(_) => FileError::Unrecognised,
                other => explain(other),
            })?;
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or(FileError::NoAudio(""))?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or(FileError::NoAudio(": its codec is not known"))?;
        let mut duration = None;
        if let (Some(rate), Some(frames)) = (parameters.sample_rate, track.num_frames) {
            limits.check(
                rate,
                parameters.channels.as_ref().map_or(1, |c| c.count() as u64),
            )?;
            // A stream written without seeking claims all that its header can; only what is there counts.
            if limits.check_length(frames, rate).is_ok() {
                let end = MediaTime::from_samples(frames, rate);
                duration = Some(end.saturating_since(MediaTime::ZERO));
            }
        }
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(explain)?;
        let track = track.id;
        let mut demuxed = Self {
            reader,
            decoder,
            track,
            broken: 0,
            first: Vec::new(),
        };
        let mut first = Vec::new();
        let format = demuxed
            .decode_next(limits, &mut first)?
            .ok_or(FileError::NoAudio(": it has no packets"))?;
        demuxed.first = first;
        Ok((demuxed, format, duration))
    }

    fn read(
        &mut self,
        format: AudioFormat,
        limits: &FileLimits,
        out: &mut Vec<f32>,
    ) -> Result<bool, FileError> {
        if !self.first.is_empty() {
            out.append(&mut self.first);
            return Ok(true);
        }
        match self.decode_next(limits, out)? {
            None => Ok(false),
            Some(found) if found == format => Ok(true),
            Some(found) => Err(FileError::Unsupported(format!(
                "the audio changes from {format} to {found}"
            ))),
        }
    }

    /// Decodes the next packet that has sound; says its format, `None` at the end.
    fn decode_next(
        &mut self,
        limits: &FileLimits,
        out: &mut Vec<f32>,
    ) -> Result<Option<AudioFormat>, FileError> {
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(None),
                // A file that breaks off is played as far as it goes.
                Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                Err(error) => return Err(explain(error)),
            };
            if packet.track_id != self.track {
                continue;
            }
            match self.decoder.decode(&packet) {
                Ok(sound) if sound.frames() > 0 => {
                    self.broken = 0;
                    let spec = sound.spec();
                    let channels = limits.check(spec.rate(), spec.channels().count() as u64)?;
                    sound.copy_to_vec_interleaved(out);
                    return Ok(Some(AudioFormat::pcm_f32(spec.rate(), channels)));
                }
                Ok(_) => {}
                Err(Error::DecodeError(_) | Error::IoError(_)) => {
                    self.broken += 1;
                    if self.broken > limits.broken_packets_max {
                        let what = "too many packets in a row cannot be decoded";
                        return Err(FileError::Malformed(what.into()));
                    }
                }
                Err(error) => return Err(explain(error)),
            }
        }
    }
}

/// Runs a parser of foreign bytes. Symphonia's have invariants that damaged files break (shifts and indices in the WAV and
/// MP4 readers); a panic there is the file's fault and ends the file, not the session that reads it.
fn contained<T>(parse: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(parse))
        .unwrap_or_else(|_| Err(FileError::Malformed("its reader gave up on it".into())))
}

/// Whether the first page holds an Opus header (RFC 7845 §3); the source stands at its beginning again afterwards.
fn is_ogg_opus<R: Read + Seek>(source: &mut R) -> Result<bool, FileError> {
    let mut start = Vec::new();
    source
        .by_ref()
        .take(512)
        .read_to_end(&mut start)
        .map_err(FileError::io("read"))?;
    source
        .seek(SeekFrom::Start(0))
        .map_err(FileError::io("rewind"))?;
    let segments = usize::from(*start.get(26).unwrap_or(&0));
    Ok(start.starts_with(b"OggS")
        && start
            .get(27 + segments..)
            .is_some_and(|packet| packet.starts_with(b"OpusHead")))
}

fn explain(error: Error) -> FileError {
    match error {
        Error::IoError(source) => FileError::Io {
            operation: "read",
            source,
        },
        Error::DecodeError(what) => FileError::Malformed(what.into()),
        Error::Unsupported(what) => FileError::Unsupported(what.into()),
        other => FileError::Malformed(other.to_string()),
    }
}

/// A source whose length is known, as symphonia wants it.
struct Seekable<R> {
    inner: R,
    length: u64,
}

impl<R: Read + Seek> Seekable<R> {
    fn new(mut inner: R) -> Result<Self, FileError> {
        let length = inner
            .seek(SeekFrom::End(0))
            .map_err(FileError::io("measure"))?;
        inner
            .seek(SeekFrom::Start(0))
            .map_err(FileError::io("rewind"))?;
        Ok(Self { inner, length })
    }
}

impl<R: Read> Read for Seekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl<R: Seek> Seek for Seekable<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl<R: Read + Seek + Send + Sync> MediaSource for Seekable<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}
