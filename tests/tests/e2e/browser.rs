//! Chromium with a recording as its microphone, at the page that the gateway serves and at the example that another server does.

use tidegate_tests::fixtures::{cached, recording, root};
use tidegate_tests::peer::Running;
use tidegate_tests::{Deadline, Gateway, Peer, turn};

/// A server of the repository's files, and the origin of its pages.
async fn pages() -> (Running, String) {
    let server = Peer::program("http.server", &cached("venv/bin/python"))
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
        .args(["--directory".as_ref(), root().as_os_str()])
        .start();
    let line = server.logs.find("Serving HTTP on").await;
    let origin = line
        .split(['(', ')'])
        .nth(1)
        .map(|url| url.trim_end_matches('/').to_owned())
        .unwrap_or_else(|| panic!("no address in '{line}'"));
    (server, origin)
}

#[tokio::test]
async fn a_person_talks_to_the_page_hears_the_answer_and_sees_each_hop() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&["--pipelines", "tests/pipelines"]).await;
    let peer = Peer::node("page.mjs").args([gateway.url("/"), "louder".to_owned()]);
    let report = peer
        .args([recording("jfk.wav")])
        .report(Deadline::secs(240))
        .await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["problems"], serde_json::json!([]), "{shown}");
    assert!(
        report["rms"].as_f64().is_some_and(|rms| rms > 0.01),
        "it is heard: {shown}"
    );
    let likeness = report["likeness"]["likeness"].as_f64();
    assert!(
        likeness.is_some_and(|likeness| likeness > 0.8),
        "as it was said: {shown}"
    );
    let hops = report["hops"].as_array().expect("a list");
    assert!(
        hops.contains(&"gain".into()),
        "the page shows how long the node took: {shown}"
    );
}

#[tokio::test]
async fn the_example_page_of_another_origin_talks_hears_and_shows_events() {
    let _turn = turn::alone().await;
    let (_server, origin) = pages().await;
    let gateway = Gateway::start_with(&[], &[("TIDEGATE_ORIGINS", &origin)]).await;
    let address = gateway.url("");
    let report = Peer::node("example.mjs")
        .args([address.trim_end_matches('/'), &origin, "clean-voice"])
        .args([recording("jfk.wav")])
        .report(Deadline::secs(240))
        .await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["problems"], serde_json::json!([]), "{shown}");
    assert_eq!(report["hung_up"], true, "{shown}");
    let likeness = report["likeness"]["likeness"].as_f64();
    assert!(
        likeness.is_some_and(|likeness| likeness > 0.8),
        "as it was said: {shown}"
    );
    let said = report["said"].as_array().expect("a list");
    let starts = said.iter().filter_map(|line| line.as_str());
    assert!(
        starts.filter(|line| line.contains("speech_start")).count() >= 2,
        "the events of the data channel are shown: {shown}"
    );
}

#[tokio::test]
async fn a_page_of_another_origin_calls_a_pipeline_as_a_model_of_openai_s() {
    const TOKEN: &str = "the token of the page's own server";
    let _turn = turn::alone().await;
    let (_server, origin) = pages().await;
    let settings = [
        ("TIDEGATE_ORIGINS", &*origin),
        ("TIDEGATE_AUTH_TOKEN", TOKEN),
    ];
    let gateway = Gateway::start_with(&["--pipelines", "tests/pipelines"], &settings).await;
    let address = gateway.url("");
    let report = Peer::node("realtime.mjs")
        .args([address.trim_end_matches('/'), &origin, "parrot"])
        .args([recording("jfk.wav").as_os_str(), TOKEN.as_ref()])
        .report(Deadline::secs(240))
        .await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert_eq!(report["problems"], serde_json::json!([]), "{shown}");
    assert_eq!(report["problem"], "", "{shown}");
    assert_eq!(report["tone"]["hertz"], 440, "what is answered: {shown}");
    let said = report["said"].as_array().expect("a list");
    assert!(said.contains(&"You: something was said".into()), "{shown}");
    let events = report["events"].as_array().expect("a list");
    let at = |kind: &str| events.iter().position(|event| event == kind);
    let order = [
        "session.created",
        "input_audio_buffer.speech_started",
        "response.created",
        "output_audio_buffer.started",
        "response.done",
        "output_audio_buffer.cleared",
    ];
    let order = order.map(|kind| at(kind).unwrap_or_else(|| panic!("no {kind}: {shown}")));
    assert!(order.is_sorted(), "{shown}");
    assert_eq!(report["hung_up"], true, "{shown}");
    assert_eq!(report["other"], 403, "{shown}");
}
