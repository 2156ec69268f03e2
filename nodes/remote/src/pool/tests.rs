//! Behaviour of a pool as its users see it.

use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Code;

use super::*;

mod names;

const MS: Duration = Duration::from_millis(1);
const REFUSED: Outcome = Outcome::Failed {
    code: Code::Network,
    transient: true,
};

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn config(count: usize) -> PoolConfig {
    PoolConfig {
        health: None,
        ..PoolConfig::new((0..count).map(|n| format!("http://10.0.0.{n}:1")))
    }
}

fn pool(balance: Balance, count: usize) -> Pool {
    let config = PoolConfig {
        balance,
        ..config(count)
    };
    Pool::new(config, 1)
}

fn first(pool: &mut Pool, now: Timestamp) -> Permit {
    picked(pool, now, &mut Tried::new())
}

fn picked(pool: &mut Pool, now: Timestamp, tried: &mut Tried) -> Permit {
    match pool.pick(now, tried) {
        Pick::Endpoint(permit) => permit,
        other => panic!("no endpoint: {other:?}"),
    }
}

/// The last part of each picked address, for as many requests that end at once.
fn sequence(pool: &mut Pool, requests: usize) -> String {
    let one = |_| {
        let permit = first(pool, at(0));
        let name = permit.endpoint()[14..15].to_owned();
        pool.finished(at(0), permit, Outcome::Ok);
        name
    };
    (0..requests).map(one).collect()
}

/// Lets every endpoint but those named fail until it is shut off.
fn shut(pool: &mut Pool, now: Timestamp, endpoints: &[&str]) {
    for _ in 0..200 {
        let Pick::Endpoint(permit) = pool.pick(now, &mut Tried::new()) else {
            return;
        };
        let bad = endpoints.contains(&permit.endpoint());
        pool.finished(now, permit, if bad { REFUSED } else { Outcome::Ok });
    }
}

#[test]
fn round_robin_takes_turns_in_the_order_of_the_manifest() {
    assert_eq!(sequence(&mut pool(Balance::RoundRobin, 3), 7), "0120120");
}

#[test]
fn weighted_is_exact_and_spreads_each_endpoints_turns() {
    let mut config = config(3);
    config.balance = Balance::Weighted;
    config.endpoints[0].weight = 5;
    let mut pool = Pool::new(config, 1);
    assert_eq!(sequence(&mut pool, 14), "00102000010200");
}

#[test]
fn least_connections_goes_where_the_fewest_are_and_takes_turns_at_a_tie() {
    let mut pool = pool(Balance::LeastConnections, 3);
    assert_eq!(sequence(&mut pool, 4), "0120");
    let held: Vec<_> = (0..3).map(|_| first(&mut pool, at(0))).collect();
    let mut ends: Vec<_> = held.iter().map(Permit::endpoint).collect();
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends.len(), 3);
    let freed = held
        .into_iter()
        .nth(1)
        .map(|permit| permit.endpoint().to_owned());
    let more: Vec<_> = (0..3).map(|_| first(&mut pool, at(0))).collect();
    assert_eq!(more.len(), 3);
    assert!(
        more.iter()
            .any(|permit| Some(permit.endpoint()) == freed.as_deref())
    );
    assert!(
        pool.snapshot(at(0))
            .iter()
            .all(|state| state.in_flight == 1)
    );
}

#[test]
fn p2c_prefers_the_faster_of_two_and_spreads_under_load() {
    let mut pool = pool(Balance::P2cEwma, 2);
    for _ in 0..2 {
        let (mut a, mut b) = (first(&mut pool, at(0)), first(&mut pool, at(0)));
        for permit in [&mut a, &mut b] {
            let slow = permit.endpoint().ends_with(".0:1");
            pool.opened(at(0), permit, MS);
            pool.observed(at(0), permit, if slow { 100 * MS } else { 10 * MS });
        }
    }
    let fast = sequence(&mut pool, 50).matches('1').count();
    assert_eq!(fast, 50);
    let held: Vec<_> = (0..33).map(|_| first(&mut pool, at(0))).collect();
    let slow = held
        .iter()
        .filter(|permit| permit.endpoint().ends_with(".0:1"));
    assert!((1..=6).contains(&slow.count()), "load counts as well");
}

#[test]
fn nearest_takes_the_shortest_round_trip_and_the_next_one_when_that_is_shut_off() {
    let mut config = config(3);
    config.balance = Balance::Nearest;
    config.health = Some(HealthConfig::default());
    let mut pool = Pool::new(config, 1);
    assert_eq!(sequence(&mut pool, 6), "012012", "unmeasured: in turn");
    for millis in [40, 10, 20] {
        let probe = pool.probe_due(at(0)).expect("a check");
        pool.probed(at(0), probe.id, Ok(millis * MS));
    }
    assert_eq!(sequence(&mut pool, 3), "111");
    shut(&mut pool, at(0), &["http://10.0.0.1:1"]);
    assert_eq!(sequence(&mut pool, 3), "222");
}

#[test]
fn a_request_meets_each_endpoint_once_before_it_must_wait() {
    let mut pool = pool(Balance::RoundRobin, 3);
    let mut tried = Tried::new();
    for _ in 0..3 {
        let permit = picked(&mut pool, at(0), &mut tried);
        pool.finished(at(0), permit, REFUSED);
    }
    assert!(matches!(pool.pick(at(0), &mut tried), Pick::AllTried));
    assert_eq!(tried.attempts(), 3);
    tried.clear();
    drop(picked(&mut pool, at(1_000), &mut tried));
    let states = pool.snapshot(at(1_000));
    assert!(states.iter().all(|state| state.totals.attempts >= 1));
}

#[test]
fn a_stream_that_broke_goes_elsewhere() {
    let mut pool = pool(Balance::RoundRobin, 2);
    for _ in 0..4 {
        let broken = first(&mut pool, at(0));
        let next = picked(&mut pool, at(0), &mut Tried::elsewhere(&broken));
        assert_ne!(broken.endpoint(), next.endpoint());
        pool.finished(at(0), broken, Outcome::Ok);
        pool.finished(at(0), next, Outcome::Ok);
        drop(first(&mut pool, at(0)));
    }
}

#[test]
fn when_all_are_shut_off_the_pool_says_when_to_come_back() {
    let mut pool = pool(Balance::RoundRobin, 2);
    shut(
        &mut pool,
        at(0),
        &["http://10.0.0.0:1", "http://10.0.0.1:1"],
    );
    let Pick::Exhausted {
        retry_at: Some(when),
    } = pool.pick(at(0), &mut Tried::new())
    else {
        panic!("all are shut off");
    };
    assert!((at(900)..=at(1_000)).contains(&when));
    assert_eq!(pool.ready_at(at(0)), Some(when));
    let mut probes = vec![first(&mut pool, when)];
    if let Pick::Endpoint(second) = pool.pick(when, &mut Tried::new()) {
        probes.push(second);
    }
    assert!(probes.iter().all(Permit::is_probe));
    let Pick::Exhausted { retry_at } = pool.pick(when, &mut Tried::new()) else {
        panic!("each has its one probe");
    };
    assert!(
        retry_at.is_some_and(|at| at > when),
        "what is being probed is worth waiting for"
    );
    let probe = probes.remove(0);
    pool.finished(when, probe, Outcome::Ok);
    assert_eq!(pool.ready_at(when), Some(when));
}

#[test]
fn an_empty_pool_has_nothing_to_wait_for() {
    let mut pool = Pool::new(config(0), 1);
    let pick = pool.pick(at(0), &mut Tried::new());
    assert!(matches!(pick, Pick::Exhausted { retry_at: None }));
    assert_eq!(pool.poll_timeout(), None);
}

#[test]
fn an_endpoint_that_checks_call_down_gets_nothing_unless_all_are_called_so() {
    let mut config = config(2);
    config.health = Some(HealthConfig::default());
    let mut pool = Pool::new(config, 1);
    let take_down = |pool: &mut Pool, which: &str, from: u64| {
        let id = |state: &Probe| state.member.endpoint.ends_with(which);
        for round in 0..10 {
            let now = at(from + round * 6_000);
            while let Some(probe) = pool.probe_due(now) {
                let result = if id(&probe) {
                    Err(Code::Timeout)
                } else {
                    Ok(MS)
                };
                pool.probed(now, probe.id, result);
            }
        }
    };
    take_down(&mut pool, "0:1", 0);
    assert_eq!(sequence(&mut pool, 4), "1111");
    // Checks look at intervals: the one that is up may have gone since, and the other come back.
    let mut tried = Tried::new();
    for endpoint in ["1", "0"] {
        assert!(pool.has_untried(at(0), &mut tried));
        let permit = picked(&mut pool, at(0), &mut tried);
        assert_eq!(&permit.endpoint()[14..15], endpoint);
        pool.finished(at(0), permit, REFUSED);
    }
    assert!(matches!(pool.pick(at(0), &mut tried), Pick::AllTried));
    take_down(&mut pool, ":1", 60_000);
    assert!(pool.snapshot(at(0)).iter().all(|state| !state.up));
    assert_eq!(sequence(&mut pool, 4), "1010", "a wrong check is no outage");
    assert_eq!(pool.ready_at(at(0)), None, "but nobody is called back");
}

#[test]
fn a_restart_seen_by_checks_shortens_the_breakers_time() {
    let mut config = config(1);
    config.health = Some(HealthConfig::default());
    config.breaker.open = Duration::from_secs(60);
    let mut pool = Pool::new(config, 1);
    let check = |pool: &mut Pool, passes: bool| {
        let now = pool.poll_timeout().expect("checks");
        let probe = pool.probe_due(now).expect("due");
        pool.probed(
            now,
            probe.id,
            if passes { Ok(MS) } else { Err(Code::Network) },
        );
        now
    };
    shut(&mut pool, at(0), &["http://10.0.0.0:1"]);
    for _ in 0..3 {
        check(&mut pool, false);
    }
    check(&mut pool, true);
    let now = check(&mut pool, true);
    assert!(now < at(30_000));
    assert!(first(&mut pool, now).is_probe());
}

#[test]
fn an_endpoint_that_refuses_what_a_probe_asks_for_is_well() {
    let mut pool = pool(Balance::RoundRobin, 1);
    shut(&mut pool, at(0), &["http://10.0.0.0:1"]);
    let now = at(60_000);
    let probe = first(&mut pool, now);
    assert!(probe.is_probe());
    pool.finished(now, probe, Outcome::Refused);
    assert_eq!(pool.snapshot(now)[0].breaker, BreakerState::Closed);
}

#[test]
fn what_the_client_did_wrong_is_not_the_endpoints_fault() {
    let mut pool = pool(Balance::RoundRobin, 1);
    for code in [Code::BadRequest, Code::Unauthenticated, Code::TooLarge] {
        for _ in 0..10 {
            let permit = first(&mut pool, at(0));
            let transient = false;
            pool.finished(at(0), permit, Outcome::Failed { code, transient });
        }
    }
    let state = pool.snapshot(at(0)).remove(0);
    assert_eq!(state.breaker, BreakerState::Closed);
    assert_eq!((state.totals.refused, state.totals.failed), (30, 0));
}

#[test]
fn a_worker_that_says_it_is_draining_gets_nothing_new_at_once() {
    let mut pool = pool(Balance::RoundRobin, 2);
    let mut stream = first(&mut pool, at(0));
    pool.opened(at(0), &mut stream, MS);
    pool.draining(at(5), &stream);
    assert_eq!(sequence(&mut pool, 3), "111");
    pool.finished(at(9), stream, Outcome::Ok);
    assert_eq!(sequence(&mut pool, 1), "1");
}

#[test]
fn answers_without_output_count_only_where_others_give_some() {
    let empty_from_first = |mut pool: Pool, others: Outcome| {
        for _ in 0..90 {
            let Pick::Endpoint(permit) = pool.pick(at(0), &mut Tried::new()) else {
                break;
            };
            let first = permit.endpoint().ends_with(".0:1");
            pool.finished(at(0), permit, if first { Outcome::Empty } else { others });
        }
        pool.snapshot(at(0)).remove(0).breaker
    };
    let shut = empty_from_first(pool(Balance::RoundRobin, 3), Outcome::Ok);
    assert!(matches!(shut, BreakerState::Open { .. }));
    let quiet = empty_from_first(pool(Balance::RoundRobin, 3), Outcome::Empty);
    assert_eq!(quiet, BreakerState::Closed);
    let alone = empty_from_first(pool(Balance::RoundRobin, 1), Outcome::Ok);
    assert_eq!(alone, BreakerState::Closed);
    let mut strict = config(1);
    strict.breaker.empty = EmptyPolicy::Fail;
    let strict = empty_from_first(Pool::new(strict, 1), Outcome::Ok);
    assert!(matches!(strict, BreakerState::Open { .. }));
}

#[test]
fn a_dropped_permit_counts_as_cancelled_and_frees_its_place() {
    let mut pool = pool(Balance::LeastConnections, 1);
    drop(first(&mut pool, at(0)));
    let held = first(&mut pool, at(0));
    let state = pool.snapshot(at(0)).remove(0);
    assert_eq!((state.totals.cancelled, state.in_flight), (1, 1));
    pool.finished(at(0), held, Outcome::Cancelled);
    let state = pool.snapshot(at(0)).remove(0);
    assert_eq!((state.totals.cancelled, state.in_flight), (2, 0));
}

#[test]
fn retries_stay_within_their_budget() {
    let mut pool = pool(Balance::RoundRobin, 1);
    for _ in 0..100 {
        drop(first(&mut pool, at(0)));
    }
    let granted = (0..1_000).filter(|_| pool.may_retry(at(0))).count();
    assert_eq!(granted, 20 + 10, "a fifth of the requests, and the floor");
    let (granted, refused) = (30, 970);
    assert_eq!(pool.retries(), Retries { granted, refused });
}
