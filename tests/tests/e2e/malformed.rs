//! What breaks the rules gets one clear error, and costs nobody else anything.
//!
//! Every test has a neighbour: a session that echoes on while the trouble happens.

use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_tests::{Deadline, Gateway};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite::Message;
use tonic_types::StatusExt as _;

use crate::clients::hostile::{self, ws_frame};
use crate::clients::neighbour::Neighbour;
use crate::clients::process::sessions_become;
use crate::clients::ws::{JSON, PROTO, Ws};
use crate::clients::{frame, rpc, webrtc};

/// After the trouble the neighbour's session is the only one.
async fn alone(gateway: &Gateway) {
    sessions_become(gateway, 1, Deadline::secs(10)).await;
}

#[tokio::test]
async fn a_first_websocket_message_that_is_no_open_is_answered_by_its_error() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let cases = [
        (JSON, Message::text("not json"), "bad_request", 4400),
        (JSON, Message::text(""), "bad_request", 4400),
        (JSON, Message::text("[]"), "bad_request", 4400),
        (JSON, Message::text("{}"), "bad_request", 4400),
        (JSON, Message::text(r#"{"hello":{}}"#), "bad_request", 4400),
        (JSON, Message::text(r#"{"open":7}"#), "bad_request", 4400),
        (JSON, Message::text(r#"{"end":{}}"#), "bad_request", 4400),
        (
            JSON,
            Message::text(r#"{"open":{"pipeline":"other"}}"#),
            "bad_request",
            4400,
        ),
        (
            JSON,
            Message::text(r#"{"open":{"pipeline":"echo","mode":"x"}}"#),
            "bad_request",
            4400,
        ),
        (
            JSON,
            Message::text(r#"{"open":{"pipeline":"echo","as":["x"]}}"#),
            "bad_request",
            4400,
        ),
        (
            JSON,
            Message::text("[".repeat(100_000)),
            "bad_request",
            4400,
        ),
        (JSON, Message::binary(vec![1, 2, 3]), "bad_request", 4400),
        (PROTO, Message::text("{}"), "bad_request", 4400),
        (PROTO, Message::binary(vec![0xff; 64]), "bad_request", 4400),
        (PROTO, Message::binary(vec![]), "bad_request", 4400),
    ];
    let trouble = async {
        for (protocol, message, code, close) in cases {
            let shown: String = format!("{message:?}").chars().take(80).collect();
            let mut ws = Ws::connect(&gateway, "echo", protocol).await;
            ws.send_raw(message).await.expect("the gateway listens");
            if protocol == PROTO {
                assert!(ws.next().await.is_ok_and(|m| m.is_binary()), "{shown}");
                assert_eq!(ws.next().await.err(), Some(close), "{shown}");
                continue;
            }
            let ending = ws.ending().await;
            assert_eq!(
                (ending.code(), ending.close),
                (code, close),
                "{shown}: {ending:?}"
            );
            let text = ending.error["message"].as_str().unwrap_or_default();
            assert!(text.len() > 10, "{shown} says what to mend: {ending:?}");
        }
    };
    neighbour.during(trouble).await;
    alone(&gateway).await;
}

#[tokio::test]
async fn a_websocket_message_that_breaks_a_rule_ends_its_own_session_alone() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let good = frame("mic", 1, &[0; 640]);
    let mut opus = good.clone();
    opus["frame"]["audio"]["format"]["sample_rate"] = 8000.into();
    let mut half = good.clone();
    half["frame"]["audio"]["data"] = "AAAA".into();
    let mut not_base64 = good.clone();
    not_base64["frame"]["audio"]["data"] = "!".into();
    let mut negative = good.clone();
    negative["frame"]["seq"] = (-1).into();
    let mut two = good.clone();
    two["end"] = json!({});
    let open = json!({"open": {"pipeline": "echo"}});
    let cases: Vec<(Vec<Value>, &str)> = vec![
        (vec![open], "bad_request"),
        (vec![frame("mic", 2, &[0; 640])], "bad_request"),
        (vec![good.clone(), good.clone()], "bad_request"),
        (vec![frame("nowhere", 1, &[0; 640])], "bad_request"),
        (vec![json!({"end": {"port": "speaker"}})], "bad_request"),
        (
            vec![json!({"credit": {"port": "mic", "frames": 1}})],
            "bad_request",
        ),
        (vec![opus], "unsupported_media"),
        (vec![half], "bad_request"),
        (vec![not_base64], "bad_request"),
        (vec![negative], "bad_request"),
        (vec![two], "bad_request"),
        (
            vec![json!({"frame": {"port": "mic", "seq": 1}})],
            "bad_request",
        ),
        (vec![json!("frame")], "bad_request"),
    ];
    let trouble = async {
        for (messages, code) in cases {
            let wanted = json!({"pipeline": "echo", "mode": "waits"});
            let (mut ws, _) = Ws::open(&gateway, "echo", wanted).await;
            for message in &messages {
                ws.send(message).await;
            }
            let ending = ws.ending().await;
            assert_eq!(ending.code(), code, "{messages:?}: {ending:?}");
            assert!(ending.close >= 4400, "{messages:?}: {ending:?}");
            assert_eq!(ending.error["fault"], "client", "{messages:?}: {ending:?}");
        }
    };
    neighbour.during(trouble).await;
    alone(&gateway).await;
}

#[tokio::test]
async fn websocket_frames_that_break_rfc_6455_end_their_connection() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let open = ws_frame(0x81, br#"{"open":{"pipeline":"echo"}}"#);
    let cases: [(&str, Vec<u8>); 8] = [
        ("reserved bits", ws_frame(0xf1, b"{}")),
        ("an unknown opcode", ws_frame(0x83, b"{}")),
        ("no mask", vec![0x81, 0x02, b'{', b'}']),
        ("text that is not UTF-8", ws_frame(0x81, &[0xff, 0xfe])),
        ("a fragmented ping", ws_frame(0x09, b"x")),
        ("a continuation of nothing", ws_frame(0x80, b"x")),
        (
            "a length of 2^63",
            vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
        ),
        ("a close of one byte", ws_frame(0x88, b"x")),
    ];
    let trouble = async {
        for (what, bytes) in cases {
            for before in [&[][..], &open] {
                let all = [&hostile::upgrade(gateway.address), before, &bytes].concat();
                let said = hostile::send_and_read_to_the_end(gateway.address, &all).await;
                assert!(said.starts_with(b"HTTP/1.1 101"), "{what}");
            }
        }
    };
    neighbour.during(trouble).await;
    alone(&gateway).await;
}

#[tokio::test]
async fn bytes_that_are_no_protobuf_get_a_status_with_error_info() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let trouble = async {
        for message in [
            &[0xff_u8; 32][..],
            &[],
            &[0x0a, 0x05, 1],
            &[0x12, 0x00],
            &[0x22, 0x00],
        ] {
            let message = Bytes::copy_from_slice(message);
            let answer = rpc::stream_of_bytes(&gateway, vec![message.clone()]).await;
            let status = answer.expect_err("a refusal");
            assert_eq!(
                status.code(),
                tonic::Code::InvalidArgument,
                "{message:?}: {status:?}"
            );
            let info = status.get_details_error_info();
            let reason = info.map(|info| info.reason);
            assert_eq!(
                reason.as_deref(),
                Some("bad_request"),
                "{message:?}: {status:?}"
            );
        }
        let nothing = rpc::stream_of_bytes(&gateway, vec![]).await;
        let status = nothing.expect_err("a stream without open");
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    };
    neighbour.during(trouble).await;
    alone(&gateway).await;
}

#[tokio::test]
async fn a_broken_protobuf_message_in_mid_stream_is_an_error_message_and_the_end() {
    use tidegate_proto::v1::server_message::Message as Got;
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let trouble = async {
        let waits = tidegate_proto::v1::Mode::Waits;
        let mut stream = rpc::Rpc::open(&gateway, "echo", waits).await;
        assert!(stream.send(rpc::audio(7, vec![0; 640])).await);
        let error = stream.next().await;
        let Ok(Got::Error(error)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.code, "bad_request", "{error:?}");
        let ended = stream.next().await;
        assert!(
            matches!(&ended, Ok(Got::Ended(end)) if end.reason == "bad_request"),
            "{ended:?}"
        );
        let over = stream.next().await;
        assert!(
            matches!(&over, Err(Some(status)) if status.code() == tonic::Code::InvalidArgument),
            "the call ends with the error's status: {over:?}"
        );
    };
    neighbour.during(trouble).await;
    alone(&gateway).await;
}

const EXECUTE: &str = "/v1/pipelines/echo/execute";
const WHIP: &str = "/v1/pipelines/echo/whip";
const JSON_TYPE: &str = "application/json";
const SDP_TYPE: &str = "application/sdp";

/// A request: method, path, content type, body.
type Asked = (&'static str, &'static str, &'static str, &'static [u8]);

/// What breaks a rule of HTTP or of a path, with the status and the code that it gets.
const BAD_REQUESTS: &[(Asked, u16, &str)] = &[
    (("POST", EXECUTE, JSON_TYPE, b"{"), 400, "bad_request"),
    (
        ("POST", EXECUTE, JSON_TYPE, b"\xff\xfe"),
        400,
        "bad_request",
    ),
    (("POST", EXECUTE, JSON_TYPE, b"[]"), 400, "bad_request"),
    (
        ("POST", EXECUTE, JSON_TYPE, br#"{"inputs":{"x":7}}"#),
        400,
        "bad_request",
    ),
    (
        ("POST", EXECUTE, "image/png", b""),
        415,
        "unsupported_media",
    ),
    (
        ("POST", "/v1/pipelines/none/execute", JSON_TYPE, b"{}"),
        404,
        "unknown_pipeline",
    ),
    (
        ("GET", "/v1/pipelines/%ff", JSON_TYPE, b""),
        400,
        "bad_request",
    ),
    (
        ("GET", "/v1/pipelines/echo/ws", JSON_TYPE, b""),
        426,
        "bad_request",
    ),
    (("GET", "/nowhere", JSON_TYPE, b""), 404, "bad_request"),
    (("PUT", "/v1/pipelines", JSON_TYPE, b""), 405, "bad_request"),
    (("POST", WHIP, JSON_TYPE, b"v=0"), 415, "unsupported_media"),
    (
        ("POST", "/v1/pipelines/none/whip", SDP_TYPE, b"v=0"),
        404,
        "unknown_pipeline",
    ),
    (
        (
            "POST",
            "/v1/pipelines/echo/whip?session=%00",
            SDP_TYPE,
            b"v=0",
        ),
        400,
        "bad_request",
    ),
    (
        ("PATCH", "/v1/pipelines/echo/whip/none", SDP_TYPE, b""),
        404,
        "unknown_session",
    ),
    (
        ("DELETE", "/v1/pipelines/echo/whip/none", SDP_TYPE, b""),
        404,
        "unknown_session",
    ),
];

#[tokio::test]
async fn http_that_breaks_the_rules_gets_problem_details() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let trouble = async {
        for ((method, path, kind, body), status, code) in BAD_REQUESTS {
            let headers = [("content-type", *kind)];
            let answer = gateway.request(method, path, &headers, *body).await;
            let shown = format!("{method} {path} {body:?}: {}", answer.text());
            assert_eq!(answer.status, *status, "{shown}");
            let kind = answer.header("content-type");
            assert_eq!(kind, "application/problem+json", "{shown}");
            assert_eq!(answer.json()["code"], *code, "{shown}");
        }
    };
    neighbour.during(trouble).await;
    alone(&gateway).await;
}

#[tokio::test]
async fn offers_that_are_no_sdp_are_refused_and_leave_nothing() {
    let gateway = Gateway::start(&[]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let (client, _socket) = webrtc::offer().await;
    let good = client.sdp().to_owned();
    let without = |start: &str| {
        let lines = good.lines().filter(|line| !line.starts_with(start));
        lines.map(|line| format!("{line}\r\n")).collect::<String>()
    };
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("nothing", Vec::new(), 400),
        ("not UTF-8", vec![0xff; 100], 400),
        ("prose", b"give me audio".to_vec(), 400),
        ("JSON", br#"{"type":"offer","sdp":"v=0"}"#.to_vec(), 400),
        (
            "half of it",
            good.as_bytes()[..good.len() / 3].to_vec(),
            400,
        ),
        ("no ufrag", without("a=ice-ufrag").into_bytes(), 400),
        ("no password", without("a=ice-pwd").into_bytes(), 400),
        ("no fingerprint", without("a=fingerprint").into_bytes(), 400),
        ("no media", without("m=").into_bytes(), 400),
        (
            "only a codec that nobody has",
            good.replace("opus/48000", "xyz/48000").into_bytes(),
            406,
        ),
        ("zeros", vec![0; 1000], 400),
        ("too much", good.repeat(1000).into_bytes(), 413),
    ];
    let trouble = async {
        for (what, offer, status) in cases {
            let answer = webrtc::post(&gateway, "echo", offer).await;
            let kind = answer.header("content-type").to_owned();
            if what == "only a codec that nobody has" && answer.status == 201 {
                // Its data channel can be served, so the answer refuses the audio alone.
                let refused = answer
                    .text()
                    .lines()
                    .any(|line| line.starts_with("m=audio 0 "));
                assert!(refused, "{}", answer.text());
                let end = gateway
                    .request("DELETE", answer.header("location"), &[], "")
                    .await;
                assert_eq!(end.status, 200, "{}", end.text());
                continue;
            }
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            assert_eq!(
                kind,
                "application/problem+json",
                "{what}: {}",
                answer.text()
            );
        }
    };
    neighbour.during(trouble).await;
    alone(&gateway).await;
}

#[tokio::test]
async fn a_strangers_manifest_is_refused_with_all_that_is_wrong_with_it() {
    let gateway = Gateway::with(&[("INLINE", "true")]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let head = "version: tidegate/v1\nname: x\ninputs: [{name: a, kind: audio}]\noutputs: [{name: b, kind: audio}]\n";
    let cases = [
        ("empty", String::new()),
        ("no YAML", "{{{{".to_owned()),
        ("a list", "[1, 2]".to_owned()),
        (
            "an unknown key",
            format!("{head}edges: [a -> b]\ncolour: red\n"),
        ),
        ("an edge to nowhere", format!("{head}edges: [a -> c]\n")),
        (
            "an unknown node",
            format!("{head}nodes: [{{id: n, type: no.such}}]\nedges: [a -> n, n -> b]\n"),
        ),
        (
            "a circle",
            format!(
                "{head}nodes: [{{id: n, type: identity}}, {{id: m, type: identity}}]\nedges: [a -> b, n -> m, m -> n]\n"
            ),
        ),
        (
            "a variable of the operator's",
            format!(
                "{head}nodes: [{{id: n, type: audio.gain, params: {{db: \"${{env:HOME}}\"}}}}]\nedges: [a -> n, n -> b]\n"
            ),
        ),
        (
            "a worker that is not allowed",
            format!(
                "{head}nodes: [{{id: n, type: remote, params: {{transport: grpc, endpoints: [http://127.0.0.1:1], pipeline: echo}}}}]\nedges: [a -> n, n -> b]\n"
            ),
        ),
        (
            "a bomb",
            format!(
                "a: &a [x,x,x,x,x,x,x,x,x]\n{}",
                (0..9)
                    .map(|i| {
                        let (this, last) = (char::from(b'b' + i), char::from(b'a' + i));
                        format!(
                            "{this}: &{this} [{}]\n",
                            vec![format!("*{last}"); 9].join(",")
                        )
                    })
                    .collect::<String>()
            ),
        ),
        ("depth", format!("a: {}", "[".repeat(10_000))),
    ];
    let trouble = async {
        for (what, manifest) in cases {
            let mut ws = Ws::connect(&gateway, "", JSON).await;
            ws.send(&json!({"open": {"manifest": manifest}})).await;
            let ending = ws.ending().await;
            let refused = matches!(ending.code(), "manifest_invalid" | "manifest_cycle");
            assert!(refused, "{what}: {ending:?}");
            assert_eq!(ending.close, 4422, "{what}: {ending:?}");
            let text = ending.error["message"].as_str().unwrap_or_default();
            assert!(text.len() > 20 && text.len() < 10_000, "{what}: {text}");
        }
    };
    neighbour.during(trouble).await;
    alone(&gateway).await;
}

#[tokio::test]
async fn a_manifest_where_none_is_allowed_is_not_even_read() {
    let gateway = Gateway::start(&[]).await;
    let mut ws = Ws::connect(&gateway, "", JSON).await;
    ws.send(&json!({"open": {"manifest": "{{{{"}})).await;
    let ending = ws.ending().await;
    assert_eq!(
        (ending.code(), ending.close),
        ("permission_denied", 4403),
        "{ending:?}"
    );
}

#[tokio::test]
async fn bytes_that_are_no_http_and_datagrams_of_strangers_cost_nothing() {
    let gateway = Gateway::with(&[("LIMITS_OPEN", "1s")]).await;
    let mut neighbour = Neighbour::of(&gateway).await;
    let huge = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let cases: [(&str, Vec<u8>); 5] = [
        ("prose", b"hello there\r\n\r\n".to_vec()),
        (
            "TLS where there is none",
            vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        ),
        (
            "a head without an end",
            b"GET / HTTP/1.1\r\nhost: x\r\n".to_vec(),
        ),
        ("a huge head", huge.into_bytes()),
        ("HTTP/2 with rubbish", [preface, vec![0xff; 100]].concat()),
    ];
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let trouble = async {
        for (what, bytes) in cases {
            let said = hostile::send_and_read_to_the_end(gateway.address, &bytes).await;
            assert!(!said.starts_with(b"HTTP/1.1 2"), "{what}");
        }
        for length in (0..1200_usize).step_by(40) {
            let first = u8::try_from(length % 256).expect("a byte");
            let mut datagram = vec![0xa5; length];
            datagram.iter_mut().take(1).for_each(|byte| *byte = first);
            socket
                .send_to(&datagram, gateway.media)
                .await
                .expect("sent");
        }
        let mut silent = TcpStream::connect(gateway.address)
            .await
            .expect("it listens");
        silent.write_all(b"G").await.expect("one byte");
        hostile::read_to_the_end(silent).await;
    };
    neighbour.during(trouble).await;
    let strangers = gateway
        .metric("tidegate_udp_dropped_datagrams_total", &["unknown_peer"])
        .await;
    assert!(
        strangers.is_some_and(|count| count >= 25.0),
        "{strangers:?}"
    );
    alone(&gateway).await;
}
