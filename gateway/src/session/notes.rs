//! What happens to a remote hop's streams, counted.

use std::sync::Arc;
use std::task::{Context, Poll};

use metrics::Label;
use tidegate_media::Timestamp;
use tidegate_nodes::{HopCommand, HopEvent, HopNote};
use tidegate_remote::RemoteHop;

use super::hops::Hop;
use crate::metrics::{Metrics, label};

/// Where a hop's notes are counted.
pub(crate) struct Notes {
    metrics: Arc<Metrics>,
    pipeline: String,
    hop: String,
}

impl Notes {
    /// For one hop, named as its metrics call it.
    pub(crate) const fn new(metrics: Arc<Metrics>, pipeline: String, hop: String) -> Self {
        Self {
            metrics,
            pipeline,
            hop,
        }
    }

    /// Counts one.
    pub(crate) fn count(&self, note: &HopNote) {
        match note {
            HopNote::Attempt {
                endpoint, outcome, ..
            } => {
                let up = if outcome.is_none() { 1.0 } else { 0.0 };
                let place = self.labels(endpoint);
                self.metrics.gauge("tidegate_endpoint_up", place).set(up);
                let mut labels = self.labels(endpoint);
                let outcome = outcome.map_or("ok", |code| code.as_str());
                labels.push(label("outcome", outcome));
                self.metrics
                    .counter("tidegate_hop_attempts_total", labels)
                    .increment(1);
            }
            HopNote::Failover { from, replayed, .. } => {
                self.metrics
                    .counter("tidegate_hop_failovers_total", self.labels(from))
                    .increment(1);
                self.metrics
                    .counter("tidegate_hop_replayed_frames_total", self.labels(from))
                    .increment(*replayed);
            }
            // Frames that are missing are counted as dropped ones of the hop.
            _ => {}
        }
    }

    fn labels(&self, endpoint: &str) -> Vec<Label> {
        vec![
            label("pipeline", self.pipeline.clone()),
            label("hop", self.hop.clone()),
            label("endpoint", endpoint.to_owned()),
        ]
    }
}

/// A remote hop whose notes are counted; everything else passes.
pub(crate) struct CountedHop {
    pub(crate) hop: RemoteHop,
    pub(crate) notes: Notes,
}

impl Hop for CountedHop {
    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<HopEvent> {
        loop {
            match self.hop.poll_event(cx, now) {
                Poll::Ready(HopEvent::Note(note)) => self.notes.count(&note),
                other => return other,
            }
        }
    }

    fn send(&mut self, now: Timestamp, command: HopCommand) {
        self.hop.send(now, command);
    }

    fn endpoint(&self) -> Option<&str> {
        Some(self.hop.endpoint())
    }

    fn timeout(&self) -> Option<Timestamp> {
        self.hop.poll_timeout()
    }
}
