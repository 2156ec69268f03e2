//! Hops at servers that know nothing of Tidegate: Wyoming (here the gateway's own server, which real clients of Wyoming are tested with), and a
//! plain WebSocket that speaks as Vosk's server does.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidegate_tests::Gateway;
use tidegate_tests::fixtures::recording;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::wyoming::Server;

/// A gateway whose pipeline `front` is one remote hop.
async fn front(params: Value, input: &str, output: &str) -> (Gateway, tempfile::TempDir) {
    let manifest = json!({
        "version": "tidegate/v1", "name": "front",
        "inputs": [{"name": "in", "kind": input}],
        "outputs": [{"name": "out", "kind": output}],
        "nodes": [{"id": "hop", "type": "remote", "params": params}],
        "edges": [
            {"from": "in", "to": "hop", "queue": {"frames": 4000, "bytes": "64MiB", "when_full": "drop_oldest"}},
            {"from": "hop", "to": "out", "queue": {"frames": 4000, "bytes": "64MiB", "when_full": "drop_oldest"}},
        ],
    });
    let folder = tempfile::tempdir().expect("a folder for the manifest");
    std::fs::write(folder.path().join("front.yaml"), manifest.to_string()).expect("written");
    let path = folder.path().to_string_lossy().into_owned();
    (Gateway::start(&["--pipelines", &path]).await, folder)
}

async fn transcribed(gateway: &Gateway) -> Value {
    let file = std::fs::read(recording("jfk.wav")).expect("a recording");
    let headers = [("content-type", "audio/wav")];
    let path = "/v1/pipelines/front/execute";
    let answer = gateway.request("POST", path, &headers, file).await;
    let shown = format!("{}\n{}", answer.text(), gateway.logs.text());
    assert_eq!(answer.status, 200, "{shown}");
    answer.json()
}

fn texts(answer: &Value) -> Vec<(String, bool)> {
    let frames = answer["outputs"]["out"].as_array().expect("frames");
    let text = |frame: &Value| {
        let text = frame["text"]["text"].as_str().expect("a text").to_owned();
        (text, frame["final"] == true)
    };
    frames.iter().map(text).collect()
}

#[tokio::test]
async fn speech_is_recognised_by_a_wyoming_server() {
    let server = Server::start(&[]).await;
    let endpoint = format!("http://{}", server.address);
    let params = json!({
        "protocol": "wyoming.asr", "endpoints": [endpoint], "pipeline": "listener",
        "parameters": {"language": "es"}, "health": {"interval": "1s"},
    });
    let (gateway, _folder) = front(params, "audio", "text").await;
    let answer = transcribed(&gateway).await;
    let texts = texts(&answer);
    let (last, is_final) = texts.last().expect("a text");
    assert!(*is_final, "{answer:#}");
    assert!(last.starts_with("word-es word-es"), "{answer:#}");
    let labels = ["hop=\"hop\"", "outcome=\"ok\""];
    let attempts = gateway.metric("tidegate_hop_attempts_total", &labels).await;
    assert_eq!(attempts, Some(1.0), "it is counted as any hop");
}

#[tokio::test]
async fn text_is_spoken_by_a_wyoming_server_in_the_format_that_is_declared() {
    let server = Server::start(&[]).await;
    let endpoint = format!("http://{}", server.address);
    let hop = |format: &str| {
        json!({
            "protocol": "wyoming.tts", "endpoints": [endpoint], "retry": {"attempts": 1},
            "inputs": [{"name": "text", "kind": "text"}],
            "outputs": [{"name": "audio", "kind": "audio", "format": format}],
        })
    };
    let say = json!({"inputs": {"in": [{"text": {"text": "Hello."}}]}});
    let path = "/v1/pipelines/front/execute";
    let (gateway, _folder) = front(hop("pcm_s16/16000/1"), "text", "audio").await;
    let answer = gateway.post_json(path, &say).await;
    let shown = format!("{}\n{}", answer.text(), gateway.logs.text());
    assert_eq!(answer.status, 200, "{shown}");
    let frames = answer.json()["outputs"]["out"]
        .as_array()
        .map_or(0, Vec::len);
    assert!(frames > 0, "{shown}");
    let (gateway, _folder) = front(hop("pcm_s16/22050/1"), "text", "audio").await;
    let answer = gateway.post_json(path, &say).await;
    let shown = answer.text();
    assert!(answer.status >= 400, "{shown}");
    assert!(
        shown.contains("format: pcm_s16/16000/1"),
        "it says what to write: {shown}"
    );
}

/// Speaks as Vosk's server does: partial results, results, and after `eof` the last one and a close. Its words are numbers of bytes.
async fn vosk(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
            continue;
        };
        let (mut bytes, mut rate) = (0, Value::Null);
        while let Some(Ok(message)) = socket.next().await {
            let answer = match message {
                Message::Binary(data) => {
                    bytes += data.len();
                    json!({"partial": format!("{bytes} bytes")})
                }
                Message::Text(text) => {
                    let said: Value = serde_json::from_str(&text).expect("JSON");
                    if said["eof"] == 1 {
                        let last = json!({"text": format!("{bytes} bytes at {rate}")});
                        // The client may have gone.
                        drop(socket.send(Message::text(last.to_string())).await);
                        drop(socket.close(None).await);
                        continue;
                    }
                    rate = said["config"]["sample_rate"].clone();
                    if rate == 1 {
                        json!({"error": "no such rate"})
                    } else {
                        continue;
                    }
                }
                _ => continue,
            };
            if socket
                .send(Message::text(answer.to_string()))
                .await
                .is_err()
            {
                break;
            }
        }
    }
}

fn vosk_hop(address: &str, rate: u32) -> Value {
    json!({
        "protocol": "websocket.stt", "endpoints": [format!("http://{address}")], "retry": {"attempts": 1},
        "options": {
            "start": {"config": {"sample_rate": rate}}, "end": {"eof": 1},
            "text": "/text", "partial": "/partial", "error": "/error",
        },
    })
}

#[tokio::test]
async fn speech_is_recognised_by_a_plain_websocket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let conversation = async {
        let (gateway, _folder) = front(vosk_hop(&address, 16_000), "audio", "text").await;
        let answer = transcribed(&gateway).await;
        let texts = texts(&answer);
        // 11 s of 16 kHz.
        let whole = ("352000 bytes at 16000".to_owned(), true);
        assert_eq!(texts.last(), Some(&whole), "{answer:#}");
        assert!(texts.len() > 1, "partial results: {answer:#}");
        let (gateway, _folder) = front(vosk_hop(&address, 1), "audio", "text").await;
        let file = std::fs::read(recording("jfk.wav")).expect("a recording");
        let headers = [("content-type", "audio/wav")];
        let path = "/v1/pipelines/front/execute";
        let answer = gateway.request("POST", path, &headers, file).await;
        assert!(answer.text().contains("no such rate"), "{}", answer.text());
    };
    tokio::select! {
        () = vosk(listener) => panic!("the server ended"),
        () = conversation => {}
    }
}
