//! FR-009: who fails is left alone, is asked again by exactly one request, and is taken back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::Deadline;

use super::Server;
use super::calls::Calls;

async fn front(workers: &[&Calls], breaker: Value) -> Server {
    let urls: Vec<_> = workers.iter().map(|worker| worker.url()).collect();
    Server::hop(json!({
        "transport": "http", "mode": "unary", "endpoints": urls, "breaker": breaker, "health": "off",
        "retry": {"backoff": "20ms"},
    }))
    .await
}

async fn calls(front: &Server, count: usize) {
    for _ in 0..count {
        assert!(
            front.call(&["one"]).await.is_ok(),
            "{}",
            front.gateway.logs.text()
        );
    }
}

#[tokio::test]
async fn fr_009_five_failures_in_a_row_open_the_breaker() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(1);
    let front = front(&[&bad, &good], json!({"open": "30s"})).await;
    calls(&front, 60).await;
    assert_eq!(bad.taken(), 5, "no more once it is open");
    assert_eq!(good.taken(), 60);
}

#[tokio::test]
async fn fr_009_less_than_sixty_percent_of_twenty_open_the_breaker() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(2);
    let front = front(&[&bad, &good], json!({"open": "30s"})).await;
    calls(&front, 100).await;
    let taken = bad.taken();
    assert!((20..=22).contains(&taken), "it was asked {taken} times");
}

#[tokio::test]
async fn fr_009_one_request_asks_whether_it_is_well_again_and_it_is_taken_back() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(1);
    let front = front(&[&bad, &good], json!({"open": "500ms", "open_max": "5s"})).await;
    calls(&front, 20).await;
    // More than these were probes, on a machine where twenty calls take longer than it is open.
    assert!(bad.taken() >= 5);
    // Half-open: while the one request is under way, nobody else asks.
    bad.delay(Duration::from_millis(500));
    let by = Deadline::secs(20);
    let probed = by.until(|| async {
        let all = [(); 10].map(|()| front.call(&["one"]));
        let all = futures_util::future::join_all(all).await;
        assert!(all.iter().all(Result::is_ok));
        (bad.told.calls.load(Ordering::SeqCst) > 0).then_some(())
    });
    assert!(probed.await.is_some(), "nobody asked again");
    assert_eq!(
        bad.told.most.load(Ordering::SeqCst),
        1,
        "exactly one at a time"
    );
    bad.delay(Duration::ZERO);
    bad.fail(0);
    bad.taken();
    let back = by.until(|| async {
        good.taken();
        calls(&front, 10).await;
        (bad.taken() == 5 && good.taken() == 5).then_some(())
    });
    assert!(back.await.is_some(), "it never got its share back");
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
