//! Servers with OpenAI's interfaces: speech to text, text to speech, chat.
//!
//! Each utterance is one request (a long text to speak: several), whose answer goes on as it comes. A [`Dialect`] is what one of
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
use tidegate_proto::message::{Execute, Opened};

use self::caller::OpenaiCaller;
use crate::calls::{Answer, CallLink, Gather, opened};
use crate::config::{Foreign, HopPorts, OpenContext, RemoteConfig, Target};
use crate::connector::Connector;
use crate::dial::Place;
use crate::error::RemoteError;
use crate::foreign::options;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;

/// What one of the interfaces says and hears.
trait Dialect: Send {
    /// Below the base.
    fn path(&self) -> &'static str;

    /// What the requests of a call are; none if there is nothing to ask.
    ///
    /// # Errors
    /// The input is none that the interface takes.
    fn ask(&mut self, execute: &Execute) -> Result<VecDeque<Asking>, RemoteError>;

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

    /// The answer is over, and with `last` the call.
    ///
    /// # Errors
    /// It cannot be over yet.
    fn end(&mut self, last: bool, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError>;

    /// Nobody wants the rest.
    fn interrupted(&mut self) {}
}

/// One request.
struct Asking {
    content_type: HeaderValue,
    body: Bytes,
}

/// What all requests of a hop have in common.
struct Asked {
    model: String,
    parameters: Map<String, Value>,
    output: PortName,
    /// Bytes of an answer, or of an event of one.
    answer_max: usize,
}

/// Makes ready to call. Nothing is sent before there is something to call with, so an endpoint that is not there shows at the first
/// call.
pub(crate) fn open(
    connector: &Connector,
    member: &Member,
    (config, foreign): (&RemoteConfig, &Foreign),
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = opening::credential(connector, config, context)?;
    let message_bytes = connector.config().message_bytes;
    let gather = Gather::new(ports, config.mode, message_bytes)?;
    // Sound that nobody has cut into utterances is one.
    let gather = match foreign.protocol {
        Protocol::OpenaiTranscriptions => gather.with_loose_frames_together(),
        _ => gather,
    };
    let output = gather.output_name().ok_or_else(|| {
        RemoteError::Config("nothing is joined to the output of the hop".to_owned())
    })?;
    let asked = Asked {
        model: match &config.target {
            Target::Pipeline(model) => model.clone(),
            _ => String::new(),
        },
        parameters: config.parameters.clone(),
        output,
        answer_max: message_bytes,
    };
    let dialect: Box<dyn Dialect> = match foreign.protocol {
        Protocol::OpenaiTranscriptions => {
            Box::new(transcriptions::Transcriptions::new(asked, foreign)?)
        }
        Protocol::OpenaiSpeech => Box::new(speech::Speech::new(asked)),
        _ => Box::new(chat::Chat::new(asked, foreign)?),
    };
    let place = Place::of(member)?;
    let url = place.below("/v1", dialect.path())?;
    let client = connector.http(member, credential.tls(), config.timeouts.connect)?;
    let headers = credential.headers().clone();
    let caller = OpenaiCaller::new(client, url, headers, dialect);
    let terms = opening::terms(config, context);
    let opened = opened(&gather, &terms.source);
    let link = CallLink::new(caller, terms, gather, credential);
    Ok((Box::new(link), opened))
}

/// The frames of a call's one input.
fn frames(execute: &Execute) -> &[Frame] {
    execute
        .inputs
        .first()
        .map_or(&[], |(_, frames)| frames.as_slice())
}

/// What a call's text frames say: pieces one after the other. A partial result counts for nothing, since a later one replaces it.
fn said(execute: &Execute) -> Result<String, RemoteError> {
    let mut text = String::new();
    for frame in frames(execute) {
        let Payload::Text(piece) = &frame.payload else {
            return Err(RemoteError::Internal("a frame of a text input is no text"));
        };
        match (frame.meta.revision, frame.meta.is_final) {
            (0, _) => text.push_str(piece.as_str()),
            (_, true) => piece.as_str().clone_into(&mut text),
            (_, false) => {}
        }
    }
    Ok(text)
}

/// The place of a call's newest input in the stream.
fn media_time(execute: &Execute) -> MediaTime {
    let last = frames(execute).last();
    last.map_or(MediaTime::default(), |frame| frame.meta.media_time)
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
