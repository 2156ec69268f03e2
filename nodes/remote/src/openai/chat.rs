//! `POST /chat/completions`: what was said in, the answer out as it is written.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_media::MediaTime;
use tidegate_nodes::compile::remote::ChatOptions;
use tidegate_proto::message::Execute;

use super::caller::json_body;
use super::events::Events;
use super::{Asked, Asking, Dialect, media_time, message, said, text};
use crate::calls::Answer;
use crate::error::RemoteError;
use crate::memory::{Memory, Turn};

pub(super) struct Chat {
    asked: Asked,
    options: ChatOptions,
    memory: Memory,
    events: Events,
    /// The exchange under way.
    turn: Turn,
    at: MediaTime,
}

/// A chunk of the answer, or the whole of it.
#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "message")]
    delta: Delta,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
}

impl Chat {
    pub(super) fn new(asked: Asked, options: ChatOptions, memory: Memory) -> Self {
        Self {
            options,
            memory,
            events: Events::new(asked.answer_max),
            asked,
            turn: Turn {
                said: String::new(),
                answered: String::new(),
            },
            at: MediaTime::default(),
        }
    }

    fn messages(&self) -> Vec<Value> {
        let system = self.options.system.as_ref();
        let system = system.map(|text| json!({"role": "system", "content": text}));
        let before = self.memory.turns().into_iter().flat_map(|turn| {
            let answer = json!({"role": "assistant", "content": turn.answered});
            [json!({"role": "user", "content": turn.said}), answer]
        });
        let now = json!({"role": "user", "content": self.turn.said});
        system.into_iter().chain(before).chain([now]).collect()
    }

    fn give(&mut self, answers: &mut VecDeque<Answer>, ended: bool) -> Result<(), RemoteError> {
        while let Some(event) = self.events.next(ended) {
            if event == b"[DONE]" {
                continue;
            }
            let said: Completion = message(&event)?;
            let choice = said.choices.into_iter().next();
            let piece = choice.and_then(|choice| choice.delta.content);
            let Some(piece) = piece.filter(|piece| !piece.is_empty()) else {
                continue;
            };
            self.turn.answered.push_str(&piece);
            if self.turn.answered.len() > self.asked.answer_max {
                let text = format!("more than {} bytes", self.asked.answer_max);
                return Err(RemoteError::TooLarge(text));
            }
            answers.push_back(text(&self.asked.output, self.at, 0, false, piece));
        }
        Ok(())
    }

    fn remember(&mut self) {
        let turn = Turn {
            said: std::mem::take(&mut self.turn.said),
            answered: std::mem::take(&mut self.turn.answered),
        };
        let [turns, bytes] = [self.options.turns, self.options.turns_bytes]
            .map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        self.memory.keep(turn, turns, bytes);
    }
}

impl Dialect for Chat {
    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    fn ask(&mut self, execute: &Execute) -> Result<VecDeque<Asking>, RemoteError> {
        let said = said(execute)?.trim().to_owned();
        if said.is_empty() {
            return Ok(VecDeque::new());
        }
        self.turn = Turn {
            said,
            answered: String::new(),
        };
        self.at = media_time(execute);
        let mut body = self.asked.parameters.clone();
        body.insert("model".into(), self.asked.model.clone().into());
        body.insert("messages".into(), self.messages().into());
        body.insert("stream".into(), true.into());
        Ok(VecDeque::from([json_body(&Value::Object(body))]))
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
        self.remember();
        answers.push_back(text(&self.asked.output, self.at, 0, true, ""));
        Ok(())
    }

    /// What was heard of the answer was said.
    fn interrupted(&mut self) {
        if !self.turn.said.is_empty() {
            self.remember();
        }
    }
}
