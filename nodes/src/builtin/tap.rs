//! `tap`: passes frames on and records them to a file.
//!
//! Files lie in the one folder that the operator named, under names without separators, and are never overwritten: a second
//! `a.wav` is `a-1.wav`. A recording that reaches its size ends, and the frames still pass. Writing blocks, so the node runs on a
//! thread of its own.

mod recorder;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{AudioFormat, Frame};

use self::recorder::{Form, Recorder};
use super::identity::same_as_input;
use super::params::Size;
use super::pcm::{any_pcm, pcm_at};
use super::typed::{Inputs, Typed};
use crate::node::{Context, Node, NodeError};
use crate::plan::Placement;
use crate::registry::{Caps, ParamError, Port, Ports, Replay};
use crate::stream::{Accepts, StreamFormat};

/// Least and most bytes of a recording; WAV cannot count beyond 4 GiB.
const SIZES: (u64, u64) = (1 << 10, 4_000 << 20);

/// The node type, with the folder that recordings go to.
pub(super) struct Tap(pub(super) Option<PathBuf>);

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Name of the file in the operator's folder: letters, digits, `-`, `_` and `.`. Its end says what is written: `.wav` (16 bits) and
    /// `.ogg` (Opus) for sound; `.ndjson` for anything, one line a frame, with text and JSON in full and of others the size.
    file: String,
    /// Bytes after which the recording ends, 1KiB to 4000MiB.
    #[serde(default = "usual_size")]
    max_size: Size,
}

const fn usual_size() -> Size {
    Size(256 << 20)
}

impl Params {
    fn form(&self) -> Option<Form> {
        let (stem, end) = self.file.rsplit_once('.')?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if stem.is_empty() || stem.starts_with('.') || stem.len() > 100 || !stem.bytes().all(plain)
        {
            return None;
        }
        match end {
            "wav" => Some(Form::Wav),
            "ogg" | "opus" => Some(Form::Ogg),
            "ndjson" | "jsonl" => Some(Form::Lines),
            _ => None,
        }
    }
}

impl Typed for Tap {
    type Params = Params;

    const NAME: &'static str = "tap";
    const EXAMPLE: &'static str = r#"{"file": "tap.wav"}"#;
    const SUMMARY: &'static str = "Passes frames on and records them to a file in the operator's folder. A recording that cannot be written ends the \
                                   session.";
    const COST: &'static str =
        "a write to the page cache, about 3 µs for 20 ms; Opus as audio.encode";
    const REPLAY: Replay = Replay::Same;
    const PLACEMENT: Placement = Placement::Offload;
    const CAPS: Caps = Caps { files: true };

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        if params.form().is_none() {
            let message = "is no file name for a recording: use letters, digits, '-' and '_', and .wav, .ogg or .ndjson at the end";
            return Err(ParamError::new("file", message));
        }
        if (SIZES.0..=SIZES.1).contains(&params.max_size.0) {
            return Ok(());
        }
        let message = "is out of range: use 1KiB to 4000MiB";
        Err(ParamError::new("max_size", message))
    }

    fn ports(&self, params: &Params) -> Ports {
        let accepts = match params.form() {
            Some(Form::Wav) => any_pcm(),
            Some(Form::Ogg) => pcm_at(&[48_000, 24_000, 16_000, 12_000, 8_000], &[1, 2]),
            Some(Form::Lines) | None => Accepts::Anything,
        };
        let mut output = Port::input("out", accepts.clone(), "The same frames.");
        output.required = false;
        Ports {
            inputs: vec![Port::input("in", accepts, "What is recorded.")],
            outputs: vec![output],
        }
    }

    fn outputs(&self, _: &Params, inputs: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        same_as_input(inputs)
    }

    fn build(&self, params: Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        let folder = self.0.clone().filter(|folder| folder.is_dir()).ok_or_else(|| {
            let message = "recording is off: name a folder for recordings that is there in the gateway's settings";
            ParamError::new("", message)
        })?;
        let format = inputs
            .first()
            .copied()
            .flatten()
            .and_then(|f| f.audio_format());
        Ok(Box::new(Recording {
            folder,
            format,
            params,
            state: State::Waiting,
        }))
    }
}

enum State {
    /// Nothing has come yet.
    Waiting,
    Open(Box<Recorder>),
    /// It has reached its size, or the stream has ended.
    Done,
}

struct Recording {
    folder: PathBuf,
    format: Option<AudioFormat>,
    params: Params,
    state: State,
}

impl Recording {
    fn record(&mut self, frame: &Frame) -> Result<(), NodeError> {
        if matches!(self.state, State::Waiting) {
            let form = self.params.form().unwrap_or(Form::Lines);
            let recorder = Recorder::create(&self.folder, &self.params.file, form, self.format)?;
            self.state = State::Open(Box::new(recorder));
        }
        if let State::Open(recorder) = &mut self.state {
            recorder.write(frame)?;
            if recorder.bytes() >= self.params.max_size.0 {
                self.finish()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), NodeError> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Open(recorder) => recorder.finish(),
            State::Waiting | State::Done => Ok(()),
        }
    }
}

impl Node for Recording {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        self.record(&frame)?;
        cx.emit(0, frame);
        Ok(())
    }

    fn on_end(&mut self, _: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        self.finish()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // A session that was cut off leaves a file that can be played; nobody is left to hear of a failure.
        let _finished = self.finish();
    }
}

#[cfg(test)]
mod tests;
