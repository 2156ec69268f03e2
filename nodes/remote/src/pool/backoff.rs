//! How long a repeat waits: exponential with jitter, so that those who failed together do not return together.
//!
//! Half of the wait is certain and half is drawn ("equal jitter"): full jitter may draw nearly nothing, and an endpoint that is
//! restarting is then met too early by someone each time.

use std::time::Duration;

use rand::Rng;

/// The wait before repeat number `repeat` (0: the first). Between half of `first · 2^repeat` and all of it, never above `max`.
pub(super) fn backoff(
    first: Duration,
    max: Duration,
    repeat: u32,
    random: &mut impl Rng,
) -> Duration {
    doubled(first, max, repeat).mul_f64(random.random_range(0.5..=1.0))
}

/// `first · 2^times`, at most `max`.
pub(super) fn doubled(first: Duration, max: Duration, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const FIRST: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn each_repeat_waits_twice_as_long_up_to_the_limit() {
        let spans: Vec<_> = (0..7).map(|n| doubled(FIRST, MAX, n).as_secs()).collect();
        assert_eq!(spans, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(doubled(FIRST, MAX, u32::MAX), MAX);
        assert_eq!(doubled(Duration::ZERO, MAX, 40), Duration::ZERO);
    }

    #[test]
    fn waits_are_spread_over_the_upper_half() {
        let mut random = SmallRng::seed_from_u64(7);
        let waits: Vec<_> = (0..1_000)
            .map(|_| backoff(FIRST, MAX, 2, &mut random))
            .collect();
        let span = Duration::from_secs(2)..=Duration::from_secs(4);
        assert!(waits.iter().all(|wait| span.contains(wait)));
        let early = waits.iter().filter(|wait| wait.as_secs() < 3).count();
        assert!((400..600).contains(&early), "{early} in the lower half");
    }
}
