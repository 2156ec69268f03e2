//! Hops by WebSocket, against workers that behave and workers that do not.

use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use bytes::Bytes;
use http::{StatusCode, header};
use tidegate_media::Payload;
use tidegate_nodes::{Code, Error, HopCommand, HopEvent};
use tidegate_proto::ClientMessage;
use tidegate_proto::message::{Mode, Source};
use tidegate_remote::{AuthValue, Connector, ConnectorConfig, RemoteConfig, Secret, Transport};

use super::driver::{self, Driven};
use super::web::Web;
use super::worker::{Manner, SERVICE, Seen};

fn config(endpoint: String) -> RemoteConfig {
    RemoteConfig {
        transport: Transport::Websocket,
        ..driver::config(&[endpoint])
    }
}

async fn open_at(web: &Web) -> Driven {
    let opened = driver::open(&config(web.endpoint())).await;
    Driven::new(opened.expect("it opens"))
}

async fn refusal(config: &RemoteConfig) -> Error {
    driver::open(config).await.expect_err("it is refused")
}

/// A worker whose socket is handled so.
fn socket<F>(handle: fn(WebSocket) -> F) -> Web
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = move |upgrade: WebSocketUpgrade| async move {
        upgrade.protocols(["tidegate.v1.proto"]).on_upgrade(handle)
    };
    Web::start(Router::new().route("/v1/pipelines/echo/ws", get(upgrade)))
}

#[tokio::test]
async fn frames_go_there_and_back_with_what_belongs_to_them() {
    let (web, seen) = Web::worker(Manner::Echo);
    let mut hop = open_at(&web).await;
    for round in 1..=200_u64 {
        hop.wait_for_credit().await;
        let data = Bytes::from(vec![7; 1 << (round % 18)]);
        hop.send(data.clone());
        let frame = hop.frame().await;
        assert_eq!(frame.payload, Payload::Binary(data));
        assert_eq!(
            (frame.meta.caused_by, frame.meta.service),
            (round, Some(SERVICE))
        );
    }
    hop.hop.send(driver::NOW, HopCommand::End { port: 0 });
    assert_eq!(hop.event().await, HopEvent::Ended { port: 0 });
    assert!(hop.is_quiet().await);
    assert!(
        !seen
            .try_iter()
            .any(|seen| matches!(seen, Seen::Overstepped))
    );
}

#[tokio::test]
async fn the_worker_is_told_what_runs_and_who_asks() {
    let (web, seen) = Web::worker(Manner::Echo);
    let _hop = open_at(&web).await;
    let Ok(Seen::Open {
        open,
        authorization,
    }) = seen.recv()
    else {
        panic!("no open");
    };
    assert_eq!(open.source, Source::Pipeline("echo".into()));
    assert_eq!((open.hop_count, open.mode), (1, Mode::Waits));
    let left = open.deadline.expect("passed on");
    assert!((59..=60).contains(&left.as_secs()), "{left:?}");
    assert_eq!(authorization.as_deref(), Some("Bearer token"));
}

#[tokio::test]
async fn many_small_frames_in_a_burst_keep_their_order() {
    let (web, _seen) = Web::worker(Manner::Echo);
    let mut hop = open_at(&web).await;
    let (mut received, total) = (0_u64, 2_000);
    while received < total {
        if received == hop.sent {
            hop.wait_for_credit().await;
        }
        while hop.credit > 0 && hop.sent < total {
            hop.send(Bytes::from(hop.sent.to_be_bytes().to_vec()));
        }
        let expected = Bytes::from(received.to_be_bytes().to_vec());
        assert_eq!(hop.frame().await.payload, Payload::Binary(expected));
        received += 1;
    }
}

#[tokio::test]
async fn an_interrupt_reaches_the_worker() {
    let (web, seen) = Web::worker(Manner::Echo);
    let mut hop = open_at(&web).await;
    hop.wait_for_credit().await;
    hop.hop.send(driver::NOW, HopCommand::Interrupt);
    hop.send(Bytes::new());
    hop.frame().await;
    assert!(
        seen.try_iter()
            .any(|seen| matches!(seen, Seen::Message(ClientMessage::Interrupt)))
    );
}

#[tokio::test]
async fn a_worker_that_dies_or_leaves_is_one_network_error() {
    let (mut web, _seen) = Web::worker(Manner::Echo);
    let mut hop = open_at(&web).await;
    web.kill();
    let error = hop.failure().await;
    assert_eq!(
        (error.code, error.retryable),
        (Code::Network, true),
        "{error}"
    );
    assert!(hop.is_quiet().await);

    let (web, _seen) = Web::worker(Manner::Leaves);
    let error = open_at(&web).await.failure().await;
    assert_eq!(error.code, Code::Network);
    assert_eq!(
        error.message,
        "worker closed the stream before the session had ended"
    );

    let web = socket(|mut socket| async move {
        let _open = socket.recv().await;
        let frame = CloseFrame {
            code: 1011,
            reason: "out of memory".into(),
        };
        drop(socket.send(Message::Close(Some(frame))).await);
    });
    let error = refusal(&config(web.endpoint())).await;
    assert_eq!(
        error.message,
        "worker closed the stream with code 1011: out of memory"
    );
}

#[tokio::test]
async fn a_worker_that_answers_garbage_is_invalid_remote_data() {
    async fn says(mut socket: WebSocket, message: Message) {
        let _open = socket.recv().await;
        drop(socket.send(message).await);
        let _close = socket.recv().await;
    }
    let cases = [
        (socket(|s| says(s, "{}".into())), "a text message"),
        (
            socket(|s| says(s, Message::Binary(Bytes::from_static(b"\xff\xff")))),
            "not protobuf",
        ),
        (
            socket(|s| says(s, Message::Binary(vec![0; 17 << 20].into()))),
            "too large",
        ),
    ];
    for (web, expected) in cases {
        let error = refusal(&config(web.endpoint())).await;
        assert_eq!(error.code, Code::InvalidRemoteData, "{error}");
        assert!(error.message.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_refused_upgrade_says_what_the_worker_said() {
    let problem = (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::CONTENT_TYPE, "application/problem+json")],
        r#"{"code":"overloaded","detail":"full","fault":"gateway","retryable":true}"#,
    );
    let refuse = move || async move { problem };
    let web = Web::start(Router::new().route("/v1/pipelines/echo/ws", get(refuse)));
    let error = refusal(&config(web.endpoint())).await;
    assert_eq!((error.code, error.retryable), (Code::Overloaded, true));
    assert_eq!(error.message, "worker says: full");

    let plain = |upgrade: WebSocketUpgrade| async move { upgrade.on_upgrade(|_| async {}) };
    let web = Web::start(Router::new().route("/v1/pipelines/echo/ws", get(plain)));
    let error = refusal(&config(web.endpoint())).await;
    assert_eq!(error.code, Code::Incompatible);
    assert!(
        error.message.contains("does not speak tidegate.v1.proto"),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_there_and_nobody_who_speaks_http_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut asked = [0; 64];
        let _read = stream.read(&mut asked);
        drop(stream.write_all(b"220 mail.example ESMTP\r\n\r\n"));
    });
    let error = refusal(&config(format!("http://{address}"))).await;
    assert_eq!(error.code, Code::InvalidRemoteData, "{error}");
    answering.join().expect("it answered");
    // The listener is gone with its thread.
    let error = refusal(&config(format!("http://{address}"))).await;
    assert_eq!((error.code, error.retryable), (Code::Network, true));
    assert!(
        error
            .message
            .contains(&format!("nothing listens at {address}")),
        "{error}"
    );
}

#[tokio::test]
async fn a_worker_that_is_cut_off_is_found_out_by_its_silence() {
    // It upgrades, opens, and never again looks at its socket: no answer to a ping comes.
    let web = socket(|mut socket| async move {
        let _open = socket.recv().await;
        let opened = tidegate_proto::message::Opened::default();
        let opened = tidegate_proto::ServerMessage::Opened(Box::new(opened));
        let bytes = tidegate_proto::protobuf::encode_server_bytes(opened, driver::NOW);
        drop(socket.send(Message::Binary(bytes)).await);
        std::future::pending().await
    });
    let connector = Connector::new(ConnectorConfig {
        keepalive_interval: Duration::from_millis(50),
        keepalive_timeout: Duration::from_millis(100),
        ..ConnectorConfig::default()
    });
    let ports = tidegate_remote::HopPorts::default();
    let config = config(web.endpoint());
    let hop = driver::open_with(&connector, &config, &ports, driver::context()).await;
    let mut hop = Driven::new(hop.expect("it opens"));
    let error = hop.failure().await;
    assert_eq!(error.code, Code::Network);
    assert_eq!(error.message, "worker gave no sign of life for 100ms");
}

#[tokio::test]
async fn a_header_of_any_name_can_carry_the_key() {
    let check = |headers: http::HeaderMap| async move {
        let fine = headers.get("x-api-key").is_some_and(|key| key == "k3y");
        if fine {
            StatusCode::IM_A_TEAPOT
        } else {
            StatusCode::UNAUTHORIZED
        }
    };
    let web = Web::start(Router::new().route("/v1/pipelines/echo/ws", get(check)));
    let mut config = config(web.endpoint());
    assert_eq!(refusal(&config).await.code, Code::Unauthenticated);
    let key = AuthValue::Inline(Secret::new("k3y".into()));
    config.auth.header = Some(("X-Api-Key".into(), key));
    let error = refusal(&config).await;
    assert!(error.message.contains("418"), "{error}");
}
