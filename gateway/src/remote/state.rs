//! How the endpoints of remote hops are doing, for `/metrics`, the admin API and the page.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Value, json};
use tidegate_media::Timestamp;
use tidegate_remote::pool::EndpointState;
use tidegate_remote::{PoolKey, PoolState, Pools, SharedPool};

use crate::metrics::{Passing, label};

/// The states of a breaker, as the label `state` has them.
const BREAKER_STATES: [&str; 3] = ["closed", "open", "half_open"];

/// One endpoint on the admin API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct EndpointRow {
    /// As configured.
    endpoint: String,
    /// By its checks.
    up: bool,
    breaker: &'static str,
    in_flight: usize,
    latency_ms: Option<f64>,
    round_trip_ms: Option<f64>,
    weight: u32,
    /// Of a session: it serves it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<bool>,
}

impl EndpointRow {
    fn new(state: &EndpointState, current: Option<&str>) -> Self {
        let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        Self {
            endpoint: tidegate_remote::describe::shown(&state.endpoint),
            up: state.up,
            breaker: state.breaker.as_str(),
            in_flight: state.in_flight,
            latency_ms: state.latency.map(millis),
            round_trip_ms: state.round_trip.map(millis),
            weight: state.weight,
            current: current.map(|current| *current == *state.endpoint),
        }
    }
}

/// What a session's hop has met, on the admin API.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct RemoteReport {
    /// All endpoints of the hop, its own before those it falls back to.
    pub(crate) endpoints: Vec<EndpointRow>,
    /// How often another stream took over.
    pub(crate) failovers: u64,
    /// Frames that were sent again for that.
    pub(crate) replayed_frames: u64,
}

/// The endpoints of a session's pools.
pub(crate) fn rows(pools: &[SharedPool], now: Timestamp, current: &str) -> Vec<EndpointRow> {
    let states = pools.iter().map(|pool| {
        let pool = pool
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        EndpointState::by_endpoint(&pool.snapshot(now))
    });
    let rows = states.flat_map(|states| {
        let row = |state: &EndpointState| EndpointRow::new(state, Some(current));
        states.iter().map(row).collect::<Vec<_>>()
    });
    rows.collect()
}

/// The pools that sessions of a pipeline have used, for its description.
pub(crate) fn of_pipeline(pools: &Pools, now: Timestamp, pipeline: &str) -> Value {
    let all = pools.snapshot(now);
    let own = all.iter().filter(|state| state.key.pipeline == pipeline);
    let row = |state: &PoolState| {
        let endpoints = EndpointState::by_endpoint(&state.endpoints);
        let rows = endpoints.iter().map(|state| EndpointRow::new(state, None));
        json!({
            "hop": state.key.hop,
            "tier": state.key.tier,
            "balance": state.balance,
            "sessions": state.holders,
            "endpoints": rows.collect::<Vec<_>>(),
        })
    };
    own.map(row).collect()
}

/// Shows what the pools say. Where an endpoint is in several pools of one hop, the one that is used first counts.
pub(crate) fn publish(pools: &Pools, now: Timestamp, page: &Passing) {
    let mut seen = HashSet::new();
    for pool in pools.snapshot(now) {
        let (pipeline, hop) = labels(&pool.key);
        for state in EndpointState::by_endpoint(&pool.endpoints) {
            let endpoint = state.endpoint.to_string();
            if !seen.insert((pipeline.clone(), hop.clone(), endpoint.clone())) {
                continue;
            }
            let place = vec![
                label("pipeline", pipeline.clone()),
                label("hop", hop.clone()),
                label("endpoint", endpoint),
            ];
            let flag = |on: bool| if on { 1.0 } else { 0.0 };
            page.set("tidegate_endpoint_up", place.clone(), flag(state.up));
            for name in BREAKER_STATES {
                let mut labels = place.clone();
                labels.push(label("state", name));
                let is_so = flag(state.breaker.as_str() == name);
                page.set("tidegate_endpoint_breaker_state", labels, is_so);
            }
        }
    }
}

/// How `/metrics` calls a pool's hop: pipelines of clients' own manifests, known here by name and digest, share a label.
fn labels(key: &PoolKey) -> (String, String) {
    if key.pipeline.contains('@') {
        return ("inline".to_owned(), "remote".to_owned());
    }
    (key.pipeline.clone(), key.hop.clone())
}
