//! What serves when no endpoint can, in the order of the manifest, and back.

use serde_json::{Value, json};
use tidegate_tests::Deadline;

use super::calls::Calls;
use super::fake::nobody;
use super::{Server, hop, utterance};

/// A hop whose first endpoint is dead.
async fn front(fallback: Value) -> Server {
    let retry = json!({"attempts": 1});
    Server::hop(json!({"endpoints": [nobody().await], "health": "off", "retry": retry, "fallback": fallback})).await
}

#[tokio::test]
async fn fr_008_a_secondary_and_a_tertiary_serve_in_order() {
    let (second, third) = (
        Server::saying("second").await,
        Server::saying("third").await,
    );
    let two = json!([{"endpoints": [second.url()]}, {"endpoints": [third.url()]}]);
    assert_eq!(
        front(two).await.call(&["one"]).await,
        Ok(vec!["second one".to_owned()])
    );
    let three = json!([{"endpoints": [nobody().await]}, {"endpoints": [third.url()]}]);
    assert_eq!(
        front(three).await.call(&["one"]).await,
        Ok(vec!["third one".to_owned()])
    );
}

#[tokio::test]
async fn fr_008_a_local_node_serves_when_all_endpoints_are_down() {
    let local = json!([{"type": "text.template", "params": {"template": "local {{text}}"}}]);
    let front = front(local).await;
    assert_eq!(front.call(&["one"]).await, Ok(vec!["local one".to_owned()]));
}

#[tokio::test]
async fn fr_008_an_error_of_the_manifests_own_words_ends_the_chain() {
    let front = front(json!([{"error": "we are closed on Sundays"}])).await;
    let problem = front.call(&["one"]).await.expect_err("closed");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("we are closed on Sundays"), "{problem:#}");
    assert_eq!(problem["hop"], "far", "{problem:#}");
}

#[tokio::test]
async fn fr_008_an_earlier_answer_serves_a_unary_call_and_only_the_same() {
    let worker = Calls::start("fresh").await;
    let params = json!({
        "transport": "http", "mode": "unary", "endpoints": [worker.url()], "health": "off", "retry": {"attempts": 1},
        "fallback": [{"cache": {"entries": 10, "age": "60s"}}],
    });
    let front = Server::hop(params).await;
    assert_eq!(front.call(&["one"]).await, Ok(vec!["fresh".to_owned()]));
    worker.fail(1);
    assert_eq!(front.call(&["one"]).await, Ok(vec!["fresh".to_owned()]));
    front
        .call(&["two"])
        .await
        .expect_err("another question has no answer");
    worker.fail(0);
    worker.taken();
    assert_eq!(front.call(&["one"]).await, Ok(vec!["fresh".to_owned()]));
    assert_eq!(worker.taken(), 1, "who is well again is asked again");
}

#[tokio::test]
async fn fr_008_an_earlier_answer_is_not_given_to_who_asked_with_other_parameters() {
    let worker = Calls::start("fresh").await;
    let mut manifest = hop(
        "hop",
        json!({
            "transport": "http", "mode": "unary", "endpoints": [worker.url()], "health": "off", "retry": {"attempts": 1},
            "fallback": [{"cache": {}}], "parameters": {"voice": "${param:voice}"},
        }),
    );
    manifest["parameters"] = json!({"voice": {"type": "string", "default": "none"}});
    let front = Server::start(&[manifest]).await;
    let ask = async |voice: &str| {
        let body = json!({"inputs": {"in": [utterance(1, "one")]}, "parameters": {"voice": voice}});
        front.execute("hop", &body).await
    };
    assert!(ask("ann").await.is_ok());
    worker.fail(1);
    assert!(ask("ann").await.is_ok(), "{}", front.gateway.logs.text());
    ask("bob").await.expect_err("those are others' answers");
}

#[tokio::test]
async fn fr_008_an_earlier_answer_is_not_given_to_another_caller() {
    let worker = Calls::start("fresh").await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tidegate.yaml");
    let token =
        |name: &str| json!({"name": name, "token": format!("of-{name}"), "pipelines": ["*"]});
    let settings = json!({"auth": {"tokens": [token("ann"), token("bob")]}});
    std::fs::write(&config, settings.to_string()).expect("written");
    let manifest = hop(
        "hop",
        json!({
            "transport": "http", "mode": "unary", "endpoints": [worker.url()], "health": "off", "retry": {"attempts": 1},
            "fallback": [{"cache": {}}],
        }),
    );
    let config = config.to_string_lossy();
    let front = Server::with(&[manifest], &[("TIDEGATE_CONFIG", &*config)]).await;
    let ask = async |name: &str| {
        let token = format!("Bearer of-{name}");
        let headers = [
            ("authorization", &*token),
            ("content-type", "application/json"),
        ];
        let body = json!({"inputs": {"in": [utterance(1, "one")]}}).to_string();
        let path = "/v1/pipelines/hop/execute";
        let answer = front.gateway.request("POST", path, &headers, body).await;
        answer.status
    };
    assert_eq!(ask("ann").await, 200);
    worker.fail(1);
    assert_eq!(ask("ann").await, 200, "{}", front.gateway.logs.text());
    assert_eq!(ask("bob").await, 502, "those are another's answers");
}

#[tokio::test]
async fn fr_008_the_primary_takes_back_when_it_is_well_again() {
    let (mut first, second) = (
        Server::saying("first").await,
        Server::saying("second").await,
    );
    let params = json!({
        "endpoints": [first.url()], "fallback": [{"endpoints": [second.url()]}],
        "health": {"interval": "200ms", "timeout": "200ms"}, "breaker": {"open": "300ms"}, "retry": {"backoff": "50ms"},
    });
    let front = Server::hop(params).await;
    let mut client = front.open().await;
    let mut seq = 0;
    let mut say = async |client: &mut tidegate_tests::Ws| {
        seq += 1;
        client.send("frame", utterance(seq, "word")).await;
        client.until("frame").await["text"]["text"].clone()
    };
    assert_eq!(say(&mut client).await, "first word");
    first.gateway.kill().await;
    assert_eq!(say(&mut client).await, "second word");
    first.again().await;
    let by = Deadline::secs(30);
    let mut back = false;
    while !back && !by.left().is_zero() {
        back = say(&mut client).await == "first word";
    }
    assert!(
        back,
        "the same session goes back to its primary\n{}",
        front.gateway.logs.text()
    );
}

#[tokio::test]
async fn fr_008_calls_go_back_to_the_primary_when_it_is_well_again() {
    let (first, second) = (Calls::start("first").await, Calls::start("second").await);
    let front = Server::hop(json!({
        "transport": "http", "mode": "unary", "endpoints": [first.url()], "health": "off",
        "fallback": [{"endpoints": [second.url()]}], "breaker": {"open": "200ms"},
    }))
    .await;
    let said = async || front.call(&["one"]).await.map(|said| said.concat());
    assert_eq!(said().await, Ok("first".to_owned()));
    first.fail(1);
    for _ in 0..10 {
        assert_eq!(said().await, Ok("second".to_owned()));
    }
    first.fail(0);
    let by = Deadline::secs(30);
    let back = by.until(|| async { (said().await == Ok("first".to_owned())).then_some(()) });
    assert!(back.await.is_some(), "{}", front.gateway.logs.text());
    second.taken();
    for _ in 0..10 {
        assert_eq!(said().await, Ok("first".to_owned()));
    }
    assert_eq!(second.taken(), 0);
}
