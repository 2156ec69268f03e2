//! Histories in which anything may happen, and what must be so in all of them.

use super::*;
use crate::pool::{Balance, HealthConfig};

const ALL: [Balance; 5] = [
    Balance::RoundRobin,
    Balance::LeastConnections,
    Balance::P2cEwma,
    Balance::Weighted,
    Balance::Nearest,
];

/// One history: faults of any kind at any server for a while, then none. Returns the world after it has had time to recover.
fn history(seed: u64) -> World {
    let mut random = SmallRng::seed_from_u64(seed);
    let count = random.random_range(1..=5);
    let mut config = config(count);
    config.balance = ALL[random.random_range(0..ALL.len())];
    config.health = random.random::<bool>().then(|| HealthConfig {
        interval: 1_000 * MS,
        timeout: 100 * MS,
        ..HealthConfig::default()
    });
    config.retry.backoff = 100 * MS;
    config.retry.backoff_max = 400 * MS;
    config.breaker.open = random.random_range(100..=400) * MS;
    config.breaker.open_max = 1_000 * MS;
    for endpoint in &mut config.endpoints {
        endpoint.weight = random.random_range(0..=3);
    }
    let latency = |random: &mut SmallRng| random.random_range(1..=60) * MS;
    let servers = (0..count)
        .map(|_| Server::new(latency(&mut random)))
        .collect();
    let pace = random.random_range(10..=40) * MS;
    let mut world = World::new(config, servers, pace, seed);
    world.fickle = random.random_range(0..=10);
    // The last one of several stays well, so that a way is always left.
    let stricken = if random.random() { count } else { count - 1 };
    let faults = random.random_range(300..1_500);
    for _ in 0..random.random_range(0..=6) {
        if stricken == 0 {
            break;
        }
        let mode = match random.random_range(0..6) {
            0 | 1 => Mode::Dead,
            2 => Mode::Half,
            3 => Mode::Stalls,
            4 => Mode::Flaky(random.random_range(1..=90)),
            _ => Mode::Serves,
        };
        let server = random.random_range(0..stricken);
        let when = world.at(random.random_range(0..faults) * MS);
        world.turn(when, server, mode, random.random_range(0..8) == 0);
    }
    let over = world.at(faults * MS);
    for server in 0..count {
        world.turn(over, server, Mode::Serves, false);
    }
    world.play(over);
    if stricken < count {
        assert_eq!(world.tally.exhausted, 0, "one server was always well");
    }
    world
}

/// What must be so once the faults are over: within the longest reopening, or with checks within their way back up, all is as
/// before, and stays so.
fn recovers(mut world: World) {
    let breakers = world.pool.config().breaker.open_max;
    // Down since just before the end, seen at the next check, and confirmed by a second one.
    let checks = world
        .pool
        .config()
        .health
        .map(|health| health.interval * 3 / 2);
    world.pace = 40 * MS;
    // A client that leaves takes its probe with it, and the next one sees.
    let fickle = world.pace * 5 * world.fickle.min(1);
    world.play(world.now + PATIENCE + breakers.max(checks.unwrap_or_default()) + fickle);
    assert!(world.is_well(), "{:?}", world.pool.snapshot(world.now));
    let failed = world.tally.failed;
    world.play(world.now + 400 * MS);
    world.settle();
    assert!(world.is_well(), "{:?}", world.pool.snapshot(world.now));
    assert_eq!(world.tally.failed, failed, "nothing fails after recovery");
}

fn histories(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let _printed = Seed(seed);
        recovers(history(seed));
    }
}

#[test]
fn histories_keep_every_promise_1() {
    histories(0..2_600);
}

#[test]
fn histories_keep_every_promise_2() {
    histories(2_600..5_200);
}

#[test]
fn histories_keep_every_promise_3() {
    histories(5_200..7_800);
}

#[test]
fn histories_keep_every_promise_4() {
    histories(7_800..10_400);
}

#[test]
fn equal_seeds_play_equal_histories() {
    let _printed = Seed(42);
    let [one, two] = [history(42), history(42)];
    let state = |world: &World| format!("{:?} {:?}", world.tally, world.pool.snapshot(world.now));
    assert_eq!(state(&one), state(&two));
}
