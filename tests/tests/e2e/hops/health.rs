//! Endpoints are checked while a pool is in use, by each protocol, and who is unwell gets nothing new; what streams meet
//! counts as well.

use std::sync::atomic::Ordering;

use serde_json::json;
use tidegate_tests::Deadline;

use super::Server;
use super::calls::Calls;
use super::fake::{Fake, Manner};

/// A worker that stops and goes on, as its front sees it, without any traffic of the session.
async fn is_seen(transport: &str) {
    let worker = Server::saying("far").await;
    let front = Server::hop(json!({
        "transport": transport, "endpoints": [worker.url()], "health": {"interval": "500ms", "timeout": "500ms"},
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
async fn fr_016_an_http_worker_is_checked() {
    is_seen("http").await;
}

#[tokio::test]
async fn fr_016_who_says_that_it_is_unwell_gets_no_calls_until_it_is_well() {
    let (a, b) = (Calls::start("a").await, Calls::start("b").await);
    let front = Server::hop(json!({
        "transport": "http", "mode": "unary", "endpoints": [a.url(), b.url()],
        "health": {"interval": "500ms", "timeout": "500ms", "path": "/health"},
    }))
    .await;
    let four_calls = async || {
        a.taken();
        b.taken();
        for _ in 0..4 {
            assert_eq!(front.call(&["one"]).await.map(|said| said.len()), Ok(1));
        }
        [a.taken(), b.taken()]
    };
    let shares = async |expected: [u64; 2]| {
        let by = Deadline::secs(30);
        let seen = by.until(|| async { (four_calls().await == expected).then_some(()) });
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
    let by = Deadline::secs(30);
    let down = by.until(|| async {
        four_calls().await;
        let up = "tidegate_endpoint_up";
        let sum = front.metric(up, &a.url(), "").await + front.metric(up, &b.url(), "").await;
        (sum == 0.0).then_some(())
    });
    assert!(down.await.is_some(), "both say so");
    assert_eq!(four_calls().await, [2, 2]);
}

/// A hop whose first endpoint is this one and whose second serves, by what streams meet alone.
async fn unchecked(first: &Fake) -> (Server, Server) {
    let worker = Server::saying("second").await;
    let front = Server::hop(json!({
        "endpoints": [first.url(), worker.url()], "health": "off", "breaker": {"open": "60s"},
        // However fast this machine makes its calls, none of them is given up for the sake of the others.
        "timeout": {"first_output": "300ms"}, "retry": {"budget": 1.0},
    }))
    .await;
    (front, worker)
}

async fn is_shut_off(front: &Server, endpoint: &Fake) {
    let state = "tidegate_endpoint_breaker_state";
    let open = front.metric(state, &endpoint.url(), "state=\"open\"").await;
    assert_eq!(open, 1.0, "{}", front.gateway.metrics().await);
}

#[tokio::test]
async fn fr_016_how_streams_end_shuts_an_endpoint_off_without_any_check() {
    let fails = Fake::worker(Manner::Fails).await;
    let (front, _worker) = unchecked(&fails).await;
    let mut failed = 0;
    for _ in 0..20 {
        failed += u32::from(front.call(&["one"]).await.is_err());
    }
    assert_eq!(failed, 5, "what fails in the worker is not tried again");
    is_shut_off(&front, &fails).await;
}

#[tokio::test]
async fn fr_016_silence_shuts_an_endpoint_off_without_any_check() {
    let mute = Fake::worker(Manner::Mute).await;
    let (front, _worker) = unchecked(&mute).await;
    for _ in 0..14 {
        assert_eq!(
            front.call(&["one"]).await,
            Ok(vec!["second one".to_owned()])
        );
    }
    assert_eq!(front.attempts(&mute.url(), "timeout").await, 5.0);
    is_shut_off(&front, &mute).await;
}

#[tokio::test]
async fn fr_016_success_without_output_where_others_give_some_shuts_an_endpoint_off() {
    let empty = Fake::worker(Manner::Empty).await;
    let (front, _worker) = unchecked(&empty).await;
    for _ in 0..50 {
        assert_eq!(
            front.call(&["one"]).await,
            Ok(vec!["second one".to_owned()])
        );
    }
    // Nothing in twenty, and the first before there was anything to compare with.
    let asked = front.attempts(&empty.url(), "ok").await;
    assert_eq!(asked, 21.0, "{}", front.gateway.metrics().await);
    is_shut_off(&front, &empty).await;
}
