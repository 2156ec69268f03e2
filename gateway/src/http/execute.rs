//! `POST /v1/pipelines/{name}/execute` and `POST /v1/execute`: a whole pipeline run in one request.
//!
//! The body is JSON (`{inputs: {port: [frame]}, parameters}`), or a media file for a pipeline with one audio input, whose parameters
//! come as `?parameters=`. Whatever names a port that there is not is refused before anything runs. The answer is JSON, with
//! `Accept: application/x-ndjson` the native messages as they come, one a line, and with `audio/wav` the one output of sound as a file.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate_media::{Frame, Kind};
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};
use tidegate_proto::message::{Execute, ServerMessage, Source as Wanted, StreamSpec};
use tidegate_proto::{PortName, json};

use super::formats::{audio_wish, format_of, untouched};
use super::{Shared, sound};
use crate::auth::Caller;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::links::file::{Feed, Feeds};
use crate::links::memory::{CHANNEL, Listens, MemoryEvent, MemoryLink, Source};
use crate::links::outbox::{Delivery, outbox};
use crate::links::wire::malformed;
use crate::session::link::Transport;
use crate::session::open::Request;
use crate::session::ports::PortFacts;

const NDJSON: &str = "application/x-ndjson";
/// What a frame costs beside its payload, in bytes; the smallest are not free.
const FRAME_COST: usize = 64;

/// `?parameters=JSON`. Anything else is refused: a misspelt name would run with defaults and look right.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecuteQuery {
    /// Values of the pipeline's parameters, as a JSON object; a media file has no other place for them.
    #[serde(default)]
    parameters: Option<String>,
}

/// Runs the path's pipeline.
pub(crate) async fn execute(
    caller: Caller,
    State(gateway): Shared,
    Path(name): Path<String>,
    Query(query): Query<ExecuteQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    run((caller, &gateway), Some(name), &query, &headers, body).await
}

/// Runs what the body names or holds.
pub(crate) async fn execute_any(
    caller: Caller,
    State(gateway): Shared,
    Query(query): Query<ExecuteQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    run((caller, &gateway), None, &query, &headers, body).await
}

async fn run(
    (caller, gateway): (Caller, &Arc<Gateway>),
    name: Option<String>,
    query: &ExecuteQuery,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    if let Some(name) = &name {
        // Before the body: what it is matters to nobody where there is nothing to run.
        gateway.named(&caller, name)?;
    }
    let body = gateway.bodies.gather(headers, body).await?;
    let text = |name| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    };
    let kind = text(header::CONTENT_TYPE)
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let mut job = if kind == "application/json" || kind.is_empty() {
        let text = std::str::from_utf8(&body.bytes)
            .map_err(|_| Error::new(Code::BadRequest, "the body is not UTF-8 text"))?;
        if !text.trim_start().starts_with('{') {
            // The library would take a list for an object's fields in their order.
            let text = "the body is no JSON object: send {\"inputs\": {\"<port>\": [<frame>]}}";
            return Err(Error::new(Code::BadRequest, text).into());
        }
        let execute = json::decode_execute(text, name.as_deref(), gateway.clock.now());
        Job::new(caller, execute.map_err(|e| malformed(&e))?)
    } else if kind.starts_with("audio/") || kind.starts_with("video/") || kind == "application/ogg"
    {
        let Some(name) = name else {
            let text =
                "a media file says nothing of pipelines: send it to /v1/pipelines/<name>/execute";
            return Err(Error::new(Code::BadRequest, text).into());
        };
        Job::of_file((caller, gateway), name, body.bytes.clone())?
    } else {
        let text =
            format!("content type '{kind}': send application/json or a media file as audio/*");
        return Err(Error::new(Code::UnsupportedMedia, text).into());
    };
    job.add_parameters(super::ws::parameters(query.parameters.as_deref())?)?;
    answer(gateway, job, text(header::ACCEPT)).await
}

async fn answer(gateway: &Arc<Gateway>, job: Job, accept: &str) -> Result<Response, HttpError> {
    let sound = if accept.contains(sound::WAV) {
        let (pipeline, _) = gateway.pipeline(&job.caller, &job.source)?;
        let output = sound::output(pipeline.outline());
        Some(output.map_err(|error| HttpError::with_status(error, StatusCode::NOT_ACCEPTABLE))?)
    } else {
        None
    };
    let events = job.start(gateway).await?;
    if accept.contains(NDJSON) {
        return Ok(streamed(gateway, events));
    }
    let outputs = collect(events, gateway.config.limits.body.0).await?;
    if let Some(name) = sound {
        let file = sound::wav(&outputs, &name)?;
        return Ok(([(header::CONTENT_TYPE, sound::WAV)], file).into_response());
    }
    let body = json::encode_outputs(&outputs, gateway.clock.now());
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// One run: what goes in, and how what comes out is wanted.
pub(crate) struct Job {
    caller: Caller,
    source: Wanted,
    parameters: Map<String, Value>,
    frames: Box<dyn Source>,
    /// Inputs that it has frames for.
    named: Vec<String>,
    formats: BTreeMap<String, StreamFormat>,
    wanted: Vec<(PortName, StreamSpec)>,
    /// How outputs are heard, where that is not as `wanted` says.
    listens: Option<Listens>,
    transport: Transport,
    hop_count: u32,
    deadline: Option<Duration>,
}

impl Job {
    /// A run of frames that are all there.
    pub(crate) fn new(caller: Caller, execute: Execute) -> Self {
        let named = execute.inputs.iter();
        let named = named.map(|(name, _)| name.as_str().to_owned()).collect();
        let mut formats = BTreeMap::new();
        let mut frames = Vec::new();
        // Ports take turns, so that none waits for the whole of another.
        let mut ports: Vec<_> = execute
            .inputs
            .into_iter()
            .map(|(name, frames)| (name.into_string(), frames.into_iter()))
            .collect();
        loop {
            let before = frames.len();
            for (name, rest) in &mut ports {
                if let Some(frame) = rest.next() {
                    formats
                        .entry(name.clone())
                        .or_insert_with(|| format_of(&frame));
                    frames.push((name.clone(), frame));
                }
            }
            if frames.len() == before {
                break;
            }
        }
        Self {
            caller,
            source: execute.source,
            parameters: execute.parameters,
            frames: Box::new(frames.into_iter()),
            named,
            formats,
            wanted: execute.outputs,
            listens: None,
            transport: Transport::Http,
            hop_count: execute.hop_count,
            deadline: execute.deadline,
        }
    }

    /// A run of a media file through a pipeline with one audio input.
    ///
    /// # Errors
    /// There is no such pipeline, it has another number of audio inputs, or the file is none.
    fn of_file(
        (caller, gateway): (Caller, &Gateway),
        name: String,
        body: Bytes,
    ) -> Result<Self, Error> {
        let pipeline = gateway.named(&caller, &name)?;
        let inputs = &pipeline.outline().inputs;
        let mut audio = inputs.iter().filter(|input| input.kind == Kind::Audio);
        let (Some(input), None) = (audio.next(), audio.next()) else {
            let text = format!(
                "pipeline '{name}' has not exactly one audio input: send its frames as application/json"
            );
            return Err(Error::new(Code::BadRequest, text));
        };
        let feed = Feed::media(&input.name, Cursor::new(body), None)?;
        Ok(Self {
            caller,
            source: Wanted::Pipeline(name),
            parameters: Map::new(),
            named: vec![input.name.clone()],
            formats: BTreeMap::from([(input.name.clone(), feed.format)]),
            frames: Box::new(Feeds::new(vec![feed], Vec::new())),
            wanted: Vec::new(),
            listens: None,
            transport: Transport::Http,
            hop_count: 0,
            deadline: None,
        })
    }

    /// With the parameters of the query.
    ///
    /// # Errors
    /// The body has some too.
    fn add_parameters(&mut self, more: Map<String, Value>) -> Result<(), Error> {
        if more.is_empty() {
            return Ok(());
        }
        if !self.parameters.is_empty() {
            let text = "parameters are in the query and in the body: say them in one place";
            return Err(Error::new(Code::BadRequest, text));
        }
        self.parameters = more;
        Ok(())
    }

    /// By another transport, whose clients hear outputs in their own way.
    pub(crate) fn heard_as(mut self, transport: Transport, listens: Listens) -> Self {
        self.transport = transport;
        self.listens = Some(listens);
        self
    }

    /// Opens the session that runs it.
    ///
    /// # Errors
    /// As for any session.
    pub(crate) async fn start(
        self,
        gateway: &Arc<Gateway>,
    ) -> Result<Delivery<MemoryEvent>, Error> {
        let (events, receiver) = outbox(CHANNEL);
        let formats = self.formats;
        let sent = formats.values().find_map(StreamFormat::audio_format);
        let wanted = self.wanted;
        let feeds = Box::new(move |port: &PortFacts| match formats.get(&port.name) {
            Some(format) => Some(*format),
            None => untouched(port.kind),
        });
        let asked = Box::new(move |port: &PortFacts| {
            Some(match port.kind {
                Kind::Audio => audio_wish(&wanted, &port.name, sent),
                kind => Accepts::Kind(kind),
            })
        });
        let listens = self.listens.unwrap_or(asked);
        let link = MemoryLink::new(self.transport, self.frames, feeds, listens, events)
            .feeding(self.named);
        let request = Request {
            caller: self.caller,
            source: self.source,
            parameters: self.parameters,
            key: None,
            hop_count: self.hop_count,
            deadline: self.deadline,
            link: Box::new(link),
        };
        gateway.open(request).await?;
        Ok(receiver)
    }
}

/// All frames of all outputs, up to a number of bytes.
pub(crate) async fn collect(
    mut events: Delivery<MemoryEvent>,
    bytes_max: usize,
) -> Result<Vec<(PortName, Vec<Frame>)>, Error> {
    let mut outputs: Vec<(PortName, Vec<Frame>)> = Vec::new();
    let mut bytes = 0;
    while let Some(event) = events.next().await {
        match event {
            MemoryEvent::Opened(info) => {
                let names = info
                    .outputs
                    .into_iter()
                    .filter_map(|(_, n, _)| PortName::new(n).ok());
                outputs.extend(names.map(|name| (name, Vec::new())));
            }
            MemoryEvent::Frame { output, frame } => {
                bytes += frame.payload.size() + FRAME_COST;
                if bytes > bytes_max {
                    let text = format!(
                        "the answer is larger than {bytes_max} bytes: ask for application/x-ndjson"
                    );
                    return Err(Error::new(Code::TooLarge, text));
                }
                let place = outputs.iter_mut().find(|(name, _)| name.as_str() == output);
                if let Some((_, frames)) = place {
                    frames.push(frame);
                }
            }
            MemoryEvent::Stats(_) => {}
            MemoryEvent::Failed(error) => return Err(error),
            MemoryEvent::Ended { .. } => return Ok(outputs),
        }
    }
    Err(Error::new(
        Code::Internal,
        "the session ended without a word",
    ))
}

/// Native messages, one a line, as they come.
fn streamed(gateway: &Arc<Gateway>, mut events: Delivery<MemoryEvent>) -> Response {
    let clock = gateway.clock;
    let mut over = false;
    let stream = futures_util::stream::poll_fn(move |cx| {
        loop {
            if over {
                return std::task::Poll::Ready(None);
            }
            let event = std::task::ready!(events.poll_next(cx));
            let message = match event {
                None => {
                    // An answer that is cut off must not look whole.
                    over = true;
                    let text = "the session ended without a word";
                    return std::task::Poll::Ready(Some(Err(io::Error::other(text))));
                }
                Some(MemoryEvent::Opened(_) | MemoryEvent::Stats(_)) => continue,
                Some(MemoryEvent::Frame { output, frame }) => match PortName::new(output) {
                    Ok(port) => ServerMessage::Frame {
                        port,
                        caused_port: None,
                        frame,
                    },
                    Err(_) => continue,
                },
                Some(MemoryEvent::Failed(error)) => {
                    ServerMessage::Error(Box::new(crate::links::wire::wire_error(error)))
                }
                Some(MemoryEvent::Ended { reason }) => {
                    over = true;
                    ServerMessage::Ended {
                        reason: reason.to_owned(),
                    }
                }
            };
            let mut line = json::encode_server(&message, clock.now());
            line.push('\n');
            return std::task::Poll::Ready(Some(Ok(Bytes::from(line))));
        }
    });
    let headers = [(header::CONTENT_TYPE, NDJSON)];
    (StatusCode::OK, headers, Body::from_stream(stream)).into_response()
}
