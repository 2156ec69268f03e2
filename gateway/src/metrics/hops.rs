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
    pub(crate) queue_frames: Gauge,
    pub(crate) in_flight: Gauge,
    dropped: [OnceLock<Counter>; DropReason::ALL.len()],
    labels: Vec<Label>,
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
        Self {
            queue: histogram("tidegate_hop_queue_seconds"),
            service: histogram("tidegate_hop_service_seconds"),
            wire: histogram("tidegate_hop_wire_seconds"),
            first_output: histogram("tidegate_hop_first_output_seconds"),
            frames_in: metrics.counter("tidegate_hop_frames_total", with("direction", "in")),
            frames_out: metrics.counter("tidegate_hop_frames_total", with("direction", "out")),
            bytes_in: metrics.counter("tidegate_hop_bytes_total", with("direction", "in")),
            bytes_out: metrics.counter("tidegate_hop_bytes_total", with("direction", "out")),
            queue_frames: metrics.gauge("tidegate_hop_queue_frames", labels.clone()),
            in_flight: metrics.gauge("tidegate_hop_in_flight", labels.clone()),
            dropped: std::array::from_fn(|_| OnceLock::new()),
            labels,
        }
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
