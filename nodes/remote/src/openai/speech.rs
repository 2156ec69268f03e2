//! `POST /audio/speech`: text in, 16-bit samples out as they come.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tidegate_media::{Audio, AudioFormat, Frame, MediaTime, Payload};
use tidegate_proto::message::{Execute, StreamSpec};

use super::caller::json_body;
use super::{Asked, Asking, Dialect, media_time, said};
use crate::calls::Answer;
use crate::error::RemoteError;

/// What the interface calls `pcm`.
const PCM: AudioFormat = AudioFormat::pcm_s16(24_000, 1);
/// A request has so many characters at most.
const CHARACTERS_MAX: usize = 4_096;
/// A frame of what came at once is not longer: what is queued can be counted, and dropped, in parts.
const FRAME_MS: u32 = 100;

pub(super) struct Speech {
    asked: Asked,
    /// What the answer's samples are.
    format: AudioFormat,
    /// Where the next sample belongs.
    at: MediaTime,
    /// Came, and is not given yet: less than a frame, so that the last one of a call is known as such.
    rest: BytesMut,
}

impl Speech {
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            asked,
            format: PCM,
            at: MediaTime::default(),
            rest: BytesMut::new(),
        }
    }

    fn give(&mut self, data: Bytes, is_final: bool) -> Answer {
        let audio = Audio::encoded(self.format, data);
        let lasts = audio.duration();
        let mut frame = Frame::new(self.at, Payload::Audio(audio));
        frame.meta.is_final = is_final;
        self.at += lasts;
        Answer::Output {
            port: self.asked.output.clone(),
            caused_port: None,
            frame,
        }
    }

    const fn sample_bytes(&self) -> usize {
        2 * self.format.channels as usize
    }
}

impl Dialect for Speech {
    fn path(&self) -> &'static str {
        "/audio/speech"
    }

    fn ask(&mut self, execute: &Execute) -> Result<VecDeque<Asking>, RemoteError> {
        let wanted = execute.outputs.first().map(|(_, spec)| *spec);
        if let Some(StreamSpec::Audio(format)) = wanted {
            self.format = format;
        }
        // Sound follows sound.
        self.at = self.at.max(media_time(execute));
        self.rest.clear();
        let text = said(execute)?;
        let parts = parts(&text).into_iter().map(|part| {
            let mut body = self.asked.parameters.clone();
            body.insert("model".into(), self.asked.model.clone().into());
            body.insert("input".into(), part.into());
            body.insert("response_format".into(), "pcm".into());
            json_body(&Value::Object(body))
        });
        Ok(parts.collect())
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
        self.rest.extend_from_slice(&data);
        let frame = self.format.sample_rate * FRAME_MS / 1_000;
        let most = frame as usize * self.sample_bytes();
        while self.rest.len() > most {
            let data = self.rest.split_to(most).freeze();
            answers.push_back(self.give(data, false));
        }
        // What is there goes on, but for a last sample: so nothing that was said waits for what comes next.
        let whole = self.rest.len() - self.rest.len() % self.sample_bytes();
        if whole > self.sample_bytes() {
            let data = self.rest.split_to(whole - self.sample_bytes()).freeze();
            answers.push_back(self.give(data, false));
        }
        Ok(())
    }

    fn end(&mut self, last: bool, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError> {
        if last {
            let whole = self.rest.len() - self.rest.len() % self.sample_bytes();
            let data = self.rest.split_to(whole).freeze();
            answers.push_back(self.give(data, true));
            self.rest.clear();
        }
        Ok(())
    }

    fn interrupted(&mut self) {
        self.rest.clear();
    }
}

/// A text in parts that a request may have: cut after sentences, else between words, else anywhere.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while let Some((end, _)) = rest.char_indices().nth(CHARACTERS_MAX) {
        let most = &rest[..end];
        let sentence = most.rfind(['.', '!', '?', '\n', '。', '！', '？']);
        let cut = sentence.or_else(|| most.rfind(char::is_whitespace));
        let cut = cut.map_or(end, |at| {
            at + most[at..].chars().next().map_or(0, char::len_utf8)
        });
        let (part, left) = rest.split_at(cut);
        parts.push(part.trim());
        rest = left.trim();
    }
    parts.push(rest);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_parted_after_sentences_and_nothing_is_lost() {
        let sentence = "All that is said is spoken, also late in a long text. ";
        let text = sentence.repeat(200);
        let found = parts(&text);
        assert!(found.len() == 3, "{}", found.len());
        assert!(
            found
                .iter()
                .all(|part| part.chars().count() <= CHARACTERS_MAX && part.ends_with('.'))
        );
        assert_eq!(found.join(" "), text.trim());
        assert_eq!(
            parts(&"ü".repeat(5_000))
                .iter()
                .map(|part| part.chars().count())
                .collect::<Vec<_>>(),
            [4_096, 904]
        );
        assert_eq!(parts(" \n").len(), 0);
    }
}
