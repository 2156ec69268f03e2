//! Clients that share a session: a conference.

use serde_json::json;
use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Peer, turn};

#[tokio::test]
async fn in_a_conference_each_hears_the_other_and_not_itself() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&[]).await;
    let seat = |name: &str| {
        let path = format!("/v1/pipelines/conference/whip?session=room&as={name}");
        Peer::python("whip.py").args([gateway.url(&path)])
    };
    let by = Deadline::secs(180);
    let speaker = seat("a").args(["--wav".as_ref(), recording("jfk.wav").as_os_str()]);
    let other = seat("b").args(["--tone", "700", "--seconds", "9"]);
    let (speaker, other) = tokio::join!(speaker.report(by), other.report(by));
    let shown = format!("a: {speaker:#}\nb: {other:#}\n{}", gateway.logs.text());
    let pitch = speaker["heard_hertz"].as_f64().unwrap_or_default();
    assert!(
        (pitch - 700.0).abs() < 5.0,
        "a hears b's tone of 700 Hz: {shown}"
    );
    let itself = speaker["likeness"].as_f64().unwrap_or(1.0);
    assert!(itself < 0.6, "a does not hear itself: {shown}");
    let purity = speaker["purity"].as_f64().unwrap_or_default();
    assert!(purity > 0.9, "nor anything but the tone: {shown}");
    let pitch = other["heard_hertz"].as_f64().unwrap_or_default();
    assert!(
        (pitch - 700.0).abs() > 50.0,
        "b does not hear its own tone: {shown}"
    );
    assert!(
        other["heard_seconds"]
            .as_f64()
            .is_some_and(|heard| heard > 5.0),
        "{shown}"
    );
}

#[tokio::test]
async fn a_seat_is_taken_once() {
    let gateway = Gateway::start(&[]).await;
    let open = json!({"pipeline": "conference", "session": "room", "as": ["a"]});
    let (_first, _) = tidegate_tests::Ws::open(&gateway, "conference", open.clone()).await;
    let connected = tidegate_tests::Ws::connect(&gateway, "conference").await;
    let mut second = connected.expect("the upgrade succeeds");
    second.send("open", open).await;
    let error = second.until("error").await;
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("'a'")),
        "{error}"
    );
    assert_eq!(error["code"], "overloaded", "it may be free later: {error}");
    assert_eq!(error["retryable"], true, "{error}");
    let refused = gateway.metric("tidegate_sessions_refused_total", &["overloaded"]);
    assert_eq!(refused.await, Some(1.0));
    assert_eq!(gateway.sessions().await, 1, "the first goes on");
}
