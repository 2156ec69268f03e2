//! A speech service of constant cost behind OpenAI's audio endpoints, so that two gateways before it can be told apart and not two
//! models: it "understands" any recording after a time and "says" any text at once, as a tone.
//!
//! `fixed_voice ADDRESS MILLISECONDS`

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tidegate_benches::{Failure, net};

/// What speech endpoints give as `pcm`: 16 bits at this rate.
const RATE: u32 = 24_000;
/// The answer: long enough to be found, short enough not to make turns rare.
const ANSWER: Duration = Duration::from_millis(600);
/// A recording of a minute in WAV.
const BODY_MAX: usize = 4 << 20;

#[derive(Clone)]
struct Voice {
    takes: Duration,
    answer: Bytes,
}

async fn transcribe(State(voice): State<Voice>, _: Bytes) -> impl IntoResponse {
    tokio::time::sleep(voice.takes).await;
    Json(json!({ "text": "The quick brown fox jumps over the lazy dog." }))
}

async fn speak(State(voice): State<Voice>, _: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "audio/pcm")], voice.answer)
}

/// A tone of 1 kHz at −10 dBFS.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a sample of a second of sound"
)]
fn tone() -> Bytes {
    let turn = std::f32::consts::TAU * 1_000.0 / RATE as f32;
    let samples = RATE * u32::try_from(ANSWER.as_millis()).unwrap_or(0) / 1_000;
    let sample = |at: u32| ((turn * at as f32).sin() * 10_000.0) as i16;
    (0..samples)
        .flat_map(|at| sample(at).to_le_bytes())
        .collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let listener = net::listen().await?;
    let millis = std::env::args().nth(2).ok_or("how many milliseconds?")?;
    let voice = Voice {
        takes: Duration::from_millis(millis.parse()?),
        answer: tone(),
    };
    let app = Router::new()
        .route("/v1/audio/transcriptions", post(transcribe))
        .route("/v1/audio/speech", post(speak))
        .route("/v1/models", get(|| async { Json(json!({ "data": [] })) }))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(voice);
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
        socket.set_nodelay(true).ok();
    });
    Ok(axum::serve(listener, app).await?)
}
