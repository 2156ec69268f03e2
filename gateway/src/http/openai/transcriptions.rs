//! `POST /v1/audio/transcriptions`: a recording through a pipeline that writes down what is said.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, header};
use serde_json::{Value, json};
use tidegate_media::Kind;
use tidegate_nodes::{Accepts, Code, Error};

use super::form::{self, Form};
use super::interfaces;
use super::parameters::Parameters;
use super::refusal::{self, About as _, Refusal};
use super::run::Run;
use super::sse;
use super::transcript::Transcript;
use crate::auth::Caller;
use crate::gateway::Gateway;
use crate::http::Shared;
use crate::links::file::{Feed, Feeds};
use crate::links::memory::MemoryEvent;
use crate::links::outbox::Delivery;

/// What the answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Json,
    Text,
    Srt,
    Vtt,
    Verbose,
}

/// What a request asks for, beside its file.
#[derive(Debug, Default)]
struct Asked {
    model: String,
    language: Option<String>,
    prompt: Option<String>,
    temperature: Option<String>,
    format: Format,
    stream: bool,
}

/// Runs the pipeline that `model` names.
pub(in crate::http) async fn transcriptions(
    caller: Caller,
    State(gateway): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = gateway.bodies.gather(&headers, body).await?;
    let Form { file, fields } = form::read(&headers, body.bytes.clone()).await?;
    let asked = asked(fields)?;
    let Some((file, called)) = file else {
        return Err(Refusal::of(
            "file",
            "the form has no 'file': send the recording in it",
        ));
    };
    let run = run(&gateway, caller, &asked, file, called.as_deref())?;
    let (run, duration) = run;
    let events = run.start(&gateway).await?;
    if asked.stream {
        return Ok(streamed(events));
    }
    let mut events = events;
    let mut transcript = Transcript::default();
    loop {
        match events.next().await {
            Some(MemoryEvent::Frame { frame, .. }) => drop(transcript.push(&frame).is_some()),
            Some(MemoryEvent::Failed(error)) => return Err(error.into()),
            Some(MemoryEvent::Ended { .. }) => break,
            Some(_) => {}
            None => return Err(silent().into()),
        }
    }
    transcript.finish();
    Ok(answer(&asked, &transcript, duration))
}

fn silent() -> Error {
    Error::new(Code::Internal, "the session ended without a word")
}

fn answer(asked: &Asked, transcript: &Transcript, duration: Option<Duration>) -> Response {
    let duration = duration.unwrap_or_else(|| transcript.end());
    let text = |kind, text: String| ([(header::CONTENT_TYPE, kind)], text).into_response();
    let json = |value: Value| text("application/json", value.to_string());
    match asked.format {
        Format::Json => json(json!({
            "text": transcript.text(),
            "usage": {"type": "duration", "seconds": duration.as_secs_f64().ceil()},
        })),
        Format::Text => text("text/plain; charset=utf-8", transcript.text() + "\n"),
        Format::Srt => text("application/x-subrip; charset=utf-8", transcript.srt()),
        Format::Vtt => text("text/vtt; charset=utf-8", transcript.vtt()),
        Format::Verbose => json(json!({
            "task": "transcribe",
            "language": asked.language.as_deref().unwrap_or_default(),
            "duration": duration.as_secs_f64(),
            "text": transcript.text(),
            "segments": transcript.listed(),
        })),
    }
}

/// The fields of the form.
fn asked(fields: Vec<(String, String)>) -> Result<Asked, Refusal> {
    let mut asked = Asked::default();
    for (name, value) in fields {
        match name.as_str() {
            "model" => asked.model = value,
            "language" => asked.language = Some(value),
            "prompt" => asked.prompt = Some(value),
            "temperature" => asked.temperature = Some(value),
            "response_format" => asked.format = format(&value)?,
            "stream" => asked.stream = switch(&value)?,
            // The end of a sentence, and what is said at once, are the pipeline's affair.
            "chunking_strategy" | "chunking_strategy[type]" if value == "auto" => {}
            "timestamp_granularities[]" | "timestamp_granularities" if value == "segment" => {}
            "timestamp_granularities[]" | "timestamp_granularities" => {
                let text = format!(
                    "'{value}': pipelines say when a segment was said, not when each word was: write segment"
                );
                return Err(Refusal::of("timestamp_granularities", text));
            }
            other => {
                let other: String = other.chars().take(40).collect();
                let text = format!("field '{other}' is not served here: leave it out");
                return Err(Error::new(Code::BadRequest, text).into());
            }
        }
    }
    if asked.model.is_empty() {
        let text = "'model' is missing: it is a pipeline's name, and GET /v1/models lists those that there are";
        return Err(Refusal::of("model", text));
    }
    if asked.stream && asked.format != Format::Json {
        let text = "with 'stream' the answer comes as events of JSON: leave response_format out, or write json";
        return Err(Refusal::of("response_format", text));
    }
    Ok(asked)
}

fn format(name: &str) -> Result<Format, Refusal> {
    Ok(match name {
        "json" => Format::Json,
        "text" => Format::Text,
        "srt" => Format::Srt,
        "vtt" => Format::Vtt,
        "verbose_json" => Format::Verbose,
        other => {
            let other: String = other.chars().take(40).collect();
            let text = format!(
                "response_format '{other}' is not served here: write json, text, srt, verbose_json or vtt"
            );
            return Err(Refusal::of("response_format", text));
        }
    })
}

fn switch(value: &str) -> Result<bool, Refusal> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err(Refusal::of("stream", "stream is true or false")),
    }
}

/// The run, and how long the recording is, if its file says so.
fn run(
    gateway: &Arc<Gateway>,
    caller: Caller,
    asked: &Asked,
    file: axum::body::Bytes,
    called: Option<&str>,
) -> Result<(Run, Option<Duration>), Refusal> {
    let pipeline = gateway.named(&caller, &asked.model);
    let pipeline = pipeline.map_err(|error| error.about("model"))?.describe();
    let ends = interfaces::transcriptions(&pipeline);
    let (input, output) = ends.map_err(|error| error.about("model"))?;
    let mut parameters = Parameters::of(&pipeline);
    if let Some(language) = &asked.language {
        parameters.set("language", language, false)?;
    }
    if let Some(prompt) = &asked.prompt {
        parameters.set("prompt", prompt, prompt.is_empty())?;
    }
    if let Some(temperature) = &asked.temperature {
        let number: Option<f64> = temperature.trim().parse().ok();
        if !number.is_some_and(|number| (0.0..=1.0).contains(&number)) {
            return Err(Refusal::of(
                "temperature",
                "temperature is a number from 0 to 1",
            ));
        }
        // Nothing is left to chance: what a pipeline without the parameter does anyway.
        parameters.set("temperature", temperature, number == Some(0.0))?;
    }
    let extension = called.and_then(|name| Some(name.rsplit_once('.')?.1));
    let feed = Feed::media(&input, Cursor::new(file), extension);
    let feed = feed.map_err(|error| error.about("file"))?;
    let (format, duration) = (feed.format, feed.duration);
    let run = Run {
        caller,
        pipeline: asked.model.clone(),
        parameters: parameters.into_values(),
        input: (input, format),
        frames: Box::new(Feeds::new(vec![feed], Vec::new())),
        output: (output, Accepts::Kind(Kind::Text)),
    };
    Ok((run, duration))
}

/// What is said, as events: each time that something was said as a whole, and all of it at the end.
fn streamed(events: Delivery<MemoryEvent>) -> Response {
    let state = Some((events, Transcript::default()));
    sse::response(stream::unfold(state, |state| async {
        let (mut events, mut transcript) = state?;
        loop {
            match events.next().await {
                Some(MemoryEvent::Frame { frame, .. }) => {
                    let first = transcript.segments.is_empty();
                    if let Some(said) = transcript.push(&frame) {
                        let space = if first { "" } else { " " };
                        let delta = format!("{space}{}", said.text);
                        let event = json!({"type": "transcript.text.delta", "delta": delta});
                        return Some((event, Some((events, transcript))));
                    }
                }
                Some(MemoryEvent::Ended { .. }) => {
                    transcript.finish();
                    let text = transcript.text();
                    let event = json!({"type": "transcript.text.done", "text": text});
                    return Some((event, None));
                }
                Some(MemoryEvent::Failed(error)) => return Some((refusal::event(&error), None)),
                Some(_) => {}
                None => return Some((refusal::event(&silent()), None)),
            }
        }
    }))
}
