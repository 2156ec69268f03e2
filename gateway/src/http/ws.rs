//! `GET /v1/pipelines/{name}/ws` and `GET /v1/ws`: the native WebSocket.
//!
//! The first message must be `open`, within the configured time. Nothing is allocated for a session before it.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use tidegate_nodes::{Code, Error};
use tidegate_proto::PortName;
use tidegate_proto::limits;
use tidegate_proto::message::{ClientMessage, Mode, Open, PortFormats, ServerMessage, Source};

use super::Shared;
use super::upgrade::{Guest, Wanted, accept, in_time, wanted};
use crate::auth::Caller;
use crate::connections::Place;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::links::native::Native;
use crate::links::websocket::{NativeCodec, Subprotocol};
use crate::links::wire::wire_error;
use crate::session::open::Request;

/// `?session=KEY&as=PORT`, on every path that opens a session.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct JoinQuery {
    /// Key of a shared session.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// Ports that the client takes, separated by commas.
    #[serde(default, rename = "as")]
    pub(crate) as_ports: Option<String>,
    /// Values of the pipeline's parameters, as a JSON object; WHIP has no other place for them, what `open` says goes before.
    #[serde(default)]
    parameters: Option<String>,
    /// A manifest's text, on a path that names no pipeline; WHIP only, as all that follows: elsewhere `open` says it.
    #[serde(default)]
    pub(crate) manifest: Option<String>,
    /// Protocol features that the client understands, separated by commas.
    #[serde(default)]
    features: Option<String>,
    /// `waits` for a client that can be told to wait.
    #[serde(default)]
    mode: Option<String>,
    /// How many gateways stand before this one.
    #[serde(default)]
    pub(crate) hop_count: u32,
    /// The session's time limit from now, in microseconds.
    #[serde(default)]
    deadline: u64,
}

impl JoinQuery {
    /// The pipeline's parameters.
    ///
    /// # Errors
    /// They are not a JSON object.
    pub(crate) fn parameters(&self) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        parameters(self.parameters.as_deref())
    }

    /// Protocol features that the client understands.
    pub(crate) fn features(&self) -> Vec<String> {
        let names = self.features.as_deref().unwrap_or_default().split(',');
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        names.take(limits::FEATURES).map(str::to_owned).collect()
    }

    /// Whether the client can be told to wait.
    ///
    /// # Errors
    /// Another word than `live` or `waits`.
    pub(crate) fn mode(&self) -> Result<Mode, Error> {
        match self.mode.as_deref() {
            None | Some("live") => Ok(Mode::Live),
            Some("waits") => Ok(Mode::Waits),
            Some(_) => {
                let text = "?mode= is neither 'live' nor 'waits'";
                Err(Error::new(Code::BadRequest, text))
            }
        }
    }

    /// The session's time limit from now.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        (self.deadline > 0).then(|| Duration::from_micros(self.deadline))
    }

    /// The ports by name.
    ///
    /// # Errors
    /// A name that no port can have.
    pub(crate) fn ports(&self) -> Result<Vec<PortName>, Error> {
        let names = self.as_ports.as_deref().unwrap_or_default().split(',');
        names
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .take(64)
            .map(|name| {
                PortName::new(name).map_err(|error| Error::new(Code::BadRequest, error.to_string()))
            })
            .collect()
    }
}

/// The pipeline's parameters as a query has them.
///
/// # Errors
/// They are not a JSON object.
pub(super) fn parameters(
    text: Option<&str>,
) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
    let Some(text) = text else {
        return Ok(serde_json::Map::new());
    };
    serde_json::from_str(text).map_err(|error| {
        let text = format!("?parameters= is not a JSON object: {error}");
        Error::new(Code::BadRequest, text)
    })
}

/// Upgrades and hands the socket to a task that opens the session of the path's pipeline.
pub(crate) async fn upgrade(
    caller: Caller,
    State(gateway): Shared,
    Path(name): Path<String>,
    Query(query): Query<JoinQuery>,
    place: Option<Extension<Place>>,
    upgrade: Wanted,
) -> Result<Response, HttpError> {
    gateway.named(&caller, &name)?;
    serve((caller, gateway), Some(name), query, place, upgrade)
}

/// The same where `open` says what to run: a pipeline by name, or a manifest.
pub(crate) async fn upgrade_any(
    caller: Caller,
    State(gateway): Shared,
    Query(query): Query<JoinQuery>,
    place: Option<Extension<Place>>,
    upgrade: Wanted,
) -> Result<Response, HttpError> {
    serve((caller, gateway), None, query, place, upgrade)
}

fn serve(
    (caller, gateway): (Caller, Arc<Gateway>),
    name: Option<String>,
    query: JoinQuery,
    place: Option<Extension<Place>>,
    upgrade: Wanted,
) -> Result<Response, HttpError> {
    query.ports()?;
    let upgrade = wanted(upgrade)?;
    let limit = gateway.config.limits.message.0;
    let upgrade = upgrade.protocols([Subprotocol::Json.token(), Subprotocol::Proto.token()]);
    let proto = upgrade
        .selected_protocol()
        .is_some_and(|chosen| chosen.as_bytes() == Subprotocol::Proto.token().as_bytes());
    // A client that names none speaks JSON.
    let subprotocol = if proto {
        Subprotocol::Proto
    } else {
        Subprotocol::Json
    };
    let serve = move |mut guest: Guest| async move {
        let first = read_open(&gateway, name, &query, &mut guest, subprotocol);
        match in_time(&gateway, "open message", first).await {
            Ok(open) => start((caller, &gateway), open, guest, subprotocol).await,
            Err(error) => refuse(&gateway, guest, subprotocol, error).await,
        }
    };
    Ok(accept(upgrade, limit, place, serve))
}

async fn read_open(
    gateway: &Gateway,
    name: Option<String>,
    query: &JoinQuery,
    guest: &mut Guest,
    subprotocol: Subprotocol,
) -> Result<Open, Error> {
    let first = guest.next("open").await?;
    let message = subprotocol.decode(first, gateway.clock.now(), &PortFormats::default())?;
    let ClientMessage::Open(open) = message else {
        let text = "the first message must be open: {\"open\": {…}}";
        return Err(Error::new(Code::BadRequest, text));
    };
    settle(*open, name, query)
}

/// Opens the session. The socket moves into the link; where opening fails the link says why before it is dropped.
async fn start(
    (caller, gateway): (Caller, &Arc<Gateway>),
    open: Open,
    guest: Guest,
    subprotocol: Subprotocol,
) {
    let (source, parameters) = (open.source.clone(), open.parameters.clone());
    let (key, hop_count, deadline) = (open.session.clone(), open.hop_count, open.deadline);
    let codec = NativeCodec::new(subprotocol, Native::new(open));
    let request = |link| Request {
        caller,
        source,
        parameters,
        key,
        hop_count,
        deadline,
        link,
    };
    if let Some((error, guest)) = guest.open(gateway, codec, request).await {
        refuse(gateway, guest, subprotocol, error).await;
    }
}

/// What to run is what the path says, where it says it, and `open` must not contradict it. Of all else, what `open` says goes before
/// what the query says.
fn settle(mut open: Open, name: Option<String>, query: &JoinQuery) -> Result<Open, Error> {
    if let Some(name) = name {
        let other = match &open.source {
            Source::Pipeline(named) if named.is_empty() || *named == name => None,
            Source::Pipeline(named) => Some(format!("names pipeline '{named}'")),
            Source::Manifest(_) => Some("has a manifest".to_owned()),
        };
        if let Some(other) = other {
            let text = format!(
                "open {other} on the path of pipeline '{name}': leave it out there, or use /v1/ws"
            );
            return Err(Error::new(Code::BadRequest, text));
        }
        open.source = Source::Pipeline(name);
    }
    if open.session.is_none() {
        open.session.clone_from(&query.session);
    }
    if open.parameters.is_empty() {
        open.parameters = query.parameters()?;
    }
    if open.as_ports.is_empty() {
        open.as_ports = query.ports()?;
    }
    Ok(open)
}

/// Says why, and closes.
async fn refuse(gateway: &Gateway, guest: Guest, subprotocol: Subprotocol, error: Error) {
    let message = ServerMessage::Error(Box::new(wire_error(error.clone())));
    let message = subprotocol.encode(message, gateway.clock.now());
    guest.farewell(Some(message), &error).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(source: Source) -> Open {
        let mut parameters = serde_json::Map::new();
        parameters.insert("gain".to_owned(), 1.into());
        Open {
            source,
            parameters,
            mode: Mode::Live,
            features: Vec::new(),
            session: Some("open".to_owned()),
            as_ports: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            raw: None,
            hop_count: 0,
            deadline: None,
        }
    }

    #[test]
    fn the_path_says_what_runs_and_open_must_not_contradict_it() {
        let named = |name: &str| Source::Pipeline(name.to_owned());
        let on = |path: Option<&str>, source| {
            let settled = settle(open(source), path.map(str::to_owned), &JoinQuery::default());
            settled.map(|open| open.source).map_err(|error| error.code)
        };
        assert_eq!(on(Some("echo"), named("")), Ok(named("echo")));
        assert_eq!(on(Some("echo"), named("echo")), Ok(named("echo")));
        assert_eq!(on(Some("echo"), named("other")), Err(Code::BadRequest));
        let manifest = || Source::Manifest("version: tidegate/v1".to_owned());
        assert_eq!(on(Some("echo"), manifest()), Err(Code::BadRequest));
        assert_eq!(on(None, manifest()), Ok(manifest()));
    }

    #[test]
    fn what_open_says_goes_before_the_query() {
        let query = JoinQuery {
            session: Some("query".to_owned()),
            as_ports: Some("a,b".to_owned()),
            parameters: Some(r#"{"gain": 2}"#.to_owned()),
            ..JoinQuery::default()
        };
        let settled = settle(open(Source::Pipeline(String::new())), None, &query);
        let settled = settled.expect("no contradiction");
        assert_eq!(settled.session.as_deref(), Some("open"));
        assert_eq!(settled.parameters["gain"], 1);
        let ports = settled.as_ports.iter().map(PortName::as_str);
        assert_eq!(ports.collect::<Vec<_>>(), ["a", "b"]);
    }
}
