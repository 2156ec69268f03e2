//! One Tidegate as the worker of another, over native gRPC.

use serde_json::{Value, json};
use tidegate_tests::peer::Peer;
use tidegate_tests::{Deadline, Gateway, Ws, fixtures};

/// What the tests send; declared, so that nothing is converted on the way.
const PCM: &str = "pcm_s16/16000/1";

/// A gateway with the pipeline `relay`, whose only node is `echo` of `worker`.
pub(crate) async fn front(worker: &Gateway) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder for the manifest");
    let manifest = json!({
        "version": "tidegate/v1",
        "name": "relay",
        "inputs": [{"name": "mic", "kind": "audio"}],
        "outputs": [{"name": "speaker", "kind": "audio"}],
        "nodes": [{"id": "far", "type": "remote", "params": {
            "transport": "grpc", "endpoints": [worker.url("")], "pipeline": "echo",
            "retry": {"attempts": 1},
            "inputs": [{"name": "mic", "kind": "audio", "format": PCM}],
            "outputs": [{"name": "speaker", "kind": "audio", "format": PCM}],
        }}],
        "edges": [
            {"from": "mic", "to": "far", "queue": {"when_full": "drop_oldest"}},
            "far -> speaker",
        ],
    });
    let file = folder.path().join("relay.yaml");
    std::fs::write(file, manifest.to_string()).expect("the manifest is written");
    let path = folder.path().to_string_lossy().into_owned();
    (Gateway::start(&["--pipelines", &path]).await, folder)
}

#[tokio::test]
async fn a_recording_goes_through_a_remote_hop_whole_and_measured() {
    let worker = Gateway::start(&[]).await;
    let (front, _folder) = front(&worker).await;
    let wav = fixtures::recording("jfk.wav");
    let peer = Peer::python("ws_client.py").args([&front.address.to_string(), "proto"]);
    let peer = peer.args(["--pipeline", "relay", "--wav"]).args([wav]);
    let report = peer.report(Deadline::secs(60)).await;
    let shown = format!("{report:#}\n{}\n{}", front.logs.text(), worker.logs.text());
    assert_eq!(report["same"], true, "{shown}");
    let endpoint = format!("endpoint=\"{}\"", worker.url(""));
    for stage in ["queue", "wire", "service"] {
        let name = format!("tidegate_hop_{stage}_seconds_count");
        let count = front.metric(&name, &["hop=\"far\"", &endpoint]).await;
        assert_eq!(
            count,
            Some(550.0),
            "{name}: {}\n{shown}",
            front.metrics().await
        );
    }
    let sum = |stage: &str| format!("tidegate_hop_{stage}_seconds_sum");
    let wire = front
        .metric(&sum("wire"), &["hop=\"far\""])
        .await
        .expect("a sum");
    assert!(wire > 0.0, "time on the wire is more than nothing: {wire}");
}

#[tokio::test]
async fn a_worker_killed_in_mid_stream_gives_one_clear_error() {
    let mut worker = Gateway::start(&[]).await;
    let (front, _folder) = front(&worker).await;
    let (mut client, _) = Ws::open(&front, "relay", json!({"pipeline": "relay"})).await;
    for seq in 1..=5 {
        client.send_frame(seq).await;
        assert_eq!(client.until("frame").await["seq"], seq);
    }
    worker.kill().await;
    let mut errors = Vec::new();
    let mut close = Value::Null;
    while let Some((kind, body)) = client.next().await {
        match kind.as_str() {
            "error" => errors.push(body),
            "close" => close = body,
            _ => {}
        }
    }
    assert_eq!(errors.len(), 1, "{errors:?}\n{}", front.logs.text());
    let error = &errors[0];
    assert_eq!(error["code"], "network", "{error}");
    assert_eq!(error["hop"], "far", "{error}");
    assert_eq!(error["fault"], "worker", "{error}");
    assert!(
        close.as_u64().is_some_and(|code| code > 1000),
        "close code {close}"
    );
    let ended = Deadline::secs(10)
        .until(|| async { (front.sessions().await == 0).then_some(()) })
        .await;
    assert!(
        ended.is_some(),
        "the session is over: {}",
        front.get("/v1/sessions").await.text()
    );
}

#[tokio::test]
async fn a_worker_that_is_not_there_refuses_the_session_at_once() {
    let mut worker = Gateway::start(&[]).await;
    let (front, _folder) = front(&worker).await;
    worker.kill().await;
    let mut client = Ws::connect(&front, "relay")
        .await
        .expect("the upgrade succeeds");
    client.send("open", json!({"pipeline": "relay"})).await;
    let error = client.until("error").await;
    assert_eq!(error["hop"], "far", "{error}");
    assert_eq!(error["retryable"], true, "{error}");
}
