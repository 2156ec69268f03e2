//! What failed is tried elsewhere at once, at the same place only after a backoff, and within a budget.

use std::time::Duration;

use serde_json::json;
use tidegate_tests::Deadline;

use super::Server;
use super::calls::Calls;
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
async fn fr_006_a_budget_keeps_retries_from_becoming_the_outage() {
    let bad = Calls::start("bad").await;
    bad.fail(1);
    let params = json!({
        "transport": "http", "mode": "unary", "endpoints": [bad.url()], "health": "off",
        "breaker": {"failures": 1000, "success": 0}, "retry": {"attempts": 4, "backoff": "10ms", "budget": 0.2},
    });
    let front = Server::hop(params).await;
    let began = Deadline::secs(60);
    let all = (0..100).map(|_| front.call(&["one"]));
    let all = futures_util::future::join_all(all).await;
    let took = began.elapsed().as_secs_f64();
    assert!(all.iter().all(Result::is_err));
    let retries = bad.taken() - 100;
    // One for five requests, ten a second, and ten that are there at the start. Without a budget, 300.
    let most = 100.0 * 0.2 + 10.0 * (took + 1.0);
    assert!(retries >= 20, "{retries} retries");
    assert!(
        f64::from(u32::try_from(retries).expect("few")) <= most,
        "{retries} retries in {took} s"
    );
    assert!(retries < 300, "{retries} retries in {took} s");
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
