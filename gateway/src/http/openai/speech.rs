//! `POST /v1/audio/speech`: a text through a pipeline that speaks.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_media::{Frame, MediaTime, Payload, Text};
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};

use super::encode::{Encoder, Format};
use super::interfaces;
use super::parameters::Parameters;
use super::refusal::{self, About as _, Refusal};
use super::run::Run;
use super::sse;
use crate::auth::Caller;
use crate::gateway::Gateway;
use crate::http::Shared;
use crate::links::memory::MemoryEvent;
use crate::links::outbox::Delivery;

/// What the interface allows.
const CHARACTERS_MAX: usize = 4_096;
/// The voice that a pipeline has by itself.
const OWN_VOICE: &str = "default";

/// What a request asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    model: String,
    #[serde(default)]
    input: String,
    #[serde(default)]
    voice: Value,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default = "mp3")]
    response_format: String,
    #[serde(default = "normal")]
    speed: f64,
    #[serde(default)]
    stream_format: Option<String>,
}

fn mp3() -> String {
    "mp3".to_owned()
}

const fn normal() -> f64 {
    1.0
}

/// Runs the pipeline that `model` names.
pub(in crate::http) async fn speech(
    caller: Caller,
    State(gateway): Shared,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body = gateway.bodies.gather(&headers, body).await?;
    let asked: Asked = serde_json::from_slice(&body.bytes).map_err(|error| {
        let text = format!("the body is not what the interface has: {error}");
        Error::new(Code::BadRequest, text)
    })?;
    let format = format(&asked.response_format)?;
    let events = match asked.stream_format.as_deref() {
        None | Some("audio") => false,
        Some("sse") => true,
        Some(_) => {
            return Err(Refusal::of(
                "stream_format",
                "stream_format is audio or sse",
            ));
        }
    };
    let run = run(&gateway, caller, asked, format)?;
    let mut sound = Sound::new(run.start(&gateway).await?, format)?;
    // What fails before there is anything to hear has a status of its own.
    let first = sound.next().await?;
    if events {
        return Ok(as_events(sound, first));
    }
    let state = Some((sound, first));
    let body = stream::unfold(state, |state| async {
        let (mut sound, ready) = state?;
        let ready = ready?;
        match sound.next().await {
            Ok(next) => Some((Ok(ready), Some((sound, next)))),
            // What is cut off must not look whole.
            Err(error) => Some((Err(io::Error::other(error.to_string())), None)),
        }
    });
    let headers = [(header::CONTENT_TYPE, format.media_type())];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn format(name: &str) -> Result<Format, Refusal> {
    Format::named(name).ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        let text = format!(
            "response_format '{name}' is not served here: write mp3, opus, aac, flac, wav or pcm"
        );
        Refusal::of("response_format", text)
    })
}

/// The name of a voice: a text, or an object with its `id`.
fn voice(voice: &Value) -> Result<&str, Refusal> {
    let name = voice.as_str().or_else(|| voice["id"].as_str());
    name.ok_or_else(|| Refusal::of("voice", "'voice' is missing: write its name"))
}

fn run(
    gateway: &Arc<Gateway>,
    caller: Caller,
    asked: Asked,
    format: Format,
) -> Result<Run, Refusal> {
    if asked.model.is_empty() {
        let text = "'model' is missing: it is a pipeline's name, and GET /v1/models lists those that there are";
        return Err(Refusal::of("model", text));
    }
    let pipeline = gateway.named(&caller, &asked.model);
    let pipeline = pipeline.map_err(|error| error.about("model"))?.describe();
    let ends = interfaces::speech(&pipeline);
    let (input, output) = ends.map_err(|error| error.about("model"))?;
    let characters = asked.input.chars().count();
    if asked.input.trim().is_empty() || characters > CHARACTERS_MAX {
        let text = format!("input has {characters} characters: send 1 to {CHARACTERS_MAX}");
        return Err(Refusal::of("input", text));
    }
    let mut parameters = Parameters::of(&pipeline);
    let voice = voice(&asked.voice)?;
    if voice != OWN_VOICE {
        if !pipeline.parameters.contains_key("voice") {
            let text = format!(
                "pipeline '{}' has no parameter 'voice', and so one voice only: write '{OWN_VOICE}'",
                pipeline.name
            );
            return Err(Refusal::of("voice", text));
        }
        parameters.set("voice", voice, false)?;
    }
    if !(0.25..=4.0).contains(&asked.speed) {
        return Err(Refusal::of("speed", "speed is a number from 0.25 to 4"));
    }
    let speed = asked.speed.to_string();
    parameters.set("speed", &speed, (asked.speed - 1.0).abs() < f64::EPSILON)?;
    if let Some(instructions) = &asked.instructions {
        parameters.set("instructions", instructions, instructions.is_empty())?;
    }
    let mut frame = Frame::new(MediaTime::default(), Payload::Text(Text::from(asked.input)));
    let meta = &mut frame.meta;
    (meta.seq, meta.utterance, meta.is_final) = (1, 1, true);
    let sound = format.sound();
    Ok(Run {
        caller,
        pipeline: asked.model,
        parameters: parameters.into_values(),
        input: (input.clone(), StreamFormat::Text),
        frames: Box::new(vec![(input, frame)].into_iter()),
        output: (
            output,
            Accepts::Audio(AudioPattern {
                codecs: vec![sound.codec],
                sample_rates: vec![sound.sample_rate],
                channels: vec![sound.channels],
                packets: false,
            }),
        ),
    })
}

/// A run's sound as a file.
struct Sound {
    events: Delivery<MemoryEvent>,
    /// Until the file is finished.
    encoder: Option<Encoder>,
}

impl Sound {
    fn new(events: Delivery<MemoryEvent>, format: Format) -> Result<Self, Error> {
        let encoder = Some(Encoder::new(format)?);
        Ok(Self { events, encoder })
    }

    /// The next part; `None`: that was all.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Ok(None);
            };
            match self.events.next().await {
                Some(MemoryEvent::Frame { frame, .. }) => {
                    if let Payload::Audio(audio) = &frame.payload {
                        encoder.write(audio)?;
                    }
                    let ready = encoder.ready();
                    if !ready.is_empty() {
                        return Ok(Some(ready));
                    }
                }
                Some(MemoryEvent::Ended { .. }) => {
                    let encoder = self.encoder.take();
                    let rest = encoder.map(Encoder::finish).transpose()?;
                    return Ok(rest.filter(|rest| !rest.is_empty()));
                }
                Some(MemoryEvent::Failed(error)) => return Err(error),
                Some(_) => {}
                None => {
                    let text = "the session ended without a word";
                    return Err(Error::new(Code::Internal, text));
                }
            }
        }
    }
}

/// The file as events.
fn as_events(sound: Sound, first: Option<Bytes>) -> Response {
    let state = Some((sound, Ok(first)));
    sse::response(stream::unfold(state, |state| async {
        let (mut sound, ready) = state?;
        match ready {
            Ok(Some(bytes)) => {
                let audio = STANDARD.encode(&bytes);
                let event = json!({"type": "speech.audio.delta", "audio": audio});
                let next = sound.next().await;
                Some((event, Some((sound, next))))
            }
            Ok(None) => {
                // Nothing here counts tokens.
                let usage = json!({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0});
                let event = json!({"type": "speech.audio.done", "usage": usage});
                Some((event, None))
            }
            Err(error) => Some((refusal::event(&error), None)),
        }
    }))
}
