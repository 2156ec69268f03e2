//! One endpoint's circuit breaker: a gate that is open to all, shut, or admits exactly one request to see.
//!
//! It opens after so many failures in a row, or when too few of the last attempts succeeded. It stays open for a time that doubles
//! whenever it opens again before the endpoint has proven itself, which takes a full window of mostly successful attempts or
//! `open_max` without reopening: an endpoint that fails every second request passes many a single probe.
//!
//! What a request met counts only if it was admitted since the breaker last opened, or had reached the endpoint: attempts
//! that began before an outage and time out after it say nothing about now.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::Rng;
use tidegate_media::Timestamp;

use super::backoff::doubled;
use super::config::BreakerConfig;

/// A probe whose stream has stood this long without failing has proven the endpoint, even if there was nothing to answer yet.
const SETTLED: Duration = Duration::from_secs(10);

/// How far below its length a time of being open may fall, so that gateways do not probe in step.
const JITTER: std::ops::RangeInclusive<f64> = 0.9..=1.0;

/// A breaker as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// None passes until this instant.
    Open {
        /// When one will be admitted.
        until: Timestamp,
    },
    /// One is admitted, or on its way.
    HalfOpen,
}

impl BreakerState {
    /// The value of the `state` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Whether a request may pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Yes,
    /// Exactly one, as a probe.
    Probe,
    /// Not before this instant; `None`: a probe is on its way.
    No(Option<Timestamp>),
}

/// What an attempt says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    /// A failure that counts within the window only.
    Lacking,
    /// A failure that says to stay away at once.
    Leave,
}

/// What the breaker remembers of an attempt that it admitted.
#[derive(Debug)]
pub(super) struct Pass {
    generation: u64,
    /// The one half-open request; while it lives, no other is admitted.
    probe: Option<Arc<()>>,
    /// When the endpoint took it.
    pub(super) opened: Option<Timestamp>,
}

impl Pass {
    pub(super) const fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

#[derive(Debug)]
enum State {
    Closed {
        since: Timestamp,
    },
    Open {
        until: Timestamp,
    },
    HalfOpen {
        probe: Weak<()>,
        opened: Option<Timestamp>,
    },
}

#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    /// How often it has opened; distinguishes what was admitted before and after.
    generation: u64,
    /// Openings since the endpoint was last proven.
    level: u32,
    in_a_row: u32,
    window: VecDeque<bool>,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed {
                since: Timestamp::ZERO,
            },
            generation: 0,
            level: 0,
            in_a_row: 0,
            window: VecDeque::new(),
        }
    }

    pub(super) fn state(&self, now: Timestamp) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open { until },
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Failures in a row up to now.
    pub(super) const fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    pub(super) fn admission(&mut self, now: Timestamp) -> Admission {
        match &self.state {
            State::Closed { .. } => Admission::Yes,
            State::Open { until } if now < *until => Admission::No(Some(*until)),
            State::Open { .. } => Admission::Probe,
            // Given back without a result: whoever held it was cancelled.
            State::HalfOpen { probe, .. } if probe.strong_count() == 0 => Admission::Probe,
            State::HalfOpen {
                opened: Some(opened),
                ..
            } if now - *opened >= SETTLED => {
                self.close(now);
                Admission::Yes
            }
            State::HalfOpen { .. } => Admission::No(None),
        }
    }

    /// Notes one request as admitted. The caller has asked [`Breaker::admission`] at the same instant.
    pub(super) fn admit(&mut self, now: Timestamp) -> Pass {
        let probe = (self.admission(now) == Admission::Probe).then(|| {
            let token = Arc::new(());
            self.state = State::HalfOpen {
                probe: Arc::downgrade(&token),
                opened: None,
            };
            token
        });
        Pass {
            generation: self.generation,
            probe,
            opened: None,
        }
    }

    /// The endpoint took the request.
    pub(super) fn opened(&mut self, now: Timestamp, pass: &mut Pass) {
        pass.opened = Some(now);
        if self.awaits(pass)
            && let State::HalfOpen { opened, .. } = &mut self.state
        {
            *opened = Some(now);
        }
    }

    /// The endpoint gave an output: proof enough for a probe, whose stream may live for hours.
    pub(super) fn answered(&mut self, now: Timestamp, pass: &Pass) {
        if self.awaits(pass) {
            self.close(now);
        }
    }

    /// An attempt is over. Returns whether this opened the breaker.
    pub(super) fn record(
        &mut self,
        now: Timestamp,
        pass: &Pass,
        verdict: Verdict,
        random: &mut impl Rng,
    ) -> bool {
        if self.awaits(pass) {
            match verdict {
                Verdict::Success => self.close(now),
                _ => self.open(now, random),
            }
            return verdict != Verdict::Success;
        }
        let current = pass.generation == self.generation || pass.opened.is_some();
        if !current || !matches!(self.state, State::Closed { .. }) {
            return false;
        }
        match verdict {
            Verdict::Success => self.in_a_row = 0,
            Verdict::Failure => self.in_a_row += 1,
            Verdict::Lacking | Verdict::Leave => {}
        }
        let poor = self.remember(verdict == Verdict::Success);
        let open =
            poor || verdict == Verdict::Leave || self.in_a_row >= self.config.failures.max(1);
        if open {
            self.open(now, random);
        }
        open
    }

    /// What shut the endpoint off seems mended: the next request may see. The doubling goes on where it was.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        if let State::Open { until } = &mut self.state {
            *until = (*until).min(now);
        }
    }

    /// Whether this is the request whose result the half-open breaker waits for.
    fn awaits(&self, pass: &Pass) -> bool {
        match (&self.state, &pass.probe) {
            (State::HalfOpen { probe, .. }, Some(token)) => {
                std::ptr::eq(probe.as_ptr(), Arc::as_ptr(token))
            }
            _ => false,
        }
    }

    /// Returns whether too few of the last attempts succeeded.
    fn remember(&mut self, success: bool) -> bool {
        if self.config.window == 0 {
            return false;
        }
        if self.window.len() == self.config.window {
            self.window.pop_front();
        }
        self.window.push_back(success);
        if self.window.len() < self.config.window {
            return false;
        }
        let good = self.window.iter().filter(|good| **good).count();
        let needed = self.config.success * as_f64(self.config.window);
        let poor = as_f64(good) + 1e-9 < needed;
        if !poor {
            self.level = 0;
        }
        poor
    }

    fn open(&mut self, now: Timestamp, random: &mut impl Rng) {
        if let State::Closed { since } = self.state
            && now - since >= self.config.open_max
        {
            self.level = 0;
        }
        let span = doubled(self.config.open, self.config.open_max, self.level);
        self.level = self.level.saturating_add(1);
        self.generation += 1;
        self.forget();
        self.state = State::Open {
            until: now + span.mul_f64(random.random_range(JITTER)),
        };
    }

    fn close(&mut self, now: Timestamp) {
        self.forget();
        self.state = State::Closed { since: now };
    }

    fn forget(&mut self) {
        self.in_a_row = 0;
        self.window.clear();
    }
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    struct World {
        breaker: Breaker,
        random: SmallRng,
        now: Timestamp,
    }

    impl World {
        fn new() -> Self {
            Self {
                breaker: Breaker::new(BreakerConfig::default()),
                random: SmallRng::seed_from_u64(3),
                now: Timestamp::ZERO + Duration::from_secs(1),
            }
        }

        fn admitted(&mut self) -> Option<Pass> {
            let admission = self.breaker.admission(self.now);
            (!matches!(admission, Admission::No(_))).then(|| self.breaker.admit(self.now))
        }

        fn end(&mut self, pass: &Pass, verdict: Verdict) -> bool {
            self.breaker
                .record(self.now, pass, verdict, &mut self.random)
        }

        fn attempt(&mut self, verdict: Verdict) -> bool {
            let pass = self.admitted().expect("admitted");
            self.end(&pass, verdict)
        }

        /// Fails until it opens; returns after how many attempts.
        fn fail(&mut self) -> usize {
            (1..100)
                .find(|_| self.attempt(Verdict::Failure))
                .expect("it opens")
        }

        /// Waits until it admits a probe; returns how long that took.
        fn wait(&mut self) -> Duration {
            let BreakerState::Open { until } = self.breaker.state(self.now) else {
                panic!("not open: {:?}", self.breaker);
            };
            let waited = until - self.now;
            self.now = until;
            waited
        }
    }

    #[test]
    fn it_opens_at_the_fifth_failure_in_a_row() {
        let mut world = World::new();
        for _ in 0..3 {
            for _ in 0..4 {
                assert!(!world.attempt(Verdict::Failure));
            }
            for _ in 0..40 {
                world.attempt(Verdict::Success);
            }
        }
        assert_eq!(world.fail(), 5);
        assert!(world.admitted().is_none());
    }

    #[test]
    fn it_opens_below_three_fifths_of_the_last_twenty() {
        let mut world = World::new();
        for n in 0..40 {
            // Exactly three fifths are enough.
            let verdict = [Verdict::Failure, Verdict::Success, Verdict::Success][..][n % 5 % 3];
            assert!(!world.attempt(verdict), "attempt {n}");
        }
        let mut world = World::new();
        let opened = (0..40).position(|n| {
            world.attempt(if n % 2 == 0 {
                Verdict::Success
            } else {
                Verdict::Failure
            })
        });
        assert_eq!(opened, Some(19));
    }

    #[test]
    fn half_open_admits_exactly_one_and_its_success_closes() {
        let mut world = World::new();
        world.fail();
        let waited = world.wait();
        assert!((900..=1_000).contains(&waited.as_millis()), "{waited:?}");
        let probe = world.admitted().expect("a probe");
        assert!(probe.is_probe());
        assert!(world.admitted().is_none());
        assert!(!world.end(&probe, Verdict::Success));
        assert_eq!(world.breaker.state(world.now), BreakerState::Closed);
        assert!(!world.admitted().expect("closed").is_probe());
    }

    #[test]
    fn a_probe_that_is_given_back_lets_the_next_one_see() {
        let mut world = World::new();
        world.fail();
        world.wait();
        let probe = world.admitted().expect("a probe");
        assert!(world.admitted().is_none());
        drop(probe);
        assert!(world.admitted().expect("the next one").is_probe());
    }

    #[test]
    fn it_stays_open_twice_as_long_each_time_up_to_a_minute() {
        let mut world = World::new();
        world.fail();
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(world.wait().as_secs_f64());
            world.attempt(Verdict::Failure);
        }
        for (wait, nominal) in waits
            .iter()
            .zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
        {
            assert!(
                (0.9 * nominal..=nominal).contains(wait),
                "{wait} for {nominal}"
            );
        }
    }

    #[test]
    fn one_lucky_probe_does_not_start_the_doubling_over_but_proof_does() {
        let mut world = World::new();
        world.fail();
        world.wait();
        world.attempt(Verdict::Success);
        world.fail();
        assert!(world.wait() > Duration::from_millis(1_700));
        for _ in 0..21 {
            world.attempt(Verdict::Success);
        }
        world.fail();
        assert!(world.wait() <= Duration::from_secs(1));
    }

    #[test]
    fn an_output_or_a_long_standing_stream_is_proof_enough() {
        let mut world = World::new();
        world.fail();
        world.wait();
        let mut probe = world.admitted().expect("a probe");
        world.breaker.opened(world.now, &mut probe);
        assert!(world.admitted().is_none());
        world.breaker.answered(world.now, &probe);
        assert!(world.admitted().is_some());

        world.fail();
        world.wait();
        let mut probe = world.admitted().expect("a probe");
        world.breaker.opened(world.now, &mut probe);
        world.now += Duration::from_secs(9);
        assert!(world.admitted().is_none());
        world.now += Duration::from_secs(1);
        assert!(!world.admitted().expect("settled").is_probe());
        // Its end still counts, as any other's.
        assert!(!world.end(&probe, Verdict::Failure));
        assert_eq!(world.breaker.in_a_row(), 1);
    }

    #[test]
    fn attempts_from_before_the_outage_say_nothing_after_it_unless_they_had_arrived() {
        let mut world = World::new();
        let late: Vec<_> = (0..5).filter_map(|_| world.admitted()).collect();
        let mut streams: Vec<_> = (0..5).filter_map(|_| world.admitted()).collect();
        for stream in &mut streams {
            world.breaker.opened(world.now, stream);
        }
        world.fail();
        world.wait();
        world.attempt(Verdict::Success);
        assert!(!late.iter().any(|pass| world.end(pass, Verdict::Failure)));
        let opened: Vec<_> = streams
            .iter()
            .map(|pass| world.end(pass, Verdict::Failure))
            .collect();
        assert_eq!(opened, [false, false, false, false, true]);
    }

    #[test]
    fn an_endpoint_that_asks_to_be_left_is_left_at_once() {
        let mut world = World::new();
        assert!(world.attempt(Verdict::Leave));
        assert!(world.admitted().is_none());
    }

    #[test]
    fn hurry_only_ever_shortens_the_wait() {
        let mut world = World::new();
        world.breaker.hurry(world.now);
        assert_eq!(world.breaker.state(world.now), BreakerState::Closed);
        world.fail();
        world.breaker.hurry(world.now);
        assert!(world.admitted().expect("at once").is_probe());
    }
}
