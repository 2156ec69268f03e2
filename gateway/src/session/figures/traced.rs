//! What of a session's figures its trace tells: an exemplar of each flush, and the sums by hop.
//!
//! Nothing of it is kept in a session whose trace is not sampled.

use std::time::Duration;

use tidegate_nodes::graph::Stage;

use super::{Figures, State, lock};
use crate::clock::since_1970;
use crate::metrics::latency::{Exemplar, Latency};
use crate::metrics::seconds;
use crate::session::turns::Split;

/// What a trace says of a hop, by stage.
#[derive(Default)]
pub(super) struct Traced {
    /// The longest since the last flush, for an exemplar.
    slowest: [Option<Duration>; STAGES],
    sums: [Duration; STAGES],
    counts: [u64; STAGES],
    /// Of the newest output.
    newest: [Duration; STAGES],
}

const STAGES: usize = 4;

/// What a hop has measured in its session.
pub(crate) struct HopTimes {
    pub(crate) endpoint: Option<String>,
    /// Outputs that were measured.
    pub(crate) outputs: u64,
    /// Of all outputs together.
    pub(crate) sums: Split,
}

impl Figures {
    /// What a hop has measured, of a session whose trace is sampled; `hop` counts as in the graph's figures.
    pub(crate) fn of_hop(&self, hop: usize) -> Option<HopTimes> {
        let state = lock(&self.state);
        let hop = state.hops.get(hop)?;
        let traced = hop.traced.as_ref()?;
        Some(HopTimes {
            endpoint: hop.endpoint.clone(),
            outputs: traced.counts[Stage::Wire as usize]
                .max(traced.counts[Stage::Service as usize]),
            sums: traced.split(&traced.sums),
        })
    }

    /// Where the time of a hop's newest output went.
    pub(crate) fn newest(&self, hop: usize) -> Split {
        let state = lock(&self.state);
        let traced = state.hops.get(hop).and_then(|hop| hop.traced.as_ref());
        traced.map_or_else(Split::default, |traced| traced.split(&traced.newest))
    }
}

impl State {
    /// Leaves the slowest of what was measured since the last time with the histograms, where others find its trace.
    pub(super) fn exemplify(&mut self) {
        let Some((trace_id, span_id)) = self.found_under else {
            return;
        };
        let at = since_1970();
        let leave = |histogram: &Latency, slowest: &mut Option<Duration>| {
            if let Some(value) = slowest.take() {
                histogram.exemplify(Exemplar {
                    value: seconds(value),
                    trace_id,
                    span_id,
                    at,
                });
            }
        };
        for egress in &mut self.egresses {
            leave(&egress.histogram, &mut egress.slowest);
        }
        for hop in &mut self.hops {
            let Some(traced) = &mut hop.traced else {
                continue;
            };
            for stage in [
                Stage::Queue,
                Stage::Service,
                Stage::Wire,
                Stage::FirstOutput,
            ] {
                leave(hop.handles.of(stage), &mut traced.slowest[stage as usize]);
            }
        }
    }
}

impl Traced {
    pub(super) fn note(&mut self, stage: Stage, value: Duration) {
        let at = stage as usize;
        self.slowest[at] = self.slowest[at].max(Some(value));
        self.sums[at] += value;
        self.counts[at] += 1;
        self.newest[at] = value;
    }

    fn split(&self, of: &[Duration; STAGES]) -> Split {
        Split {
            queue: of[Stage::Queue as usize],
            wire: of[Stage::Wire as usize],
            service: of[Stage::Service as usize],
        }
    }
}
