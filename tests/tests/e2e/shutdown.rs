//! SIGTERM under load, and pipelines that change under running sessions.

use serde_json::json;
use tidegate_proto::v1;
use tidegate_proto::v1::server_message::Message as Got;
use tidegate_tests::{Deadline, Gateway};
use tonic_types::StatusExt as _;

use crate::clients::neighbour::Neighbour;
use crate::clients::process::sessions_become;
use crate::clients::rpc::{self, Rpc};
use crate::clients::ws::{JSON, Ws};
use crate::clients::{audio_of, frame, webrtc};

const SESSIONS: usize = 8;

async fn talk(ws: &mut Ws, seq: u64) {
    ws.send(&frame("mic", seq, &[1; 640])).await;
    assert_eq!(ws.next_of("frame").await["seq"], seq);
}

#[tokio::test]
async fn sigterm_lets_running_sessions_finish_and_takes_no_new_ones() {
    let mut gateway = Gateway::with(&[("LIMITS_GRACE", "60s")]).await;
    let waits = json!({"pipeline": "echo", "mode": "waits"});
    let mut running = Vec::new();
    for _ in 0..SESSIONS {
        let (mut ws, _) = Ws::open(&gateway, "echo", waits.clone()).await;
        talk(&mut ws, 1).await;
        running.push(ws);
    }
    let mut stream = Rpc::open(&gateway, "echo", v1::Mode::Waits).await;
    let mut caller = webrtc::Rtc::open(&gateway, "echo").await;
    // This upgrade stands before the signal, its `open` comes after it.
    let mut late = Ws::connect(&gateway, "echo", JSON).await;

    gateway.signal("TERM").await;
    for ws in &mut running {
        let draining = ws.next_of("draining").await;
        assert!(
            draining["deadline"].as_u64() > Some(50_000_000),
            "{draining}"
        );
    }
    let draining = stream.next().await;
    assert!(matches!(draining, Ok(Got::Draining(_))), "{draining:?}");

    let ready = gateway.get("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (503, "draining\n"));
    assert_eq!(gateway.get("/healthz").await.status, 200);
    late.send(&json!({"open": waits})).await;
    let ending = late.ending().await;
    assert_eq!(
        (ending.code(), ending.close),
        ("draining", 1012),
        "{ending:?}"
    );
    let inputs = json!({"inputs": {"mic": []}});
    let run = gateway
        .post_json("/v1/pipelines/echo/execute", &inputs)
        .await;
    assert_eq!((run.status, &run.json()["code"]), (503, &json!("draining")));
    let (client, _socket) = webrtc::offer().await;
    let whip = webrtc::post(&gateway, "echo", client.sdp().to_owned()).await;
    assert_eq!(
        (whip.status, &whip.json()["code"]),
        (503, &json!("draining"))
    );
    let refused = Rpc::try_open(&gateway, rpc::open("echo", v1::Mode::Live)).await;
    let status = refused.err().expect("refused");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    let reason = status.get_details_error_info().map(|info| info.reason);
    assert_eq!(reason.as_deref(), Some("draining"), "{status:?}");

    caller.echo().await;
    caller.leave(&gateway).await;
    for mut ws in running {
        talk(&mut ws, 2).await;
        ws.send(&json!({"end": {}})).await;
        let ending = ws.ending().await;
        assert_eq!((ending.code(), ending.close), ("", 1000), "{ending:?}");
    }
    assert!(stream.send(rpc::audio(1, vec![0; 640])).await);
    assert!(matches!(stream.next().await, Ok(Got::Frame(_))));
    drop(stream);
    let status = gateway.ended(Deadline::secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.logs.text());
}

#[tokio::test]
async fn after_the_grace_period_sessions_are_ended_with_their_reason() {
    let mut gateway = Gateway::with(&[("LIMITS_GRACE", "1s")]).await;
    let (mut ws, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let mut stream = Rpc::open(&gateway, "echo", v1::Mode::Live).await;
    gateway.signal("TERM").await;
    let ending = ws.ending().await;
    assert_eq!(
        (ending.code(), ending.close),
        ("draining", 1012),
        "{ending:?}"
    );
    let mut said = Vec::new();
    while let Ok(message) = stream.next().await {
        said.push(message);
    }
    assert!(
        matches!(said.last(), Some(Got::Ended(end)) if end.reason == "draining"),
        "{said:?}"
    );
    let status = gateway.ended(Deadline::secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.logs.text());
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once() {
    let mut gateway = Gateway::with(&[("LIMITS_GRACE", "600s")]).await;
    let (mut ws, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    gateway.signal("TERM").await;
    ws.next_of("draining").await;
    gateway.signal("TERM").await;
    let status = gateway.ended(Deadline::secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.logs.text());
}

/// A pipeline named `mine` whose only node multiplies by a gain.
fn mine(decibel: i32) -> String {
    format!(
        "version: tidegate/v1\nname: mine\ndescription: gain of {decibel}\n\
         inputs: [{{name: mic, kind: audio}}]\noutputs: [{{name: speaker, kind: audio}}]\n\
         nodes: [{{id: gain, type: audio.gain, params: {{gain_db: {decibel}}}}}]\n\
         edges: [mic -> gain, gain -> speaker]\n"
    )
}

/// Waits until the gateway serves `mine` with this gain.
async fn becomes(gateway: &Gateway, decibel: i32) {
    let wanted = format!("gain of {decibel}");
    let served = Deadline::secs(20)
        .until(|| async {
            let about = gateway.get("/v1/pipelines/mine").await.json();
            (about["description"] == wanted.as_str()).then_some(())
        })
        .await;
    assert!(served.is_some(), "never {wanted}:\n{}", gateway.logs.text());
}

/// What the session makes of samples of 1,000.
async fn heard(ws: &mut Ws, seq: u64) -> i16 {
    let data = 1000_i16.to_le_bytes().repeat(320);
    ws.send(&frame("mic", seq, &data)).await;
    let data = audio_of(&json!({"frame": ws.next_of("frame").await}));
    i16::from_le_bytes([data[300], data[301]])
}

#[tokio::test]
async fn changed_pipelines_are_for_new_sessions_and_a_bad_file_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.yaml");
    std::fs::write(&file, mine(0)).expect("written");
    let path = folder.path().to_string_lossy().into_owned();
    let gateway = Gateway::with(&[("PIPELINES", &path)]).await;
    let waits = json!({"pipeline": "mine", "mode": "waits"});
    let (mut old, _) = Ws::open(&gateway, "mine", waits.clone()).await;
    assert_eq!(heard(&mut old, 1).await, 1000);

    // The folder is watched.
    std::fs::write(&file, mine(-20)).expect("written");
    becomes(&gateway, -20).await;
    let (mut new, _) = Ws::open(&gateway, "mine", waits.clone()).await;
    assert_eq!(
        heard(&mut new, 1).await,
        100,
        "the new session has the new gain"
    );
    assert_eq!(
        heard(&mut old, 2).await,
        1000,
        "the running one keeps its own"
    );

    std::fs::write(&file, "version: tidegate/v1\nname: mine\nedges: [a -> b]\n").expect("written");
    gateway.signal("HUP").await;
    let by = Deadline::secs(20);
    let reported = by.wait(gateway.logs.find("pipelines not reloaded")).await;
    let reported = reported.unwrap_or_else(|| panic!("{}", gateway.logs.text()));
    assert!(reported.contains("mine.yaml") || gateway.logs.text().contains("mine.yaml:"));
    let refused = ["refused"];
    let refused = gateway.metric("tidegate_reloads_total", &refused);
    assert!(refused.await.is_some_and(|count| count >= 1.0));
    becomes(&gateway, -20).await;
    let (mut third, _) = Ws::open(&gateway, "mine", waits).await;
    assert_eq!(
        heard(&mut third, 1).await,
        100,
        "a bad file changes nothing"
    );
    assert_eq!(heard(&mut old, 3).await, 1000);

    std::fs::remove_file(&file).expect("removed");
    gateway.signal("HUP").await;
    let gone = Deadline::secs(20)
        .until(|| async {
            let status = gateway.get("/v1/pipelines/mine").await.status;
            (status == 404).then_some(())
        })
        .await;
    assert!(gone.is_some(), "{}", gateway.logs.text());
    assert_eq!(
        heard(&mut old, 4).await,
        1000,
        "even of a pipeline that is no more"
    );
}

#[tokio::test]
async fn a_session_ended_by_an_operator_says_so_and_costs_no_other() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let (mut ws, opened) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let trouble = async {
        let id = opened["session_id"].as_str().expect("an id");
        let path = format!("/v1/sessions/{id}");
        let answer = gateway.request("DELETE", &path, &[], "").await;
        assert!(answer.status < 300, "{}", answer.text());
        let ending = ws.ending().await;
        assert_eq!((ending.code(), ending.close), ("", 1000), "{ending:?}");
    };
    neighbour.during(trouble).await;
    sessions_become(&gateway, 1, Deadline::secs(10)).await;
}
