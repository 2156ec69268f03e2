//! Who gets how much: shares kept from failing endpoints, evenness among working ones, and what retries save.

use super::*;
use crate::pool::Balance;

/// Three servers at 200 requests a second.
fn three(balance: Balance, latencies: [u32; 3], pace: Duration, seed: u64) -> World {
    let mut config = config(3);
    config.balance = balance;
    let servers = latencies.map(|millis| Server::new(millis * MS)).to_vec();
    World::new(config, servers, pace, seed)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn more_than_99_percent_is_kept_from_a_failing_endpoint_from_one_second_on() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::P2cEwma,
        Balance::Weighted,
        Balance::Nearest,
    ] {
        for seed in 0..8 {
            let _printed = Seed(seed);
            let mut world = three(balance, [10, 20, 20], 5 * MS, seed);
            world.play(world.now + 2 * SECOND);
            world.servers[0].mode = Mode::Dead;
            world.play(world.now + SECOND);
            let before = (world.servers[0].clone(), world.tally.requests);
            world.play(world.now + 9 * SECOND);
            let after = &world.servers[0];
            let met = after.attempts - before.0.attempts + after.checks - before.0.checks;
            let requests = world.tally.requests - before.1;
            assert!(requests >= 1_799);
            assert!(met * 100 < requests, "{balance:?}: {met} of {requests}");
            assert_eq!(world.tally.failed, 0);
        }
    }
}

#[test]
fn an_endpoint_that_fails_every_second_request_is_soon_avoided_and_costs_no_request() {
    for seed in 0..8 {
        let _printed = Seed(seed);
        let mut world = three(Balance::RoundRobin, [20, 20, 20], 5 * MS, seed);
        world.servers[0].mode = Mode::Half;
        world.play(world.now + 10 * SECOND);
        let (attempts, requests) = (world.servers[0].attempts, world.tally.requests);
        world.play(world.now + 50 * SECOND);
        let met = world.servers[0].attempts - attempts;
        let requests = world.tally.requests - requests;
        assert!(met * 100 < requests * 4, "{met} of {requests}");
        assert_eq!(world.tally.failed, 0);
    }
}

#[test]
fn a_stalling_endpoint_is_left_when_its_first_attempts_run_out_of_time() {
    for seed in 0..8 {
        let _printed = Seed(seed);
        let mut world = three(Balance::RoundRobin, [20, 20, 20], 5 * MS, seed);
        world.servers[0].mode = Mode::Stalls;
        world.play(world.now + PATIENCE + SECOND);
        let attempts = world.servers[0].attempts;
        world.play(world.now + 10 * SECOND);
        assert!(world.servers[0].attempts - attempts <= 4);
        assert_eq!(world.tally.failed, 0);
    }
}

#[test]
fn round_robin_is_exact_and_weighted_too_whatever_the_servers_are_like() {
    for seed in 0..8 {
        let _printed = Seed(seed);
        for (balance, weights) in [
            (Balance::RoundRobin, [1, 1, 1]),
            (Balance::Weighted, [5, 2, 3]),
        ] {
            let mut config = config(3);
            config.balance = balance;
            for (endpoint, weight) in config.endpoints.iter_mut().zip(weights) {
                endpoint.weight = weight;
            }
            let servers = [5, 50, 200].map(|millis| Server::new(millis * MS)).to_vec();
            let mut world = World::new(config, servers, 5 * MS, seed);
            // As many requests as make whole rounds.
            world.play(world.now + 5 * MS * 300);
            let sum: u64 = weights.iter().sum::<u32>().into();
            let attempts: Vec<_> = world.servers.iter().map(|server| server.attempts).collect();
            let exact: Vec<_> = weights.map(|weight| 300 * u64::from(weight) / sum).to_vec();
            assert_eq!(attempts, exact, "{balance:?}");
        }
    }
}

#[test]
fn least_connections_keeps_unequal_servers_equally_busy_within_ten_percent() {
    for seed in 0..8 {
        let _printed = Seed(seed);
        let mut world = three(Balance::LeastConnections, [20, 40, 100], 2 * MS, seed);
        world.play(world.now + SECOND);
        let mut busy = [0.0; 3];
        // Over 100 requests, looked at after each.
        for _ in 0..100 {
            world.play(world.now + 2 * MS);
            for (sum, server) in busy.iter_mut().zip(&world.servers) {
                *sum += f64::from(u32::try_from(server.outstanding).expect("few"));
            }
        }
        let mean = busy.iter().sum::<f64>() / 3.0;
        let variance = busy.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / 3.0;
        let spread = variance.sqrt() / mean;
        assert!(spread < 0.1, "seed {seed}: {busy:?} spread {spread}");
    }
}

#[test]
fn p2c_gives_a_slow_server_less_and_loses_none_of_the_fast_ones() {
    let mut world = three(Balance::P2cEwma, [10, 10, 200], 5 * MS, 1);
    world.play(world.now + 10 * SECOND);
    let [a, b, slow] = [0, 1, 2].map(|index| world.servers[index].attempts);
    assert!(slow * 10 < a + b, "{a} {b} {slow}");
    assert!(a.abs_diff(b) * 4 < a + b, "{a} {b}");
}

#[test]
fn nearest_stays_near_and_returns_after_an_outage() {
    let mut world = three(Balance::Nearest, [10, 30, 30], 5 * MS, 1);
    world.play(world.now + SECOND);
    let share = |world: &mut World, span: Duration| {
        let before = (world.servers[0].attempts, world.tally.requests);
        world.play(world.now + span);
        let met = world.servers[0].attempts - before.0;
        met * 100 / (world.tally.requests - before.1)
    };
    assert_eq!(share(&mut world, SECOND), 100);
    world.servers[0].mode = Mode::Dead;
    world.play(world.now + SECOND);
    assert_eq!(share(&mut world, 5 * SECOND), 0);
    world.servers[0].mode = Mode::Serves;
    world.play(world.now + 15 * SECOND);
    assert_eq!(share(&mut world, SECOND), 100);
}

#[test]
fn retries_save_999_of_1000_where_one_attempt_in_ten_fails_at_random() {
    let mut world = three(Balance::RoundRobin, [20, 20, 20], 5 * MS, 1);
    for server in &mut world.servers {
        server.mode = Mode::Flaky(10);
    }
    world.play(world.now + 5 * MS * 10_000);
    world.settle();
    assert_eq!(world.tally.requests, 10_000);
    assert!(world.tally.failed <= 10, "{:?}", world.tally);
}

#[test]
fn retries_are_no_outage_when_everything_fails() {
    let mut world = three(Balance::RoundRobin, [20, 20, 20], 5 * MS, 1);
    for server in &mut world.servers {
        server.mode = Mode::Dead;
    }
    world.play(world.now + 10 * SECOND);
    let attempts: u64 = world.servers.iter().map(|server| server.attempts).sum();
    assert!(attempts < 60, "{attempts} attempts for {:?}", world.tally);
}
