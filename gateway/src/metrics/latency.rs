//! A histogram of durations: counts by bucket, their sum, and by bucket the newest exemplar.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::bounds::{Bounds, MOST};

/// Of any histogram, with the one above all bounds.
const BUCKETS: usize = MOST + 1;

/// A histogram. Recording takes no lock.
#[derive(Default)]
pub(crate) struct Latency {
    bounds: Bounds,
    /// By bucket; the last of a histogram with few bounds are never used.
    counts: [AtomicU64; BUCKETS],
    /// A float's bits.
    sum: AtomicU64,
    /// Made with the first exemplar: most series never have one.
    exemplars: OnceLock<Box<Mutex<Exemplars>>>,
}

type Exemplars = [Option<Exemplar>; BUCKETS];

/// One measurement by name: the trace that it is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    /// Seconds.
    pub(crate) value: f64,
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// Since 1970.
    pub(crate) at: Duration,
}

/// What a histogram has at one time.
pub(super) struct Snapshot {
    pub(super) bounds: Bounds,
    /// By bucket, not added up.
    pub(super) counts: [u64; BUCKETS],
    pub(super) sum: f64,
    pub(super) exemplars: Exemplars,
}

impl Latency {
    /// A histogram of [`MOST`] bounds at most.
    pub(super) fn within(bounds: Bounds) -> Self {
        Self {
            bounds,
            ..Self::default()
        }
    }

    /// Counts a duration in seconds.
    pub(crate) fn record(&self, seconds: f64) {
        self.counts[self.bucket(seconds)].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + seconds).to_bits());
        // It does not fail: the closure always gives a value.
        let _added = self
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Keeps an exemplar in place of the one that its bucket had.
    pub(crate) fn exemplify(&self, exemplar: Exemplar) {
        let exemplars = self.exemplars.get_or_init(Box::default);
        let mut exemplars = exemplars.lock().unwrap_or_else(PoisonError::into_inner);
        exemplars[self.bucket(exemplar.value)] = Some(exemplar);
    }

    /// How many there were, and all of them together.
    pub(crate) fn total(&self) -> (u64, Duration) {
        let Snapshot { counts, sum, .. } = self.snapshot();
        let sum = Duration::try_from_secs_f64(sum).unwrap_or_default();
        (counts.iter().sum(), sum)
    }

    /// Whether anything has been counted.
    pub(super) fn is_observed(&self) -> bool {
        let mut counts = self.counts.iter();
        counts.any(|count| count.load(Ordering::Relaxed) > 0)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let exemplars = self.exemplars.get().map(|exemplars| {
            let exemplars = exemplars.lock().unwrap_or_else(PoisonError::into_inner);
            *exemplars
        });
        Snapshot {
            bounds: self.bounds,
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)),
            exemplars: exemplars.unwrap_or_default(),
        }
    }

    /// The bucket of a value: the first whose bound is not below it.
    fn bucket(&self, seconds: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < seconds)
    }
}

impl std::fmt::Debug for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Latency").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::bounds::{CALL, WAITING};

    #[test]
    fn a_value_at_a_bound_is_below_it_and_one_above_all_is_counted_too() {
        let latency = Latency::within(CALL);
        assert!(!latency.is_observed());
        [0.0, 1e-7, 0.1, 0.100_1, 31.0]
            .into_iter()
            .for_each(|value| latency.record(value));
        assert!(latency.is_observed());
        let seen = latency.snapshot();
        let at = |bound: f64| CALL.iter().position(|b| *b == bound).expect("a bound");
        assert_eq!(seen.counts[0], 2);
        assert_eq!(seen.counts[at(0.1)], 1);
        assert_eq!(seen.counts[at(1.0)], 1);
        assert_eq!(seen.counts[CALL.len()], 1);
        assert!((seen.sum - 31.200_1).abs() < 1e-6, "{}", seen.sum);
    }

    #[test]
    fn a_bucket_keeps_its_newest_exemplar() {
        let latency = Latency::within(WAITING);
        let exemplar = |value, trace_id| Exemplar {
            value,
            trace_id,
            span_id: 1,
            at: Duration::from_secs(1),
        };
        for (value, trace) in [(0.02, 1), (0.024, 2), (0.2, 3)] {
            latency.exemplify(exemplar(value, trace));
        }
        let kept = latency.snapshot().exemplars.into_iter().flatten();
        let kept: Vec<_> = kept.map(|exemplar| exemplar.trace_id).collect();
        assert_eq!(kept, [2, 3]);
    }
}
