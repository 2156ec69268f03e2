//! How a foreign protocol is spoken: `options` of a remote node, typed by its protocol.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::checks::Problems;

/// Most exchanges that a conversation may remember.
const TURNS_MAX: u32 = 1_000;

/// Options of `openai.transcriptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TranscriptionOptions {
    /// Whether the answer is asked for as it comes: what is understood so far goes on as partial results. A server that cannot
    /// answers whole.
    pub stream: bool,
}

impl Default for TranscriptionOptions {
    fn default() -> Self {
        Self { stream: true }
    }
}

/// A protocol that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// Options of `openai.chat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChatOptions {
    /// What the model is told before the conversation, as the `system` message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Exchanges of this session, each what was said and what was answered, that go along with the next one; 0: none.
    pub turns: u32,
    /// Most bytes of text of these exchanges; the oldest go first.
    pub turns_bytes: u32,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            system: None,
            turns: 16,
            // Some 4,000 words: what a small model can still be asked with.
            turns_bytes: 24_000,
        }
    }
}

impl ChatOptions {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.turns > TURNS_MAX {
            let what = format!("{} exchanges are more than a model reads", self.turns);
            let mend = format!("write 0 to {TURNS_MAX}; the default is 16");
            problems.add("options.turns", what, mend);
        }
    }
}

/// Options of `websocket.stt`. Pointers into the server's JSON are those of RFC 6901.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebsocketSttOptions {
    /// Path and query behind the endpoint's own path, such as `/v1/listen?encoding=linear16&sample_rate=16000`.
    pub path: String,
    /// What is said before the sound: a text, or JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Value>,
    /// What is said after the sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Value>,
    /// Where the words are.
    pub text: String,
    /// Where it says that they stay; without it all words at `text` do.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub settled: Option<String>,
    /// Where words are that do not stay, if not at `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// Where it says that nothing follows; without it the server closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Where it says what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Default for WebsocketSttOptions {
    fn default() -> Self {
        Self {
            path: String::new(),
            start: None,
            end: None,
            text: "/text".to_owned(),
            settled: None,
            partial: None,
            last: None,
            error: Some("/error".to_owned()),
        }
    }
}

impl WebsocketSttOptions {
    pub(super) fn check(&self, problems: &mut Problems) {
        let pointers = [
            ("text", Some(&self.text)),
            ("final", self.settled.as_ref()),
            ("partial", self.partial.as_ref()),
            ("last", self.last.as_ref()),
            ("error", self.error.as_ref()),
        ];
        for (key, pointer) in pointers {
            if pointer.is_some_and(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
                let what = "a pointer into JSON begins with '/'";
                problems.add(
                    format!("options.{key}"),
                    what,
                    "write it as in /channel/text",
                );
            }
        }
        if !self.path.is_empty() && !self.path.starts_with('/') {
            let what = "a path begins with '/'";
            problems.add("options.path", what, "write it as in /v1/listen?rate=16000");
        }
    }
}

/// Options of `kserve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KserveOptions {
    /// How the server answers `ModelStreamInfer` (`mode: stream`).
    pub dialect: KserveDialect,
    /// The model's version; empty: the server's choice.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Names of the model's tensors, by port, where they are not the port's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tensors: BTreeMap<String, String>,
    /// Whether the model's tensors begin with the axis of a batch, of which each request has one.
    pub batch: bool,
}

/// How a server of the Open Inference Protocol answers a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KserveDialect {
    /// Responses that are wrapped, with room for an error, and say when nothing more comes: Triton's.
    #[default]
    Triton,
    /// Responses as they are: MLServer's.
    Mlserver,
}
