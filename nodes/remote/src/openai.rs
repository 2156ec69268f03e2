//! Servers with OpenAI's interfaces: speech to text, text to speech, chat.
//!
//! Each utterance is one request (a text to speak: one for each sentence, as soon as that is whole), whose answer goes on as it comes. A [`Dialect`] is what one of
//! the three says and hears, without I/O; `caller` makes its requests. An endpoint's path is what clients of OpenAI call the base URL;
//! without one it is `/v1`.

mod caller;
mod chat;
mod events;
mod speech;
mod transcriptions;

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value};
use tidegate_media::{Frame, MediaTime, Payload, Text};
use tidegate_nodes::compile::remote::Protocol;
use tidegate_proto::PortName;
use tidegate_proto::message::Execute;

use self::caller::OpenaiCaller;
use crate::calls::Answer;
use crate::dial::Place;
use crate::error::RemoteError;
use crate::foreign::{Linked, Opening};
use crate::spoken::{frames, media_time, piece};

/// What one of the interfaces says and hears.
trait Dialect: Send {
    /// Below the base.
    fn path(&self) -> &'static str;

    /// What the requests of a call are; none if there is nothing to ask.
    ///
    /// # Errors
    /// The input is none that the interface takes.
    fn ask(&mut self, execute: &Execute) -> Result<VecDeque<Asking>, RemoteError>;

    /// What more of a call that grows asks for.
    ///
    /// # Errors
    /// The input is none that the interface takes.
    fn more(&mut self, _frame: &Frame) -> Result<VecDeque<Asking>, RemoteError> {
        Err(RemoteError::Internal("a call that does not grow"))
    }

    /// What is still to be asked when all of a call that grows has come.
    fn rest(&mut self) -> VecDeque<Asking> {
        VecDeque::new()
    }

    /// A request goes out that this input of the call completed.
    fn asked(&mut self, _cause: u64) {}

    /// What kind of answer comes.
    ///
    /// # Errors
    /// One that is not understood.
    fn head(&mut self, content_type: &str) -> Result<(), RemoteError>;

    /// The next part of an answer.
    ///
    /// # Errors
    /// It is not what the interface says.
    fn take(&mut self, data: Bytes, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError>;

    /// The answer of a request is over.
    ///
    /// # Errors
    /// It cannot be over yet.
    fn end(&mut self, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError>;

    /// All answers of the call are over.
    fn finish(&mut self, _answers: &mut VecDeque<Answer>) {}

    /// Nobody wants the rest.
    fn interrupted(&mut self) {}
}

/// One request.
struct Asking {
    content_type: HeaderValue,
    body: Bytes,
    /// The call's number of the input that completed it; 0: all of the call did.
    cause: u64,
}

/// What all requests of a hop have in common.
struct Asked {
    model: String,
    parameters: Map<String, Value>,
    output: PortName,
    /// Bytes of an answer, or of an event of one.
    answer_max: usize,
}

/// Makes ready to call.
pub(crate) fn open(opening: Opening<'_>) -> Result<Linked, RemoteError> {
    let protocol = opening.foreign.protocol;
    let gather = opening.gather()?;
    // Sound that nobody has cut into utterances is one.
    let gather = match protocol {
        Protocol::OpenaiTranscriptions => gather.with_loose_frames_together(),
        Protocol::OpenaiSpeech => gather.growing(),
        _ => gather,
    };
    let asked = Asked {
        model: opening.model().unwrap_or_default(),
        parameters: opening.config.parameters.clone(),
        output: gather.output_port()?,
        answer_max: opening.message_bytes(),
    };
    let dialect: Box<dyn Dialect> = match protocol {
        Protocol::OpenaiTranscriptions => {
            let options = opening.options()?;
            Box::new(transcriptions::Transcriptions::new(asked, options))
        }
        Protocol::OpenaiSpeech => Box::new(speech::Speech::new(asked)),
        _ => {
            let memory = opening.foreign.memory.clone();
            Box::new(chat::Chat::new(asked, opening.options()?, memory))
        }
    };
    let url = Place::of(opening.member)?.below("/v1", dialect.path())?;
    let (tls, connect) = (opening.credential.tls(), opening.config.timeouts.connect);
    let client = opening.connector.http(opening.member, tls, connect)?;
    let headers = opening.credential.headers().clone();
    let caller = OpenaiCaller::new(client, url, headers, dialect);
    Ok(opening.link(caller, gather, protocol == Protocol::OpenaiSpeech))
}

/// What a call's text frames say: pieces one after the other. A partial result counts for nothing, since a later one replaces it.
fn said(execute: &Execute) -> Result<String, RemoteError> {
    let mut text = String::new();
    for frame in frames(execute) {
        let piece = piece(frame)?;
        if frame.meta.revision > 0 && frame.meta.is_final {
            // It replaces what it revises.
            text.clear();
        }
        text.push_str(piece);
    }
    Ok(text)
}

/// A text as an answer.
fn text(
    port: &PortName,
    at: MediaTime,
    revision: u32,
    is_final: bool,
    text: impl Into<Text>,
) -> Answer {
    let mut frame = Frame::new(at, Payload::Text(text.into()));
    (frame.meta.revision, frame.meta.is_final) = (revision, is_final);
    Answer::Output {
        port: port.clone(),
        caused_port: None,
        frame,
    }
}

/// What a message of the interface says, or an error that it holds.
fn message<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, RemoteError> {
    if let Some(error) = crate::refusal::openai(json) {
        return Err(error);
    }
    serde_json::from_slice(json).map_err(|error| {
        let text = crate::refusal::quote(json);
        RemoteError::Protocol(format!("'{text}': {error}"))
    })
}
