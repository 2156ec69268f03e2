//! What happens to a remote hop's streams, counted.

use std::sync::Arc;
use std::task::{Context, Poll};

use metrics::Label;
use tidegate_media::Timestamp;
use tidegate_nodes::{HopCommand, HopEvent, HopNote};
use tidegate_remote::{HopConfig, RemoteHop, SharedPool, Tier};

use super::hops::Hop;
use crate::metrics::{Metrics, label};
use crate::remote::state::{self, RemoteReport};
use crate::trace::HopTrace;

/// Where a hop's notes are counted.
pub(crate) struct Notes {
    metrics: Arc<Metrics>,
    pipeline: String,
    hop: String,
    /// The newest attempt failed, so that the next one is a retry.
    failed: bool,
    failovers: u64,
    replayed: u64,
    trace: Option<HopTrace>,
}

impl Notes {
    /// For one hop, named as its metrics call it.
    pub(crate) const fn new(
        metrics: Arc<Metrics>,
        pipeline: String,
        hop: String,
        trace: Option<HopTrace>,
    ) -> Self {
        Self {
            metrics,
            pipeline,
            hop,
            failed: false,
            failovers: 0,
            replayed: 0,
            trace,
        }
    }

    /// Counts one.
    pub(crate) fn count(&mut self, now: Timestamp, note: &HopNote) {
        if let Some(trace) = &mut self.trace {
            trace.note(now, note);
        }
        match note {
            HopNote::Attempt {
                endpoint, outcome, ..
            } => {
                let mut labels = self.labels(endpoint);
                if std::mem::replace(&mut self.failed, outcome.is_some()) {
                    self.metrics
                        .counter("tidegate_hop_retries_total", labels.clone())
                        .increment(1);
                }
                let outcome = outcome.map_or("ok", |code| code.as_str());
                labels.push(label("outcome", outcome));
                self.metrics
                    .counter("tidegate_hop_attempts_total", labels)
                    .increment(1);
            }
            HopNote::Failover { from, replayed, .. } => {
                self.failovers += 1;
                self.replayed += *replayed;
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

    /// The hop's part in the session's trace, to be ended.
    pub(crate) const fn take_trace(&mut self) -> Option<HopTrace> {
        self.trace.take()
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
    hop: RemoteHop,
    notes: Notes,
    pools: Vec<SharedPool>,
    /// The endpoint that its figures are under.
    named: String,
}

impl CountedHop {
    /// A hop that was opened from this.
    pub(crate) fn new(hop: RemoteHop, notes: Notes, config: &HopConfig) -> Self {
        let pool = |tier: &Tier| match tier {
            Tier::Remote(tier) => Some(Arc::clone(&tier.pool)),
            Tier::Local(_) | Tier::Cache(_) | Tier::Error(_) => None,
        };
        Self {
            named: hop.endpoint().to_owned(),
            hop,
            notes,
            pools: config.tiers.iter().filter_map(pool).collect(),
        }
    }
}

impl Hop for CountedHop {
    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<HopEvent> {
        loop {
            match self.hop.poll_event(cx, now) {
                Poll::Ready(HopEvent::Note(note)) => self.notes.count(now, &note),
                other => return other,
            }
        }
    }

    fn hold(&mut self, now: Timestamp) {
        self.hop.hold(now);
    }

    fn send(&mut self, now: Timestamp, command: HopCommand) {
        self.hop.send(now, command);
    }

    fn endpoint(&self) -> Option<&str> {
        Some(self.hop.endpoint())
    }

    fn take_moved(&mut self) -> bool {
        let moved = self.hop.endpoint() != self.named;
        if moved {
            self.hop.endpoint().clone_into(&mut self.named);
        }
        moved
    }

    fn remote(&self, now: Timestamp) -> Option<RemoteReport> {
        Some(RemoteReport {
            endpoints: state::rows(&self.pools, now, self.hop.endpoint()),
            failovers: self.notes.failovers,
            replayed_frames: self.notes.replayed,
        })
    }

    fn take_trace(&mut self) -> Option<HopTrace> {
        self.notes.take_trace()
    }

    fn timeout(&self) -> Option<Timestamp> {
        self.hop.poll_timeout()
    }
}
