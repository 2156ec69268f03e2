//! SC-006 at run time: what is wrong between two gateways is named by the message, with its mend. (What a manifest alone shows is
//! in `tests/manifests/bad`.)

use serde_json::{Value, json};

use super::fake::nobody;
use super::{Server, hop, say, utterance};

/// The problem of a hop with these parameters, which must hold all of these words.
async fn named(params: Value, code: &str, words: &[&str]) {
    let mut params = params;
    if params.get("retry").is_none() {
        params["retry"] = json!({"attempts": 1});
    }
    let front = Server::start(&[hop("hop", params.clone())]).await;
    let body = json!({"inputs": {"in": [utterance(1, "word")]}});
    let problem = front.execute("hop", &body).await.expect_err("a problem");
    let detail = problem["detail"]
        .as_str()
        .unwrap_or_default()
        .to_lowercase();
    assert_eq!(problem["code"], code, "{params}\n{problem:#}");
    for word in words {
        let told = detail.contains(&word.to_lowercase());
        assert!(told, "no '{word}' of {params}\n{problem:#}");
    }
    assert_eq!(problem["hop"], "far", "{problem:#}");
    assert_eq!(problem["endpoint"], params["endpoints"][0], "{problem:#}");
}

#[tokio::test]
async fn sc_006_a_port_without_a_listener_is_named() {
    named(
        json!({"endpoints": [nobody().await]}),
        "network",
        &["refused"],
    )
    .await;
}

#[tokio::test]
async fn sc_006_a_host_that_does_not_exist_is_named() {
    let params = json!({"endpoints": ["http://worker.invalid:7001"]});
    named(params, "network", &["lookup"]).await;
}

#[tokio::test]
async fn sc_006_a_missing_token_is_named() {
    let settings = [("TIDEGATE_AUTH_TOKEN", "a-token-of-the-test")];
    // What asks whether it is ready bears no token, and needs none.
    let worker = Server::with(&[say("far")], &settings).await;
    let params = json!({"endpoints": [worker.url()]});
    named(params, "unauthenticated", &["token", "auth"]).await;
    let params = json!({"endpoints": [worker.url()], "auth": {"bearer": "another"}});
    named(params, "unauthenticated", &["token"]).await;
}

#[tokio::test]
async fn sc_006_a_pipeline_that_the_worker_lacks_is_named() {
    let worker = Server::saying("far").await;
    let params = json!({"endpoints": [worker.url()], "pipeline": "sey"});
    named(params, "unknown_pipeline", &["sey", "GET /v1/pipelines"]).await;
}

#[tokio::test]
async fn sc_006_an_inline_manifest_where_none_is_allowed_is_named() {
    let worker = Server::saying("far").await;
    let params = json!({"endpoints": [worker.url()], "manifest": say("inline")});
    named(params, "permission_denied", &["inline"]).await;
}

#[tokio::test]
async fn sc_006_a_port_that_the_worker_lacks_is_named() {
    let worker = Server::saying("far").await;
    let outputs = json!([{"name": "answer", "kind": "text"}]);
    let params = json!({"endpoints": [worker.url()], "outputs": outputs});
    named(params, "incompatible", &["answer", "out"]).await;
}

#[tokio::test]
async fn sc_006_another_kind_than_the_workers_is_named() {
    let worker = Server::saying("far").await;
    let params = json!({"endpoints": [worker.url()], "pipeline": "echo", "inputs": [{"name": "mic", "kind": "text"}],
        "outputs": [{"name": "speaker", "kind": "text"}]});
    named(params, "incompatible", &["text", "audio", "mic"]).await;
}

#[tokio::test]
async fn sc_006_a_parameter_that_the_pipeline_lacks_is_named() {
    let worker = Server::saying("far").await;
    let params = json!({"endpoints": [worker.url()], "parameters": {"loud": 3}});
    named(params, "remote_execution", &["loud", "parameter"]).await;
}

#[tokio::test]
async fn sc_006_a_token_file_that_is_missing_is_named() {
    let worker = Server::saying("far").await;
    let params = json!({"endpoints": [worker.url()], "auth": {"bearer_file": "missing/token"}});
    named(
        params,
        "manifest_invalid",
        &["missing/token", "no such file"],
    )
    .await;
}
