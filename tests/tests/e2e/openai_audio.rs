//! OpenAI's audio endpoints: the `openai` package as their client, and hops at a server that has them.

use serde_json::{Value, json};
use tidegate_tests::fixtures::{cached, recording, root};
use tidegate_tests::http::Response;
use tidegate_tests::logs::Logs;
use tidegate_tests::peer::Running;
use tidegate_tests::{Deadline, Gateway, Peer};

/// Without models: who is heard is written down in the words of the prompt, and what is said is a tone of the voice's pitch.
const PIPELINES: [(&str, &str); 4] = [
    (
        "writes",
        r#"
version: tidegate/v1
name: writes
parameters: {language: {type: string, default: en, enum: [en, es]}, prompt: {type: string, default: heard}}
inputs: [{name: mic, kind: audio}]
outputs:
  - {name: words, kind: text, role: input_transcript}
  - {name: notes, kind: text}
  - {name: turns, kind: json, role: speech_events}
nodes:
  - {id: vad, type: audio.vad}
  - {id: pen, type: text.constant, params: {text: "${param:prompt} ${param:language}", per: utterance}}
  - {id: pencil, type: text.constant, params: {text: "of no interest", per: utterance}}
edges:
  - mic -> vad
  - vad.speech -> pen
  - vad.speech -> pencil
  - vad.speech_start -> turns
  - pen -> words
  - pencil -> notes
"#,
    ),
    (
        "speaks",
        r#"
version: tidegate/v1
name: speaks
parameters: {voice: {type: number, default: 440, min: 100, max: 2000}}
inputs: [{name: text, kind: text}]
outputs: [{name: speaker, kind: audio}]
nodes: [{id: tone, type: audio.tone, params: {triggered: true, frequency: "${param:voice}", frame: 100ms, duration: 100ms, sample_rate: 24000}}]
edges: [text -> tone, tone -> speaker]
"#,
    ),
    (
        "beeps",
        r#"
version: tidegate/v1
name: beeps
inputs: [{name: text, kind: text}]
outputs: [{name: speaker, kind: audio}]
nodes: [{id: tone, type: audio.tone, params: {triggered: true, sample_rate: 16000}}]
edges: [text -> tone, tone -> speaker]
"#,
    ),
    // Nothing that any of the interfaces could say or hear.
    (
        "sums",
        r#"
version: tidegate/v1
name: sums
inputs: [{name: tensors, kind: tensor}]
outputs: [{name: sums, kind: json}]
nodes: [{id: sum, type: tensor.summary}]
edges: [tensors -> sum, sum -> sums]
"#,
    ),
];

/// A folder with manifests, and a gateway that serves them.
async fn serving(manifests: &[(&str, String)]) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in manifests {
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(file, text).expect("written");
    }
    let path = folder.path().to_str().expect("a readable path");
    let gateway = Gateway::start(&["--pipelines", path]).await;
    (gateway, folder)
}

async fn server() -> (Gateway, tempfile::TempDir) {
    let manifests = PIPELINES.map(|(name, text)| (name, text.to_owned()));
    serving(&manifests).await
}

/// The frames of an output that a run gave, and what to show where these are not right.
fn output(answer: &Response, name: &str, logs: [&Logs; 2]) -> (Vec<Value>, String) {
    let [gateway, server] = logs.map(Logs::text);
    let shown = format!("{}\n{gateway}\n{server}", answer.text());
    assert_eq!(answer.status, 200, "{shown}");
    let frames = answer.json()["outputs"][name].as_array().cloned();
    (frames.expect("frames"), shown)
}

#[tokio::test]
async fn the_openai_package_transcribes_and_speaks() {
    let (gateway, _folder) = server().await;
    let address = gateway.address.to_string();
    let peer = Peer::python("openai_audio.py").args([address.as_str(), "--wav"]);
    let peer = peer.args([recording("jfk.wav")]);
    let report = peer.report(Deadline::secs(120)).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    check_models(&report, &shown);
    check_transcriptions(&report, &shown);
    check_speech(&report, &shown);
    check_refusals(&report["refused"], &shown);
}

fn check_models(report: &Value, shown: &str) {
    let models = report["models"].as_array().expect("a list");
    // A room's clients say which place is theirs.
    for name in ["beeps", "speaks", "writes", "echo", "conference"] {
        assert!(models.contains(&name.into()), "{name}: {shown}");
    }
    for name in ["sums", "features", "summarise"] {
        assert!(!models.contains(&name.into()), "{name}: {shown}");
    }
    let (now, model) = (report["now"].as_f64(), &report["model"]);
    let created = model["created"].as_f64();
    let age = now.zip(created).map(|(now, created)| now - created);
    assert!(
        age.is_some_and(|age| (0.0..600.0).contains(&age)),
        "{shown}"
    );
    assert_eq!(
        (&model["id"], &model["owned_by"]),
        (&json!("writes"), &json!("tidegate")),
        "{shown}"
    );
    assert_eq!(report["listed"], *model, "{shown}");
    let message = report["refused"]["no_model"]["message"].as_str();
    let message = message.expect("it says why");
    for why in [
        "its inputs are: tensors (tensor)",
        "/v1/pipelines/sums/execute",
    ] {
        assert!(message.contains(why), "{shown}");
    }
}

fn check_transcriptions(report: &Value, shown: &str) {
    // Once for each thing that was said.
    let said = report["json"].as_str().expect("a text");
    let times = said.matches("heard en").count();
    assert!(times >= 1 && said.len() == times * 9 - 1, "{shown}");
    assert_eq!(
        report["text"].as_str().map(str::trim),
        Some(said),
        "{shown}"
    );
    assert_eq!(
        report["stream"],
        json!({"deltas": said, "done": [said]}),
        "{shown}"
    );
    let cues = |name: &str| {
        report[name]
            .as_str()
            .map(|text| text.matches(" --> ").count())
    };
    assert_eq!(
        (cues("srt"), cues("vtt")),
        (Some(times), Some(times)),
        "{shown}"
    );
    let verbose = &report["verbose"];
    assert_eq!(
        (&verbose["segments"], &verbose["language"]),
        (&json!(times), &json!("en")),
        "{shown}"
    );
    assert!(
        (verbose["duration"].as_f64().unwrap_or_default() - 11.0).abs() < 0.1,
        "{shown}"
    );
}

fn check_speech(report: &Value, shown: &str) {
    let is_tone = |sound: &Value, pitch: f64| {
        let (at, seconds) = (sound["pitch"].as_f64(), sound["seconds"].as_f64());
        // Coders add silence.
        at.is_some_and(|at| (at - pitch).abs() < 8.0)
            && seconds.is_some_and(|s| (0.09..0.25).contains(&s))
    };
    for (kind, name) in [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
        ("pcm", "audio/pcm"),
    ] {
        let sound = &report["speech"][kind];
        assert!(is_tone(sound, 440.0), "{kind}: {shown}");
        assert_eq!(sound["type"], name, "{shown}");
    }
    assert!(is_tone(&report["usual"], 880.0), "{shown}");
    assert!(is_tone(&report["events"], 440.0), "{shown}");
    assert_eq!(report["events"]["last"], "speech.audio.done", "{shown}");
}

fn check_refusals(refused: &Value, shown: &str) {
    let cases = [
        ("no_model", 404, json!("model"), "incompatible"),
        ("nobody", 404, json!("model"), "unknown_pipeline"),
        ("model", 404, json!("model"), "unknown_pipeline"),
        ("port", 409, json!("model"), "incompatible"),
        ("language", 400, json!(null), "bad_request"),
        (
            "words",
            400,
            json!("timestamp_granularities"),
            "bad_request",
        ),
        ("file", 415, json!("file"), "unsupported_media"),
        ("voice", 400, json!("voice"), "bad_request"),
        ("speed", 400, json!("speed"), "bad_request"),
        ("format", 400, json!("response_format"), "bad_request"),
        ("long", 400, json!("input"), "bad_request"),
    ];
    for (name, status, param, code) in cases {
        let error = &refused[name];
        assert_eq!(
            (&error["status"], &error["param"], &error["code"]),
            (&json!(status), &param, &json!(code)),
            "{name}: {shown}"
        );
        assert_eq!(error["type"], "invalid_request_error", "{name}: {shown}");
    }
    for name in ["only_voice", "own_voice"] {
        assert_eq!(refused[name], json!(null), "{name}: {shown}");
    }
}

#[tokio::test]
async fn a_hop_speaks_and_writes_at_a_server_with_these_endpoints() {
    let (server, _manifests) = server().await;
    let at = format!("http://{}", server.address);
    let says = format!(
        "
version: tidegate/v1
name: says
inputs: [{{name: text, kind: text}}]
outputs: [{{name: speaker, kind: audio}}]
nodes:
  - id: far
    type: remote
    params: {{protocol: openai.speech, endpoints: ['{at}'], pipeline: speaks, parameters: {{voice: '660'}}}}
edges: [text -> far, far -> speaker]
"
    );
    let hears = format!(
        "
version: tidegate/v1
name: hears
inputs: [{{name: mic, kind: audio}}]
outputs: [{{name: words, kind: text}}]
nodes:
  - id: far
    type: remote
    params: {{protocol: openai.transcriptions, endpoints: ['http://127.0.0.1:9', '{at}/v1'], pipeline: writes, parameters: {{prompt: asked}}}}
edges: [mic -> far, far -> words]
"
    );
    let (gateway, _folder) = serving(&[("says", says), ("hears", hears)]).await;
    let text = json!({"text": {"text": "Hello."}, "utterance": 1, "final": true});
    let body = json!({"inputs": {"text": [text]}});
    let answer = gateway.post_json("/v1/pipelines/says/execute", &body).await;
    let (frames, shown) = output(&answer, "speaker", [&gateway.logs, &server.logs]);
    let last = frames.last().expect("a frame");
    assert_eq!(last["final"], true, "{shown}");

    let wav = std::fs::read(recording("jfk.wav")).expect("a recording");
    let path = "/v1/pipelines/hears/execute";
    let kind = [("content-type", "audio/wav")];
    let answer = gateway.request("POST", path, &kind, wav).await;
    let (frames, shown) = output(&answer, "words", [&gateway.logs, &server.logs]);
    let last = frames.last().expect("a text");
    assert_eq!(last["final"], true, "{shown}");
    let said = last["text"]["text"].as_str();
    assert!(
        said.is_some_and(|said| said.starts_with("asked en")),
        "{shown}"
    );
    // The first endpoint is not there, and another one took its place.
    let metrics = gateway.get("/metrics").await.text();
    assert!(metrics.contains("tidegate_hop_attempts_total"), "{metrics}");
}

/// llama.cpp's server with a small language model.
async fn chat_server() -> (Running, String) {
    let script = root().join("tests/peers/chat_server.py");
    let server = Peer::program("chat_server.py", &cached("chat-venv/bin/python"))
        .args(["-u".as_ref(), script.as_os_str()])
        .start();
    let line = Deadline::secs(120)
        .wait(server.logs.find("listening on"))
        .await;
    let line = line.unwrap_or_else(|| panic!("it does not start:\n{}", server.logs.text()));
    let address = line.rsplit(' ').next().expect("an address").to_owned();
    (server, address)
}

#[tokio::test]
async fn a_hop_chats_with_a_real_server_word_by_word() {
    let (server, at) = chat_server().await;
    let chats = format!(
        "
version: tidegate/v1
name: chats
inputs: [{{name: said, kind: text}}]
outputs: [{{name: answer, kind: text}}]
nodes:
  - id: model
    type: remote
    params:
      protocol: openai.chat
      endpoints: ['{at}']
      pipeline: smollm2
      timeout: {{call: 5m}}
      parameters: {{max_tokens: 3, temperature: 0}}
      options: {{system: You are brief.}}
edges: [said -> model, model -> answer]
"
    );
    let (gateway, _folder) = serving(&[("chats", chats)]).await;
    let said = |utterance: u64, text: &str| json!({"text": {"text": text}, "utterance": utterance, "final": true});
    let body =
        json!({"inputs": {"said": [said(1, "Say hello."), said(2, "  "), said(3, "And again?")]}});
    let answer = gateway
        .post_json("/v1/pipelines/chats/execute", &body)
        .await;
    let (frames, shown) = output(&answer, "answer", [&gateway.logs, &server.logs]);
    // Silence is not answered.
    for utterance in [1, 3] {
        let pieces: Vec<_> = frames
            .iter()
            .filter(|frame| frame["utterance"] == utterance)
            .collect();
        assert!(pieces.len() >= 3, "word by word: {shown}");
        let (last, pieces) = pieces.split_last().expect("pieces");
        assert_eq!(
            (&last["final"], &last["text"]["text"]),
            (&json!(true), &json!("")),
            "{shown}"
        );
        assert!(
            pieces
                .iter()
                .all(|piece| piece["final"].is_null() && piece["revision"].is_null()),
            "{shown}"
        );
    }
    assert!(
        frames.iter().all(|frame| frame["utterance"] != 2),
        "{shown}"
    );
    let up = gateway
        .metric(
            "tidegate_hop_attempts_total",
            &["outcome=\"ok\"", "hop=\"model\""],
        )
        .await;
    // Also where the server has closed a connection that waited: what was never heard is no attempt.
    assert_eq!(up, Some(1.0), "{shown}");
}
