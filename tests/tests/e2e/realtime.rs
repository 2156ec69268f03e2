//! OpenAI Realtime by the `openai` package, unmodified.

use serde_json::{Value, json};
use tidegate_tests::fixtures::recording;
use tidegate_tests::gateway::sum_of;
use tidegate_tests::{Deadline, Gateway, Peer, turn};

use crate::grants::{APP, Guarded};

const PATIENCE_SECONDS: u64 = 180;

/// Plays a scene with a pipeline, and gives what the peer reports. All events are as the package's types say.
async fn scene(gateway: &Gateway, pipeline: &str, scene: &str, more: &[&str]) -> Value {
    let url = gateway.url("/v1");
    let peer = Peer::python("openai_realtime.py").args([url.as_str(), pipeline, scene]);
    let report = peer.args(more).report(Deadline::secs(PATIENCE_SECONDS));
    let report = report.await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["problems"], json!([]), "{shown}");
    report
}

/// That a tone of 440 Hz came back, which was said for a second and a half.
fn is_the_tone(heard: &Value, shown: &str) {
    let hertz = heard["hertz"].as_f64().unwrap_or_default();
    assert!((hertz - 440.0).abs() < 3.0, "{heard}: {shown}");
    let seconds = heard["seconds"].as_f64().unwrap_or_default();
    assert!((1.0..1.7).contains(&seconds), "{heard}: {shown}");
}

fn strings(value: &Value) -> Vec<&str> {
    let values = value.as_array().expect("a list").iter();
    values.filter_map(Value::as_str).collect()
}

/// The events of a type.
fn of<'a>(report: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = report["events"].as_array().expect("a list").iter();
    events.filter(|event| event["type"] == kind).collect()
}

#[tokio::test]
async fn a_tone_comes_back_in_the_formats_that_the_session_asks_for() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&["--pipelines", "tests/pipelines"]).await;
    let report = scene(&gateway, "patient", "echo", &[]).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["first_event"], "session.created", "{shown}");
    assert_eq!(report["session"]["model"], "patient", "{shown}");
    let types = strings(&report["types"]);
    let response = [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ];
    let heard: Vec<_> = types.iter().filter(|t| response.contains(t)).collect();
    assert_eq!(heard, response.iter().collect::<Vec<_>>(), "{shown}");
    assert!(types.contains(&"input_audio_buffer.committed"), "{shown}");
    assert_eq!(report["done"]["response"]["status"], "completed", "{shown}");
    is_the_tone(&report["pcm"], &shown);
    for format in ["pcmu", "pcma"] {
        let g711 = json!({"type": format!("audio/{format}")});
        let audio = &report["updated"][format]["session"]["audio"];
        assert_eq!(audio["input"]["format"], g711, "{shown}");
        assert_eq!(audio["output"]["format"], g711, "{shown}");
        is_the_tone(&report[format], &shown);
    }
}

#[tokio::test]
async fn what_a_key_says_of_the_session_holds_from_its_first_event() {
    let _turn = turn::alone().await;
    let guarded = Guarded::start().await;
    let report = scene(&guarded.gateway, "echo", "secret", &["--key", APP]).await;
    let shown = format!("{report:#}\n{}", guarded.gateway.logs.text());
    let g711 = json!({"type": "audio/pcma"});
    for session in [&report["session"], &report["browser"]["session"]] {
        assert_eq!(session["model"], "echo", "{shown}");
        let audio = &session["audio"];
        assert_eq!(audio["input"]["format"], g711, "{shown}");
        assert_eq!(audio["output"]["format"], g711, "{shown}");
    }
    let ignored = &report["ignored"][0];
    assert_eq!(ignored["param"], "session.instructions", "{shown}");
    is_the_tone(&report["pcma"], &shown);
    assert_eq!(report["browser"]["subprotocol"], "realtime", "{shown}");
    assert_eq!(report["browser"]["type"], "session.created", "{shown}");
    assert_eq!(report["forged"], 401, "{shown}");
}

#[tokio::test]
async fn clients_share_a_session_as_on_every_transport() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let report = scene(&gateway, "conference", "room", &[]).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    let sessions = strings(&report["sessions"]);
    assert_eq!(sessions[0], sessions[1], "{shown}");
    let hertz = report["heard"]["hertz"].as_f64().unwrap_or_default();
    assert!((hertz - 440.0).abs() < 3.0, "{shown}");
    let own = report["own"].as_f64().unwrap_or(1.0);
    assert!(own < 0.01, "nobody hears himself: {shown}");
}

/// What a model would heed goes unheeded, and no client takes that for a failure.
fn is_unheeded(report: &Value, updated: &Value, shown: &str) {
    assert_eq!(updated["session"]["instructions"], "", "{shown}");
    let ignored = updated["ignored"].as_array().expect("a list").iter();
    let ignored: Vec<_> = ignored.map(|field| field["param"].clone()).collect();
    let expected = ["session.instructions", "session.audio.output.voice"];
    assert_eq!(ignored, expected, "{shown}");
    let added = &report["added"][0];
    assert_eq!(added["ignored"][0]["param"], "item.content", "{shown}");
    // Nothing was said that could be answered: it is asked for and done at once.
    let given_up = &report["given_up"][0];
    assert_eq!(given_up["status"], "failed", "{shown}");
    let error = &given_up["status_details"]["error"];
    assert_eq!(error["code"], "unsupported_by_pipeline", "{shown}");
}

#[tokio::test]
async fn what_a_pipeline_cannot_do_is_an_error_event_and_the_socket_stays_open() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let report = scene(&gateway, "echo", "refusals", &[]).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    let expected = [
        (
            "beta",
            vec![("unknown_parameter", json!("session.input_audio_format"))],
        ),
        ("model", vec![]),
        (
            "vad",
            vec![(
                "unsupported_by_pipeline",
                json!("session.audio.input.turn_detection"),
            )],
        ),
        ("unknown", vec![("invalid_value", json!("type"))]),
        ("base64", vec![("invalid_value", json!("audio"))]),
        ("odd", vec![("invalid_value", json!("audio"))]),
        (
            "empty",
            vec![("input_audio_buffer_commit_empty", Value::Null)],
        ),
        ("cancel", vec![("response_cancel_not_active", Value::Null)]),
        ("nothing", vec![]),
        ("text", vec![]),
        (
            "item",
            vec![("item_retrieve_invalid_item_id", json!("item_id"))],
        ),
    ];
    for (name, errors) in expected {
        let told = report[name].as_array().expect("a list").iter();
        let told: Vec<_> = told
            .map(|e| (e["code"].as_str(), e["param"].clone()))
            .collect();
        let errors = errors.into_iter().map(|(code, param)| (Some(code), param));
        assert_eq!(told, errors.collect::<Vec<_>>(), "{name}: {shown}");
    }
    assert_eq!(report["unknown"][0]["event_id"], "mine", "{shown}");
    let page = gateway.metrics().await;
    let told = |code: &str| {
        let errors = report.as_object().expect("an object").values();
        let errors = errors.filter_map(Value::as_array).flatten();
        errors.filter(|error| error["code"] == code).count()
    };
    for code in [
        "invalid_value",
        "input_audio_buffer_commit_empty",
        "response_cancel_not_active",
    ] {
        let labels = ["interface=\"realtime\"", &format!("reason=\"{code}\"")];
        let counted = sum_of(&page, "tidegate_ignored_messages_total", &labels);
        let wanted = u32::try_from(told(code)).expect("few");
        assert_eq!(counted, Some(wanted.into()), "{code}: {shown}\n{page}");
    }
    let updated = report["updated"].as_array().expect("a list");
    assert_eq!(updated.len(), 2, "of a beta shape nothing holds: {shown}");
    is_unheeded(&report, &updated[0], &shown);
}

#[tokio::test]
async fn who_speaks_while_an_answer_is_given_cancels_it_and_is_answered() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&["--pipelines", "tests/pipelines"]).await;
    let wav = recording("jfk.wav");
    let wav = wav.to_str().expect("a path");
    let report = scene(&gateway, "parrot", "turns", &["--wav", wav]).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    let first = strings(&report["first"]);
    let expected = [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ];
    assert_eq!(first[..4], expected, "{shown}");
    let turns = &report["session"]["audio"]["input"]["turn_detection"];
    assert_eq!(turns["type"], "server_vad", "{shown}");

    let details = &report["cancelled"]["response"]["status_details"];
    assert_eq!(details["type"], "cancelled", "{shown}");
    assert_eq!(details["reason"], "turn_detected", "{shown}");
    let said = &report["cancelled"]["response"]["output"][0]["content"][0];
    assert_eq!(said["transcript"], "again: something was said", "{shown}");
    // First the client hears that somebody speaks, and then what is over by that.
    let types = strings(&report["types"]);
    let done = types.iter().position(|kind| *kind == "response.done");
    let expected = [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ];
    let until = done.expect("it is over") + 1;
    assert_eq!(types[until - expected.len()..until], expected, "{shown}");

    let started = of(&report, "input_audio_buffer.speech_started");
    let committed = of(&report, "input_audio_buffer.committed");
    let heard = of(
        &report,
        "conversation.item.input_audio_transcription.completed",
    );
    assert!(started.len() >= 2 && heard.len() >= 2, "{shown}");
    for (index, turn) in heard.iter().enumerate() {
        assert_eq!(turn["item_id"], started[index]["item_id"], "{shown}");
        assert_eq!(turn["item_id"], committed[index]["item_id"], "{shown}");
        assert_eq!(turn["transcript"], "something was said", "{shown}");
    }
    assert_eq!(report["truncated"]["audio_end_ms"], 500, "{shown}");
    let (ended, understood) = (&report["committed"], &report["understood"]);
    assert_eq!(understood["item_id"], ended["item_id"], "{shown}");
}

#[tokio::test]
async fn text_is_answered_in_text() {
    let gateway = Gateway::start(&["--pipelines", "tests/pipelines"]).await;
    let report = scene(&gateway, "letters", "letters", &[]).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    let delta = of(&report, "response.output_text.delta");
    assert_eq!(delta[0]["delta"], "you wrote: Good morning", "{shown}");
    let response = &report["done"]["response"];
    assert_eq!(response["status"], "completed", "{shown}");
    assert_eq!(response["metadata"], json!({"turn": "1"}), "{shown}");
    let part = &response["output"][0]["content"][0];
    assert_eq!(part["type"], "output_text", "{shown}");
    assert_eq!(part["text"], "you wrote: Good morning", "{shown}");
    let kept = of(&report, "conversation.item.retrieved");
    assert_eq!(kept[0]["item"]["content"][0], *part, "{shown}");
    assert_eq!(
        report["deleted"]["item_id"], response["output"][0]["id"],
        "{shown}"
    );
}

#[tokio::test]
async fn a_call_by_webrtc_has_its_sound_on_tracks_and_its_events_on_a_channel() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&["--pipelines", "tests/pipelines"]).await;
    let url = gateway.url("/v1");
    let wav = recording("jfk.wav");
    let peer =
        Peer::python("openai_call.py").args([url.as_ref(), "parrot".as_ref(), wav.as_os_str()]);
    let report = peer.report(Deadline::secs(PATIENCE_SECONDS)).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["problems"], json!([]), "{shown}");
    assert_eq!(report["status"], 201, "{shown}");
    assert_eq!(report["events"][0]["type"], "session.created", "{shown}");
    let ignored = &report["events"][0]["ignored"][0];
    assert_eq!(ignored["param"], "session.instructions", "{shown}");
    let started = of(&report, "input_audio_buffer.speech_started");
    assert!(!started.is_empty(), "{shown}");
    assert!(
        of(&report, "response.output_audio.delta").is_empty(),
        "{shown}"
    );
    let hertz = report["hertz"].as_f64().unwrap_or_default();
    assert!((hertz - 440.0).abs() < 3.0, "{shown}");
    let details = &report["cancelled"]["response"]["status_details"];
    assert_eq!(details["reason"], "client_cancelled", "{shown}");
    assert_eq!(report["hangup"], 200, "{shown}");
}
