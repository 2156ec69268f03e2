//! What the registry keeps and forgets, and what its runner does, in the runtime's virtual time.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tidegate_nodes::Code;
use tokio::time::Instant;

use super::run::Checker;
use super::*;
use crate::pool::{HealthConfig, Name, Outcome, Permit, Pick, Probe, Tried};
use crate::resolve::{Resolver, Resolving};

const MS: Duration = Duration::from_millis(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn key(hop: &str) -> PoolKey {
    PoolKey {
        pipeline: "echo".into(),
        hop: hop.into(),
        tier: 0,
    }
}

fn spec(endpoints: &[&str]) -> PoolSpec {
    PoolSpec {
        pool: PoolConfig::new(endpoints.iter().copied()),
        checks: Checks::default(),
    }
}

fn pick(pool: &SharedPool, now: Timestamp) -> Permit {
    match pool
        .lock()
        .expect("not poisoned")
        .pick(now, &mut Tried::new())
    {
        Pick::Endpoint(permit) => permit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sessions_share_a_pool_until_its_configuration_changes() {
    let pools = Pools::new(1);
    let first = pools.get(at(0), key("a"), spec(&["http://10.0.0.1:1"]));
    let same = pools.get(at(1), key("a"), spec(&["http://10.0.0.1:1"]));
    assert!(Arc::ptr_eq(&first, &same));
    let other = pools.get(at(1), key("b"), spec(&["http://10.0.0.1:1"]));
    assert!(!Arc::ptr_eq(&first, &other));
    let changed = pools.get(at(2), key("a"), spec(&["http://10.0.0.2:1"]));
    assert!(!Arc::ptr_eq(&first, &changed));
    assert_eq!(pools.snapshot(at(2)).len(), 3, "the old one is still held");
    drop((first, same));
    pools.lock().sweep(at(3));
    assert_eq!(pools.snapshot(at(3)).len(), 2);
}

#[test]
fn a_pool_that_nobody_holds_is_forgotten_after_a_while() {
    let pools = Pools::new(1);
    let held = pools.get(at(0), key("a"), spec(&[]));
    drop(pools.get(at(0), key("b"), spec(&[])));
    pools.lock().sweep(at(599));
    assert_eq!(pools.snapshot(at(599)).len(), 2);
    pools.lock().sweep(at(600));
    let left = pools.snapshot(at(600));
    assert_eq!((left.len(), left[0].key.hop.as_str()), (1, "a"));
    drop(held);
}

#[test]
fn a_pool_of_a_changed_pipeline_is_forgotten_with_its_last_session_unless_it_is_wanted_as_it_was() {
    let pools = Pools::new(1);
    let endpoint = ["http://10.0.0.1:1"];
    let held = pools.get(at(0), key("a"), spec(&endpoint));
    drop(pools.get(at(0), key("b"), spec(&endpoint)));
    drop(pools.get(at(0), key("c"), spec(&endpoint)));
    pools.outdate("another");
    pools.lock().sweep(at(1));
    assert_eq!(pools.snapshot(at(1)).len(), 3);
    pools.outdate("echo");
    drop(pools.get(at(2), key("c"), spec(&endpoint)));
    let left = || -> Vec<_> {
        pools.lock().sweep(at(3));
        let left = pools.snapshot(at(3)).into_iter();
        left.map(|pool| pool.key.hop).collect()
    };
    assert_eq!(left(), ["a", "c"]);
    drop(held);
    assert_eq!(left(), ["c"]);
}

#[test]
fn pools_are_bounded_and_make_room_by_forgetting_the_oldest_that_nobody_holds() {
    let pools = Pools::new(1);
    let held: Vec<_> = (1..POOLS_MAX)
        .map(|n| pools.get(at(1), key(&n.to_string()), spec(&[])))
        .collect();
    drop(pools.get(at(0), key("old"), spec(&[])));
    let new = pools.get(at(2), key("new"), spec(&[]));
    assert_eq!(pools.lock().len(), POOLS_MAX);
    assert!(!pools.lock().current.contains_key(&key("old")));
    let own = pools.get(at(3), key("beyond"), spec(&[]));
    assert_eq!(pools.lock().len(), POOLS_MAX);
    let again = pools.get(at(3), key("beyond"), spec(&[]));
    assert!(!Arc::ptr_eq(&own, &again), "not shared, but served");
    drop((held, new));
}

/// A network in which named members are down and names have the addresses given.
#[derive(Default)]
struct Net {
    down: Mutex<Vec<String>>,
    names: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
    checks: Mutex<Vec<(String, Instant)>>,
}

impl Net {
    fn checked(&self, member: &str) -> usize {
        let checks = self.checks.lock().expect("not poisoned");
        checks.iter().filter(|(name, _)| name == member).count()
    }

    fn take_down(&self, members: &[&str]) {
        *self.down.lock().expect("not poisoned") =
            members.iter().map(ToString::to_string).collect();
    }

    fn name(&self, host: &str, addresses: &[&str]) {
        let parse = |text: &&str| text.parse().expect("an address");
        let addresses = addresses.iter().map(parse).collect();
        self.names
            .lock()
            .expect("not poisoned")
            .insert(host.into(), addresses);
    }
}

impl Checker for Net {
    fn check<'a>(
        &'a self,
        probe: &'a Probe,
        _: &'a Checks,
    ) -> Pin<Box<dyn Future<Output = Result<Duration, Code>> + Send + 'a>> {
        Box::pin(async {
            let name = probe.member.to_string();
            self.checks
                .lock()
                .expect("not poisoned")
                .push((name.clone(), Instant::now()));
            if self.down.lock().expect("not poisoned").contains(&name) {
                std::future::pending::<()>().await;
            }
            Ok(3 * MS)
        })
    }
}

impl Resolver for Net {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolving<'a> {
        let known = self
            .names
            .lock()
            .expect("not poisoned")
            .get(&name.host)
            .cloned();
        Box::pin(async { known.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

/// Runs the keeper for a while of virtual time.
async fn run(pools: &Pools, net: &Net, began: Instant, span: Duration) -> Timestamp {
    let clock = || Timestamp::ZERO + Duration::from_secs(1) + began.elapsed();
    let end = tokio::time::sleep(span);
    tokio::select! {
        _ = pools.run_with(net, net, &clock) => {}
        () = end => {}
    }
    clock()
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_checked_while_a_session_may_use_them_and_not_otherwise() {
    let (pools, net, began) = (Pools::new(1), Net::default(), Instant::now());
    let endpoint = "http://10.0.0.1:1";
    let pool = pools.get(at(1), key("a"), spec(&[endpoint]));
    run(&pools, &net, began, 21_000 * MS).await;
    assert!(
        (4..=6).contains(&net.checked(endpoint)),
        "{}",
        net.checked(endpoint)
    );
    drop(pool);
    let before = net.checked(endpoint);
    run(&pools, &net, began, 60_000 * MS).await;
    assert_eq!(net.checked(endpoint), before);
    let _pool = pools.get(at(90), key("a"), spec(&[endpoint]));
    run(&pools, &net, began, 100 * MS).await;
    assert_eq!(
        net.checked(endpoint),
        before + 1,
        "at once when in use again"
    );
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_checks_hang_is_down_and_delays_no_other() {
    let (pools, net, began) = (Pools::new(1), Net::default(), Instant::now());
    let (good, bad) = ("http://10.0.0.1:1", "http://10.0.0.2:1");
    net.take_down(&[bad]);
    let pool = pools.get(at(1), key("a"), spec(&[good, bad]));
    let now = run(&pools, &net, began, 12_000 * MS).await;
    let states = pools.snapshot(now).remove(0).endpoints;
    assert_eq!((states[0].up, states[1].up), (true, false));
    assert_eq!(states[0].round_trip, Some(3 * MS));
    assert!((0..4).all(|_| pick(&pool, now).endpoint() == good));
    net.take_down(&[]);
    let now = run(&pools, &net, began, 8_000 * MS).await;
    assert!(pools.snapshot(now).remove(0).endpoints[1].up);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_pool_is_kept_up_for_the_sessions_that_hold_it() {
    let (pools, net, began) = (Pools::new(1), Net::default(), Instant::now());
    let old = pools.get(at(1), key("a"), spec(&["http://10.0.0.1:1"]));
    let new = pools.get(at(1), key("a"), spec(&["http://10.0.0.2:1"]));
    run(&pools, &net, began, 3_000 * MS).await;
    assert_eq!(net.checked("http://10.0.0.1:1"), 1);
    drop(old);
    run(&pools, &net, began, 20_000 * MS).await;
    assert_eq!(net.checked("http://10.0.0.1:1"), 1);
    assert!(net.checked("http://10.0.0.2:1") > 3);
    drop(new);
}

#[tokio::test(start_paused = true)]
async fn a_names_addresses_become_members_and_follow_its_changes() {
    let (pools, net, began) = (Pools::new(1), Net::default(), Instant::now());
    net.name("tts", &["10.0.0.1:1", "10.0.0.2:1"]);
    let pool = pools.get(at(1), key("a"), spec(&["http://tts:1"]));
    let addresses = |now| {
        let mut picked: Vec<_> = (0..8)
            .filter_map(|_| pick(&pool, now).member().address)
            .map(|address| address.to_string())
            .collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    };
    let now = run(&pools, &net, began, 100 * MS).await;
    assert_eq!(addresses(now), ["10.0.0.1:1", "10.0.0.2:1"]);
    assert_eq!(net.checked("http://tts:1 (10.0.0.1:1)"), 1);

    net.name("tts", &["10.0.0.2:1", "10.0.0.3:1"]);
    let now = run(&pools, &net, began, 20_000 * MS).await;
    assert_eq!(addresses(now).len(), 2, "not yet asked again");
    let now = run(&pools, &net, began, 11_000 * MS).await;
    assert_eq!(addresses(now), ["10.0.0.2:1", "10.0.0.3:1"]);

    // A failed connection asks at once.
    net.name("tts", &["10.0.0.9:1"]);
    let permit = pick(&pool, now);
    let code = Code::Network;
    let outcome = Outcome::Failed {
        code,
        transient: true,
    };
    pool.lock()
        .expect("not poisoned")
        .finished(now, permit, outcome);
    let now = run(&pools, &net, began, 1_500 * MS).await;
    assert_eq!(addresses(now), ["10.0.0.9:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_cannot_be_resolved_stays_one_member_that_may_be_tried() {
    let (pools, net, began) = (Pools::new(1), Net::default(), Instant::now());
    let mut without_checks = spec(&["http://nowhere:1"]);
    without_checks.pool.health = None::<HealthConfig>;
    let pool = pools.get(at(1), key("a"), without_checks);
    let now = run(&pools, &net, began, 1_000 * MS).await;
    assert_eq!(pick(&pool, now).member().address, None);
}
