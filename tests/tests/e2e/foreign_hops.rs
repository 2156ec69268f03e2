//! Hops at servers that know nothing of Tidegate: Wyoming (here the gateway's own server, which real clients of Wyoming are tested with), and a
//! plain WebSocket that speaks as Vosk's server does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Ws};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::wyoming::Server;

/// A gateway whose pipeline `front` is one remote hop.
async fn front(params: Value, input: &str, output: &str) -> (Gateway, tempfile::TempDir) {
    let queue = json!({"frames": 4000, "bytes": "64MiB", "when_full": "drop_oldest"});
    front_with(params, input, output, queue).await
}

/// With this queue before its output.
async fn front_with(
    params: Value,
    input: &str,
    output: &str,
    queue: Value,
) -> (Gateway, tempfile::TempDir) {
    let manifest = json!({
        "version": "tidegate/v1", "name": "front",
        "inputs": [{"name": "in", "kind": input}],
        "outputs": [{"name": "out", "kind": output}],
        "nodes": [{"id": "hop", "type": "remote", "params": params}],
        "edges": [
            {"from": "in", "to": "hop", "queue": {"frames": 4000, "bytes": "64MiB", "when_full": "drop_oldest"}},
            {"from": "hop", "to": "out", "queue": queue},
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

/// Speaks a second for each request, as fast as it is taken.
async fn second_for_each(listener: TcpListener) {
    let format = "\"data\":{\"rate\":16000,\"width\":2,\"channels\":1}";
    let head = format!(
        "{{\"type\":\"audio-start\",{format}}}\n{{\"type\":\"audio-chunk\",{format},\"payload_length\":32000}}\n"
    );
    let mut said = head.into_bytes();
    said.resize(said.len() + 32_000, 0);
    said.extend_from_slice(b"{\"type\":\"audio-stop\"}\n");
    let mut asked = vec![0; 1024];
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            return;
        };
        // One event, which is written at once.
        let asks = stream.read(&mut asked).await;
        if asks.is_ok_and(|count| count > 0) && stream.write_all(&said).await.is_ok() {
            while stream.read(&mut asked).await.is_ok_and(|count| count > 0) {}
        }
    }
}

#[tokio::test]
async fn a_text_may_be_spoken_for_longer_than_its_server_may_take() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let conversation = async {
        let hop = json!({
            "protocol": "wyoming.tts", "endpoints": [format!("http://{address}")], "health": "off",
            "timeout": {"call": "3s"},
            "outputs": [{"name": "audio", "kind": "audio", "format": "pcm_s16/16000/1"}],
        });
        let queue = json!({"frames": 5, "when_full": "block"});
        let (gateway, _folder) = front_with(hop, "text", "audio", queue).await;
        let format = json!({"codec": "pcm_s16", "sample_rate": 16000, "channels": 1});
        let open = json!({"mode": "live", "outputs": [{"port": "out", "audio": format}]});
        let (mut client, _) = Ws::open(&gateway, "front", open).await;
        let sentences = ["One. ", "Two. ", "Three. ", "Four. ", "Five. ", "Six."];
        for (number, text) in sentences.into_iter().enumerate() {
            let last = number + 1 == sentences.len();
            let frame = json!({"port": "in", "seq": number + 1, "utterance": 1, "final": last, "text": {"text": text}});
            client.send("frame", frame).await;
        }
        let mut bytes = 0;
        loop {
            let (kind, frame) = client.next().await.expect("the session goes on");
            assert_ne!(kind, "error", "{frame:#}");
            if kind == "frame" {
                let data = frame["audio"]["data"].as_str().expect("sound");
                bytes += STANDARD.decode(data).expect("base64").len();
                if frame["final"] == true {
                    break;
                }
            }
        }
        assert_eq!(bytes, sentences.len() * 32_000, "each is spoken");
    };
    tokio::select! {
        () = second_for_each(listener) => panic!("the server ended"),
        () = conversation => {}
    }
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

#[tokio::test]
async fn options_that_do_not_point_to_the_words_are_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let conversation = async {
        let mut hop = vosk_hop(&address, 16_000);
        hop["options"]["text"] = "/transcript".into();
        hop["options"]["partial"] = Value::Null;
        let (gateway, _folder) = front(hop, "audio", "text").await;
        let answer = transcribed(&gateway).await;
        let nothing = (String::new(), true);
        assert_eq!(texts(&answer), [nothing], "{answer:#}");
        let told = gateway.logs.find("look whether they point to its words");
        let line = Deadline::secs(20).wait(told).await.expect("it is told");
        assert!(line.contains("352000 bytes"), "what it said: {line}");
        assert!(
            line.contains("/transcript"),
            "where it was looked for: {line}"
        );
    };
    tokio::select! {
        () = vosk(listener) => panic!("the server ended"),
        () = conversation => {}
    }
}

/// A caller that speaks the recording in frames of 20 ms, in one utterance, as fast as it is taken.
struct Caller {
    socket: Ws,
    frames: Vec<Vec<u8>>,
    sent: usize,
}

impl Caller {
    async fn open(gateway: &Gateway) -> Self {
        let format = json!({"codec": "pcm_s16", "sample_rate": 16000, "channels": 1});
        let open = json!({"mode": "waits", "inputs": [{"port": "in", "audio": format}]});
        let (socket, _) = Ws::open(gateway, "front", open).await;
        let file = std::fs::read(recording("jfk.wav")).expect("a recording");
        let frames = file[44..].chunks(640).map(<[u8]>::to_vec).collect();
        Self {
            socket,
            frames,
            sent: 0,
        }
    }

    async fn speak(&mut self, up_to: usize) {
        let format = json!({"codec": "pcm_s16", "sample_rate": 16000, "channels": 1});
        let last = self.frames.len();
        while self.sent < up_to.min(last) {
            let data = STANDARD.encode(&self.frames[self.sent]);
            self.sent += 1;
            let frame = json!({
                "port": "in", "seq": self.sent, "media_time": 20_000 * self.sent, "utterance": 1, "final": self.sent == last,
                "audio": {"format": format, "data": data},
            });
            self.socket.send("frame", frame).await;
        }
    }

    /// The next text, with its revision and whether it is the last.
    async fn hears(&mut self) -> (String, u64, bool) {
        let frame = self.socket.until("frame").await;
        let text = frame["text"]["text"].as_str().expect("a text").to_owned();
        (
            text,
            frame["revision"].as_u64().unwrap_or(0),
            frame["final"] == true,
        )
    }
}

#[tokio::test]
async fn another_wyoming_server_takes_over_in_the_midst_of_an_utterance() {
    let (mut first, second) = (Server::start(&[]).await, Server::start(&[]).await);
    let [a, b] = [&first, &second].map(|server| format!("http://{}", server.address));
    let params = json!({"protocol": "wyoming.asr", "endpoints": [a, b], "pipeline": "listener", "health": "off"});
    let (gateway, _folder) = front(params, "audio", "text").await;
    let mut caller = Caller::open(&gateway).await;
    // The first sentence ends after three seconds, for the server's VAD; the caller's utterance does not.
    caller.speak(400).await;
    let (text, mut revision, is_final) = caller.hears().await;
    assert!(
        text.starts_with("word-en") && !is_final,
        "while the caller speaks: {text}"
    );
    first.gateway.kill().await;
    caller.speak(usize::MAX).await;
    let whole = loop {
        let (text, later, is_final) = caller.hears().await;
        assert!(later > revision, "'{text}' supersedes what was said");
        revision = later;
        if is_final {
            break text;
        }
    };
    let labels = ["hop=\"hop\""];
    let failovers = gateway
        .metric("tidegate_hop_failovers_total", &labels)
        .await;
    assert_eq!(failovers, Some(1.0), "{}", gateway.logs.text());
    // What one server says of all of it, without any failure.
    let (gateway, _folder) = front(
        json!({"protocol": "wyoming.asr", "endpoints": [format!("http://{}", second.address)], "pipeline": "listener"}),
        "audio",
        "text",
    )
    .await;
    let mut caller = Caller::open(&gateway).await;
    caller.speak(usize::MAX).await;
    let alone = loop {
        if let (text, _, true) = caller.hears().await {
            break text;
        }
    };
    assert_eq!(whole, alone, "the transcript is unchanged");
}
