//! Sound as the file that a client asks for, in parts as it comes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use tidegate_media::codec::OpusSettings;
use tidegate_media::file::{AacWriter, FileError, FlacWriter, Mp3Writer, OpusFile, WavWriter};
use tidegate_media::{Audio, AudioFormat};
use tidegate_nodes::{Code, Error};

use crate::tasks;

/// What the interface calls `pcm`, and what files hold.
const PCM: AudioFormat = AudioFormat::pcm_s16(24_000, 1);

/// The formats that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Mp3,
    Opus,
    Aac,
    Flac,
    Wav,
    Pcm,
}

impl Format {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "mp3" => Self::Mp3,
            "opus" => Self::Opus,
            "aac" => Self::Aac,
            "flac" => Self::Flac,
            "wav" => Self::Wav,
            "pcm" => Self::Pcm,
            _ => return None,
        })
    }

    /// The media type of an answer.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
            Self::Aac => "audio/aac",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
            Self::Pcm => "audio/pcm",
        }
    }

    /// What is wanted of the pipeline.
    pub(super) const fn sound(self) -> AudioFormat {
        match self {
            Self::Mp3 => Mp3Writer::<Vec<u8>>::INPUT,
            _ => PCM,
        }
    }

    /// Whether it takes long to write.
    const fn is_coded(self) -> bool {
        !matches!(self, Self::Wav | Self::Pcm)
    }
}

/// Encodes; what is ready is taken with [`Encoder::ready`].
pub(super) struct Encoder {
    format: Format,
    writer: Writer,
    ready: Ready,
}

enum Writer {
    Mp3(Box<Mp3Writer<Ready>>),
    Opus(Box<OpusFile<Ready>>),
    Aac(Box<AacWriter<Ready>>),
    Flac(Box<FlacWriter<Ready>>),
    Wav(WavWriter<Ready>),
    Pcm,
}

/// Bytes that were written and not taken yet.
#[derive(Clone, Default)]
struct Ready(Arc<Mutex<Vec<u8>>>);

impl Write for Ready {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(error: FileError) -> Error {
    Error::new(
        Code::Internal,
        format!("the sound cannot be written: {error}"),
    )
}

impl Encoder {
    /// Begins a file.
    pub(super) fn new(format: Format) -> Result<Self, Error> {
        let ready = Ready::default();
        let (to, sound) = (ready.clone(), format.sound());
        let (rate, channels) = (sound.sample_rate, sound.channels);
        let writer = match format {
            Format::Mp3 => Ok(Writer::Mp3(Box::new(Mp3Writer::new(to)))),
            Format::Opus => OpusFile::new(to, 1, rate, channels, &OpusSettings::default())
                .map(|writer| Writer::Opus(Box::new(writer))),
            Format::Aac => {
                AacWriter::new(to, rate, channels).map(|writer| Writer::Aac(Box::new(writer)))
            }
            Format::Flac => {
                FlacWriter::new(to, rate, channels).map(|writer| Writer::Flac(Box::new(writer)))
            }
            Format::Wav => WavWriter::new(to, sound).map(Writer::Wav),
            Format::Pcm => Ok(Writer::Pcm),
        };
        let writer = writer.map_err(broken)?;
        Ok(Self {
            format,
            writer,
            ready,
        })
    }

    /// Takes sound. What takes long holds up no other task of its thread.
    pub(super) fn write(&mut self, audio: &Audio) -> Result<(), Error> {
        if self.format.is_coded() {
            tasks::in_place(|| self.put(audio))
        } else {
            self.put(audio)
        }
    }

    fn put(&mut self, audio: &Audio) -> Result<(), Error> {
        let written = match &mut self.writer {
            Writer::Mp3(writer) => writer.write(audio),
            Writer::Opus(writer) => writer.write(audio),
            Writer::Aac(writer) => writer.write(audio),
            Writer::Flac(writer) => writer.write(audio),
            Writer::Wav(writer) => writer.write(audio),
            Writer::Pcm => {
                let samples = audio.to_s16();
                let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
                // Memory takes it.
                drop(self.ready.write(&bytes));
                Ok(())
            }
        };
        written.map_err(broken)
    }

    /// What is ready.
    pub(super) fn ready(&self) -> Bytes {
        let mut bytes = self.ready.0.lock().unwrap_or_else(PoisonError::into_inner);
        Bytes::from(std::mem::take(&mut *bytes))
    }

    /// Ends the file; the rest of it.
    pub(super) fn finish(self) -> Result<Bytes, Error> {
        let Self { writer, ready, .. } = self;
        let finished = tasks::in_place(|| match writer {
            Writer::Mp3(writer) => writer.finish().map(drop),
            Writer::Opus(writer) => writer.finish().map(drop),
            Writer::Aac(writer) => writer.finish().map(drop),
            Writer::Flac(writer) => writer.finish().map(drop),
            Writer::Wav(writer) => writer.finish().map(drop),
            Writer::Pcm => Ok(()),
        });
        finished.map_err(broken)?;
        let mut bytes = ready.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Bytes::from(std::mem::take(&mut *bytes)))
    }
}
