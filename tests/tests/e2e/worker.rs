//! What a Tidegate does when another gateway's hop streams into it: acknowledgements, places to replay from, causes, cancelling.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway};

use crate::clients::process::sessions_become;
use crate::clients::ws::Ws;

/// What the tests send; declared, so that nothing is converted on the way.
const PCM: &str = "pcm_s16/16000/1";

/// A gateway with these pipelines besides its own.
async fn serving(manifests: &[Value]) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder for manifests");
    for manifest in manifests {
        let name = manifest["name"].as_str().expect("a name");
        write(folder.path(), name, manifest);
    }
    let path = folder.path().to_string_lossy().into_owned();
    (Gateway::start(&["--pipelines", &path]).await, folder)
}

fn write(folder: &Path, name: &str, manifest: &Value) {
    let file = folder.join(format!("{name}.yaml"));
    std::fs::write(file, manifest.to_string()).expect("the manifest is written");
}

/// A pipeline `name` whose only node is `pipeline` of one of these workers.
fn relay(name: &str, workers: &[&Gateway], pipeline: &str) -> Value {
    let endpoints: Vec<_> = workers.iter().map(|worker| worker.url("")).collect();
    json!({
        "version": "tidegate/v1",
        "name": name,
        "inputs": [{"name": "mic", "kind": "audio"}],
        "outputs": [{"name": "speaker", "kind": "audio"}],
        "nodes": [{"id": "far", "type": "remote", "params": {
            "transport": "grpc", "endpoints": endpoints, "pipeline": pipeline,
            "inputs": [{"name": "mic", "kind": "audio", "format": PCM}],
            "outputs": [{"name": "speaker", "kind": "audio", "format": PCM}],
        }}],
        "edges": [
            {"from": "mic", "to": "far", "queue": {"when_full": "drop_oldest"}},
            "far -> speaker",
        ],
    })
}

/// A row of a tensor.
fn row(port: &str, seq: u64) -> Value {
    let tensor = json!({"dtype": "u8", "shape": [1, 1], "data": "AQ=="});
    json!({"frame": {"port": port, "seq": seq, "tensor": tensor}})
}

/// The next messages, as words: outputs with their cause, acknowledgements and places to replay from.
async fn told(ws: &mut Ws, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        let message = ws.next_json().await.expect("the session goes on");
        if let Some(frame) = message.get("frame") {
            let port = frame["caused_port"].as_str().unwrap_or("only");
            told.push(format!(
                "{} of {port} {}",
                frame["port"].as_str().unwrap_or(""),
                frame["caused_by"]
            ));
        } else if let Some(ack) = message.get("ack") {
            told.push(format!(
                "ack {} {}",
                ack["port"].as_str().unwrap_or(""),
                ack["seq"]
            ));
        } else if let Some(from) = message.get("replay_from") {
            told.push(format!(
                "from {} {}",
                from["port"].as_str().unwrap_or(""),
                from["seq"]
            ));
        }
    }
    told
}

#[tokio::test]
async fn an_input_is_acknowledged_behind_what_it_caused_and_a_replay_begins_where_a_window_did() {
    let windows = json!({
        "version": "tidegate/v1",
        "name": "windows",
        "inputs": [{"name": "rows", "kind": "tensor"}],
        "outputs": [{"name": "out", "kind": "tensor"}],
        "nodes": [{"id": "cut", "type": "tensor.window", "params": {"size": 2}}],
        "edges": ["rows -> cut", "cut -> out"],
    });
    let (gateway, _folder) = serving(&[windows]).await;
    let open = json!({"pipeline": "windows", "mode": "waits", "features": ["acks"]});
    let (mut ws, opened) = Ws::open(&gateway, "windows", open).await;
    let opened = &opened;
    assert_eq!(opened["features"], json!(["acks"]), "{opened}");
    assert_eq!(opened["deterministic"], true, "{opened}");
    ws.send(&row("rows", 1)).await;
    assert_eq!(told(&mut ws, 2).await, ["from rows 1", "ack rows 1"]);
    ws.send(&row("rows", 2)).await;
    // The end could make more of the second; with the third it no longer can.
    assert_eq!(told(&mut ws, 2).await, ["out of only 2", "ack rows 2"]);
    ws.send(&row("rows", 3)).await;
    assert_eq!(told(&mut ws, 2).await, ["from rows 3", "ack rows 3"]);
}

#[tokio::test]
async fn of_several_inputs_an_output_names_the_one_that_caused_it() {
    let two = json!({
        "version": "tidegate/v1",
        "name": "two",
        "inputs": [{"name": "one", "kind": "tensor"}, {"name": "other", "kind": "tensor"}],
        "outputs": [{"name": "out", "kind": "tensor"}],
        "edges": ["one -> out", "other -> out"],
    });
    let (gateway, _folder) = serving(&[two]).await;
    let open = json!({"pipeline": "two", "mode": "waits", "features": ["acks"]});
    let (mut ws, opened) = Ws::open(&gateway, "two", open).await;
    assert_ne!(
        opened["deterministic"], true,
        "the order of two paths is nobody's"
    );
    for (port, seq) in [("other", 1), ("one", 1), ("other", 2)] {
        ws.send(&row(port, seq)).await;
        let expected = [format!("out of {port} {seq}"), format!("ack {port} {seq}")];
        assert_eq!(told(&mut ws, 2).await, expected);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_every_session_of_a_chain() {
    let last = Gateway::start(&[]).await;
    let (middle, _one) = serving(&[relay("middle", &[&last], "echo")]).await;
    let (front, _two) = serving(&[relay("front", &[&middle], "middle")]).await;
    let chain = [&front, &middle, &last];
    let (mut ws, _) = Ws::open(&front, "front", json!({"pipeline": "front"})).await;
    ws.send(&crate::clients::frame("mic", 1, &[1; 640])).await;
    assert_eq!(ws.next_of("frame").await["seq"], 1);
    for gateway in chain {
        sessions_become(gateway, 1, Deadline::secs(5)).await;
    }
    drop(ws);
    for gateway in chain {
        sessions_become(gateway, 0, Deadline::after(Duration::from_secs(2))).await;
    }
}
