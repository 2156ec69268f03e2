//! Who fails is left alone, is asked again by exactly one request, and is taken back.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::Deadline;

use super::Server;
use super::calls::{Calls, HELD, served};

async fn front(workers: &[&Calls], breaker: Value) -> Server {
    let urls: Vec<_> = workers.iter().map(|worker| worker.url()).collect();
    Server::hop(json!({
        "transport": "http", "mode": "unary", "endpoints": urls, "breaker": breaker, "health": "off",
        "retry": {"backoff": "20ms"},
    }))
    .await
}

#[tokio::test]
async fn fr_009_five_failures_in_a_row_open_the_breaker() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(1);
    let front = front(&[&bad, &good], json!({"open": "30s"})).await;
    served(&front, 60).await;
    assert_eq!(bad.taken(), 5, "no more once it is open");
    assert_eq!(good.taken(), 60);
}

#[tokio::test]
async fn fr_009_less_than_sixty_percent_of_twenty_open_the_breaker() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(2);
    let front = front(&[&bad, &good], json!({"open": "30s"})).await;
    served(&front, 100).await;
    let taken = bad.taken();
    assert!((20..=22).contains(&taken), "it was asked {taken} times");
}

#[tokio::test]
async fn fr_009_one_request_asks_whether_it_is_well_again_and_it_is_taken_back() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(1);
    let front = front(&[&bad, &good], json!({"open": "500ms"})).await;
    served(&front, 20).await;
    // More than these were probes, on a machine where twenty calls take longer than it is open.
    assert!(bad.taken() >= 5, "it was shut off");
    bad.fail(0);
    bad.delay(HELD);
    let by = Deadline::secs(60);
    let found = std::cell::Cell::new(false);
    let probe = async {
        // Somebody comes again and again, until one is the one that asks, and is kept waiting by it until the others are done.
        while !found.get() && !by.left().is_zero() {
            let said = front.call(&["one"]).await;
            assert!(said.is_ok(), "{said:?}");
        }
    };
    let others = async {
        by.wait(held(&bad)).await.expect("nobody asked again");
        found.set(true);
        // Half-open: while the one request is under way, nobody else asks.
        let all = (0..10).map(|_| front.call(&["one"]));
        let all = futures_util::future::join_all(all).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert_eq!(bad.running(), 1, "exactly one asks");
        bad.delay(Duration::ZERO);
    };
    tokio::join!(probe, others);
    assert_eq!(bad.taken(), 1, "exactly one asked");
    good.taken();
    served(&front, 10).await;
    assert_eq!(
        [bad.taken(), good.taken()],
        [5, 5],
        "it has its share again"
    );
}

/// Until one call is kept waiting.
async fn held(worker: &Calls) {
    let forever = Deadline::after(HELD);
    let one = forever.until(|| async { (worker.running() > 0).then_some(()) });
    one.await.unwrap_or_default();
}

#[tokio::test]
async fn fr_009_each_reopening_lasts_twice_as_long() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(1);
    let front = front(&[&bad, &good], json!({"open": "250ms", "open_max": "1s"})).await;
    let by = Deadline::secs(60);
    while bad.gaps().len() < 4 + 5 {
        assert!(!by.left().is_zero(), "it was asked so: {:?}", bad.gaps());
        served(&front, 1).await;
    }
    // After five failures: each time is up to a tenth shorter, so that gateways do not ask in step.
    for (gap, open) in bad.gaps()[4..].iter().zip([250, 500, 1000, 1000, 1000]) {
        let least = Duration::from_millis(open * 9 / 10);
        assert!(
            *gap >= least,
            "{gap:?} instead of {open} ms: {:?}",
            bad.gaps()
        );
    }
}

#[tokio::test]
async fn fr_009_the_log_says_once_that_an_endpoint_is_shut_off_and_once_that_it_serves_again() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(1);
    let front = front(
        &[&bad, &good],
        json!({"open": "200ms", "open_max": "300ms"}),
    )
    .await;
    let said = |what: &str, of: &Calls| {
        let lines = front.gateway.logs.lines().into_iter();
        let of = of.url();
        lines
            .filter(|line| line.contains(what) && line.contains(&of))
            .count()
    };
    let by = Deadline::secs(60);
    // Five failures, and as many times as it was asked in vain whether it is well again.
    while bad.gaps().len() < 5 + 2 {
        assert!(!by.left().is_zero(), "it was asked so: {:?}", bad.gaps());
        served(&front, 1).await;
    }
    bad.fail(0);
    let back = by.until(|| async {
        served(&front, 1).await;
        (said("endpoint serves again", &bad) > 0).then_some(())
    });
    assert!(back.await.is_some(), "{}", front.gateway.logs.text());
    served(&front, 10).await;
    for what in ["endpoint shut off", "endpoint serves again"] {
        let counts = [&bad, &good].map(|of| said(what, of));
        assert_eq!(counts, [1, 0], "{what}: {}", front.gateway.logs.text());
    }
}

#[tokio::test]
async fn fr_009_all_breakers_open_is_an_error_of_its_own_and_at_once() {
    let bad = Calls::start("bad").await;
    bad.fail(1);
    let params = json!({"transport": "http", "mode": "unary", "endpoints": [bad.url()], "breaker": {"open": "60s"},
        "health": "off", "retry": {"attempts": 1}});
    let front = Server::hop(params).await;
    for _ in 0..5 {
        front.call(&["one"]).await.expect_err("it fails");
    }
    let problem = front.call(&["one"]).await.expect_err("it is left alone");
    assert_eq!(problem["code"], "circuit_open", "{problem:#}");
    assert_eq!(bad.taken(), 5);
}
