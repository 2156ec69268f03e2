//! A session's figures: what the graph's probe records, and how running totals reach `/metrics` and the admin API.
//!
//! The probe and the driver share the windows behind a lock that is never contended: both run in the session's task.

mod totals;
mod traced;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tidegate_media::Timestamp;
use tidegate_nodes::graph::{EgressId, Graph, Probe, Role, Stage};
use tidegate_nodes::{DropReason, Placement};

use self::totals::Totals;
use self::traced::Traced;
use super::link::HopFigures;
use crate::clock::Clock;
use crate::metrics::hops::{HopHandles, HopKey};
use crate::metrics::latency::Latency;
use crate::metrics::window::{Percentiles, Window};
use crate::metrics::{Metrics, seconds};
use crate::remote::state::RemoteReport;

/// What one session has measured.
pub(crate) struct Figures {
    clock: Clock,
    metrics: Arc<Metrics>,
    pipeline: String,
    inline: bool,
    /// Windows that keep all samples of the session.
    whole: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    hops: Vec<Hop>,
    latency: Window,
    /// Histogram of each egress, by the number of the egress.
    egresses: Vec<Egress>,
    /// Trace and span that measurements are found under, where the trace is sampled.
    found_under: Option<(u128, u64)>,
}

/// What one client hears of one output.
struct Egress {
    id: EgressId,
    histogram: Arc<Latency>,
    /// The longest since the last flush, for an exemplar.
    slowest: Option<Duration>,
}

struct Hop {
    handles: Arc<HopHandles>,
    endpoint: Option<String>,
    queue: Window,
    service: Window,
    wire: Window,
    first_output: Window,
    flushed: Totals,
    /// Of a session whose trace is sampled.
    traced: Option<Box<Traced>>,
}

/// The probe that the graph is given.
struct SessionProbe {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

/// One hop on the admin API.
#[derive(Debug, Serialize)]
pub(crate) struct HopReport {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) node_type: String,
    pub(crate) placement: Placement,
    pub(crate) inserted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    pub(crate) queue_frames: u32,
    pub(crate) in_flight: u32,
    pub(crate) latency: LatencyReport,
    /// Of a remote hop: its endpoints, and what it has met.
    #[serde(flatten)]
    pub(crate) remote: Option<RemoteReport>,
    /// Hop, input, output or conversion.
    #[serde(skip)]
    pub(crate) role: Role,
}

/// Latencies of a hop on the admin API, over the last ten seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct LatencyReport {
    pub(crate) queue: Option<Percentiles>,
    pub(crate) service: Option<Percentiles>,
    pub(crate) wire: Option<Percentiles>,
    pub(crate) first_output: Option<Percentiles>,
}

impl HopReport {
    /// Whether it is a hop: inputs and outputs are counted like hops and listed by themselves.
    pub(crate) fn is_hop(&self) -> bool {
        matches!(self.role, Role::Hop | Role::Conversion)
    }
}

impl Figures {
    /// Figures of a session of a pipeline. Inline manifests share one pipeline label and are told apart by node type.
    pub(crate) fn new(clock: Clock, metrics: Arc<Metrics>, pipeline: &str, inline: bool) -> Self {
        let pipeline = if inline {
            "inline".to_owned()
        } else {
            pipeline.to_owned()
        };
        Self {
            clock,
            metrics,
            pipeline,
            inline,
            whole: false,
            state: Arc::default(),
        }
    }

    /// The pipeline as `/metrics` calls it.
    pub(crate) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// With percentiles over the whole session instead of its last ten seconds: for runs with an end.
    pub(crate) const fn over_the_whole(mut self, whole: bool) -> Self {
        self.whole = whole;
        self
    }

    /// With exemplars that lead to this trace and span.
    pub(crate) fn found_under(self, exemplar: Option<(u128, u64)>) -> Self {
        lock(&self.state).found_under = exemplar;
        self
    }

    /// The probe for the session's graph.
    pub(crate) fn probe(&self) -> Box<dyn Probe> {
        Box::new(SessionProbe {
            clock: self.clock,
            state: Arc::clone(&self.state),
        })
    }

    /// Registers hops that came since the last call. Called after a client was attached.
    pub(crate) fn learn_hops(&self, graph: &Graph, endpoint: impl Fn(&str) -> Option<String>) {
        let mut state = lock(&self.state);
        let known = state.hops.len();
        let traced = state.found_under.is_some();
        for stats in graph.hop_stats().iter().skip(known) {
            let hop = if self.inline {
                &stats.node_type
            } else {
                &stats.id
            };
            let endpoint = endpoint(&stats.id);
            let key = HopKey {
                pipeline: self.pipeline.clone(),
                hop: hop.to_string(),
                endpoint: endpoint.clone(),
            };
            state.hops.push(Hop {
                handles: self.metrics.hop(key),
                endpoint,
                queue: self.window(),
                service: self.window(),
                wire: self.window(),
                first_output: self.window(),
                flushed: Totals::default(),
                traced: traced.then(Box::default),
            });
        }
    }

    /// Counts what a remote hop does from here on for another endpoint, if it has moved to one.
    pub(crate) fn follow(&self, graph: &Graph, id: &str, hop: &mut dyn super::hops::Hop) {
        if hop.take_moved()
            && let Some(endpoint) = hop.endpoint()
        {
            self.moved(graph, id, endpoint);
        }
    }

    fn moved(&self, graph: &Graph, id: &str, endpoint: &str) {
        let mut state = lock(&self.state);
        // They were measured at the endpoint before.
        state.exemplify();
        let hops = state.hops.iter_mut().zip(graph.hop_stats());
        for (hop, stats) in hops.filter(|(_, stats)| *stats.id == *id) {
            hop.flush(&self.metrics, stats);
            hop.leave_gauges(&self.metrics);
            hop.endpoint = Some(endpoint.to_owned());
            let named = if self.inline {
                &stats.node_type
            } else {
                &stats.id
            };
            hop.handles = self.metrics.hop(HopKey {
                pipeline: self.pipeline.clone(),
                hop: named.to_string(),
                endpoint: hop.endpoint.clone(),
            });
            hop.flush(&self.metrics, stats);
        }
    }

    fn window(&self) -> Window {
        if self.whole {
            Window::endless()
        } else {
            Window::default()
        }
    }

    /// Names the transport of an egress for `tidegate_session_latency_seconds`.
    pub(crate) fn learn_egress(&self, egress: EgressId, transport: &'static str) {
        let histogram = self.metrics.session_latency(&self.pipeline, transport);
        lock(&self.state).egresses.push(Egress {
            id: egress,
            histogram,
            slowest: None,
        });
    }

    /// Forgets an egress.
    pub(crate) fn forget_egress(&self, egress: EgressId) {
        lock(&self.state)
            .egresses
            .retain(|known| known.id != egress);
    }

    /// Brings the counters up to the graph's totals.
    pub(crate) fn flush(&self, graph: &Graph) {
        let mut state = lock(&self.state);
        for (hop, stats) in state.hops.iter_mut().zip(graph.hop_stats()) {
            hop.flush(&self.metrics, stats);
        }
        state.exemplify();
    }

    /// Takes what the session holds out of the gauges. The last call.
    pub(crate) fn close(&self, graph: &Graph) {
        self.flush(graph);
        let mut state = lock(&self.state);
        for hop in &mut state.hops {
            hop.leave_gauges(&self.metrics);
        }
    }

    /// All hops, for the admin API.
    pub(crate) fn report(&self, graph: &Graph, now: Timestamp) -> Vec<HopReport> {
        let mut state = lock(&self.state);
        let hops = state.hops.iter_mut().zip(graph.hop_stats());
        hops.map(|(hop, stats)| HopReport {
            id: stats.id.to_string(),
            node_type: stats.node_type.to_string(),
            placement: stats.placement,
            inserted: stats.inserted,
            endpoint: hop.endpoint.clone(),
            frames_in: stats.frames_in,
            frames_out: stats.frames_out,
            bytes_in: stats.bytes_in,
            bytes_out: stats.bytes_out,
            dropped: DropReason::ALL
                .iter()
                .filter(|reason| stats.dropped[**reason as usize] > 0)
                .map(|reason| (reason.as_str(), stats.dropped[*reason as usize]))
                .collect(),
            queue_frames: stats.queue_frames,
            in_flight: stats.in_flight,
            latency: hop.latency(now),
            remote: None,
            role: stats.role,
        })
        .collect()
    }

    /// All hops, for a `stats` message.
    pub(crate) fn hop_figures(&self, graph: &Graph, now: Timestamp) -> Vec<HopFigures> {
        let reports = self.report(graph, now).into_iter();
        reports
            .filter(HopReport::is_hop)
            .map(|hop| HopFigures {
                hop: hop.id,
                node_type: hop.node_type,
                frames_in: hop.frames_in,
                frames_out: hop.frames_out,
                dropped: hop.dropped,
                queue_frames: hop.queue_frames,
                queue: hop.latency.queue,
                service: hop.latency.service,
                wire: hop.latency.wire,
            })
            .collect()
    }

    /// A frame left for a client, so long after what caused it had arrived.
    pub(crate) fn departed(&self, now: Timestamp, egress: EgressId, latency: Duration) {
        let mut state = lock(&self.state);
        state.latency.record(now, latency);
        let exemplary = state.found_under.is_some();
        if let Some(egress) = state.egresses.iter_mut().find(|known| known.id == egress) {
            egress.histogram.record(seconds(latency));
            if exemplary {
                egress.slowest = egress.slowest.max(Some(latency));
            }
        }
    }

    /// Latency of the whole session over the last ten seconds.
    pub(crate) fn session_latency(&self, now: Timestamp) -> Option<Percentiles> {
        lock(&self.state).latency.percentiles(now)
    }
}

impl Hop {
    fn latency(&mut self, now: Timestamp) -> LatencyReport {
        LatencyReport {
            queue: self.queue.percentiles(now),
            service: self.service.percentiles(now),
            wire: self.wire.percentiles(now),
            first_output: self.first_output.percentiles(now),
        }
    }
}

impl Probe for SessionProbe {
    fn now(&mut self) -> Timestamp {
        self.clock.now()
    }

    fn record(&mut self, now: Timestamp, hop: usize, stage: Stage, value: Duration) {
        let mut state = lock(&self.state);
        let Some(hop) = state.hops.get_mut(hop) else {
            return;
        };
        hop.handles.of(stage).record(seconds(value));
        let window = match stage {
            Stage::Queue => &mut hop.queue,
            Stage::Service => &mut hop.service,
            Stage::Wire => &mut hop.wire,
            Stage::FirstOutput => &mut hop.first_output,
        };
        window.record(now, value);
        if let Some(traced) = &mut hop.traced {
            traced.note(stage, value);
        }
    }

    /// The driver measures this one: only it sees a frame leave.
    fn session_latency(&mut self, _egress: EgressId, _value: Duration) {}
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
