//! `POST /audio/transcriptions`: an utterance's sound in, its words out, as they are understood.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use tidegate_media::file::WavWriter;
use tidegate_media::{AudioFormat, Codec, MediaTime, Payload};
use tidegate_nodes::compile::remote::TranscriptionOptions;
use tidegate_proto::message::Execute;

use super::events::Events;
use super::{Asked, Asking, Dialect, frames, media_time, message, text};
use crate::calls::Answer;
use crate::error::RemoteError;

/// Between the parts of a form. Nothing that a form has here can have it: samples may, with a chance of 2^-256.
const BOUNDARY: &str = "tidegate-9d3f0c6a51e84b7fa2c8e1b05f6d7a93-4e1b8c27d0f9463ab5";

pub(super) struct Transcriptions {
    asked: Asked,
    stream: bool,
    events: Events,
    /// What was understood so far.
    text: String,
    revision: u32,
    done: bool,
    at: MediaTime,
}

/// An event of the answer, or the whole of it.
#[derive(Deserialize)]
struct Said {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    delta: String,
    #[serde(default)]
    text: Option<String>,
}

impl Transcriptions {
    pub(super) fn new(asked: Asked, options: TranscriptionOptions) -> Self {
        Self {
            stream: options.stream,
            events: Events::new(asked.answer_max),
            asked,
            text: String::new(),
            revision: 0,
            done: false,
            at: MediaTime::default(),
        }
    }

    fn give(&mut self, answers: &mut VecDeque<Answer>, ended: bool) -> Result<(), RemoteError> {
        let mut partial = false;
        while let Some(event) = self.events.next(ended) {
            if event == b"[DONE]" {
                continue;
            }
            let said: Said = message(&event)?;
            match (said.kind.as_str(), said.text) {
                ("transcript.text.delta", _) => {
                    self.text.push_str(&said.delta);
                    partial = !said.delta.is_empty();
                }
                // Some servers send whole segments as events without a type.
                ("", Some(segment)) if !self.events.is_whole() => {
                    self.text.push_str(&segment);
                    partial = !segment.is_empty();
                }
                ("" | "transcript.text.done", Some(whole)) => {
                    self.text = whole;
                    self.done = true;
                }
                // Of a newer version.
                _ => {}
            }
            if self.text.len() > self.asked.answer_max {
                let text = format!("more than {} bytes", self.asked.answer_max);
                return Err(RemoteError::TooLarge(text));
            }
        }
        if partial && !self.done {
            self.revision += 1;
            let output = &self.asked.output;
            answers.push_back(text(
                output,
                self.at,
                self.revision,
                false,
                self.text.trim(),
            ));
        }
        Ok(())
    }

    fn field(form: &mut Vec<u8>, name: &str, value: &str) {
        let part = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{value}\r\n",
            name.replace(['"', '\r', '\n'], "_")
        );
        form.extend_from_slice(part.as_bytes());
    }

    /// The request's form, the sound as a WAV file.
    fn form(&self, execute: &Execute) -> Result<Vec<u8>, RemoteError> {
        let mut form = Vec::new();
        Self::field(&mut form, "model", &self.asked.model);
        Self::field(&mut form, "response_format", "json");
        if self.stream {
            Self::field(&mut form, "stream", "true");
        }
        for (name, value) in &self.asked.parameters {
            match value {
                Value::String(text) => Self::field(&mut form, name, text),
                Value::Array(items) => {
                    let name = format!("{name}[]");
                    for item in items {
                        let shown = item
                            .as_str()
                            .map_or_else(|| item.to_string(), str::to_owned);
                        Self::field(&mut form, &name, &shown);
                    }
                }
                other => Self::field(&mut form, name, &other.to_string()),
            }
        }
        let file = "Content-Disposition: form-data; name=\"file\"; filename=\"speech.wav\"\r\nContent-Type: audio/wav";
        form.extend_from_slice(format!("--{BOUNDARY}\r\n{file}\r\n\r\n").as_bytes());
        form.extend_from_slice(&wav(execute)?);
        form.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        Ok(form)
    }
}

/// A call's sound as a WAV file.
fn wav(execute: &Execute) -> Result<Vec<u8>, RemoteError> {
    let written = |error: tidegate_media::file::FileError| {
        RemoteError::Config(format!(
            "the hop's sound cannot be sent as a WAV file: {error}: declare its input as pcm_s16"
        ))
    };
    let mut writer = None;
    for frame in frames(execute) {
        let Payload::Audio(audio) = &frame.payload else {
            return Err(RemoteError::Internal(
                "a frame of an audio input is no audio",
            ));
        };
        if writer.is_none() {
            let codec = match audio.format.codec {
                Codec::PcmF32 => Codec::PcmS16,
                other => other,
            };
            let format = AudioFormat {
                codec,
                ..audio.format
            };
            let file = std::io::Cursor::new(Vec::new());
            writer = Some(WavWriter::new(file, format).map_err(written)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(audio).map_err(written)?;
        }
    }
    let file = writer.map(WavWriter::finish_seekable).transpose();
    Ok(file.map_err(written)?.unwrap_or_default().into_inner())
}

impl Dialect for Transcriptions {
    fn path(&self) -> &'static str {
        "/audio/transcriptions"
    }

    fn ask(&mut self, execute: &Execute) -> Result<VecDeque<Asking>, RemoteError> {
        (self.revision, self.done, self.at) = (0, false, media_time(execute));
        self.text.clear();
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let content_type = HeaderValue::try_from(content_type)
            .map_err(|_| RemoteError::Internal("a boundary that no header can have"))?;
        let body = Bytes::from(self.form(execute)?);
        Ok(VecDeque::from([Asking {
            content_type,
            body,
            cause: 0,
        }]))
    }

    fn head(&mut self, content_type: &str) -> Result<(), RemoteError> {
        self.events.head(content_type)
    }

    fn take(&mut self, data: Bytes, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError> {
        self.events.take(&data)?;
        self.give(answers, false)
    }

    fn end(&mut self, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError> {
        self.give(answers, true)?;
        if !self.done && self.events.is_whole() {
            let text = "an answer without 'text'".to_owned();
            return Err(RemoteError::Protocol(text));
        }
        let output = &self.asked.output;
        let revision = self.revision + 1;
        answers.push_back(text(output, self.at, revision, true, self.text.trim()));
        Ok(())
    }
}
