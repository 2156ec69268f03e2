//! Telephone calls by Twilio Media Streams: a peer that sends and takes what Twilio documents.

use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tidegate_tests::gateway::sum_of;
use tidegate_tests::{Deadline, Gateway, Peer};

/// What came of a call.
pub(crate) async fn call(gateway: &Gateway, scenario: &str, arguments: &[&str]) -> Value {
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
    // It is counted when the session's task ends, which may be after the caller has gone.
    let sessions =
        gateway.metric_becomes("tidegate_sessions_total", &["transport=\"websocket\""], 1.0);
    assert_eq!(sessions.await, Some(1.0), "{shown}");
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
    let reason = report["close"]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("incompatible: ") && reason.len() <= 123,
        "{reason}"
    );
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

/// Beeps for a second, and has said all.
fn announcement() -> Value {
    json!({
        "version": "tidegate/v1", "name": "announcement",
        "inputs": [], "outputs": [{"name": "speaker", "kind": "audio"}],
        "nodes": [{"id": "beep", "type": "audio.tone", "params": {"duration": "1s"}}],
        "edges": [{"from": "beep", "to": "speaker", "queue": {"frames": 1000, "age": "60s", "when_full": "drop_oldest"}}],
    })
}

#[tokio::test]
async fn a_pipeline_that_has_said_all_hangs_up_once_the_caller_has_heard_it() {
    let (gateway, _folder) = with_pipeline(&announcement(), &[]).await;
    let report = call(&gateway, "announcement", &["--pipeline", "announcement"]).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["close"]["code"], 1000, "{shown}");
    assert_eq!(report["close"]["reason"], "finished", "{shown}");
    let seconds = |key: &str| report[key].as_f64().expect("seconds");
    // Twilio throws away what it has not played when the socket is closed.
    let left = seconds("heard") - seconds("played");
    assert!(left.abs() < 1e-6, "{left} s were not heard: {shown}");
    assert!((seconds("heard") - 1.0).abs() < 0.1, "{shown}");
}

const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn where_calls_must_be_signed_only_twilio_or_a_token_opens_them() {
    let tokens = format!("0ldt0ken,{AUTH_TOKEN}");
    let settings = [
        ("AUTH_TOKEN", "s3cret"),
        ("AUTH_TWILIO_AUTH_TOKENS", &*tokens),
        ("AUTH_TWILIO_PIPELINES", "echo"),
    ];
    let gateway = Gateway::with(&settings).await;
    let short = ["--seconds", "0.2"];
    let with = |more: &[&'static str]| [&short, more].concat();
    for token in [AUTH_TOKEN, "0ldt0ken"] {
        let report = call(&gateway, "echo", &with(&["--sign", token])).await;
        assert_eq!(report["stopped"], true, "{report:#}");
        assert_eq!(report["close"]["code"], 1000, "{report:#}");
    }
    let refused = [
        (with(&[]), "missing", "no X-Twilio-Signature"),
        // A token in the stream comes too late: nobody has said yet who calls.
        (
            with(&["--parameter", "tidegate_token=s3cret"]),
            "missing",
            "no X-Twilio-Signature",
        ),
        (
            with(&["--sign", "another"]),
            "wrong",
            "set auth.twilio.public_url",
        ),
        (
            with(&["--sign", AUTH_TOKEN, "--signed-url", "wss://other.example"]),
            "wrong",
            "set auth.twilio.public_url",
        ),
    ];
    for (arguments, _, says) in &refused {
        let report = call(&gateway, "echo", arguments).await;
        assert_eq!(report["status"], 403, "{arguments:?}: {report:#}");
        assert_eq!(report["body"]["code"], "permission_denied", "{report:#}");
        let detail = report["body"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(says), "{report:#}");
        assert!(!report.to_string().contains(AUTH_TOKEN), "{report:#}");
    }
    let bearer = [("authorization", "Bearer s3cret")];
    let page = gateway.request("GET", "/metrics", &bearer, "").await.text();
    for reason in ["missing", "wrong"] {
        let counted = refused.iter().filter(|(_, what, _)| *what == reason);
        let line = format!(
            "tidegate_twilio_refused_total{{reason=\"{reason}\"}} {}",
            counted.count()
        );
        assert!(page.contains(&line), "no {line} in {page}");
    }
    // A signature opens what it is for, and a token of the stream's what that is for; a bearer token does as ever.
    let other = ["--pipeline", "summarise", "--sign", AUTH_TOKEN];
    let report = call(&gateway, "echo", &other).await;
    assert_eq!(report["status"], 403, "{report:#}");
    let wrong = with(&["--sign", AUTH_TOKEN, "--parameter", "tidegate_token=wrong"]);
    let report = call(&gateway, "echo", &wrong).await;
    assert_eq!(report["close"]["code"], 4401, "{report:#}");
    let report = call(&gateway, "echo", &with(&["--bearer", "s3cret"])).await;
    assert_eq!(report["stopped"], true, "{report:#}");
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_is_signed_is_the_public_one() {
    let settings = [
        ("AUTH_TWILIO_AUTH_TOKENS", AUTH_TOKEN),
        ("AUTH_TWILIO_PUBLIC_URL", "wss://voice.example.com/gate"),
    ];
    let gateway = Gateway::with(&settings).await;
    let signed = ["--seconds", "0.2", "--sign", AUTH_TOKEN];
    let public = ["--signed-url", "wss://voice.example.com/gate"];
    let report = call(&gateway, "echo", &[&signed[..], &public].concat()).await;
    assert_eq!(report["stopped"], true, "{report:#}");
    let report = call(&gateway, "echo", &signed).await;
    assert_eq!(report["status"], 403, "{report:#}");
    let refused = gateway.metric("tidegate_twilio_refused_total", &["reason=\"wrong\""]);
    assert_eq!(refused.await, Some(1.0));
}

#[tokio::test]
async fn what_comes_to_nothing_is_counted_and_the_call_goes_on() {
    let (gateway, _folder) = with_pipeline(&patient_echo(), &[]).await;
    let arguments = ["--pipeline", "patient", "--seconds", "0.5"];
    let report = call(&gateway, "oddities", &arguments).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["stopped"], true, "{shown}");
    let page = gateway.metrics().await;
    for (reason, count) in [
        ("unknown", 1.0),
        ("track", 1.0),
        ("dtmf", 1.0),
        ("mark", 1.0),
        ("gap", 3.0),
    ] {
        let labels = ["interface=\"twilio\"", &format!("reason=\"{reason}\"")];
        let counted = sum_of(&page, "tidegate_ignored_messages_total", &labels);
        assert_eq!(counted, Some(count), "{reason}: {shown}\n{page}");
    }
}
