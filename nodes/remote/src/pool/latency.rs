//! What an endpoint's answers cost: peak-sensitive moving average, and the smoothed round trip of its checks.

use std::time::Duration;

use tidegate_media::Timestamp;

/// Time in which a past measurement loses about two thirds of its weight. Long enough that single frames do not matter, short
/// enough that an endpoint that was slow a minute ago is tried again.
const MEMORY: Duration = Duration::from_secs(10);

/// Peak EWMA: jumps to each new maximum at once and forgets it with elapsed time, so that a slow endpoint is left after one slow
/// answer, and how often an endpoint is measured does not matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeakEwma {
    seconds: f64,
    at: Timestamp,
}

impl PeakEwma {
    pub(super) const fn new(now: Timestamp, sample: Duration) -> Self {
        Self {
            seconds: sample.as_secs_f64(),
            at: now,
        }
    }

    pub(super) fn observe(&mut self, now: Timestamp, sample: Duration) {
        let sample = sample.as_secs_f64();
        let kept = weight(now - self.at);
        self.at = self.at.max(now);
        self.seconds = if sample >= self.seconds {
            sample
        } else {
            self.seconds * kept + sample * (1.0 - kept)
        };
    }

    /// In seconds. An endpoint that nothing is sent to looks better with time, so that it is tried again; one that owes an answer
    /// does not.
    pub(super) fn cost(&self, now: Timestamp, idle: bool) -> f64 {
        if idle {
            self.seconds * weight(now - self.at)
        } else {
            self.seconds
        }
    }

    /// As last measured.
    pub(super) fn value(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }
}

fn weight(elapsed: Duration) -> f64 {
    (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp()
}

/// Smooths round trips as TCP does (RFC 6298 §2: an eighth of each new one).
pub(super) fn smooth(known: Option<Duration>, sample: Duration) -> Duration {
    known.map_or(sample, |known| {
        (known.saturating_mul(7).saturating_add(sample)) / 8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_peak_counts_at_once_and_fades_with_time() {
        let mut ewma = PeakEwma::new(at(0), 10 * MS);
        ewma.observe(at(1), 500 * MS);
        assert_eq!(ewma.value(), 500 * MS);
        ewma.observe(at(2), 10 * MS);
        assert!(ewma.value() > 400 * MS);
        ewma.observe(at(60), 10 * MS);
        assert!(ewma.value() < 12 * MS, "{:?}", ewma.value());
    }

    #[test]
    fn many_samples_at_one_instant_weigh_no_more_than_one() {
        let mut ewma = PeakEwma::new(at(0), 100 * MS);
        for _ in 0..1_000 {
            ewma.observe(at(0), MS);
        }
        assert_eq!(ewma.value(), 100 * MS);
    }

    #[test]
    fn only_an_idle_endpoint_looks_better_with_time() {
        let ewma = PeakEwma::new(at(0), 100 * MS);
        assert!(ewma.cost(at(30), true) < 0.006);
        assert!(ewma.cost(at(30), false) > 0.099);
    }

    #[test]
    fn round_trips_are_smoothed_as_in_tcp() {
        assert_eq!(smooth(None, 80 * MS), 80 * MS);
        assert_eq!(smooth(Some(80 * MS), 160 * MS), 90 * MS);
    }
}
