//! Percentiles over the last ten seconds, for the admin API and the page; small enough to be kept per session and hop.
//!
//! Two histograms of five seconds each take turns; a figure reads both, so it covers five to ten seconds. One significant digit:
//! a percentile is within 10 %. Nothing is allocated before the first sample.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tidegate_media::Timestamp;

const HALF: Duration = Duration::from_secs(5);
/// From 64 ns, below which a clock reading costs more than what it measures, to a minute.
const BOUNDS_NANOS: (u64, u64) = (64, 60_000_000_000);

/// Samples of the last ten seconds.
#[derive(Default)]
pub(crate) struct Window {
    halves: Option<Box<[Histogram<u32>; 2]>>,
    current_since: Timestamp,
    endless: bool,
}

/// What a window says; in microseconds, fractions of one included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

impl Window {
    /// A window that forgets nothing: for a session with an end, whose figures are read there.
    pub(crate) fn endless() -> Self {
        Self {
            endless: true,
            ..Self::default()
        }
    }

    /// Adds a sample.
    pub(crate) fn record(&mut self, now: Timestamp, value: Duration) {
        self.turn(now);
        if self.halves.is_none() {
            self.halves = fresh().zip(fresh()).map(|(a, b)| Box::new([a, b]));
            self.current_since = now;
        }
        if let Some(halves) = &mut self.halves {
            halves[0].saturating_record(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Percentiles, or `None` without samples in the window.
    pub(crate) fn percentiles(&mut self, now: Timestamp) -> Option<Percentiles> {
        self.turn(now);
        let halves = self.halves.as_ref()?;
        let mut both = halves[0].clone();
        both.add(&halves[1]).ok()?;
        if both.is_empty() {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "nanoseconds under a minute are exact in f64"
        )]
        let micros = |nanos: u64| nanos as f64 / 1_000.0;
        Some(Percentiles {
            count: both.len(),
            p50_us: micros(both.value_at_quantile(0.5)),
            p90_us: micros(both.value_at_quantile(0.9)),
            p99_us: micros(both.value_at_quantile(0.99)),
            max_us: micros(both.max()),
        })
    }

    fn turn(&mut self, now: Timestamp) {
        let Some(halves) = &mut self.halves else {
            return;
        };
        let since = now.saturating_since(self.current_since);
        if since < HALF || self.endless {
            return;
        }
        halves.swap(0, 1);
        halves[0].reset();
        if since >= 2 * HALF {
            halves[1].reset();
        }
        self.current_since = now;
    }
}

fn fresh() -> Option<Histogram<u32>> {
    Histogram::new_with_bounds(BOUNDS_NANOS.0, BOUNDS_NANOS.1, 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_leave_the_window_after_ten_seconds() {
        let at = |secs: u64| Timestamp::ZERO + Duration::from_secs(secs);
        let mut window = Window::default();
        assert_eq!(window.percentiles(at(0)), None);
        window.record(at(1), Duration::from_micros(100));
        let seen = window
            .percentiles(at(2))
            .expect("a sample is in the window");
        assert_eq!(seen.count, 1);
        assert!((90.0..=115.0).contains(&seen.p50_us), "{seen:?}");
        assert!(window.percentiles(at(7)).is_some());
        assert_eq!(window.percentiles(at(18)), None);
    }

    #[test]
    fn an_endless_window_keeps_every_sample() {
        let at = |secs: u64| Timestamp::ZERO + Duration::from_secs(secs);
        let mut window = Window::endless();
        window.record(at(1), Duration::from_micros(100));
        window.record(at(3600), Duration::from_micros(100));
        assert_eq!(window.percentiles(at(7200)).map(|p| p.count), Some(2));
    }
}
