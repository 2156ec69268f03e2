//! Bounds on what clients may take: messages, sessions, connections, time.

use bytes::Bytes;
use serde_json::json;
use tidegate_proto::v1;
use tidegate_proto::v1::server_message::Message as Got;
use tidegate_tests::{Deadline, Gateway};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tonic_types::StatusExt as _;

use crate::clients::neighbour::Neighbour;
use crate::clients::process::sessions_become;
use crate::clients::rpc::{self, Rpc};
use crate::clients::ws::{JSON, Ws};
use crate::clients::{frame, hostile, webrtc};

const EXECUTE: &str = "/v1/pipelines/echo/execute";

#[tokio::test]
async fn a_message_over_the_limit_is_too_large_on_every_transport() {
    let settings = [("LIMITS_MESSAGE", "64KiB"), ("LIMITS_BODY", "128KiB")];
    let gateway = Gateway::with(&settings).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let big = vec![0; 100 << 10];
    let trouble = async {
        let (mut ws, opened) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
        assert_eq!(
            opened["limits"]["message_bytes"], 65_536,
            "a client can know it: {opened}"
        );
        ws.send(&frame("mic", 1, &big)).await;
        let ending = ws.ending().await;
        assert_eq!(
            (ending.code(), ending.close),
            ("too_large", 1009),
            "{ending:?}"
        );

        let mut ws = Ws::connect(&gateway, "echo", JSON).await;
        let open = Message::text(" ".repeat(big.len()));
        ws.send_raw(open).await.expect("the gateway listens");
        let ending = ws.ending().await;
        assert_eq!(
            (ending.code(), ending.close),
            ("too_large", 1009),
            "before open: {ending:?}"
        );

        let mut stream = Rpc::open(&gateway, "echo", v1::Mode::Waits).await;
        assert!(stream.send(rpc::audio(1, big.clone())).await);
        let error = stream.next().await;
        assert!(
            matches!(&error, Ok(Got::Error(e)) if e.code == "too_large"),
            "{error:?}"
        );

        let refused = rpc::stream_of_bytes(&gateway, vec![Bytes::from(big.clone())]).await;
        let status = refused.expect_err("before open");
        assert_eq!(status.code(), tonic::Code::OutOfRange, "{status:?}");
        let reason = status.get_details_error_info().map(|info| info.reason);
        assert_eq!(reason.as_deref(), Some("too_large"), "{status:?}");

        let json = [("content-type", "application/json")];
        let body = " ".repeat(200 << 10);
        let answer = gateway.request("POST", EXECUTE, &json, body).await;
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["code"], "too_large");
    };
    neighbour.during(trouble).await;
    sessions_become(&gateway, 1, Deadline::secs(10)).await;
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_taken() {
    // Above the 2 MiB that the HTTP library stops at by itself.
    let gateway = Gateway::start(&[]).await;
    let answer = gateway
        .post_json(
            EXECUTE,
            &json!({"inputs": {"mic": [frame("mic", 1, &vec![0; 2 << 20])["frame"]]}}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_full_gateway_refuses_with_advice_and_says_that_it_is_not_ready() {
    let gateway = Gateway::with(&[("LIMITS_SESSIONS", "2")]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let (second, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let trouble = async {
        let ready = gateway.get("/readyz").await;
        assert_eq!((ready.status, ready.text().as_str()), (503, "full\n"));
        assert_eq!(
            gateway.get("/healthz").await.status,
            200,
            "alive all the same"
        );

        let mut ws = Ws::connect(&gateway, "echo", JSON).await;
        ws.send(&json!({"open": {"pipeline": "echo"}})).await;
        let ending = ws.ending().await;
        assert_eq!(
            (ending.code(), ending.close),
            ("overloaded", 1013),
            "{ending:?}"
        );
        assert_eq!(ending.error["retryable"], true, "{ending:?}");
        assert!(ending.error["retry_after"].as_u64() > Some(0), "{ending:?}");

        let refused = Rpc::try_open(&gateway, rpc::open("echo", v1::Mode::Live)).await;
        let status = refused.err().expect("refused");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
        let advice = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        assert!(advice.is_some_and(|delay| !delay.is_zero()), "{status:?}");
        let reason = status.get_details_error_info().map(|info| info.reason);
        assert_eq!(reason.as_deref(), Some("overloaded"), "{status:?}");

        let (client, _socket) = webrtc::offer().await;
        let whip = webrtc::post(&gateway, "echo", client.sdp().to_owned()).await;
        let run = gateway
            .post_json(EXECUTE, &json!({"inputs": {"mic": []}}))
            .await;
        for answer in [whip, run] {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert_eq!(answer.json()["code"], "overloaded");
            let seconds: Option<u64> = answer.header("retry-after").parse().ok();
            assert!(seconds > Some(0), "{:?}", answer.headers);
        }
        let refused = gateway
            .metric("tidegate_sessions_refused_total", &["overloaded"])
            .await;
        assert_eq!(refused, Some(4.0));
    };
    neighbour.during(trouble).await;

    drop(second);
    sessions_become(&gateway, 1, Deadline::secs(10)).await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
    Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let gateway = Gateway::with(&[("LIMITS_CONNECTIONS", "3")]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let (one, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let (_two, _) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    let trouble = async {
        let waiting = gateway.get("/healthz");
        tokio::pin!(waiting);
        // The system accepts it, the gateway does not: nothing may be said to it yet.
        let early = Deadline::after(std::time::Duration::from_millis(300));
        assert!(early.wait(&mut waiting).await.is_none(), "over the limit");
        drop(one);
        assert_eq!(waiting.await.status, 200, "once there is a place");
    };
    neighbour.during(trouble).await;
}

#[tokio::test]
async fn a_client_that_never_says_open_is_told_so_and_left() {
    let gateway = Gateway::with(&[("LIMITS_OPEN", "1s")]).await;
    let mut ws = Ws::connect(&gateway, "echo", JSON).await;
    let ending = ws.ending().await;
    assert_eq!(
        (ending.code(), ending.close),
        ("bad_request", 4400),
        "{ending:?}"
    );
    let silent = TcpStream::connect(gateway.address)
        .await
        .expect("it listens");
    assert!(hostile::read_to_the_end(silent).await.is_empty());
}

#[tokio::test]
async fn a_silent_session_and_one_that_is_too_old_expire() {
    let gateway = Gateway::with(&[("LIMITS_IDLE", "1s")]).await;
    let (mut silent, opened) = Ws::open(&gateway, "echo", json!({"pipeline": "echo"})).await;
    assert_eq!(
        opened["limits"]["idle"], 1_000_000,
        "a client can know it: {opened}"
    );
    let soon = Deadline::secs(15);
    let ending = soon.wait(silent.ending()).await.expect("told at once");
    assert_eq!(
        (ending.code(), ending.close),
        ("session_expired", 4410),
        "{ending:?}"
    );

    let gateway = Gateway::with(&[("LIMITS_SESSION", "1s")]).await;
    let waits = json!({"pipeline": "echo", "mode": "waits"});
    let (mut busy, opened) = Ws::open(&gateway, "echo", waits).await;
    assert_eq!(
        opened["limits"]["session"], 1_000_000,
        "a client can know it: {opened}"
    );
    busy.send(&frame("mic", 1, &[0; 640])).await;
    let ending = busy.ending().await;
    assert_eq!(
        (ending.code(), ending.close),
        ("session_expired", 4410),
        "{ending:?}"
    );
    assert_eq!(
        ending.others.len(),
        1,
        "its frame came back before: {ending:?}"
    );
}
