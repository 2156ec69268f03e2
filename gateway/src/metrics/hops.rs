//! The metrics of one hop: handles, and the bookkeeping that turns a graph's running totals into increments.

use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Label};
use tidegate_nodes::DropReason;
use tidegate_nodes::graph::Stage;

use super::latency::Latency;
use super::{Metrics, label};

/// What tells hops apart on `/metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HopKey {
    /// The pipeline's name, or `inline`.
    pub(crate) pipeline: String,
    /// The hop's id; the node's type in an inline manifest.
    pub(crate) hop: String,
    /// The endpoint as configured, if remote.
    pub(crate) endpoint: Option<String>,
}

/// Kept handles of one hop.
pub(crate) struct HopHandles {
    pub(crate) queue: Arc<Latency>,
    pub(crate) service: Arc<Latency>,
    pub(crate) wire: Arc<Latency>,
    pub(crate) first_output: Arc<Latency>,
    pub(crate) frames_in: Counter,
    pub(crate) frames_out: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    levels: [OnceLock<Gauge>; 2],
    dropped: [OnceLock<Counter>; DropReason::ALL.len()],
    labels: Vec<Label>,
}

/// What a hop holds at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    /// Frames that wait before it.
    Queue,
    /// Frames that it has taken and not answered.
    InFlight,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "tidegate_hop_queue_frames",
            Self::InFlight => "tidegate_hop_in_flight",
        }
    }
}

impl HopHandles {
    pub(super) fn register(metrics: &Metrics, key: &HopKey) -> Self {
        let mut labels = vec![
            label("pipeline", key.pipeline.clone()),
            label("hop", key.hop.clone()),
        ];
        if let Some(endpoint) = &key.endpoint {
            labels.push(label("endpoint", endpoint.clone()));
        }
        let with = |name: &'static str, value: &'static str| {
            let mut all = labels.clone();
            all.push(label(name, value));
            all
        };
        let histogram = |name| metrics.histogram(name, labels.clone());
        let handles = Self {
            queue: histogram("tidegate_hop_queue_seconds"),
            service: histogram("tidegate_hop_service_seconds"),
            wire: histogram("tidegate_hop_wire_seconds"),
            first_output: histogram("tidegate_hop_first_output_seconds"),
            frames_in: metrics.counter("tidegate_hop_frames_total", with("direction", "in")),
            frames_out: metrics.counter("tidegate_hop_frames_total", with("direction", "out")),
            bytes_in: metrics.counter("tidegate_hop_bytes_total", with("direction", "in")),
            bytes_out: metrics.counter("tidegate_hop_bytes_total", with("direction", "out")),
            levels: [OnceLock::new(), OnceLock::new()],
            dropped: std::array::from_fn(|_| OnceLock::new()),
            labels,
        };
        if key.endpoint.is_some() {
            for level in [Level::Queue, Level::InFlight] {
                handles.level(metrics, level);
            }
        }
        handles
    }

    /// The gauge of what it holds. That of a node in this process appears on `/metrics` with its first frame: most are called in place,
    /// and hold none ever.
    pub(crate) fn level(&self, metrics: &Metrics, level: Level) -> &Gauge {
        let make = || metrics.gauge(level.name(), self.labels.clone());
        self.levels[level as usize].get_or_init(make)
    }

    /// The histogram of a stage.
    pub(crate) const fn of(&self, stage: Stage) -> &Arc<Latency> {
        match stage {
            Stage::Queue => &self.queue,
            Stage::Service => &self.service,
            Stage::Wire => &self.wire,
            Stage::FirstOutput => &self.first_output,
        }
    }

    /// The counter of one drop reason; appears on `/metrics` with its first drop.
    pub(crate) fn dropped(&self, metrics: &Metrics, reason: DropReason) -> &Counter {
        self.dropped[reason as usize].get_or_init(|| {
            let mut labels = self.labels.clone();
            labels.push(label("reason", reason.as_str()));
            metrics.counter("tidegate_hop_dropped_frames_total", labels)
        })
    }
}

impl std::fmt::Debug for HopHandles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HopHandles")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}
