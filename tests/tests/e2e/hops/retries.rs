//! FR-006 and FR-017: what failed is tried elsewhere at once, at the same place only after a backoff, and counted.

use std::time::Duration;

use serde_json::json;
use tidegate_tests::Deadline;

use super::Server;
use super::fake::nobody;

#[tokio::test]
async fn fr_006_an_endpoint_not_yet_tried_is_tried_at_once() {
    let worker = Server::saying("alive").await;
    let endpoints = [nobody().await, nobody().await, worker.url()];
    let params = json!({"endpoints": endpoints, "retry": {"backoff": "20s"}, "health": "off"});
    let front = Server::hop(params).await;
    let began = Deadline::secs(20);
    for _ in 0..3 {
        assert_eq!(front.call(&["one"]).await, Ok(vec!["alive one".to_owned()]));
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "no backoff: {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn fr_006_three_retries_with_growing_backoff_are_the_default() {
    let dead = nobody().await;
    let front = Server::hop(json!({"endpoints": [dead], "health": "off"})).await;
    let began = Deadline::secs(60);
    let problem = front.call(&["one"]).await.expect_err("nobody is there");
    let took = began.elapsed();
    assert_eq!(problem["code"], "network", "{problem:#}");
    assert_eq!(problem["attempt"], 4, "{problem:#}");
    // 1 s, 2 s and 4 s, of each the half certain and the half by chance.
    assert!((3.5..9.0).contains(&took.as_secs_f64()), "{took:?}");
    assert_eq!(front.attempts(&dead, "network").await, 4.0);
}

#[tokio::test]
async fn fr_006_a_worker_that_comes_back_during_the_backoff_serves_the_call() {
    let mut worker = Server::saying("back").await;
    worker.gateway.kill().await;
    let params = json!({"endpoints": [worker.url()], "retry": {"attempts": 8, "backoff": "1s", "backoff_max": "2s"}, "health": "off"});
    let front = Server::hop(params).await;
    let (said, ()) = tokio::join!(front.call(&["one"]), worker.again());
    assert_eq!(said, Ok(vec!["back one".to_owned()]));
}

#[tokio::test]
async fn fr_006_what_cannot_succeed_is_not_tried_again() {
    let worker = Server::start(&[]).await;
    let front = Server::hop(json!({"endpoints": [worker.url()]})).await;
    let began = Deadline::secs(20);
    let problem = front.call(&["one"]).await.expect_err("no such pipeline");
    assert_eq!(problem["code"], "unknown_pipeline", "{problem:#}");
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "no backoff: {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn fr_017_attempts_failovers_and_health_are_counted_by_endpoint() {
    let (mut first, second) = (Server::saying("one").await, Server::saying("two").await);
    let endpoints = [first.url(), second.url()];
    let front = Server::hop(
        json!({"endpoints": endpoints, "health": {"interval": "200ms", "timeout": "150ms"}}),
    )
    .await;
    let mut client = front.open().await;
    client.send("frame", super::utterance(1, "word")).await;
    let said = client.until("frame").await["text"]["text"].clone();
    assert_eq!(said, "one word", "round robin begins with the first");
    first.gateway.kill().await;
    client.send("frame", super::utterance(2, "word")).await;
    assert_eq!(client.until("frame").await["text"]["text"], "two word");
    let page = front.gateway.metrics().await;
    assert_eq!(front.attempts(&endpoints[0], "ok").await, 1.0, "{page}");
    assert_eq!(
        front.attempts(&endpoints[0], "network").await,
        1.0,
        "{page}"
    );
    assert_eq!(front.attempts(&endpoints[1], "ok").await, 1.0, "{page}");
    let failovers = "tidegate_hop_failovers_total";
    assert_eq!(
        front.metric(failovers, &endpoints[0], "").await,
        1.0,
        "{page}"
    );
    let up = "tidegate_endpoint_up";
    let by = Deadline::secs(10);
    let seen = by.until(|| async {
        let both = [&endpoints[0], &endpoints[1]].map(|url| front.metric(up, url, ""));
        let both = futures_util::future::join_all(both).await;
        (both == [0.0, 1.0]).then_some(())
    });
    assert!(
        seen.await.is_some(),
        "which is up: {}",
        front.gateway.metrics().await
    );
    // Between the kill and the news of it, a frame may have gone to the dead.
    let replayed = front
        .metric("tidegate_hop_replayed_frames_total", &endpoints[0], "")
        .await;
    assert!(replayed <= 1.0, "{page}");
}
