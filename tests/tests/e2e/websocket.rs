//! Python's `websockets` in both subprotocols, and with raw audio; and a client that does not stop sending.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Peer};
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{frame, ws};

/// Sends the whole recording through `echo` and expects it back, byte by byte, at a closed stream.
async fn echoes(messages: &str) -> Value {
    let gateway = Gateway::start(&[]).await;
    let peer = Peer::python("ws_client.py").args([&gateway.address.to_string(), messages]);
    let peer = peer.args(["--wav".as_ref(), recording("jfk.wav").as_os_str()]);
    let report = peer.report(Deadline::secs(180)).await;
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

#[tokio::test]
async fn a_client_that_does_not_stop_sending_still_reads_why_it_was_left() {
    let gateway = Gateway::start(&[]).await;
    let (client, _) = ws::Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let (mut sink, mut stream) = client.stream.split();
    // Number 7 where 1 is due, and then a mebibyte that the gateway has not read when it leaves.
    let wrong = frame("mic", 7, &[0; 640]).to_string();
    let flood = async {
        for _ in 0..1_000 {
            if sink.send(Message::text(wrong.clone())).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    };
    let hear = async {
        let mut error = Value::Null;
        while let Some(message) = stream.next().await {
            match message.expect("no reset before the last word") {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if !message["error"].is_null() {
                        error = message["error"].clone();
                    }
                }
                Message::Close(close) => return (error, close.map(|close| u16::from(close.code))),
                _ => {}
            }
        }
        (error, None)
    };
    let both = async {
        tokio::pin!(flood, hear);
        tokio::select! {
            heard = &mut hear => heard,
            () = &mut flood => panic!("the socket was reset before the last word was read"),
        }
    };
    let (error, close) = Deadline::secs(20).wait(both).await.expect("in time");
    assert_eq!(error["code"], "bad_request", "{error}");
    assert_eq!(close, Some(4400), "{}", gateway.logs.text());
}
