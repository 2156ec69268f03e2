//! `GET /v1/pipelines/{name}/twilio`: Twilio Media Streams.
//!
//! Twilio cannot send a bearer token with the request. So this path stands outside of the guard that all others pass, and asks who it is
//! itself: a token in the request if there is one after all; Twilio's own signature of it, where the gateway has the account's auth token;
//! else the token among the parameters of the stream's `start`. Until that has been looked at nothing is allocated for a session, and no
//! more is read than two small messages within the configured time.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri};
use serde_json::{Map, Value};
use tidegate_media::Kind;
use tidegate_nodes::compile::Pipeline;
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::Source;

use super::upgrade::{Guest, Wanted, accept, in_time, wanted};
use super::{Shared, guard};
use crate::auth::Caller;
use crate::auth::twilio::Unsigned;
use crate::connections::Place;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::links::twilio::messages::{self, Incoming, MediaFormat, Start};
use crate::links::twilio::{Call, FORMAT, TwilioCodec};
use crate::metrics::{Metrics, label};
use crate::session::open::Request;

/// Largest message. Twilio's have a few hundred bytes, and its `start` at most some thousand of parameters.
const MESSAGE: usize = 64 << 10;
/// Where Twilio's signature stands.
const SIGNATURE: &str = "x-twilio-signature";
/// Parameters of the stream that are for the gateway and not for the pipeline.
const TOKEN: &str = "tidegate_token";
const SESSION: &str = "tidegate_session";
const PORTS: &str = "tidegate_as";

/// Upgrades and hands the socket to a task that opens the session of the path's pipeline.
pub(crate) async fn upgrade(
    State(gateway): Shared,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    place: Option<Extension<Place>>,
    upgrade: Wanted,
) -> Result<Response, HttpError> {
    let shown = shown(&gateway, &uri, &headers).await?;
    if let Shown::Token(caller) | Shown::Signature(caller) = &shown {
        gateway.named(caller, &name)?;
    }
    let upgrade = wanted(upgrade)?;
    let serve = move |mut guest: Guest| async move {
        let refused = match begin(&gateway, &name, shown, &mut guest).await {
            Ok(call) => start(&gateway, name, call, guest).await,
            Err(error) => Some((error, guest)),
        };
        if let Some((error, guest)) = refused {
            tracing::info!(code = error.code.as_str(), %error, "call refused");
            // Twilio has no message for it: the close is all that its log shows.
            guest.farewell(None, &error).await;
        }
    };
    Ok(accept(upgrade, MESSAGE, place, serve))
}

/// What a request shows of who it is from.
enum Shown {
    /// A bearer token, which settles it; or nobody is asked for one.
    Token(Caller),
    /// Twilio's signature. A token that the stream names besides says more.
    Signature(Caller),
    /// Nothing: the stream must name a token.
    Nothing,
}

/// Who a request is from, as far as it shows.
async fn shown(gateway: &Gateway, uri: &Uri, headers: &HeaderMap) -> Result<Shown, Error> {
    let now = gateway.clock.now();
    if let Some(token) = guard::token(headers) {
        let caller = gateway.auth.identify(Some(token), now).await?;
        return Ok(Shown::Token(caller));
    }
    if let Some(signatures) = gateway.auth.twilio() {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let host = uri.authority().map(Authority::as_str);
        let host = host.or_else(|| text("host")).unwrap_or_default();
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let caller = signatures.identify(text(SIGNATURE), (host, path));
        return caller.map(Shown::Signature).map_err(|(what, error)| {
            count_unsigned(&gateway.metrics, what, 1);
            tracing::info!(%error, "call refused");
            error
        });
    }
    // Where nobody is asked who they are, nobody is asked here.
    let anyone = gateway.auth.identify(None, now).await.ok();
    Ok(anyone.map_or(Shown::Nothing, Shown::Token))
}

/// Counts calls that Twilio should have signed.
pub(crate) fn count_unsigned(metrics: &Metrics, what: Unsigned, calls: u64) {
    let labels = vec![label("reason", what.as_str())];
    let name = "tidegate_twilio_refused_total";
    metrics.counter(name, labels).increment(calls);
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
    shown: Shown,
    guest: &mut Guest,
) -> Result<Begun, Error> {
    let (stream, sequence, mut start) = in_time(gateway, "start", started(guest)).await?;
    let token = start.custom_parameters.remove(TOKEN);
    let caller = match (shown, token) {
        (Shown::Token(caller), _) | (Shown::Signature(caller), None) => caller,
        (_, Some(token)) => {
            gateway
                .auth
                .identify(Some(&token), gateway.clock.now())
                .await?
        }
        (Shown::Nothing, None) => {
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
async fn started(guest: &mut Guest) -> Result<(String, u64, Start), Error> {
    let mut connected = false;
    loop {
        match messages::read(&guest.next("start").await?)? {
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
    guest: Guest,
) -> Option<(Error, Guest)> {
    let Begun {
        caller,
        pipeline,
        stream,
        sequence,
        mut start,
    } = begun;
    let mut outputs = pipeline.outline().outputs.iter();
    if !outputs.any(|output| output.kind == Kind::Audio) {
        tracing::info!(pipeline = %name, %stream, "the pipeline has no output of sound: who calls hears nothing");
    }
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
    let request = |link| Request {
        caller,
        source: Source::Pipeline(name),
        parameters,
        key,
        hop_count: 0,
        deadline: None,
        link,
    };
    guest.open(gateway, codec, request).await
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
