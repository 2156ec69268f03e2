//! The edge cases of remote hops, a test each.

use std::time::Duration;

use serde_json::json;
use tidegate_tests::Deadline;

use super::Server;
use super::calls::Calls;
use super::fake::{Fake, Manner, nobody};

/// A call through a hop whose first endpoint is a faulty one and whose second serves.
async fn served_by_the_second(first: &Fake) -> Duration {
    let worker = Server::saying("second").await;
    let endpoints = [first.url(), worker.url()];
    let timeout =
        json!({"connect": "500ms", "first_output": "500ms", "gap": "500ms", "call": "5s"});
    let front =
        Server::hop(json!({"endpoints": endpoints, "timeout": timeout, "health": "off"})).await;
    let began = Deadline::secs(20);
    let said = front.call(&["one", "two"]).await;
    let expected = ["second one", "second two"].map(str::to_owned).to_vec();
    assert_eq!(said, Ok(expected), "{}", front.gateway.logs.text());
    began.elapsed()
}

#[tokio::test]
async fn edge_a_remote_that_answers_garbage_loses_the_call_to_another() {
    for bytes in [
        &b"\x00\xffgarbage\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        served_by_the_second(&Fake::answering(bytes).await).await;
    }
    served_by_the_second(&Fake::worker(Manner::Garbage).await).await;
}

#[tokio::test]
async fn edge_an_endpoint_that_accepts_and_never_answers_costs_one_connect_timeout() {
    let took = served_by_the_second(&Fake::answering(b"").await).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn edge_an_endpoint_that_opens_and_never_answers_costs_one_wait_for_the_first_output() {
    let took = served_by_the_second(&Fake::worker(Manner::Mute).await).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn edge_success_without_output_is_no_success() {
    served_by_the_second(&Fake::worker(Manner::Empty).await).await;
}

#[tokio::test]
async fn edge_a_partial_failure_in_a_chain_is_mended_where_it_happens() {
    let (mut one, two) = (Server::saying("one").await, Server::saying("two").await);
    let middle = json!({"endpoints": [one.url(), two.url()], "health": "off"});
    let middle = Server::hop(middle).await;
    let front = json!({"endpoints": [middle.url()], "pipeline": "hop"});
    let front = Server::hop(front).await;
    let mut client = front.open().await;
    client.send("frame", super::utterance(1, "word")).await;
    assert_eq!(client.until("frame").await["text"]["text"], "one word");
    one.gateway.kill().await;
    client.send("frame", super::utterance(2, "word")).await;
    assert_eq!(client.until("frame").await["text"]["text"], "two word");
    let left = front
        .metric("tidegate_hop_failovers_total", &middle.url(), "")
        .await;
    assert!(left == 0.0, "the first gateway had nothing to mend");
}

#[tokio::test]
async fn edge_a_name_with_several_addresses_is_served_by_the_one_that_listens() {
    let worker = Server::saying("named").await;
    let endpoint = format!("http://localhost:{}", worker.gateway.address.port());
    let front = Server::hop(json!({"endpoints": [endpoint]})).await;
    assert_eq!(front.call(&["one"]).await, Ok(vec!["named one".to_owned()]));
    assert_eq!(
        front.attempts(&endpoint, "ok").await,
        1.0,
        "told by the name as configured"
    );
}

#[tokio::test]
async fn edge_an_endpoint_that_fails_every_second_request_loses_no_call() {
    let (bad, good) = (Calls::start("bad").await, Calls::start("good").await);
    bad.fail(2);
    let endpoints = [bad.url(), good.url()];
    let params = json!({
        "transport": "http", "mode": "unary", "endpoints": endpoints, "health": "off",
        "retry": {"backoff": "20ms"},
    });
    let front = Server::hop(params).await;
    for _ in 0..100 {
        let said = front.call(&["one"]).await;
        assert!(said.is_ok(), "{said:?}\n{}", front.gateway.logs.text());
    }
    assert!(
        bad.taken() + good.taken() > 100,
        "some calls were made twice"
    );
}

#[tokio::test]
async fn edge_all_endpoints_down_is_an_error_by_default() {
    let endpoints = [nobody().await, nobody().await];
    let params = json!({"endpoints": endpoints, "health": "off", "retry": {"attempts": 2, "backoff": "10ms"}});
    let front = Server::hop(params).await;
    let problem = front.call(&["one"]).await.expect_err("all are down");
    assert_eq!(problem["code"], "all_endpoints_failed", "{problem:#}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(
        endpoints.iter().all(|endpoint| detail.contains(endpoint)),
        "{problem:#}"
    );
}

#[tokio::test]
async fn edge_a_call_answered_without_output_counts_as_the_manifest_says() {
    let empty = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 14\r\n\r\n{\"outputs\":{}}";
    let (empty, good) = (Fake::answering(empty).await, Calls::start("good").await);
    let params = |rule: &str| {
        json!({
            "transport": "http", "mode": "unary", "endpoints": [empty.url(), good.url()], "health": "off",
            "retry": {"backoff": "20ms"}, "breaker": {"empty": rule},
        })
    };
    // There is always something to say: it is said by the other.
    let front = Server::hop(params("fail")).await;
    for _ in 0..6 {
        assert_eq!(front.call(&["one"]).await, Ok(vec!["good".to_owned()]));
    }
    // Nothing to say is an answer.
    let front = Server::hop(params("ignore")).await;
    let mut said = Vec::new();
    for _ in 0..6 {
        said.extend(front.call(&["one"]).await.expect("an answer"));
    }
    assert_eq!(said, ["good", "good", "good"], "every other call");
}

#[tokio::test]
async fn edge_a_service_that_is_no_gateway_is_not_kept_waiting_for_by_what_a_gateway_is_asked() {
    // It takes whatever is said and answers only calls.
    let service = Calls::start("said").await;
    let params = json!({
        "transport": "http", "mode": "unary", "endpoints": [service.url()], "pipeline": "say",
        "health": "off",
    });
    let front = Server::hop(params).await;
    for _ in 0..5 {
        assert_eq!(front.call(&["one"]).await, Ok(vec!["said".to_owned()]));
    }
    assert_eq!(service.taken(), 5);
}
