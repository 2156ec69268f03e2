//! Behaviour of one breaker.

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
