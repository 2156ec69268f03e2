//! FR-016: endpoints are checked while a pool is in use, by each protocol, and who is unwell gets nothing new.

use std::sync::atomic::Ordering;

use serde_json::json;
use tidegate_tests::Deadline;

use super::Server;
use super::calls::Calls;

/// A worker that stops and goes on, as its front sees it, without any traffic of the session.
async fn is_seen(transport: &str) {
    let worker = Server::saying("far").await;
    let front = Server::hop(json!({
        "transport": transport, "endpoints": [worker.url()], "health": {"interval": "200ms", "timeout": "150ms"},
    }))
    .await;
    let _client = front.open().await;
    let by = Deadline::secs(20);
    let up = async |expected: f64| {
        let seen = by.until(|| async {
            let up = front
                .metric("tidegate_endpoint_up", &worker.url(), "")
                .await;
            (up == expected).then_some(())
        });
        assert!(
            seen.await.is_some(),
            "{transport}: not {expected}\n{}",
            front.gateway.metrics().await
        );
    };
    up(1.0).await;
    worker.gateway.signal("STOP").await;
    up(0.0).await;
    worker.gateway.signal("CONT").await;
    up(1.0).await;
}

#[tokio::test]
async fn fr_016_a_grpc_worker_is_checked_by_grpc_health() {
    is_seen("grpc").await;
}

#[tokio::test]
async fn fr_016_a_websocket_worker_is_checked() {
    is_seen("websocket").await;
}

#[tokio::test]
async fn fr_016_a_webrtc_worker_is_checked() {
    is_seen("webrtc").await;
}

#[tokio::test]
async fn fr_016_who_says_that_it_is_unwell_gets_no_calls_until_it_is_well() {
    let (a, b) = (Calls::start("a").await, Calls::start("b").await);
    let front = Server::hop(json!({
        "transport": "http", "mode": "unary", "endpoints": [a.url(), b.url()],
        "health": {"interval": "200ms", "timeout": "150ms", "path": "/health"},
    }))
    .await;
    let shares = async |expected: [u64; 2]| {
        let by = Deadline::secs(20);
        let seen = by.until(|| async {
            a.taken();
            b.taken();
            for _ in 0..4 {
                assert!(front.call(&["one"]).await.is_ok());
            }
            ([a.taken(), b.taken()] == expected).then_some(())
        });
        assert!(seen.await.is_some(), "never {expected:?}");
    };
    shares([2, 2]).await;
    a.told.well.store(false, Ordering::SeqCst);
    shares([0, 4]).await;
    assert!(a.told.checks.load(Ordering::SeqCst) > 0);
    a.told.well.store(true, Ordering::SeqCst);
    shares([2, 2]).await;
    // If all say that they are unwell, the checks are doubted rather than the calls lost.
    for worker in [&a, &b] {
        worker.told.well.store(false, Ordering::SeqCst);
    }
    for _ in 0..10 {
        assert!(front.call(&["one"]).await.is_ok());
    }
}
