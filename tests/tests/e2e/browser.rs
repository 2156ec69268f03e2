//! Chromium with a recording as its microphone, at the page that the gateway serves.

use tidegate_tests::fixtures::recording;
use tidegate_tests::{Deadline, Gateway, Peer, turn};

#[tokio::test]
async fn a_person_talks_to_the_page_hears_the_answer_and_sees_each_hop() {
    let _turn = turn::alone().await;
    let gateway = Gateway::start(&["--pipelines", "tests/pipelines"]).await;
    let peer = Peer::node("page.mjs").args([gateway.url("/"), "louder".to_owned()]);
    let report = peer
        .args([recording("jfk.wav")])
        .report(Deadline::secs(90))
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
