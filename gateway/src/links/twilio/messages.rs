//! The messages of Twilio Media Streams, as Twilio documents them: JSON objects that `event` names, numbers written as strings.
//!
//! Unknown events and fields are passed over, since Twilio adds some now and then.

use std::collections::BTreeMap;

use axum::extract::ws::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::json;
use tidegate_nodes::{Code, Error};

/// What Twilio sends.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Incoming {
    /// The socket stands; the first message, without a number.
    Connected {},
    /// The stream begins; the second message, and the only one of its kind.
    #[serde(rename_all = "camelCase")]
    Start {
        sequence_number: Number,
        stream_sid: String,
        start: Box<Start>,
    },
    /// Sound of the call.
    #[serde(rename_all = "camelCase")]
    Media {
        sequence_number: Number,
        stream_sid: String,
        media: Media,
    },
    /// A key of the caller's telephone.
    #[serde(rename_all = "camelCase")]
    Dtmf {
        sequence_number: Number,
        stream_sid: String,
        dtmf: Dtmf,
    },
    /// What came before this mark was played, or cleared.
    #[serde(rename_all = "camelCase")]
    Mark {
        sequence_number: Number,
        stream_sid: String,
        mark: Mark,
    },
    /// The stream or the call has ended.
    #[serde(rename_all = "camelCase")]
    Stop {
        sequence_number: Number,
        stream_sid: String,
    },
    #[serde(other)]
    Unknown,
}

/// What a stream is.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Start {
    pub(crate) account_sid: String,
    pub(crate) call_sid: String,
    pub(crate) tracks: Vec<String>,
    pub(crate) custom_parameters: BTreeMap<String, String>,
    pub(crate) media_format: MediaFormat,
}

/// How sound is written down; Twilio knows one way.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct MediaFormat {
    pub(crate) encoding: String,
    pub(crate) sample_rate: Number,
    pub(crate) channels: Number,
}

/// A piece of sound.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Media {
    /// `inbound`: what the caller says; `outbound`: what the caller hears.
    #[serde(default)]
    pub(crate) track: String,
    /// Milliseconds since the stream's start.
    #[serde(default)]
    pub(crate) timestamp: Number,
    payload: String,
}

impl Media {
    /// The samples: μ-law, 8 kHz, one channel.
    ///
    /// # Errors
    /// They are no base64.
    pub(crate) fn samples(&self) -> Result<Vec<u8>, Error> {
        STANDARD.decode(&self.payload).map_err(|error| {
            let text = format!("media.payload is not padded standard base64: {error}");
            Error::new(Code::BadRequest, text)
        })
    }
}

/// A key that was pressed.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Dtmf {
    pub(crate) digit: String,
}

/// A name that was given to a place in the sound.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Mark {
    pub(crate) name: String,
}

/// A whole number, which Twilio writes as a string in some places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
        }
    }
}

/// Reads a message.
///
/// # Errors
/// It is no text, no JSON, or lacks what its kind must have.
pub(crate) fn read(message: &Message) -> Result<Incoming, Error> {
    let Message::Text(text) = message else {
        let text = "binary message: Twilio Media Streams are JSON text";
        return Err(Error::new(Code::BadRequest, text));
    };
    serde_json::from_str(text.as_str()).map_err(|error| {
        let text = format!("no message of Twilio Media Streams: {error}");
        Error::new(Code::BadRequest, text)
    })
}

/// The number of a message that is not known; it counts as those of others do.
pub(crate) fn number(message: &Message) -> Option<u64> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Numbered {
        sequence_number: Number,
    }
    let Message::Text(text) = message else {
        return None;
    };
    let numbered: Numbered = serde_json::from_str(text.as_str()).ok()?;
    Some(numbered.sequence_number.0)
}

/// Sound for the caller.
pub(crate) fn media(stream: &str, samples: &[u8]) -> Message {
    let payload = STANDARD.encode(samples);
    text(&json!({"event": "media", "streamSid": stream, "media": {"payload": payload}}))
}

/// A name for the place behind all sound so far; Twilio sends it back when it has played that.
pub(crate) fn mark(stream: &str, name: &str) -> Message {
    text(&json!({"event": "mark", "streamSid": stream, "mark": {"name": name}}))
}

/// Silence at once: what was sent and not played is thrown away.
pub(crate) fn clear(stream: &str) -> Message {
    text(&json!({"event": "clear", "streamSid": stream}))
}

fn text(value: &serde_json::Value) -> Message {
    Message::Text(value.to_string().into())
}
