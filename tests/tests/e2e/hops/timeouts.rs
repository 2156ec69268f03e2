//! Each wait has its limit, and an error says which phase it was.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::Deadline;

use super::calls::Calls;
use super::fake::{Fake, Manner};
use super::{Server, utterance};

/// A call that is expected to time out in this phase, at this endpoint; how long it took.
async fn times_out(endpoint: &Fake, timeout: Value, phase: &str) -> Duration {
    let params = json!({"endpoints": [endpoint.url()], "timeout": timeout, "retry": {"attempts": 1}, "health": "off"});
    let front = Server::hop(params).await;
    let began = Deadline::secs(20);
    let problem = front.call(&["one"]).await.expect_err("a timeout");
    let took = began.elapsed();
    let shown = format!("{problem:#}\n{}", front.gateway.logs.text());
    assert_eq!(problem["code"], "timeout", "{shown}");
    assert_eq!(problem["phase"], phase, "{shown}");
    assert_eq!(problem["endpoint"], endpoint.url(), "{shown}");
    assert_eq!(problem["hop"], "far", "{shown}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains(&format!("timeout.{phase}")),
        "what to change: {shown}"
    );
    // The time that the caller has waited.
    let elapsed = problem["elapsed"].as_f64().unwrap_or_default();
    assert!(
        (0.3..=took.as_secs_f64()).contains(&elapsed),
        "{took:?}: {shown}"
    );
    took
}

#[tokio::test]
async fn fr_005_connect_is_a_phase_of_its_own() {
    let mute = Fake::answering(b"").await;
    let took = times_out(&mute, json!({"connect": "300ms"}), "connect").await;
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn fr_005_the_first_output_is_a_phase_of_its_own() {
    let mute = Fake::worker(Manner::Mute).await;
    let took = times_out(&mute, json!({"first_output": "300ms"}), "first_output").await;
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn fr_005_a_gap_is_a_phase_of_its_own_and_counts_only_while_input_is_unacknowledged() {
    let stalls = Fake::worker(Manner::Stalls).await;
    let took = times_out(&stalls, json!({"gap": "300ms"}), "gap").await;
    assert!(took >= Duration::from_millis(300), "{took:?}");

    // A worker that has answered everything may be silent for as long as it likes.
    let worker = Server::saying("far").await;
    let params =
        json!({"endpoints": [worker.url()], "timeout": {"gap": "200ms", "first_output": "5s"}});
    let front = Server::hop(params).await;
    let mut client = front.open().await;
    client.send("frame", utterance(1, "one")).await;
    client.until("frame").await;
    let error = Deadline::after(Duration::from_millis(800))
        .wait(client.until("error"))
        .await;
    assert_eq!(error, None, "nothing is owed");
    client.send("frame", utterance(2, "two")).await;
    assert_eq!(client.until("frame").await["text"]["text"], "far two");
}

#[tokio::test]
async fn fr_005_the_whole_call_bounds_an_utterance_from_its_last_input() {
    let unfinished = Fake::worker(Manner::Unfinished).await;
    let took = times_out(&unfinished, json!({"call": "400ms"}), "call").await;
    assert!(took >= Duration::from_millis(400), "{took:?}");
}

#[tokio::test]
async fn fr_005_the_whole_call_bounds_a_unary_call() {
    let mute = Fake::answering(b"").await;
    let params = json!({
        "transport": "http", "mode": "unary", "endpoints": [mute.url()], "timeout": {"call": "400ms"},
        "retry": {"attempts": 1}, "health": "off",
    });
    let front = Server::hop(params).await;
    let problem = front.call(&["one"]).await.expect_err("a timeout");
    assert_eq!(problem["code"], "timeout", "{problem:#}");
    assert_eq!(problem["phase"], "call", "{problem:#}");

    // Who answers in time is waited for.
    let slow = Calls::start("slow").await;
    slow.delay(Duration::from_millis(100));
    let params = json!({
        "transport": "http", "mode": "unary", "endpoints": [slow.url()], "timeout": {"call": "10s"},
    });
    let front = Server::hop(params).await;
    assert_eq!(front.call(&["one"]).await, Ok(vec!["slow".to_owned()]));
}

#[tokio::test]
async fn fr_013_the_time_that_is_told_is_the_callers_wait_and_not_the_sessions_age() {
    let mute = Fake::worker(Manner::Mute).await;
    let front = Server::hop(json!({
        "endpoints": [mute.url()], "timeout": {"first_output": "300ms"}, "retry": {"attempts": 1},
        "health": "off",
    }))
    .await;
    let mut client = front.open().await;
    let age = Duration::from_millis(900);
    let error = Deadline::after(age).wait(client.until("error")).await;
    assert_eq!(error, None, "nothing was asked yet");
    let asked = Deadline::secs(20);
    client.send("frame", utterance(1, "one")).await;
    let error = client.until("error").await;
    let took = asked.elapsed().as_micros();
    let elapsed = u128::from(error["elapsed"].as_u64().unwrap_or_default());
    assert!((300_000..=took).contains(&elapsed), "{took}: {error:#}");
}
