//! Clients that never read, and clients that vanish.

use std::cell::Cell;
use std::time::Duration;

use serde_json::json;
use tidegate_proto::v1;
use tidegate_tests::{Deadline, Gateway};
use tokio_tungstenite::tungstenite::Message;

use crate::clients::neighbour::Neighbour;
use crate::clients::process::{sessions, sessions_become};
use crate::clients::rpc::{self, Rpc};
use crate::clients::ws::Ws;
use crate::clients::{frame, hostile, webrtc};

/// What a session may hold at most beside the kernel's own socket buffers: its queues and one message on the way.
const HELD_BYTES_MAX: u64 = 64 << 20;
/// Audio in one frame of these tests: large, so that a leak shows before the test is over.
const FRAME_BYTES: usize = 32 << 10;
/// What a client that is made to wait never gets rid of.
const FLOOD_BYTES: u64 = 256 << 20;
/// Longest time for a flood, the stalled limit included: a debug build under load is slow.
const FLOOD_SECONDS: u64 = 60;

/// Settings under which a client that takes nothing is left after two seconds.
const STALLED: [(&str, &str); 1] = [("LIMITS_STALLED", "2s")];

/// The pipeline sheds by count only, so that what is counted is known.
const LIVE: &str = "version: tidegate/v1\nname: shedding\n\
    inputs: [{name: mic, kind: audio}]\noutputs: [{name: speaker, kind: audio}]\n\
    edges: [{from: mic, to: speaker, queue: {frames: 64, when_full: drop_oldest}}]\n";

async fn with_pipeline(settings: &[(&str, &str)]) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("shedding.yaml"), LIVE).expect("written");
    let path = folder.path().to_string_lossy().into_owned();
    let all = [settings, &[("PIPELINES", &path)]].concat();
    (Gateway::with(&all).await, folder)
}

async fn dropped(gateway: &Gateway) -> f64 {
    let name = "tidegate_hop_dropped_frames_total";
    let labels = ["pipeline=\"shedding\"", "reason=\"queue_full\""];
    gateway.metric(name, &labels).await.unwrap_or_default()
}

#[tokio::test]
async fn a_live_websocket_client_that_never_reads_loses_frames_and_is_left() {
    let (gateway, _folder) = with_pipeline(&STALLED).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let (mut ws, _) = Ws::open(&gateway, "shedding", json!({"pipeline": "shedding"})).await;
    let before = gateway.memory();
    let trouble = async {
        let sent = Cell::new(0_u64);
        let flood = async {
            for seq in 1.. {
                let mut message = frame("mic", seq, &[0; FRAME_BYTES]);
                message["frame"]["media_time"] = 0.into();
                let message = Message::text(message.to_string());
                if ws.send_raw(message).await.is_err() {
                    break;
                }
                sent.set(sent.get() + FRAME_BYTES as u64);
            }
            std::future::pending::<()>().await;
        };
        let most = tokio::select! {
            () = flood => 0,
            most = watched_to_the_end(&gateway) => most,
        };
        let (held, sent) = (most.saturating_sub(before), sent.get());
        assert!(held < HELD_BYTES_MAX, "{held} bytes held of {sent}");
        let shed = dropped(&gateway).await;
        assert!(shed > 100.0, "dropped and counted: {shed} of {sent} bytes");
    };
    neighbour.during(trouble).await;
}

/// Waits until the neighbour's session is the only one; the most memory that was held meanwhile.
async fn watched_to_the_end(gateway: &Gateway) -> u64 {
    let by = Deadline::secs(FLOOD_SECONDS);
    let mut most = 0;
    while sessions(gateway).await > 1 {
        most = most.max(gateway.memory());
        assert!(!by.left().is_zero(), "the session goes on");
    }
    most
}

#[tokio::test]
async fn a_waiting_websocket_client_that_never_reads_is_made_to_wait_and_is_left() {
    let (gateway, _folder) = with_pipeline(&STALLED).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let waits = json!({"pipeline": "shedding", "mode": "waits"});
    let (mut ws, _) = Ws::open(&gateway, "shedding", waits).await;
    let before = gateway.memory();
    let trouble = async {
        let by = Deadline::secs(FLOOD_SECONDS);
        let (mut sent, mut seq) = (0_u64, 0);
        loop {
            seq += 1;
            let message = Message::text(frame("mic", seq, &[0; FRAME_BYTES]).to_string());
            let taken = by
                .wait(futures_util::SinkExt::send(&mut ws.stream, message))
                .await;
            match taken.expect("the session is ended in time") {
                Ok(()) => sent += FRAME_BYTES as u64,
                Err(_) => break,
            }
            assert!(sent < FLOOD_BYTES, "nothing makes it wait");
        }
        let held = gateway.memory().saturating_sub(before);
        assert!(held < HELD_BYTES_MAX, "{held} bytes held after {sent}");
        sessions_become(&gateway, 1, Deadline::secs(10)).await;
        assert!(
            dropped(&gateway).await < 1.0,
            "nothing of a file is thinned out"
        );
    };
    neighbour.during(trouble).await;
}

#[tokio::test]
async fn a_grpc_client_that_never_reads_is_bounded_in_both_modes_and_left() {
    let (gateway, _folder) = with_pipeline(&STALLED).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let trouble = async {
        for mode in [v1::Mode::Live, v1::Mode::Waits] {
            let stream = Rpc::open(&gateway, "shedding", mode).await;
            let before = gateway.memory();
            let sent = Cell::new(0_u64);
            // HTTP/2 tells a client that does not read nothing, not even the end: it sends on until it has to wait.
            let flood = async {
                for seq in 1.. {
                    if !stream
                        .send(rpc::audio_at(seq, 0, vec![0; FRAME_BYTES]))
                        .await
                    {
                        break;
                    }
                    sent.set(sent.get() + FRAME_BYTES as u64);
                }
                std::future::pending::<()>().await;
            };
            let most = tokio::select! {
                () = flood => 0,
                most = watched_to_the_end(&gateway) => most,
            };
            let (held, sent) = (most.saturating_sub(before), sent.get());
            assert!(
                held < HELD_BYTES_MAX,
                "{mode:?}: {held} bytes held of {sent}"
            );
            let shed = dropped(&gateway).await;
            match mode {
                v1::Mode::Live => assert!(shed > 100.0, "dropped and counted: {shed}"),
                _ => assert!(sent < HELD_BYTES_MAX, "{sent} bytes sent: it had to wait"),
            }
        }
    };
    neighbour.during(trouble).await;
}

#[tokio::test]
async fn sessions_of_clients_that_are_killed_end_at_once() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let trouble = async {
        let (reset, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
        let (closed, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
        let stream = Rpc::open(&gateway, "echo", v1::Mode::Live).await;
        sessions_become(&gateway, 4, Deadline::secs(10)).await;
        hostile::reset(reset.stream.into_inner());
        drop(closed.stream.into_inner());
        drop(stream);
        sessions_become(&gateway, 1, Deadline::secs(10)).await;
    };
    neighbour.during(trouble).await;
}

#[tokio::test]
async fn sessions_of_clients_that_fall_silent_end_within_their_bounds() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    // Neither closes its connection; both just stop.
    let (_silent, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let mut gone = webrtc::Rtc::open(&gateway, "echo").await;
    gone.echo().await;
    let _unconnected = webrtc::Rtc::answered(&gateway, "echo").await;
    let by = Deadline::after(Duration::from_secs(45));
    neighbour.during(sessions_become(&gateway, 1, by)).await;
}
