//! What a client says: one JSON object an event, told apart by `type`.
//!
//! The type is read first and the rest by the type's own shape, so that a long piece of sound is looked at twice and copied once.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// What every event says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    /// Which event it is.
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    /// The client's own name for it, which an error repeats.
    #[serde(borrow, default)]
    pub(super) event_id: Option<Cow<'a, str>>,
}

/// `input_audio_buffer.append`.
#[derive(Debug, Deserialize)]
pub(super) struct Append<'a> {
    /// Sound in the session's input format, as base64.
    #[serde(borrow)]
    pub(super) audio: Cow<'a, str>,
}

/// `session.update`.
#[derive(Debug, Deserialize)]
pub(super) struct SessionUpdate {
    pub(super) session: SessionPatch,
}

/// What may be said of a session; what is left out stays as it is.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SessionPatch {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) output_modalities: Option<Vec<String>>,
    #[serde(default)]
    pub(super) audio: Option<AudioPatch>,
    /// Everything else.
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// `session.audio`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AudioPatch {
    #[serde(default)]
    pub(super) input: Option<InputPatch>,
    #[serde(default)]
    pub(super) output: Option<OutputPatch>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// `session.audio.input`. Of what may be null the outer `None` means that nothing is said.
#[derive(Debug, Default, Deserialize)]
pub(super) struct InputPatch {
    #[serde(default)]
    pub(super) format: Option<Value>,
    #[serde(default, deserialize_with = "said")]
    pub(super) transcription: Option<Option<Map<String, Value>>>,
    #[serde(default, deserialize_with = "said")]
    pub(super) turn_detection: Option<Option<Map<String, Value>>>,
    #[serde(default)]
    pub(super) noise_reduction: Option<Value>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// `session.audio.output`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OutputPatch {
    #[serde(default)]
    pub(super) format: Option<Value>,
    #[serde(default)]
    pub(super) voice: Option<Value>,
    #[serde(default)]
    pub(super) speed: Option<f64>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// `conversation.item.create`.
#[derive(Debug, Deserialize)]
pub(super) struct ItemCreate {
    #[serde(default)]
    pub(super) previous_item_id: Option<String>,
    pub(super) item: NewItem,
}

/// An item that a client adds.
#[derive(Debug, Deserialize)]
pub(super) struct NewItem {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) role: Option<String>,
    #[serde(default)]
    pub(super) content: Vec<NewPart>,
}

/// A part of such an item.
#[derive(Debug, Deserialize)]
pub(super) struct NewPart {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) text: Option<String>,
}

impl NewPart {
    /// Whether it is text, said or answered.
    pub(super) fn is_text(&self) -> bool {
        ["input_text", "output_text"].contains(&self.kind.as_str())
    }
}

/// `conversation.item.delete` and `conversation.item.retrieve`.
#[derive(Debug, Deserialize)]
pub(super) struct ItemNamed {
    pub(super) item_id: String,
}

/// `conversation.item.truncate`.
#[derive(Debug, Deserialize)]
pub(super) struct ItemTruncate {
    pub(super) item_id: String,
    #[serde(default)]
    pub(super) content_index: u32,
    pub(super) audio_end_ms: u64,
}

/// `response.create`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ResponseCreate {
    #[serde(default)]
    pub(super) response: Option<Map<String, Value>>,
}

/// `response.cancel`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ResponseCancel {
    #[serde(default)]
    pub(super) response_id: Option<String>,
}

/// Reads an event in its type's own shape.
///
/// # Errors
/// It does not have that shape.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let text = format!("the event does not have its type's shape: {error}");
        Refusal::invalid(None, text)
    })
}

/// Tells a value of null from none.
fn said<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
