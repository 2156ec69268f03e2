//! Python's `websockets` in both subprotocols, and with raw audio.

use serde_json::Value;
use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Peer};

/// Sends the whole recording through `echo` and expects it back, byte by byte, at a closed stream.
async fn echoes(messages: &str) -> Value {
    let gateway = Gateway::start(&[]).await;
    let peer = Peer::python("ws_client.py").args([&gateway.address.to_string(), messages]);
    let peer = peer.args(["--wav".as_ref(), recording("jfk.wav").as_os_str()]);
    let report = peer.report(Deadline::secs(60)).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["same"], true, "{shown}");
    assert_eq!(report["kinds"]["opened"], 1, "{shown}");
    assert_eq!(report["kinds"]["ended"], 1, "{shown}");
    assert!(report["error"].is_null(), "{shown}");
    assert_eq!(report["close"]["code"], 1000, "{shown}");
    report
}

#[tokio::test]
async fn json_messages_go_through_echo() {
    let report = echoes("json").await;
    assert_eq!(report["subprotocol"], "tidegate.v1.json");
    assert_eq!(report["seqs_in_order"], true, "{report:#}");
    assert_eq!(report["frames"], 550);
}

#[tokio::test]
async fn protobuf_messages_go_through_echo() {
    let report = echoes("proto").await;
    assert_eq!(report["subprotocol"], "tidegate.v1.proto");
    assert_eq!(report["seqs_in_order"], true, "{report:#}");
    assert_eq!(report["frames"], 550);
}

#[tokio::test]
async fn raw_binary_messages_carry_the_audio_that_open_names() {
    let report = echoes("raw").await;
    assert_eq!(report["kinds"]["raw"], 550, "{report:#}");
    assert!(report["kinds"]["frame"].is_null(), "{report:#}");
}
