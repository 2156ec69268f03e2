//! aiortc as a WHIP client: two-way voice over WebRTC.

use serde_json::Value;
use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Peer, turn};

/// Far more than any of these calls takes: how fast they are is judged by the benchmarks, alone on their machine.
const PATIENCE_SECONDS: u64 = 180;

/// The figure at this key.
fn number(report: &Value, key: &str) -> f64 {
    report[key]
        .as_f64()
        .unwrap_or_else(|| panic!("no number {key} in {report:#}"))
}

#[tokio::test]
async fn a_tone_comes_back_from_echo_and_the_resource_obeys_rfc_9725() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let url = gateway.url("/v1/pipelines/echo/whip");
    let peer = Peer::python("whip.py").args([url.as_str(), "--tone", "440", "--events"]);
    let report = peer.report(Deadline::secs(PATIENCE_SECONDS)).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());

    assert_eq!(report["post"]["status"], 201, "{shown}");
    assert_eq!(report["post"]["type"], "application/sdp", "{shown}");
    assert!(
        report["post"]["etag"]
            .as_str()
            .is_some_and(|tag| tag.starts_with('"')),
        "{shown}"
    );
    assert!(
        report["answer"]
            .as_str()
            .unwrap_or_default()
            .contains("a=sendrecv"),
        "{shown}"
    );
    assert_eq!(report["patch"], 204, "trickle: {shown}");
    assert_eq!(report["patch_without_match"], 428, "{shown}");
    assert_eq!(report["delete"], 200, "{shown}");
    assert_eq!(report["delete_again"], 404, "{shown}");

    assert!(
        (number(&report, "heard_hertz") - 440.0).abs() < 2.0,
        "{shown}"
    );
    assert!(number(&report, "purity") > 0.9, "and nothing else: {shown}");
    assert!(number(&report, "heard_seconds") > 2.4, "{shown}");
    let ratio = number(&report, "heard_rms") / number(&report, "said_rms");
    assert!(
        (0.8..1.2).contains(&ratio),
        "loudness times {ratio}: {shown}"
    );
    let opened = report["events"].as_array().expect("a list").iter();
    assert_eq!(
        opened.filter(|event| !event["opened"].is_null()).count(),
        1,
        "{shown}"
    );
}

#[tokio::test]
async fn speech_comes_back_from_echo_as_it_was_said() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let url = gateway.url("/v1/pipelines/echo/whip");
    let peer = Peer::python("whip.py").args([
        url.as_ref(),
        "--wav".as_ref(),
        recording("jfk.wav").as_os_str(),
    ]);
    let report = peer.report(Deadline::secs(PATIENCE_SECONDS)).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert!(number(&report, "likeness") > 0.8, "{shown}");
    assert!(number(&report, "delay_seconds") < 1.5, "{shown}");
}

#[tokio::test]
async fn clean_voice_sends_speech_back_and_says_on_the_data_channel_when_it_begins() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let url = gateway.url("/v1/pipelines/clean-voice/whip");
    let wav = recording("jfk.wav");
    let peer = Peer::python("whip.py")
        .args([url.as_str(), "--events", "--wav"])
        .args([wav]);
    let report = peer.report(Deadline::secs(PATIENCE_SECONDS)).await;
    let shown = format!("{report:#}\n{}", gateway.logs.text());
    assert!(number(&report, "likeness") > 0.8, "{shown}");
    let messages = report["events"].as_array().expect("a list");
    let frames = messages.iter().map(|message| &message["frame"]);
    let events: Vec<_> = frames.filter(|frame| frame["port"] == "events").collect();
    assert!(events.len() >= 2, "speech starts and stops: {shown}");
    assert!(
        events.iter().all(|event| !event["json"].is_null()),
        "{shown}"
    );
}

#[tokio::test]
async fn an_offer_that_is_no_sdp_is_refused_with_400() {
    let gateway = Gateway::start(&[]).await;
    let path = "/v1/pipelines/echo/whip";
    let sdp = [("content-type", "application/sdp")];
    let refused = gateway.request("POST", path, &sdp, "v=0\r\nnonsense").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let json = [("content-type", "application/json")];
    assert_eq!(gateway.request("POST", path, &json, "{}").await.status, 415);
    let unknown = gateway
        .request("POST", "/v1/pipelines/none/whip", &sdp, "v=0\r\n")
        .await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
}
