//! What a client is told: one JSON object an event, each with an `event_id` of its own.

use serde::Serialize;
use serde_json::{Map, Value};

use super::refusal::{Ignored, Refusal};

/// A server event.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum ServerEvent<'a> {
    #[serde(rename = "session.created")]
    SessionCreated {
        session: Value,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        ignored: &'a [Ignored],
    },
    #[serde(rename = "session.updated")]
    SessionUpdated {
        session: Value,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        ignored: &'a [Ignored],
    },
    #[serde(rename = "error")]
    Error { error: Refusal },
    #[serde(rename = "input_audio_buffer.speech_started")]
    SpeechStarted {
        audio_start_ms: u64,
        item_id: String,
    },
    #[serde(rename = "input_audio_buffer.speech_stopped")]
    SpeechStopped { audio_end_ms: u64, item_id: String },
    #[serde(rename = "input_audio_buffer.committed")]
    Committed {
        previous_item_id: Option<String>,
        item_id: String,
    },
    #[serde(rename = "input_audio_buffer.cleared")]
    Cleared {
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        ignored: &'a [Ignored],
    },
    #[serde(rename = "conversation.item.added")]
    ItemAdded {
        previous_item_id: Option<String>,
        item: Item,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        ignored: &'a [Ignored],
    },
    #[serde(rename = "conversation.item.done")]
    ItemDone {
        previous_item_id: Option<String>,
        item: Item,
    },
    #[serde(rename = "conversation.item.retrieved")]
    ItemRetrieved { item: Item },
    #[serde(rename = "conversation.item.deleted")]
    ItemDeleted { item_id: String },
    #[serde(rename = "conversation.item.truncated")]
    ItemTruncated {
        item_id: String,
        content_index: u32,
        audio_end_ms: u64,
    },
    #[serde(rename = "conversation.item.input_audio_transcription.delta")]
    TranscriptionDelta {
        item_id: String,
        content_index: u32,
        delta: &'a str,
    },
    #[serde(rename = "conversation.item.input_audio_transcription.completed")]
    TranscriptionCompleted {
        item_id: String,
        content_index: u32,
        transcript: String,
        usage: Usage,
    },
    #[serde(rename = "conversation.item.input_audio_transcription.failed")]
    TranscriptionFailed {
        item_id: String,
        content_index: u32,
        error: Refusal,
    },
    #[serde(rename = "response.created")]
    ResponseCreated {
        response: ResponseBody,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        ignored: &'a [Ignored],
    },
    #[serde(rename = "response.done")]
    ResponseDone { response: ResponseBody },
    #[serde(rename = "response.output_item.added")]
    OutputItemAdded {
        response_id: &'a str,
        output_index: u32,
        item: Item,
    },
    #[serde(rename = "response.output_item.done")]
    OutputItemDone {
        response_id: &'a str,
        output_index: u32,
        item: Item,
    },
    #[serde(rename = "response.content_part.added")]
    ContentPartAdded {
        #[serde(flatten)]
        at: PartAt<'a>,
        part: ContentPart,
    },
    #[serde(rename = "response.content_part.done")]
    ContentPartDone {
        #[serde(flatten)]
        at: PartAt<'a>,
        part: ContentPart,
    },
    #[serde(rename = "response.output_audio.delta")]
    AudioDelta {
        #[serde(flatten)]
        at: PartAt<'a>,
        delta: String,
    },
    #[serde(rename = "response.output_audio.done")]
    AudioDone {
        #[serde(flatten)]
        at: PartAt<'a>,
    },
    #[serde(rename = "response.output_audio_transcript.delta")]
    TranscriptDelta {
        #[serde(flatten)]
        at: PartAt<'a>,
        delta: &'a str,
    },
    #[serde(rename = "response.output_audio_transcript.done")]
    TranscriptDone {
        #[serde(flatten)]
        at: PartAt<'a>,
        transcript: &'a str,
    },
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        #[serde(flatten)]
        at: PartAt<'a>,
        delta: &'a str,
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        #[serde(flatten)]
        at: PartAt<'a>,
        text: &'a str,
    },
    #[serde(rename = "output_audio_buffer.started")]
    PlayingStarted { response_id: &'a str },
    #[serde(rename = "output_audio_buffer.stopped")]
    PlayingStopped { response_id: &'a str },
    #[serde(rename = "output_audio_buffer.cleared")]
    PlayingCleared { response_id: &'a str },
}

/// Which part of which item of which response something belongs to. Each has one.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct PartAt<'a> {
    pub(super) response_id: &'a str,
    pub(super) item_id: &'a str,
    pub(super) output_index: u32,
    pub(super) content_index: u32,
}

/// An item of the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) object: &'static str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) role: &'static str,
    pub(super) content: Vec<ItemPart>,
}

impl Item {
    /// A message of somebody's.
    pub(super) fn message(id: String, role: &'static str, content: Vec<ItemPart>) -> Self {
        Self {
            id,
            object: "realtime.item",
            kind: "message",
            status: "completed",
            role,
            content,
        }
    }

    /// What it takes to remember it.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.content.iter().map(|part| part.text().len()).sum();
        self.id.len() + size_of_val(&self.content[..]) + texts
    }
}

/// What an item holds. Sound is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ItemPart {
    InputText { text: String },
    InputAudio { transcript: Option<String> },
    OutputText { text: String },
    OutputAudio { transcript: String },
}

impl ItemPart {
    /// Its words, where it has any.
    fn text(&self) -> &str {
        match self {
            Self::InputText { text } | Self::OutputText { text } => text,
            Self::OutputAudio { transcript } => transcript,
            Self::InputAudio { transcript } => transcript.as_deref().unwrap_or_default(),
        }
    }
}

/// A part of a response as it is announced and concluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ContentPart {
    Audio { transcript: String },
    Text { text: String },
}

/// A response as it stands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ResponseBody {
    pub(super) id: String,
    pub(super) object: &'static str,
    pub(super) status: &'static str,
    pub(super) status_details: Option<StatusDetails>,
    pub(super) output: Vec<Item>,
    pub(super) conversation_id: &'static str,
    pub(super) output_modalities: [&'static str; 1],
    pub(super) audio: Option<Value>,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) usage: Option<Value>,
}

/// Why a response ended as it did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StatusDetails {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<StatusError>,
}

/// What a failed response says of its error.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StatusError {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) code: String,
    pub(super) message: String,
}

/// How much was transcribed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Usage {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) seconds: f64,
}

/// An event with the name that it is given when it leaves.
#[derive(Serialize)]
struct Named<'a> {
    event_id: String,
    #[serde(flatten)]
    event: &'a ServerEvent<'a>,
}

/// Events that wait for a client that has not opened its channel yet; what is said beyond is lost to it.
const WAITING: usize = 512;

/// Events on their way to the client.
#[derive(Debug, Default)]
pub(super) struct Out {
    count: u64,
    lost: u64,
    waiting: std::collections::VecDeque<Said>,
}

/// An event as it is written.
#[derive(Debug)]
pub(crate) struct Said {
    /// It carries a frame, or a part of one.
    pub(crate) frame: bool,
    pub(crate) text: String,
}

impl Out {
    /// Says something.
    pub(super) fn say(&mut self, event: &ServerEvent<'_>) {
        let frame = matches!(event, ServerEvent::AudioDelta { .. });
        self.count += 1;
        if self.waiting.len() >= WAITING {
            self.lost += 1;
            return;
        }
        let event_id = format!("event_{}", self.count);
        // Strings, numbers and maps with string keys: nothing that JSON could not write.
        if let Ok(text) = serde_json::to_string(&Named { event_id, event }) {
            self.waiting.push_back(Said { frame, text });
        }
    }

    /// How many were lost since this was last asked.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// The next that leaves.
    pub(super) fn next(&mut self) -> Option<Said> {
        self.waiting.pop_front()
    }
}
