//! `GET /v1/realtime?model=`: OpenAI Realtime over WebSocket.

use axum::Extension;
use axum::extract::ws::Message;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::{Mode as Asked, Source};

use super::super::Shared;
use super::super::upgrade::{Guest, Wanted, accept, wanted};
use super::super::ws::JoinQuery;
use super::interfaces;
use crate::auth::Caller;
use crate::connections::Place;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::links::realtime::socket::SUBPROTOCOL;
use crate::links::realtime::{Realtime, last_words};
use crate::session::open::Request;

/// What is to run.
#[derive(Debug, Deserialize)]
pub(crate) struct ModelQuery {
    #[serde(default)]
    model: Option<String>,
}

/// Upgrades and hands the socket to a task that opens the session.
pub(crate) async fn upgrade(
    caller: Caller,
    State(gateway): Shared,
    Query(model): Query<ModelQuery>,
    Query(query): Query<JoinQuery>,
    place: Option<Extension<Place>>,
    upgrade: Wanted,
) -> Result<Response, HttpError> {
    let model = self::model(&caller, model, &Map::new())?;
    let codec = codec((&caller, &gateway), &model, &query, None, false)?;
    let parameters = query.parameters()?;
    let request = move |link| Request {
        caller,
        source: Source::Pipeline(model),
        parameters,
        key: query.session.clone(),
        hop_count: query.hop_count,
        deadline: query.deadline(),
        link,
    };
    let limit = gateway.config.limits.message.0;
    let upgrade = wanted(upgrade)?.protocols([SUBPROTOCOL]);
    let serve = move |guest: Guest| async move {
        // Where the session is not opened the client is told why, in an `error` event.
        if let Some((error, guest)) = guest.open(&gateway, codec, request).await {
            let message = Message::Text(last_words(&error).into());
            guest.farewell(Some(message), &error).await;
        }
    };
    Ok(accept(upgrade, limit, place, serve))
}

/// What is to run: what the address names, or the session, or the key that was minted for it.
///
/// # Errors
/// None of them names anything.
pub(super) fn model(
    caller: &Caller,
    named: ModelQuery,
    session: &Map<String, Value>,
) -> Result<String, Error> {
    let of = |session: &Map<String, Value>| {
        let model = session.get("model").and_then(Value::as_str);
        model.map(str::to_owned)
    };
    let named = named.model.filter(|model| !model.is_empty());
    let model = named
        .or_else(|| of(session))
        .or_else(|| Some(caller.key.as_ref()?.pipeline.clone()));
    model.ok_or_else(|| {
        let text = "it is not said what to run: add ?model=, which is a pipeline's name";
        Error::new(Code::BadRequest, text)
    })
}

/// The client's side of the pipeline that it names.
///
/// # Errors
/// It may not use it, there is none, or it does not suit the interface.
pub(super) fn codec(
    (caller, gateway): (&Caller, &Gateway),
    model: &str,
    query: &JoinQuery,
    session: Option<&Map<String, Value>>,
    tracks: bool,
) -> Result<Realtime, Error> {
    let pipeline = gateway.named(caller, model)?;
    let given = query.parameters()?;
    let named = query.ports()?;
    let named: Vec<_> = named.iter().map(|port| port.as_str().to_owned()).collect();
    let about = pipeline.describe();
    let declared = about.parameters.get("language");
    // Of a shared session the parameters are those of who opened it.
    let declared = declared.filter(|_| query.session.is_none());
    let language =
        declared.and_then(|declared| given.get("language").or(declared.default.as_ref()));
    let ports = interfaces::realtime(&about, &named)?.in_language(language.and_then(Value::as_str));
    let mode = match query.mode()? {
        Asked::Live => tidegate_nodes::graph::Mode::Live,
        Asked::Waits => tidegate_nodes::graph::Mode::Waits,
    };
    let mut realtime = Realtime::new(ports, mode, tracks).counted(&gateway.metrics);
    if let Some(key) = &caller.key {
        realtime.configure(&key.session)?;
    }
    if let Some(session) = session {
        realtime.configure(session)?;
    }
    Ok(realtime)
}
