//! Network, timeout, remote execution and invalid data are told apart, each with its endpoint, attempt and time.

use serde_json::{Value, json};

use super::Server;
use super::calls::Calls;
use super::fake::{Fake, Manner, nobody};

/// The problem that a hop to this endpoint ends with, after one attempt.
async fn problem(endpoint: &str, code: &str) -> Value {
    problem_by(endpoint, code, json!({})).await
}

/// The same, by a hop that has these parameters besides.
async fn problem_by(endpoint: &str, code: &str, more: Value) -> Value {
    let mut params = json!({
        "endpoints": [endpoint], "retry": {"attempts": 1}, "health": "off",
        "timeout": {"connect": "2s", "first_output": "300ms"},
    });
    for (key, value) in more.as_object().expect("parameters") {
        params[key] = value.clone();
    }
    let front = Server::hop(params).await;
    let problem = front.call(&["one"]).await.expect_err("a problem");
    let shown = format!("{problem:#}\n{}", front.gateway.logs.text());
    assert_eq!(problem["code"], code, "{shown}");
    assert_eq!(problem["endpoint"], endpoint, "{shown}");
    assert_eq!(problem["hop"], "far", "{shown}");
    assert_eq!(problem["fault"], "worker", "{shown}");
    assert_eq!(problem["attempt"], 1, "{shown}");
    let elapsed = problem["elapsed"].as_f64();
    assert!(
        elapsed.is_some_and(|seconds| (0.0..10.0).contains(&seconds)),
        "{shown}"
    );
    problem
}

#[tokio::test]
async fn fr_013_a_network_error_says_so() {
    let problem = problem(&nobody().await, "network").await;
    assert_eq!(problem["retryable"], true, "{problem:#}");
}

#[tokio::test]
async fn fr_013_a_timeout_says_so_and_how_long_it_took() {
    let mute = Fake::worker(Manner::Mute).await;
    let problem = problem(&mute.url(), "timeout").await;
    assert_eq!(problem["phase"], "first_output", "{problem:#}");
    assert!(problem["elapsed"].as_f64() >= Some(0.3), "{problem:#}");
}

#[tokio::test]
async fn fr_013_a_failure_of_the_worker_says_so_in_the_workers_words() {
    let fails = Fake::worker(Manner::Fails).await;
    let problem = problem(&fails.url(), "remote_execution").await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("the model ran out of memory"),
        "{problem:#}"
    );
}

#[tokio::test]
async fn fr_013_data_that_the_protocol_does_not_allow_says_so() {
    let garbage = Fake::worker(Manner::Garbage).await;
    let problem = problem(&garbage.url(), "invalid_remote_data").await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("nowhere"),
        "it names what came: {problem:#}"
    );
}

#[tokio::test]
async fn fr_013_an_answer_on_an_output_that_the_hop_does_not_declare_names_both() {
    let (http, grpc) = (
        Calls::start("far").await,
        Fake::worker(Manner::Garbage).await,
    );
    let answer = json!([{"name": "answer", "kind": "text"}]);
    let by_http = |mode: &str| json!({"transport": "http", "mode": mode, "outputs": answer});
    let ways = [
        (http.url(), by_http("unary"), "out"),
        (http.url(), by_http("stream"), "out"),
        (
            grpc.url(),
            json!({"mode": "unary", "outputs": answer}),
            "nowhere",
        ),
    ];
    for (endpoint, more, on) in ways {
        let problem = problem_by(&endpoint, "invalid_remote_data", more).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        for words in [
            &*format!("answered on output '{on}'"),
            "'answer'",
            "in its 'outputs'",
        ] {
            assert!(detail.contains(words), "no {words}: {problem:#}");
        }
    }
}

#[tokio::test]
async fn fr_013_where_several_failed_each_is_named_with_its_own_error() {
    let (dead, garbage) = (nobody().await, Fake::worker(Manner::Garbage).await);
    let params = json!({"endpoints": [dead, garbage.url()], "retry": {"attempts": 2, "backoff": "10ms"}, "health": "off"});
    let front = Server::hop(params).await;
    let problem = front.call(&["one"]).await.expect_err("a problem");
    assert_eq!(problem["code"], "all_endpoints_failed", "{problem:#}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    for words in [dead.as_str(), "refused", &garbage.url(), "nowhere"] {
        assert!(detail.contains(words), "no {words}: {problem:#}");
    }
}
