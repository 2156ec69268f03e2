//! `POST /v1/keys`, and by the name and shape that OpenAI's clients know `POST /v1/realtime/client_secrets`: a server that holds a token
//! has a short-lived key minted, for a browser to open a session with. `DELETE /v1/keys/{id}` takes one back.
//!
//! Absent: what a key is ([`crate::auth`]), and what the session's configuration in it means (the transport that opens it).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidegate_nodes::{Code, Error};

use super::Shared;
use crate::auth::{Caller, SECONDS, SECONDS_DEFAULT};
use crate::errors::HttpError;
use crate::session::control::End;
use crate::session::table::new_id;

/// Answers with keys are for who asked and nobody in between.
type Answer = ([(header::HeaderName, HeaderValue); 1], Json<Value>);

/// What `POST /v1/keys` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    pipeline: String,
    #[serde(default = "usual")]
    seconds: u64,
}

/// What OpenAI's clients send.
#[derive(Debug, Default, Deserialize)]
struct SecretRequest {
    #[serde(default)]
    expires_after: Option<ExpiresAfter>,
    #[serde(default)]
    session: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct ExpiresAfter {
    #[serde(default)]
    anchor: Option<String>,
    #[serde(default = "usual")]
    seconds: u64,
}

fn usual() -> u64 {
    SECONDS_DEFAULT
}

/// `POST /v1/keys`.
pub(super) async fn key(
    caller: Caller,
    State(gateway): Shared,
    body: Bytes,
) -> Result<Answer, HttpError> {
    let shape = r#"{"pipeline": "echo", "seconds": 600}"#;
    let KeyRequest { pipeline, seconds } = read(&body, shape)?;
    let seconds = lifetime("seconds", seconds)?;
    gateway.named(&caller, &pipeline)?;
    let minted = gateway.auth.mint(&caller, &pipeline, Map::new(), seconds)?;
    Ok(answer(json!({
        "key": minted.key,
        "id": minted.id,
        "expires_at": minted.expires_at,
        "pipeline": pipeline,
    })))
}

/// `DELETE /v1/keys/{id}`: nobody comes in by the key any more, and what it opened ends.
pub(super) async fn revoke(
    caller: Caller,
    State(gateway): Shared,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let taken = gateway.auth.revoke(&caller, &id)?;
    let mut ended = 0;
    for session in gateway.sessions.all() {
        // One that has just ended needs no end.
        if taken.is(&session.opener) && session.end(End::Deleted).await.is_ok() {
            ended += 1;
        }
    }
    Ok(Json(json!({"id": id, "sessions_ended": ended})))
}

/// `POST /v1/realtime/client_secrets`.
pub(super) async fn client_secret(
    caller: Caller,
    State(gateway): Shared,
    body: Bytes,
) -> Result<Answer, HttpError> {
    let shape = r#"{"session": {"type": "realtime", "model": "voice-agent"}}"#;
    let request: SecretRequest = read(&body, shape)?;
    let seconds = match &request.expires_after {
        None => SECONDS_DEFAULT,
        Some(ExpiresAfter { anchor, .. }) if anchor.as_deref().unwrap_or(ANCHOR) != ANCHOR => {
            let text = format!("expires_after.anchor is none that is known: write '{ANCHOR}'");
            return Err(bad(text).into());
        }
        Some(ExpiresAfter { seconds, .. }) => lifetime("expires_after.seconds", *seconds)?,
    };
    let mut session = request.session;
    let pipeline = model(&session)?.to_owned();
    gateway.named(&caller, &pipeline)?;
    let minted = gateway
        .auth
        .mint(&caller, &pipeline, session.clone(), seconds)?;
    let kind = session.entry("type").or_insert_with(|| "realtime".into());
    let object = format!("{}.session", kind.as_str().unwrap_or("realtime"));
    session.insert("object".to_owned(), object.into());
    session.insert("id".to_owned(), format!("sess_{}", new_id()).into());
    Ok(answer(json!({
        "value": minted.key,
        "id": minted.id,
        "expires_at": minted.expires_at,
        "session": session,
    })))
}

/// From when a key's life counts; the only one that there is.
const ANCHOR: &str = "created_at";

/// The pipeline that a session is of: its model, or that of its transcription where it is nothing but one.
fn model(session: &Map<String, Value>) -> Result<&str, Error> {
    let transcription = session
        .get("audio")
        .and_then(|audio| audio.pointer("/input/transcription/model"))
        .filter(|_| {
            session
                .get("type")
                .is_some_and(|kind| kind == "transcription")
        });
    let model = session.get("model").or(transcription);
    model.and_then(Value::as_str).ok_or_else(|| {
        bad("session.model is missing: name the pipeline that the key is to open".to_owned())
    })
}

fn lifetime(name: &str, seconds: u64) -> Result<u64, Error> {
    if SECONDS.contains(&seconds) {
        return Ok(seconds);
    }
    let (least, most) = (SECONDS.start(), SECONDS.end());
    let text = format!("{name} is {seconds}: a key lives for {least} to {most} seconds");
    Err(bad(text))
}

fn read<'a, T: Deserialize<'a>>(body: &'a Bytes, shape: &str) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body does not do ({error}): send {shape}")))
}

fn bad(text: String) -> Error {
    Error::new(Code::BadRequest, text)
}

fn answer(value: Value) -> Answer {
    let unkept = HeaderValue::from_static("no-store");
    ([(header::CACHE_CONTROL, unkept)], Json(value))
}
