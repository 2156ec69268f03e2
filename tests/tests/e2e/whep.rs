//! WHEP: somebody only listens to what another client of the session says.

use serde_json::{Value, json};
use tidegate_tests::peer::Running;
use tidegate_tests::{Deadline, Gateway, Peer, turn};

/// A listener that is connected.
async fn listening(peer: Peer, by: Deadline) -> Running {
    let running = peer.start();
    let connected = by.wait(running.logs.find("listening")).await;
    assert!(connected.is_some(), "{}", running.logs.text());
    running
}

fn number(report: &Value, key: &str) -> f64 {
    let found = report.pointer(key).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number {key} in {report:#}"))
}

#[tokio::test]
async fn every_listener_of_a_session_hears_its_speaker_and_none_of_another_session() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let path =
        |way: &str, key: &str| gateway.url(&format!("/v1/pipelines/echo/{way}?session={key}"));
    let by = Deadline::secs(300);
    let early = Peer::python("whip.py").args([path("whep", "low")]);
    let early = early.args(["--direction", "recvonly", "--impatient"]);
    let early = early.report(by).await;
    let told = (&early["post"]["status"], &early["post"]["retry_after"]);
    assert_eq!(told, (&json!(409), &json!("1")), "nobody speaks: {early:#}");
    assert_eq!(gateway.sessions().await, 0, "nor does a session for nobody");

    let speak = |key: &str, hertz: &str| {
        let peer = Peer::python("whip.py").args([path("whip", key)]);
        let peer = peer.args(["--direction", "sendonly", "--seconds", "300"]);
        peer.args(["--tone", hertz]).start()
    };
    let _speakers = [speak("low", "440"), speak("high", "700")];
    let browser = Peer::node("whep.mjs").args([path("whep", "low"), "440".to_owned()]);
    let browser = listening(browser, by).await;
    let listen = |key: &str| {
        let peer = Peer::python("whip.py").args([path("whep", key)]);
        let peer = peer.args(["--direction", "recvonly", "--seconds", "6"]);
        peer.report(by)
    };
    let (heard, low, high) = tokio::join!(browser.report(by), listen("low"), listen("high"));
    let shown = format!("{heard:#}\n{low:#}\n{high:#}\n{}", gateway.logs.text());
    assert_eq!(heard["problems"], json!([]), "{shown}");
    assert!(
        number(&heard, "/tone/level") > 0.3,
        "as loud as it was said: {shown}"
    );
    for (report, hertz) in [(&low, 440.0), (&high, 700.0)] {
        let heard = number(report, "/heard_hertz");
        assert!((heard - hertz).abs() < 2.0, "{heard} for {hertz}: {shown}");
        assert!(number(report, "/purity") > 0.9, "nothing else: {shown}");
        assert!(number(report, "/heard_seconds") > 1.0, "{shown}");
    }
}
