//! `GET /v1/pipelines/{name}/twilio`: Twilio Media Streams.
//!
//! Twilio cannot send a bearer token with the request. So this path stands outside of the guard that all others pass, and asks who it is
//! itself: a token in the request if there is one after all, else the token among the parameters of the stream's `start`. Until that has
//! been looked at nothing is allocated for a session, and no more is read than two small messages within the configured time.

use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Map, Value};
use tidegate_media::Kind;
use tidegate_nodes::compile::Pipeline;
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::Source;

use super::{Shared, guard, ws};
use crate::auth::Caller;
use crate::connections::Place;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::links::twilio::messages::{self, Incoming, MediaFormat, Start};
use crate::links::twilio::{Call, FORMAT, TwilioCodec};
use crate::links::websocket::{WebSocketLink, over_limit};
use crate::session::open::Request;

/// Largest message. Twilio's have a few hundred bytes, and its `start` at most some thousand of parameters.
const MESSAGE: usize = 64 << 10;
/// Parameters of the stream that are for the gateway and not for the pipeline.
const TOKEN: &str = "tidegate_token";
const SESSION: &str = "tidegate_session";
const PORTS: &str = "tidegate_as";

/// Upgrades and hands the socket to a task that opens the session of the path's pipeline.
pub(crate) async fn upgrade(
    State(gateway): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    place: Option<Extension<Place>>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, HttpError> {
    let caller = match guard::token(&headers) {
        Some(token) => Some(
            gateway
                .auth
                .identify(Some(token), gateway.clock.now())
                .await?,
        ),
        // Where nobody is asked who they are, nobody is asked here.
        None => gateway.auth.identify(None, gateway.clock.now()).await.ok(),
    };
    if let Some(caller) = &caller {
        gateway.named(caller, &name)?;
    }
    let upgrade = upgrade
        .max_message_size(MESSAGE)
        .max_frame_size(MESSAGE)
        .write_buffer_size(0);
    let place = place.map(|Extension(place)| place);
    Ok(upgrade.on_upgrade(move |mut socket| async move {
        let error = match begin(&gateway, &name, caller, &mut socket).await {
            Ok(call) => match start(&gateway, name, call, socket, place).await {
                None => return,
                Some((error, returned)) => {
                    socket = returned;
                    error
                }
            },
            Err(error) => error,
        };
        tracing::info!(code = error.code.as_str(), %error, "call refused");
        // Twilio has no message for it: the close is all that its log shows.
        ws::farewell(socket, None, error.code).await;
    }))
}

/// A call whose `start` has been read, and whose caller is known.
struct Begun {
    caller: Caller,
    pipeline: Arc<Pipeline>,
    stream: String,
    sequence: u64,
    start: Start,
}

/// Reads up to `start`, and finds out who that is.
async fn begin(
    gateway: &Gateway,
    name: &str,
    caller: Option<Caller>,
    socket: &mut WebSocket,
) -> Result<Begun, Error> {
    let patience = gateway.config.limits.open.0;
    let begun = tokio::time::timeout(patience, started(socket)).await;
    let (stream, sequence, mut start) = begun.map_err(|_| {
        let text = format!("no start within {} s of the upgrade", patience.as_secs());
        Error::new(Code::BadRequest, text)
    })??;
    let token = start.custom_parameters.remove(TOKEN);
    let caller = match (caller, token) {
        (Some(caller), _) => caller,
        (None, Some(token)) => {
            gateway
                .auth
                .identify(Some(&token), gateway.clock.now())
                .await?
        }
        (None, None) => {
            let text = format!("no token: give the stream a parameter {TOKEN}");
            return Err(Error::new(Code::Unauthenticated, text));
        }
    };
    // Before anything that the message says is looked at further.
    let pipeline = gateway.named(&caller, name)?;
    check(&start.media_format)?;
    Ok(Begun {
        caller,
        pipeline,
        stream,
        sequence,
        start,
    })
}

/// The first messages of a stream: `connected`, and `start`.
async fn started(socket: &mut WebSocket) -> Result<(String, u64, Start), Error> {
    let mut connected = false;
    loop {
        match messages::read(&next(socket).await?)? {
            Incoming::Connected {} if !connected => connected = true,
            Incoming::Start {
                sequence_number,
                stream_sid,
                start,
            } => return Ok((stream_sid, sequence_number.0, *start)),
            _ => {
                let text = "the first messages of a stream must be connected and start";
                return Err(Error::new(Code::BadRequest, text));
            }
        }
    }
}

async fn next(socket: &mut WebSocket) -> Result<Message, Error> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => {
                return Err(Error::new(
                    Code::Cancelled,
                    "the call ended before its start",
                ));
            }
            Some(Ok(message)) => return Ok(message),
            Some(Err(error)) => {
                return Err(over_limit(&error).unwrap_or_else(|| {
                    Error::new(Code::BadRequest, format!("start cannot be read: {error}"))
                }));
            }
        }
    }
}

/// Sound in another format would be noise.
fn check(format: &MediaFormat) -> Result<(), Error> {
    let known = format.encoding.eq_ignore_ascii_case("audio/x-mulaw")
        && format.sample_rate.0 == u64::from(FORMAT.sample_rate)
        && format.channels.0 == u64::from(FORMAT.channels);
    if known {
        return Ok(());
    }
    let text = "start.mediaFormat is not audio/x-mulaw at 8000 Hz with 1 channel";
    Err(Error::new(Code::UnsupportedMedia, text))
}

/// Opens the session. Where it is not opened the socket comes back with the reason.
async fn start(
    gateway: &Arc<Gateway>,
    name: String,
    begun: Begun,
    socket: WebSocket,
    place: Option<Place>,
) -> Option<(Error, WebSocket)> {
    let Begun {
        caller,
        pipeline,
        stream,
        sequence,
        mut start,
    } = begun;
    let key = start.custom_parameters.remove(SESSION);
    let ports = start.custom_parameters.remove(PORTS).unwrap_or_default();
    let ports = ports.split(',').map(str::trim);
    let inputs = &pipeline.outline().inputs;
    let call = Call {
        ports: ports
            .filter(|port| !port.is_empty())
            .take(tidegate_proto::limits::PORTS)
            .map(str::to_owned)
            .collect(),
        keys_as_text: !inputs.iter().any(|input| input.kind == Kind::Json),
    };
    let parameters = parameters(&pipeline, &start);
    let codec = TwilioCodec::new(call, stream, sequence, start, Arc::clone(&gateway.metrics));
    let (refused, returned) = tokio::sync::oneshot::channel();
    let request = Request {
        caller,
        source: Source::Pipeline(name),
        parameters,
        key,
        hop_count: 0,
        deadline: None,
        link: Box::new(WebSocketLink::new(
            socket,
            codec,
            gateway.clock.now(),
            refused,
            place,
        )),
    };
    let error = gateway.open(request).await.err()?;
    Some((error, returned.await.ok()?))
}

/// Those of the stream's parameters that the pipeline declares. They are all strings at Twilio; a number or a truth value is read as
/// one, and what cannot be read is refused where all parameters are checked.
fn parameters(pipeline: &Pipeline, start: &Start) -> Map<String, Value> {
    let declared = pipeline.describe().parameters;
    let given = start.custom_parameters.iter().filter_map(|(name, text)| {
        let parameter = declared.get(name)?;
        let value = match parameter.value_type {
            "string" => None,
            _ => serde_json::from_str(text).ok(),
        };
        Some((name.clone(), value.unwrap_or_else(|| text.clone().into())))
    });
    given.collect()
}
