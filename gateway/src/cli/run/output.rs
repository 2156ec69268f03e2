//! `--out [PORT=]FILE`: where outputs go.
//!
//! Sound goes to a WAV or Ogg/Opus file by its name; everything else, and sound too if asked, as native messages, one JSON text a
//! line, to standard output or a file. Sound that nobody asked for is counted and not written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_media::codec::OpusSettings;
use tidegate_media::file::{FileError, OpusFile, WavWriter};
use tidegate_media::{AudioFormat, Codec, Frame, Kind, Payload, Timestamp};
use tidegate_nodes::StreamFormat;
use tidegate_nodes::compile::{Description, PortDescription};
use tidegate_nodes::stream::AudioPattern;
use tidegate_proto::message::ServerMessage;
use tidegate_proto::{PortName, json};

use super::input::{extension, names, split};

/// Rates that Opus takes, best first (RFC 6716 §2.1.3).
const OPUS_RATES: [u32; 5] = [48_000, 24_000, 16_000, 12_000, 8_000];

/// Why an output cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum OutputError {
    #[error(
        "--out '{0}': the name must end in .wav, .ogg or .opus for sound, or .ndjson for messages"
    )]
    Extension(String),
    #[error(
        "--out '{path}': say which output, as --out PORT={path}: those for sound are {outputs}"
    )]
    Ambiguous { path: String, outputs: String },
    #[error(
        "--out '{path}': output '{port}' is of kind {kind}: write it as messages to an .ndjson file"
    )]
    Kind {
        path: String,
        port: String,
        kind: Kind,
    },
    #[error("--out: no output '{name}'; known are {outputs}")]
    Unknown { name: String, outputs: String },
    #[error("--out: {0} is named twice")]
    Twice(String),
    #[error("--out '{0}' is an input of this run: it would be overwritten while it is read")]
    IsInput(String),
    #[error("--out '{path}' cannot be written")]
    Write { path: String, source: io::Error },
    #[error("--out '{path}' cannot be written")]
    File { path: String, source: FileError },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Wav,
    Opus,
}

/// All outputs of a run.
pub(super) struct Outputs {
    ports: Vec<Port>,
    /// Where messages go; `-` is standard output.
    messages: String,
    sink: Option<BufWriter<Box<dyn Write>>>,
    /// Sound goes out as messages too where no file takes it.
    sound_too: bool,
}

/// One output of the pipeline.
struct Port {
    name: String,
    kind: Kind,
    file: Option<(String, Container)>,
    writer: Option<Writer>,
    frames: u64,
    playing: Duration,
}

enum Writer {
    Wav(WavWriter<BufWriter<File>>),
    Opus(Box<OpusFile<BufWriter<File>>>),
}

impl Outputs {
    /// Where everything goes. Nothing is opened yet.
    ///
    /// # Errors
    /// An argument names no output, or a file that cannot carry it.
    pub(super) fn plan(arguments: &[String], about: &Description) -> Result<Self, OutputError> {
        let port = |port: &PortDescription| Port {
            name: port.name.clone(),
            kind: port.kind.unwrap_or(Kind::Binary),
            file: None,
            writer: None,
            frames: 0,
            playing: Duration::ZERO,
        };
        let mut outputs = Self {
            ports: about.outputs.iter().map(port).collect(),
            messages: "-".to_owned(),
            sink: None,
            sound_too: false,
        };
        for argument in arguments {
            outputs.assign(argument, about)?;
        }
        Ok(outputs)
    }

    fn assign(&mut self, argument: &str, about: &Description) -> Result<(), OutputError> {
        let (port, path) =
            split(argument, &about.outputs).map_err(|name| OutputError::Unknown {
                name: name.to_owned(),
                outputs: names(&about.outputs),
            })?;
        let container = match extension(path).as_deref() {
            Some("wav" | "wave") => Container::Wav,
            Some("ogg" | "opus" | "oga") => Container::Opus,
            Some("ndjson" | "jsonl") => return self.messages_to(path),
            _ if path == "-" => return self.messages_to(path),
            _ => return Err(OutputError::Extension(path.to_owned())),
        };
        let port = match port {
            Some(port) => port,
            None => {
                let sound = about
                    .outputs
                    .iter()
                    .filter(|port| port.kind == Some(Kind::Audio));
                let sound: Vec<_> = sound.cloned().collect();
                let [only] = sound.as_slice() else {
                    let (path, outputs) = (path.to_owned(), names(&sound));
                    return Err(OutputError::Ambiguous { path, outputs });
                };
                return self.give(&only.name.clone(), path, container);
            }
        };
        self.give(&port.name, path, container)
    }

    fn give(&mut self, name: &str, path: &str, container: Container) -> Result<(), OutputError> {
        let Some(port) = self.ports.iter_mut().find(|port| port.name == name) else {
            return Ok(());
        };
        if port.kind != Kind::Audio {
            return Err(OutputError::Kind {
                path: path.to_owned(),
                port: port.name.clone(),
                kind: port.kind,
            });
        }
        if port.file.is_some() {
            return Err(OutputError::Twice(format!("output '{name}'")));
        }
        port.file = Some((path.to_owned(), container));
        Ok(())
    }

    fn messages_to(&mut self, path: &str) -> Result<(), OutputError> {
        if self.sound_too {
            return Err(OutputError::Twice("the file for messages".to_owned()));
        }
        self.messages = path.to_owned();
        self.sound_too = true;
        Ok(())
    }

    /// Refuses to overwrite what is read.
    ///
    /// # Errors
    /// An output is an input.
    pub(super) fn spare<'a>(
        &self,
        inputs: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<(), OutputError> {
        let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        };
        for input in inputs {
            let files = self.ports.iter().filter_map(|port| port.file.as_ref());
            let files = files.map(|(path, _)| path).chain([&self.messages]);
            for path in files {
                if same(Path::new(path), input) {
                    return Err(OutputError::IsInput(path.clone()));
                }
            }
        }
        Ok(())
    }

    /// The PCM that each output for sound is wanted in: what the pipeline makes, as far as the file can carry it.
    pub(super) fn wishes(&self) -> Vec<(String, AudioPattern)> {
        let wish = |port: &Port| {
            let opus = port
                .file
                .as_ref()
                .is_some_and(|(_, container)| *container == Container::Opus);
            let pattern = AudioPattern {
                codecs: vec![Codec::PcmF32, Codec::PcmS16],
                sample_rates: if opus {
                    OPUS_RATES.to_vec()
                } else {
                    Vec::new()
                },
                channels: if opus { vec![1, 2] } else { Vec::new() },
                packets: false,
            };
            (port.name.clone(), pattern)
        };
        let sound = self.ports.iter().filter(|port| port.kind == Kind::Audio);
        sound.map(wish).collect()
    }

    /// Creates the files, now that formats are settled.
    ///
    /// # Errors
    /// A file cannot be created.
    pub(super) fn open(
        &mut self,
        formats: &[(usize, String, StreamFormat)],
    ) -> Result<(), OutputError> {
        for (_, name, format) in formats {
            let Some(port) = self.ports.iter_mut().find(|port| port.name == *name) else {
                continue;
            };
            if let (Some((path, container)), Some(format)) = (&port.file, format.audio_format()) {
                port.writer = Some(Writer::create(path, *container, format)?);
            }
        }
        let sink: Box<dyn Write> = if self.messages == "-" {
            Box::new(io::stdout())
        } else {
            Box::new(create(&self.messages)?)
        };
        self.sink = Some(BufWriter::new(sink));
        Ok(())
    }

    /// Writes a frame. `false`: whoever read the messages went away, and nothing else is to be done.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn write(
        &mut self,
        output: &str,
        frame: Frame,
        now: Timestamp,
    ) -> Result<bool, OutputError> {
        let Some(port) = self.ports.iter_mut().find(|port| port.name == output) else {
            return Ok(true);
        };
        port.frames += 1;
        if let Payload::Audio(audio) = &frame.payload {
            port.playing += audio.format.duration_of(audio.samples);
            if let (Some(writer), Some((path, _))) = (&mut port.writer, &port.file) {
                writer
                    .write(audio)
                    .map_err(|source| file_error(path, source))?;
                return Ok(true);
            }
            if !self.sound_too {
                return Ok(true);
            }
        }
        let (Some(sink), Ok(port)) = (&mut self.sink, PortName::new(output)) else {
            return Ok(true);
        };
        let message = ServerMessage::Frame {
            port,
            caused_port: None,
            frame,
        };
        let line = json::encode_server(&message, now);
        let written = writeln!(sink, "{line}");
        self.went_on(written)
    }

    /// Hands on what is held back: nothing else is there to be written now.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn flush(&mut self) -> Result<(), OutputError> {
        let flushed = self.sink.as_mut().map_or(Ok(()), Write::flush);
        self.went_on(flushed).map(drop)
    }

    fn went_on(&self, result: io::Result<()>) -> Result<bool, OutputError> {
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(source) => Err(OutputError::Write {
                path: self.messages.clone(),
                source,
            }),
        }
    }

    /// Ends all files. Gives a line on each output.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn finish(mut self) -> Result<Vec<String>, OutputError> {
        self.flush()?;
        let messages = match self.messages.as_str() {
            "-" => "standard output".to_owned(),
            path => path.to_owned(),
        };
        let mut lines = Vec::new();
        for port in self.ports {
            let what = if port.kind == Kind::Audio {
                format!("{:.2} s of sound", port.playing.as_secs_f64())
            } else {
                format!("{} frames of {}", port.frames, port.kind)
            };
            let whither = match &port.file {
                Some((path, _)) => format!("to {path}"),
                None if port.kind == Kind::Audio && !self.sound_too => {
                    format!("not written: name a file, as --out {}=FILE.wav", port.name)
                }
                None => format!("to {messages}"),
            };
            if let (Some(writer), Some((path, _))) = (port.writer, &port.file) {
                writer.finish().map_err(|source| file_error(path, source))?;
            }
            lines.push(format!("{}: {what} {whither}", port.name));
        }
        Ok(lines)
    }
}

impl Writer {
    fn create(path: &str, container: Container, format: AudioFormat) -> Result<Self, OutputError> {
        let file = BufWriter::new(create(path)?);
        let made = match container {
            Container::Wav => {
                let format = AudioFormat::pcm_s16(format.sample_rate, format.channels);
                WavWriter::new(file, format).map(Self::Wav)
            }
            Container::Opus => {
                let settings = OpusSettings::default();
                let serial = rand::random();
                OpusFile::new(file, serial, format.sample_rate, format.channels, &settings)
                    .map(|file| Self::Opus(Box::new(file)))
            }
        };
        made.map_err(|source| file_error(path, source))
    }

    fn write(&mut self, audio: &tidegate_media::Audio) -> Result<(), FileError> {
        match self {
            Self::Wav(file) => file.write(audio),
            Self::Opus(file) => file.write(audio),
        }
    }

    fn finish(self) -> Result<(), FileError> {
        match self {
            Self::Wav(file) => file.finish_seekable().map(drop),
            Self::Opus(file) => file.finish().map(drop),
        }
    }
}

fn create(path: &str) -> Result<File, OutputError> {
    File::create(path).map_err(|source| OutputError::Write {
        path: path.to_owned(),
        source,
    })
}

fn file_error(path: &str, source: FileError) -> OutputError {
    OutputError::File {
        path: path.to_owned(),
        source,
    }
}
