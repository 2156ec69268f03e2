//! What there is and what runs: nodes, pipelines, sessions.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use futures_util::future::join_all;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tidegate_media::Timestamp;
use tidegate_nodes::graph::Role;
use tidegate_nodes::registry::NodeType;
use tidegate_proto::message::Source;

use super::Shared;
use crate::auth::Caller;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::remote::{Described, state};
use crate::session::control::{End, Snapshot};
use crate::session::table::Handle;

/// Sessions that one listing shows, the oldest first; it says how many more there are.
const LISTED: usize = 1000;
/// How long all sessions together may take to say how they stand for a listing. One that computes for longer is listed without that.
const ANSWER: Duration = Duration::from_millis(500);

/// `GET /v1/nodes`.
pub(crate) async fn nodes(State(gateway): Shared) -> Json<Value> {
    let types = describe_types(gateway.pipelines.registry());
    Json(json!({ "nodes": types }))
}

/// All node types as they are listed: those of the registry, and `remote`.
pub(crate) fn describe_types(registry: &tidegate_nodes::Registry) -> Vec<Value> {
    let types = registry.iter().map(|node| describe_type(node.as_ref()));
    types.chain([describe_remote()]).collect()
}

/// The type that the gateway itself serves. Its ports are those of the pipeline there.
fn describe_remote() -> Value {
    json!({
        "type": "remote",
        "summary": "A node that another process serves: its ports are those of the pipeline there.",
        "cost": "a round trip to the worker and its own time",
        "replay": "makes the same again where `deterministic` says so",
        "placement": tidegate_nodes::Placement::Remote,
        "inputs": [],
        "outputs": [],
        "example": { "endpoints": ["http://127.0.0.1:8081"], "pipeline": "summarise" },
        "parameters": schemars::schema_for!(tidegate_nodes::compile::RemoteParams),
    })
}

/// One node type of the registry. Ports are those for its example's parameters.
fn describe_type(node: &dyn NodeType) -> Value {
    let example = node.example();
    let ports = node.ports(&example).unwrap_or_default();
    let list = |ports: &[tidegate_nodes::Port]| -> Vec<Value> {
        let port = |port: &tidegate_nodes::Port| {
            json!({
                "name": port.name,
                "accepts": port.accepts.to_string(),
                "required": port.required,
                "doc": port.doc,
            })
        };
        ports.iter().map(port).collect()
    };
    json!({
        "type": node.name(),
        "summary": node.summary(),
        "cost": node.cost(),
        "replay": node.replay_doc(),
        "placement": node.placement(),
        "inputs": list(&ports.inputs),
        "outputs": list(&ports.outputs),
        "parameters": node.schema(),
        "example": example,
    })
}

/// `GET /v1/pipelines`: those that the caller may use.
pub(crate) async fn pipelines(caller: Caller, State(gateway): Shared) -> Json<Value> {
    let all = gateway.pipelines.all();
    let list: Vec<_> = all
        .values()
        .filter(|pipeline| caller.grants.covers(pipeline.name()))
        .map(|pipeline| summary(&pipeline.describe()))
        .collect();
    Json(json!({ "pipelines": list }))
}

/// A pipeline's line in the listing.
fn summary(description: &tidegate_nodes::compile::Description) -> Value {
    let ports = |ports: &[tidegate_nodes::compile::PortDescription]| -> Vec<Value> {
        ports
            .iter()
            .map(|port| {
                let mut value = json!({ "name": port.name, "kind": port.kind });
                if let Some(seat) = &port.seat {
                    value["for"] = json!(seat);
                }
                if let Some(role) = port.role {
                    value["role"] = json!(role);
                }
                value
            })
            .collect()
    };
    json!({
        "name": description.name,
        "description": description.description,
        "digest": description.digest,
        "shared": description.outputs.iter().any(|output| output.seat.is_some()),
        "inputs": ports(&description.inputs),
        "outputs": ports(&description.outputs),
    })
}

/// `GET /v1/pipelines/{name}`.
pub(crate) async fn pipeline(
    caller: Caller,
    State(gateway): Shared,
    Path(name): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let source = Source::Pipeline(name);
    let pipeline = gateway
        .describe(&caller, &source, Vec::new(), String::new())
        .await?;
    Ok(Json(described(&gateway, &pipeline)))
}

/// A pipeline with what it refers to.
pub(crate) fn described(gateway: &Gateway, pipeline: &Described) -> Value {
    let mut value = serde_json::to_value(pipeline.pipeline.describe()).unwrap_or_default();
    value["gateway_id"] = json!(gateway.id);
    value["references"] = json!(pipeline.references);
    let (pools, now) = (gateway.remotes.pools(), gateway.clock.now());
    value["pools"] = state::of_pipeline(pools, now, &pipeline.name);
    value
}

#[derive(Serialize)]
struct SessionRow {
    id: String,
    pipeline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    transports: Vec<&'static str>,
    clients: usize,
    state: &'static str,
    age_seconds: f64,
}

impl SessionRow {
    fn new(handle: &Handle, snapshot: &Snapshot) -> Self {
        let state = match snapshot {
            Snapshot { ending: true, .. } => "ended",
            Snapshot { draining: true, .. } => "draining",
            Snapshot {
                clients: 0,
                joined: true,
                ..
            } => "vacant",
            Snapshot { clients: 0, .. } => "opening",
            _ => "running",
        };
        Self {
            id: handle.id.clone(),
            pipeline: handle.pipeline.clone(),
            key: handle.key.clone(),
            transports: snapshot.transports.clone(),
            clients: snapshot.clients,
            state,
            age_seconds: tenths(snapshot.age),
        }
    }

    /// The line of one that cannot say how it stands.
    fn unasked(handle: &Handle, now: Timestamp, state: &'static str) -> Self {
        Self {
            id: handle.id.clone(),
            pipeline: handle.pipeline.clone(),
            key: handle.key.clone(),
            transports: Vec::new(),
            clients: 0,
            state,
            age_seconds: tenths(now.saturating_since(handle.opened_at)),
        }
    }
}

/// Seconds to a tenth.
fn tenths(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

/// `GET /v1/sessions`.
pub(crate) async fn sessions(
    caller: Caller,
    State(gateway): Shared,
) -> Result<Json<Value>, HttpError> {
    caller.grants.may_administer()?;
    let mut all = gateway.sessions.all();
    let more = all.len().saturating_sub(LISTED);
    all.truncate(LISTED);
    let now = gateway.clock.now();
    let rows = join_all(all.iter().map(|handle| row(handle, now))).await;
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    let (active, limit) = gateway.sessions.occupancy();
    Ok(Json(
        json!({ "active": active, "limit": limit, "more": more, "sessions": rows }),
    ))
}

/// A session's line in the listing; `None` if it ended meanwhile.
async fn row(handle: &Handle, now: Timestamp) -> Option<SessionRow> {
    if handle.is_opening() {
        return Some(SessionRow::unasked(handle, now, "opening"));
    }
    match tokio::time::timeout(ANSWER, handle.snapshot()).await {
        Ok(snapshot) => Some(SessionRow::new(handle, &snapshot.ok()?)),
        Err(_) => Some(SessionRow::unasked(handle, now, "busy")),
    }
}

/// `GET /v1/sessions/{id}`.
pub(crate) async fn session(
    caller: Caller,
    State(gateway): Shared,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    caller.grants.may_administer()?;
    let handle = gateway.sessions.get(&id)?;
    if handle.is_opening() {
        return Ok(Json(unopened(&handle, gateway.clock.now())));
    }
    let snapshot = handle.snapshot().await?;
    let mut value = serde_json::to_value(SessionRow::new(&handle, &snapshot)).unwrap_or_default();
    value["limit_seconds"] = json!(snapshot.limit.map(|limit| limit.as_secs_f64()));
    let reception = snapshot.reception.unwrap_or_default();
    let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    value["webrtc"] = snapshot.webrtc.map_or(Value::Null, |webrtc| {
        json!({
            "rtt_ms": webrtc.round_trip.map(millis),
            "jitter_ms": millis(webrtc.jitter),
            "packets_received": webrtc.packets_received,
            "packets_lost": webrtc.packets_lost,
            "jitter_buffer_ms": millis(reception.delay),
            "concealed_samples": reception.concealed_samples,
        })
    });
    value["session_latency"] = json!(snapshot.session_latency);
    for side in ["inputs", "outputs", "edges"] {
        value[side] = snapshot.shape[side].clone();
    }
    let (hops, ends): (Vec<_>, Vec<_>) = snapshot.hops.iter().partition(|row| row.is_hop());
    value["hops"] = json!(hops);
    for row in ends {
        let side = if row.role == Role::Input {
            "inputs"
        } else {
            "outputs"
        };
        let ports = value[side].as_array_mut().into_iter().flatten();
        if let Some(port) = ports
            .into_iter()
            .find(|port| port["name"] == row.id.as_str())
        {
            port["frames"] = json!(row.frames_in);
            port["dropped"] = json!(row.dropped);
            port["queue_frames"] = json!(row.queue_frames);
            port["queue"] = json!(row.latency.queue);
        }
    }
    Ok(Json(value))
}

/// A session whose remote hops are still being reached: it has measured nothing yet.
fn unopened(handle: &Handle, now: Timestamp) -> Value {
    let row = SessionRow::unasked(handle, now, "opening");
    let mut value = serde_json::to_value(row).unwrap_or_default();
    for nothing in ["limit_seconds", "webrtc", "session_latency"] {
        value[nothing] = Value::Null;
    }
    for empty in ["inputs", "outputs", "edges", "hops"] {
        value[empty] = json!([]);
    }
    value
}

/// `DELETE /v1/sessions/{id}`.
pub(crate) async fn end_session(
    caller: Caller,
    State(gateway): Shared,
    Path(id): Path<String>,
) -> Result<StatusCode, HttpError> {
    caller.grants.may_administer()?;
    gateway.sessions.get(&id)?.end(End::Deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}
