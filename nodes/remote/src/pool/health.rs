//! One endpoint's active checks: when the next is due, and what the last ones say.
//!
//! An endpoint is up until checks say otherwise. Checks tell whether it could serve; what requests met there is the breaker's.

use std::time::Duration;

use rand::Rng;
use tidegate_media::Timestamp;

use super::config::HealthConfig;
use super::latency::smooth;

/// How much sooner the next check is while the last ones disagree with the state.
const FAST: u32 = 5;
/// A checker that has not answered this long after the check's own limit is gone.
const ABANDONED: Duration = Duration::from_secs(5);

/// What a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    WentDown,
    CameUp,
}

#[derive(Debug)]
pub(super) struct Health {
    up: bool,
    /// Checks in a row that contradict `up`.
    against: u32,
    next: Timestamp,
    /// A check is on its way; when it is given up.
    asked: Option<Timestamp>,
    round_trip: Option<Duration>,
}

impl Health {
    /// Up, with the first check due at once.
    pub(super) const fn new() -> Self {
        Self {
            up: true,
            against: 0,
            next: Timestamp::ZERO,
            asked: None,
            round_trip: None,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// A round trip measured otherwise, if checks measure none.
    pub(super) fn measured(&mut self, round_trip: Duration) {
        self.round_trip = Some(smooth(self.round_trip, round_trip));
    }

    /// When something is to be done.
    pub(super) fn poll_timeout(&self) -> Timestamp {
        self.asked.unwrap_or(self.next)
    }

    /// Whether a check is to be made now; if so it counts as on its way.
    pub(super) fn begin(&mut self, now: Timestamp, config: &HealthConfig) -> bool {
        let due = now >= self.poll_timeout();
        if due {
            self.asked = Some(now + config.timeout + ABANDONED);
        }
        due
    }

    /// Requests fail there: look soon.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        self.next = self.next.min(now);
    }

    pub(super) fn result(
        &mut self,
        now: Timestamp,
        round_trip: Option<Duration>,
        config: &HealthConfig,
        random: &mut impl Rng,
    ) -> Change {
        self.asked = None;
        if let Some(round_trip) = round_trip {
            self.round_trip = Some(smooth(self.round_trip, round_trip));
        }
        let agrees = round_trip.is_some() == self.up;
        self.against = if agrees { 0 } else { self.against + 1 };
        let needed = if self.up { config.fall } else { config.rise };
        let change = match (self.against >= needed.max(1) && !agrees, self.up) {
            (false, _) => Change::None,
            (true, true) => Change::WentDown,
            (true, false) => Change::CameUp,
        };
        if change != Change::None {
            self.up = !self.up;
            self.against = 0;
        }
        let span = if self.against > 0 {
            config.interval / FAST
        } else {
            config.interval
        };
        self.next = now + span.mul_f64(random.random_range(0.9..=1.1));
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const MS: Duration = Duration::from_millis(1);

    struct World {
        health: Health,
        config: HealthConfig,
        random: SmallRng,
        now: Timestamp,
    }

    impl World {
        fn new() -> Self {
            Self {
                health: Health::new(),
                config: HealthConfig::default(),
                random: SmallRng::seed_from_u64(1),
                now: Timestamp::ZERO,
            }
        }

        /// Waits for the next check and answers it; returns how long it waited and what changed.
        fn check(&mut self, passed: bool) -> (Duration, Change) {
            let waited = self.health.poll_timeout() - self.now;
            self.now = self.now.max(self.health.poll_timeout());
            assert!(self.health.begin(self.now, &self.config));
            assert!(!self.health.begin(self.now, &self.config), "one at a time");
            let round_trip = passed.then_some(3 * MS);
            let change = self
                .health
                .result(self.now, round_trip, &self.config, &mut self.random);
            (waited, change)
        }
    }

    #[test]
    fn three_failed_checks_take_it_down_and_two_passed_ones_bring_it_up() {
        let mut world = World::new();
        assert!(world.health.is_up());
        let changes: Vec<_> = [false, false, true, false, false, false]
            .map(|passed| world.check(passed).1)
            .to_vec();
        assert_eq!(changes[..5], [Change::None; 5]);
        assert_eq!(changes[5], Change::WentDown);
        assert!(!world.health.is_up());
        assert_eq!(world.check(true).1, Change::None);
        assert_eq!(world.check(false).1, Change::None);
        assert_eq!(world.check(true).1, Change::None);
        assert_eq!(world.check(true).1, Change::CameUp);
    }

    #[test]
    fn checks_come_at_the_interval_and_faster_while_in_doubt() {
        let mut world = World::new();
        assert_eq!(world.check(true).0, Duration::ZERO);
        let calm = 4_500 * MS..=5_500 * MS;
        assert!(calm.contains(&world.check(false).0));
        assert!((900 * MS..=1_100 * MS).contains(&world.check(true).0));
        assert!(calm.contains(&world.check(true).0));
    }

    #[test]
    fn a_checker_that_vanished_is_replaced_and_blames_nobody() {
        let mut world = World::new();
        world.now = world.health.poll_timeout();
        assert!(world.health.begin(world.now, &world.config));
        let later = world.now + 10_000 * MS;
        assert!(world.health.begin(later, &world.config));
        assert_eq!(world.health.against, 0);
    }

    #[test]
    fn failing_requests_bring_the_check_forward() {
        let mut world = World::new();
        world.check(true);
        world.health.hurry(world.now);
        assert_eq!(world.check(true).0, Duration::ZERO);
    }

    #[test]
    fn the_round_trip_is_that_of_passed_checks() {
        let mut world = World::new();
        world.check(false);
        assert_eq!(world.health.round_trip(), None);
        world.check(true);
        assert_eq!(world.health.round_trip(), Some(3 * MS));
    }
}
