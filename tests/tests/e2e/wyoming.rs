//! Wyoming: the `wyoming` package's own client against pipelines that need no models, and strangers at the listener.

use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Peer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A gateway that serves Wyoming with these pipelines, and where.
pub(crate) struct Server {
    pub(crate) gateway: Gateway,
    pub(crate) address: String,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for manifests");
        for manifest in [listener(), speaker()] {
            let name = manifest["name"].as_str().expect("a name");
            let file = folder.path().join(format!("{name}.yaml"));
            std::fs::write(file, manifest.to_string()).expect("written");
        }
        let path = folder.path().to_string_lossy().into_owned();
        let arguments = ["--pipelines", &path, "--wyoming", "127.0.0.1:0"];
        // Whoever names none gets the first in the alphabet, and that is to be one of ours.
        let ours = [("TIDEGATE_WYOMING_PIPELINES", "listener,speaker,echo")];
        let settings = [&ours[..], settings].concat();
        let gateway = Gateway::start_with(&arguments, &settings).await;
        let by = Deadline::secs(20);
        let said = by.until(|| async {
            let lines = gateway.logs.lines();
            lines.iter().find_map(|line| {
                let (_, address) = line.split_once("wyoming on tcp ")?;
                Some(address.trim().to_owned())
            })
        });
        let address = said.await.expect("it says where it listens");
        Self {
            gateway,
            address,
            _folder: folder,
        }
    }

    async fn ask(&self, arguments: &[&str]) -> Value {
        let peer = Peer::python("wyoming_client.py").args([&self.address]);
        peer.args(arguments).report(Deadline::secs(150)).await
    }
}

/// Understands one word of each utterance.
fn listener() -> Value {
    json!({
        "version": "tidegate/v1", "name": "listener",
        "parameters": {"language": {"type": "string", "default": "en", "enum": ["en", "es"]}, },
        "inputs": [{"name": "mic", "kind": "audio"}],
        "outputs": [{"name": "captions", "kind": "text"}],
        "nodes": [
            {"id": "vad", "type": "audio.vad"},
            {"id": "whole", "type": "audio.segment"},
            {"id": "word", "type": "text.constant", "params": {"text": "word-${param:language}"}},
        ],
        "edges": [
            "mic -> vad",
            "vad.speech -> whole",
            "whole -> word",
            {"from": "word", "to": "captions", "queue": {"frames": 64, "when_full": "drop_oldest"}},
        ],
    })
}

/// Beeps for 100 ms for each text, in one piece.
fn speaker() -> Value {
    json!({
        "version": "tidegate/v1", "name": "speaker",
        "inputs": [{"name": "text", "kind": "text"}],
        "outputs": [{"name": "speech", "kind": "audio"}],
        "nodes": [{"id": "beep", "type": "audio.tone", "params": {"triggered": true, "sample_rate": 16000, "frame": "100ms", "duration": "100ms"}}],
        "edges": ["text -> beep", {"from": "beep", "to": "speech", "queue": {"frames": 1000, "when_full": "drop_oldest"}}],
    })
}

#[tokio::test]
async fn pipelines_are_described_as_models_and_voices() {
    let server = Server::start(&[]).await;
    let report = server.ask(&["describe"]).await;
    let shown = format!("{report:#}\n{}", server.gateway.logs.text());
    assert_eq!(report["pong"], "there?", "{shown}");
    assert_eq!(report["asr"]["listener"], json!(["en", "es"]), "{shown}");
    assert_eq!(report["tts"]["speaker"], json!(["en"]), "{shown}");
    assert!(report["asr"]["echo"].is_null(), "it says nothing: {shown}");
    assert_eq!(report["streaming"], json!([true, true]), "{shown}");
}

#[tokio::test]
async fn speech_becomes_text_in_pieces_and_as_a_whole_again_and_again_on_one_connection() {
    let server = Server::start(&[]).await;
    let wav = recording("jfk.wav").to_string_lossy().into_owned();
    let arguments = ["transcribe", "--name", "listener", "--language", "es-MX"];
    let more = ["--times", "2", "--wav", &wav];
    let report = server.ask(&[&arguments[..], &more].concat()).await;
    let shown = format!("{report:#}\n{}", server.gateway.logs.text());
    for run in report["runs"].as_array().expect("runs") {
        assert!(run["error"].is_null(), "{shown}");
        let expected = [
            "transcript-start",
            "transcript-chunk",
            "transcript",
            "transcript-stop",
        ];
        assert_eq!(run["told"], json!(expected), "{shown}");
        let text = run["chunks"].as_str().expect("a text");
        assert_eq!(run["transcript"], json!([text]), "{shown}");
        let words: Vec<_> = text.split(' ').collect();
        assert!(words.len() >= 2, "several utterances: {shown}");
        assert!(words.iter().all(|word| *word == "word-es"), "{shown}");
    }
    let label = ["transport=\"wyoming\""];
    let sessions = server
        .gateway
        .metric_becomes("tidegate_sessions_total", &label, 2.0)
        .await;
    assert_eq!(sessions, Some(2.0), "a session each: {shown}");
}

#[tokio::test]
async fn text_becomes_sound_at_once_or_by_sentences_and_never_twice() {
    let server = Server::start(&[]).await;
    let text = "One beep. Two beeps. Three";
    let whole = ["synthesize", "--text", text, "--times", "2"];
    let report = server.ask(&whole).await;
    let shown = format!("{report:#}\n{}", server.gateway.logs.text());
    for run in report["runs"].as_array().expect("runs") {
        let expected = ["audio-start", "audio-chunk", "audio-stop"];
        assert_eq!(run["told"], json!(expected), "{shown}");
        assert_eq!(run["formats"], json!([[16_000, 2, 1]]), "{shown}");
        let seconds = run["seconds"].as_f64().expect("seconds");
        assert!((seconds - 0.1).abs() < 0.01, "one text: {shown}");
    }
    let streamed = [&whole[..], &["--streaming", "--name", "speaker"]].concat();
    let report = server.ask(&streamed).await;
    let shown = format!("{report:#}\n{}", server.gateway.logs.text());
    for run in report["runs"].as_array().expect("runs") {
        let expected = [
            "audio-start",
            "audio-chunk",
            "audio-stop",
            "synthesize-stopped",
        ];
        assert_eq!(run["told"], json!(expected), "{shown}");
        let seconds = run["seconds"].as_f64().expect("seconds");
        assert!(seconds > 0.05, "{shown}");
    }
    // Two whole texts, and twice three sentences.
    let labels = ["pipeline=\"speaker\"", "hop=\"beep\"", "direction=\"in\""];
    let texts = server
        .gateway
        .metric_becomes("tidegate_hop_frames_total", &labels, 8.0)
        .await;
    assert_eq!(texts, Some(8.0), "{shown}");
}

#[tokio::test]
async fn what_cannot_be_served_says_so_and_the_connection_goes_on() {
    let server = Server::start(&[("TIDEGATE_WYOMING_PIPELINES", "speaker,echo")]).await;
    for (name, code) in [
        ("listener", "permission_denied"),
        ("speaker", "incompatible"),
        ("echo", "incompatible"),
    ] {
        let wav = recording("jfk.wav").to_string_lossy().into_owned();
        let report = server
            .ask(&["transcribe", "--name", name, "--wav", &wav])
            .await;
        assert_eq!(report["runs"][0]["error"]["code"], code, "{report:#}");
    }
    let report = server.ask(&["describe"]).await;
    assert_eq!(report["asr"], json!({}), "{report:#}");
    let again = [
        "synthesize",
        "--name",
        "echo",
        "--text",
        "a",
        "--times",
        "2",
    ];
    let report = server.ask(&again).await;
    for run in report["runs"].as_array().expect("runs") {
        assert_eq!(run["error"]["code"], "incompatible", "{report:#}");
    }
}

#[tokio::test]
async fn events_that_mean_nothing_here_are_counted_between_requests_and_within() {
    let server = Server::start(&[]).await;
    let wav = recording("jfk.wav").to_string_lossy().into_owned();
    let arguments = ["oddities", "--name", "listener", "--wav", &wav];
    let report = server.ask(&arguments).await;
    let shown = format!("{report:#}\n{}", server.gateway.logs.text());
    let told = report["told"].as_array().expect("a list");
    assert_eq!(told.last(), Some(&json!("transcript-stop")), "{shown}");
    let name = "tidegate_ignored_messages_total";
    let unknown = ["interface=\"wyoming\"", "reason=\"unknown\""];
    let counted = server.gateway.metric(name, &unknown).await;
    assert_eq!(counted, Some(2.0), "one each: {shown}");
    let text = ["synthesize", "--text", "One.", "--streaming"];
    let report = server.ask(&text).await;
    assert!(report["runs"][0]["error"].is_null(), "{report:#}");
    let repeated = ["interface=\"wyoming\"", "reason=\"repeated\""];
    let counted = server.gateway.metric(name, &repeated).await;
    assert_eq!(counted, Some(1.0), "the old form: {shown}");
}

#[tokio::test]
async fn strangers_at_the_listener_are_told_what_it_is_and_left() {
    let server = Server::start(&[]).await;
    for sent in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"{\"type\": \"audio-chunk\", \"payload_length\": 99999999999}\n",
    ] {
        let mut stream = TcpStream::connect(&server.address).await.expect("open");
        stream.write_all(sent).await.expect("taken");
        let mut said = Vec::new();
        let by = Deadline::secs(20);
        let read = by.wait(stream.read_to_end(&mut said)).await;
        // Some of what was sent may have been left unread, so that the end may be a reset.
        drop(read.expect("it is left"));
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("\"type\":\"error\""), "{said}");
    }
}
