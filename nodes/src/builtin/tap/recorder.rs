//! One file being written.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_media::codec::OpusSettings;
use tidegate_media::file::{FileError, OpusFile, WavWriter};
use tidegate_media::{AudioFormat, Codec, Frame, Payload};

use crate::node::NodeError;

/// How a recording is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Wav,
    Ogg,
    Lines,
}

type Target = BufWriter<File>;

enum Writer {
    Wav(WavWriter<Target>),
    Ogg(Box<OpusFile<Target>>),
    Lines(Target),
}

/// A recording that has begun.
pub(super) struct Recorder {
    path: PathBuf,
    writer: Writer,
    bytes: u64,
}

impl Recorder {
    /// Files of one name that there may be.
    const COPIES_MAX: u32 = 10_000;

    /// Begins a recording under a name that is free.
    pub(super) fn create(
        folder: &Path,
        name: &str,
        form: Form,
        format: Option<AudioFormat>,
    ) -> Result<Self, NodeError> {
        let (path, file) = create_free(folder, name)?;
        let target = BufWriter::new(file);
        let writer = match (form, format) {
            (Form::Lines, _) | (_, None) => Ok(Writer::Lines(target)),
            (Form::Wav, Some(format)) => {
                let format = AudioFormat {
                    codec: Codec::PcmS16,
                    ..format
                };
                WavWriter::new(target, format).map(Writer::Wav)
            }
            (
                Form::Ogg,
                Some(AudioFormat {
                    sample_rate,
                    channels,
                    ..
                }),
            ) => {
                let settings = OpusSettings::default();
                OpusFile::new(target, 1, sample_rate, channels, &settings)
                    .map(|file| Writer::Ogg(Box::new(file)))
            }
        };
        let writer = writer.map_err(|error| failed(&path, &error))?;
        Ok(Self {
            path,
            writer,
            bytes: 0,
        })
    }

    /// Bytes written, before compression.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn write(&mut self, frame: &Frame) -> Result<(), NodeError> {
        let written = match (&mut self.writer, &frame.payload) {
            (Writer::Wav(wav), Payload::Audio(audio)) => wav.write(audio),
            (Writer::Ogg(ogg), Payload::Audio(audio)) => ogg.write(audio),
            (Writer::Lines(target), _) => {
                let line = line(frame);
                self.bytes += line.len() as u64;
                let written = target.write_all(line.as_bytes());
                return written.map_err(|error| failed(&self.path, &error));
            }
            (Writer::Wav(_) | Writer::Ogg(_), _) => return Ok(()),
        };
        self.bytes += frame.payload.size() as u64;
        written.map_err(|error| failed(&self.path, &error))
    }

    /// Ends the file, so that it can be played.
    pub(super) fn finish(self) -> Result<(), NodeError> {
        let path = self.path;
        let finished: Result<(), FileError> = match self.writer {
            Writer::Wav(wav) => wav.finish_seekable().map(drop),
            Writer::Ogg(ogg) => ogg.finish().and_then(|mut target| flush(&mut target)),
            Writer::Lines(mut target) => flush(&mut target),
        };
        finished.map_err(|error| failed(&path, &error))
    }
}

fn flush(target: &mut Target) -> Result<(), FileError> {
    target.flush().map_err(|source| FileError::Io {
        operation: "write",
        source,
    })
}

/// Creates `name`, or `name-1` and so on if that is there already.
fn create_free(folder: &Path, name: &str) -> Result<(PathBuf, File), NodeError> {
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    for copy in 0..Recorder::COPIES_MAX {
        let path = match copy {
            0 => folder.join(name),
            copy => folder.join(format!("{stem}-{copy}.{end}")),
        };
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path, &error)),
        }
    }
    let message = format!(
        "there are {} recordings named {name} already: move them away",
        Recorder::COPIES_MAX
    );
    Err(NodeError::new(message))
}

/// Names the file, but not its folder, which is the operator's affair.
fn failed(path: &Path, error: &dyn std::error::Error) -> NodeError {
    let name = path.file_name().unwrap_or_default().display();
    let reason = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    NodeError::new(format!("could not record to {name}: {reason}"))
}

fn line(frame: &Frame) -> String {
    let mut line = json!({
        "kind": frame.kind().as_str(),
        "media_time": frame.meta.media_time.as_micros(),
        "utterance": frame.meta.utterance,
        "final": frame.meta.is_final,
    });
    let (key, value) = match &frame.payload {
        Payload::Text(text) => ("text", Value::from(text.as_str())),
        Payload::Json(json) => ("json", json.to_value()),
        Payload::Tensor(tensor) => (
            "tensor",
            json!({"dtype": tensor.dtype().as_str(), "shape": tensor.shape()}),
        ),
        other => ("bytes", Value::from(other.size())),
    };
    line[key] = value;
    format!("{line}\n")
}
