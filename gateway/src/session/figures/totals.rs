//! A graph's running totals on their way to the counters and gauges of `/metrics`.

use tidegate_nodes::DropReason;
use tidegate_nodes::graph::HopStats;

use super::Hop;
use crate::metrics::Metrics;
use crate::metrics::hops::Level;

/// What of a hop's running totals has reached the counters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    frames_in: u64,
    frames_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    dropped: [u64; DropReason::ALL.len()],
    queue_frames: u32,
    in_flight: u32,
}

impl Hop {
    /// Takes what it holds out of the gauges.
    pub(super) fn leave_gauges(&mut self, metrics: &Metrics) {
        self.level(metrics, 0, 0);
    }

    /// Says how many frames wait and how many are in flight.
    fn level(&mut self, metrics: &Metrics, queue_frames: u32, in_flight: u32) {
        let (handles, flushed) = (&self.handles, &mut self.flushed);
        for (level, done, value) in [
            (Level::Queue, &mut flushed.queue_frames, queue_frames),
            (Level::InFlight, &mut flushed.in_flight, in_flight),
        ] {
            if value != *done {
                let gauge = handles.level(metrics, level);
                gauge.increment(f64::from(value) - f64::from(*done));
                *done = value;
            }
        }
    }

    pub(super) fn flush(&mut self, metrics: &Metrics, stats: &HopStats) {
        let (handles, flushed) = (&self.handles, &mut self.flushed);
        let advance = |counter: &metrics::Counter, done: &mut u64, total: u64| {
            if total > *done {
                counter.increment(total - *done);
                *done = total;
            }
        };
        advance(&handles.frames_in, &mut flushed.frames_in, stats.frames_in);
        advance(
            &handles.frames_out,
            &mut flushed.frames_out,
            stats.frames_out,
        );
        advance(&handles.bytes_in, &mut flushed.bytes_in, stats.bytes_in);
        advance(&handles.bytes_out, &mut flushed.bytes_out, stats.bytes_out);
        for reason in DropReason::ALL {
            let (total, done) = (
                stats.dropped[reason as usize],
                &mut flushed.dropped[reason as usize],
            );
            if total > *done {
                handles.dropped(metrics, reason).increment(total - *done);
                *done = total;
            }
        }
        self.level(metrics, stats.queue_frames, stats.in_flight);
    }
}
