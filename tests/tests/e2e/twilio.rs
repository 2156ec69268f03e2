//! Telephone calls by Twilio Media Streams: a peer that sends and takes what Twilio documents.

use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Peer};

async fn call(gateway: &Gateway, scenario: &str, arguments: &[&str]) -> Value {
    let peer = Peer::python("twilio.py").args([&gateway.address.to_string(), scenario]);
    let peer = peer.args(["--wav".as_ref(), recording("jfk.wav").as_os_str()]);
    peer.args(arguments).report(Deadline::secs(150)).await
}

/// A gateway with this pipeline.
async fn with_pipeline(
    manifest: &Value,
    settings: &[(&str, &str)],
) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder for the manifest");
    let name = manifest["name"].as_str().expect("a name");
    let file = folder.path().join(format!("{name}.yaml"));
    std::fs::write(file, manifest.to_string()).expect("written");
    let path = folder.path().to_string_lossy().into_owned();
    let gateway = Gateway::start_with(&["--pipelines", &path], settings).await;
    (gateway, folder)
}

/// As `echo`, and nothing is shed on a machine that stands still for a moment.
fn patient_echo() -> Value {
    json!({
        "version": "tidegate/v1", "name": "patient",
        "inputs": [{"name": "mic", "kind": "audio"}],
        "outputs": [{"name": "speaker", "kind": "audio"}],
        "edges": [{"from": "mic", "to": "speaker", "queue": {"frames": 1000, "age": "60s", "when_full": "drop_oldest"}}],
    })
}

#[tokio::test]
async fn a_caller_hears_every_sample_and_marks_come_back_as_they_are_played() {
    let (gateway, _folder) = with_pipeline(&patient_echo(), &[]).await;
    let arguments = ["--pipeline", "patient", "--marks", "2"];
    let report = call(&gateway, "echo", &arguments).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["same"], true, "{shown}");
    assert_eq!(report["wrong"], json!([]), "{shown}");
    assert_eq!(report["clears"], 0, "{shown}");
    // One a second of sound that belongs to no utterance.
    assert_eq!(report["marks"][0], "tidegate-1", "{shown}");
    assert_eq!(report["marks"][1], "tidegate-2", "{shown}");
    assert_eq!(report["close"]["code"], 1000, "{shown}");
    let sessions = gateway
        .metric("tidegate_sessions_total", &["transport=\"websocket\""])
        .await;
    assert_eq!(sessions, Some(1.0), "{shown}");
}

/// Beeps for a long time when key 1 is pressed, and is silent once the caller speaks.
fn menu() -> Value {
    json!({
        "version": "tidegate/v1", "name": "menu",
        "inputs": [{"name": "mic", "kind": "audio"}, {"name": "events", "kind": "json"}],
        "outputs": [{"name": "speaker", "kind": "audio"}, {"name": "log", "kind": "json"}],
        "nodes": [
            {"id": "vad", "type": "audio.vad"},
            {"id": "key", "type": "filter", "params": {"json": {"pointer": "/digit", "equals": "1"}}},
            {"id": "beep", "type": "audio.tone", "params": {"triggered": true, "duration": "20s"}},
        ],
        "edges": [
            "mic -> vad",
            "events -> key",
            "key -> beep",
            {"from": "beep", "to": "speaker", "queue": {"frames": 4000, "age": "60s", "when_full": "drop_oldest"}},
            {"from": "events", "to": "log", "queue": {"frames": 100, "when_full": "drop_oldest"}},
        ],
        "interrupt": {"on": "vad.speech_start", "flush": ["beep"]},
    })
}

#[tokio::test]
async fn who_talks_over_an_answer_that_a_key_asked_for_hears_it_cleared() {
    let (gateway, _folder) = with_pipeline(&menu(), &[]).await;
    let report = call(&gateway, "interrupt", &["--pipeline", "menu"]).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    let clears = report["clears"].as_u64().expect("a count");
    assert!(clears >= 1, "{shown}");
    assert_eq!(report["wrong"], json!([]), "{shown}");
    let heard = |key: &str| report[key].as_f64().expect("seconds");
    assert!(heard("heard_before") < 15.0, "of 20 s: {shown}");
    assert!(heard("heard") < heard("heard_before") + 1.0, "{shown}");
}

#[tokio::test]
async fn a_call_shows_its_token_in_a_parameter_and_without_one_opens_nothing() {
    let gateway = Gateway::with(&[("AUTH_TOKEN", "s3cret")]).await;
    let refused = [
        (&[][..], 4401),
        (&["--parameter", "tidegate_token=wrong"], 4401),
    ];
    for (arguments, code) in refused {
        let report = call(&gateway, "echo", arguments).await;
        assert_eq!(report["close"]["code"], code, "{report:#}");
        assert_eq!(report["media"], 0, "{report:#}");
    }
    // One that is in the request is looked at before anything is read.
    let report = call(&gateway, "echo", &["--bearer", "wrong"]).await;
    assert_eq!(report["status"], 401, "{report:#}");
    let right = ["--parameter", "tidegate_token=s3cret", "--seconds", "0.2"];
    let report = call(&gateway, "echo", &right).await;
    assert_eq!(report["stopped"], true, "{report:#}");
}

#[tokio::test]
async fn what_a_call_does_not_fit_says_so_in_the_close() {
    let gateway = Gateway::start(&[]).await;
    let report = call(&gateway, "echo", &["--pipeline", "summarise"]).await;
    assert_eq!(report["close"]["code"], 4409, "{report:#}");
    let report = call(&gateway, "echo", &["--pipeline", "nothing"]).await;
    assert_eq!(report["status"], 404, "{report:#}");
}

#[tokio::test]
async fn parameters_of_the_stream_are_those_that_the_pipeline_declares() {
    let manifest = json!({
        "version": "tidegate/v1", "name": "quiet",
        "parameters": {"gain": {"type": "number", "default": 0, "min": -60, "max": 20}},
        "inputs": [{"name": "mic", "kind": "audio"}],
        "outputs": [{"name": "speaker", "kind": "audio"}],
        "nodes": [{"id": "gain", "type": "audio.gain", "params": {"gain_db": "${param:gain}"}}],
        "edges": ["mic -> gain", {"from": "gain", "to": "speaker", "queue": {"frames": 1000, "age": "60s", "when_full": "drop_oldest"}}],
    });
    let (gateway, _folder) = with_pipeline(&manifest, &[]).await;
    let base = ["--pipeline", "quiet", "--seconds", "0.5", "--parameter"];
    let arguments = |more: &'static str| base.into_iter().chain([more]).collect::<Vec<_>>();
    let report = call(&gateway, "echo", &arguments("gain=-20")).await;
    assert_eq!(report["stopped"], true, "{report:#}");
    assert_eq!(report["same"], false, "it is quieter: {report:#}");
    let report = call(&gateway, "echo", &arguments("gain=loud")).await;
    assert_eq!(report["close"]["code"], 4400, "{report:#}");
    let report = call(&gateway, "echo", &arguments("customer=Jane")).await;
    assert_eq!(
        report["stopped"], true,
        "others are the caller's own: {report:#}"
    );
}
