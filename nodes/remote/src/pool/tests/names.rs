//! Names: their addresses are members, and are asked for again.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::*;

fn named(addresses: &[&str]) -> Vec<SocketAddr> {
    let parse = |text: &&str| text.parse().expect("an address");
    addresses.iter().map(parse).collect()
}

fn by_address(pool: &mut Pool, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let permit = first(pool, at(0));
        assert_eq!(permit.endpoint(), "http://tts:1", "one label");
        let address = permit.member().address.map(|a| a.to_string());
        *counts.entry(address.unwrap_or_default()).or_default() += 1;
        pool.finished(at(0), permit, Outcome::Ok);
    }
    counts
}

#[test]
fn a_name_with_several_addresses_is_several_members_of_one_label() {
    let mut pool = Pool::new(PoolConfig::new(["http://tts:1"]), 1);
    assert_eq!(by_address(&mut pool, 2).len(), 1);
    let asked = pool.resolve_due(at(0)).expect("a name");
    assert_eq!(asked.name.host, "tts");
    assert_eq!(pool.resolve_due(at(0)), None);
    pool.resolved(at(0), asked.endpoint, named(&["10.0.0.1:1", "10.0.0.2:1"]));
    let counts = by_address(&mut pool, 10);
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [5, 5]);
}

#[test]
fn an_address_that_left_its_name_gets_nothing_new_and_is_forgotten_when_its_streams_end() {
    let mut pool = Pool::new(PoolConfig::new(["http://tts:1"]), 1);
    pool.resolved(at(0), 0, named(&["10.0.0.1:1", "10.0.0.2:1"]));
    let streams = [first(&mut pool, at(0)), first(&mut pool, at(0))];
    pool.resolved(at(0), 0, named(&["10.0.0.2:1", "10.0.0.3:1"]));
    assert!(!by_address(&mut pool, 10).contains_key("10.0.0.1:1"));
    assert_eq!(pool.snapshot(at(0)).len(), 3);
    for stream in streams {
        pool.finished(at(0), stream, Outcome::Ok);
    }
    drop(first(&mut pool, at(0)));
    assert_eq!(pool.snapshot(at(0)).len(), 2);
    pool.resolved(at(0), 0, Vec::new());
    assert_eq!(pool.snapshot(at(0)).len(), 2, "no answer changes nothing");
}

#[test]
fn a_failed_connection_asks_the_name_again() {
    let mut pool = Pool::new(PoolConfig::new(["http://tts:1"]), 1);
    let asked = pool.resolve_due(at(0)).expect("a name");
    pool.resolved(at(0), asked.endpoint, named(&["10.0.0.1:1"]));
    assert_eq!(pool.resolve_due(at(5_000)), None);
    let permit = first(&mut pool, at(5_000));
    pool.finished(at(5_000), permit, REFUSED);
    assert!(pool.resolve_due(at(5_000)).is_some());
}

#[test]
fn a_name_is_asked_again_at_its_interval_and_not_before() {
    for millis in [1_000, 30_000, 3_600_000] {
        let config = PoolConfig {
            resolve: Duration::from_millis(millis),
            ..PoolConfig::new(["http://tts:1"])
        };
        let mut pool = Pool::new(config, 1);
        let asked = pool.resolve_due(at(0)).expect("a name");
        // The answer took its time, from whose end the interval counts.
        pool.resolved(at(50), asked.endpoint, named(&["10.0.0.1:1"]));
        assert_eq!(pool.resolve_due(at(49 + millis)), None);
        assert!(pool.resolve_due(at(50 + millis)).is_some(), "{millis} ms");
    }
}
