//! `POST /audio/speech`: text in, 16-bit samples out as they come. A sentence is spoken as soon as it is whole, and the next one is asked
//! for as soon as its sound is here, while it plays.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::Value;
use tidegate_media::{AudioFormat, Frame, Sentences};
use tidegate_proto::message::Execute;

use super::caller::json_body;
use super::{Asked, Asking, Dialect};
use crate::calls::Answer;
use crate::error::RemoteError;
use crate::spoken::{Voice, frames, piece};

/// What the interface calls `pcm`.
const PCM: AudioFormat = AudioFormat::pcm_s16(24_000, 1);

pub(super) struct Speech {
    asked: Asked,
    sentences: Sentences,
    voice: Voice,
    /// The call's number of its newest input.
    newest: u64,
}

impl Speech {
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            sentences: Sentences::default(),
            voice: Voice::new(asked.output.clone(), PCM),
            newest: 0,
            asked,
        }
    }

    fn asking(&self, sentences: Vec<String>) -> VecDeque<Asking> {
        let asking = sentences.into_iter().map(|sentence| {
            let mut body = self.asked.parameters.clone();
            body.insert("model".into(), self.asked.model.clone().into());
            body.insert("input".into(), sentence.into());
            body.insert("response_format".into(), "pcm".into());
            Asking {
                cause: self.newest,
                ..json_body(&Value::Object(body))
            }
        });
        asking.collect()
    }
}

impl Dialect for Speech {
    fn path(&self) -> &'static str {
        "/audio/speech"
    }

    fn ask(&mut self, execute: &Execute) -> Result<VecDeque<Asking>, RemoteError> {
        self.sentences.clear();
        self.voice.begin(execute);
        let mut asking = VecDeque::new();
        for frame in frames(execute) {
            asking.extend(self.more(frame)?);
        }
        Ok(asking)
    }

    fn more(&mut self, frame: &Frame) -> Result<VecDeque<Asking>, RemoteError> {
        self.newest = frame.meta.seq;
        let whole = self.sentences.add(piece(frame)?);
        Ok(self.asking(whole))
    }

    fn rest(&mut self) -> VecDeque<Asking> {
        let rest = self.sentences.finish();
        self.asking(rest)
    }

    fn asked(&mut self, cause: u64) {
        self.voice.asked(cause);
    }

    fn head(&mut self, content_type: &str) -> Result<(), RemoteError> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let samples = matches!(
            kind,
            "" | "application/octet-stream" | "audio/pcm" | "audio/L16" | "audio/l16"
        );
        // Some say of samples that they are MP3 or whatever their default is, but none says WAV of what has no header.
        if samples || kind.starts_with("audio/") && !kind.contains("wav") {
            return Ok(());
        }
        Err(RemoteError::Protocol(format!(
            "content type '{}', where samples (audio/pcm) are due",
            crate::refusal::quote(kind.as_bytes())
        )))
    }

    fn take(&mut self, data: Bytes, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError> {
        self.voice.hear(&data, answers);
        Ok(())
    }

    fn end(&mut self, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError> {
        self.voice.pause(answers);
        Ok(())
    }

    fn finish(&mut self, answers: &mut VecDeque<Answer>) {
        self.voice.finish(self.newest, answers);
    }

    fn interrupted(&mut self) {
        self.voice.forget();
    }
}
