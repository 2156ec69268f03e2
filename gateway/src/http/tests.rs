//! The routes without a socket: one request, one answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tidegate_nodes::Registry;
use tidegate_nodes::compile::{Grants, Pipeline};
use tidegate_nodes::{Accepts, StreamFormat};
use tidegate_proto::message::Source;
use tidegate_proto::v1;
use tidegate_proto::v1::gateway_server::Gateway as _;
use tower::ServiceExt as _;

use crate::auth::Caller;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::links::memory::{CHANNEL, MemoryLink};
use crate::links::outbox::outbox;
use crate::pipelines::Pipelines;
use crate::session::control::Inbox;
use crate::session::link::Transport;
use crate::session::open;
use crate::session::table::Slot;

const LOUDER: &str = "\
version: tidegate/v1
name: louder
parameters: {db: {type: number, default: 6}}
inputs: [{name: mic, kind: audio}]
outputs: [{name: speaker, kind: audio}]
nodes: [{id: gain, type: audio.gain, params: {gain_db: '${param:db}'}}]
edges: [mic -> gain, gain -> speaker]
";

const PASS: &str = "version: tidegate/v1\nname: pass\ninputs: [{name: in, kind: text}]\n\
                    outputs: [{name: out, kind: text}]\nedges: [in -> out]\n";

fn gateway(manifest: &str, config: Config) -> Arc<Gateway> {
    let registry = Registry::builtin();
    let pipeline = Pipeline::from_text("test", manifest, &registry, &Grants::default());
    let pipelines = Pipelines::only(pipeline.expect("compiles"), registry);
    Gateway::with(config, pipelines, false).expect("starts")
}

async fn ask(gateway: &Arc<Gateway>, request: Request<Body>) -> (StatusCode, String) {
    let answer = super::router(gateway).oneshot(request).await;
    let answer = answer.expect("the router answers");
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
    let body = body.expect("a body").to_vec();
    (status, String::from_utf8(body).expect("text"))
}

async fn post(
    gateway: &Arc<Gateway>,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (StatusCode, Value) {
    let mut request = Request::post(path).header("host", "127.0.0.1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (status, text) = ask(gateway, request.body(body.into()).expect("a request")).await;
    (status, serde_json::from_str(&text).unwrap_or(json!(text)))
}

async fn get(gateway: &Arc<Gateway>, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).header("host", "127.0.0.1");
    ask(gateway, request.body(Body::empty()).expect("a request")).await
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn execute_refuses_what_it_would_not_run() {
    let gateway = gateway(PASS, Config::default());
    let path = "/v1/pipelines/pass/execute";
    let frame = json!([{"text": {"text": "hello"}}]);
    let fine = json!({"inputs": {"in": frame}}).to_string();
    let (status, answer) = post(&gateway, path, &[JSON], fine).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        answer["outputs"]["out"][0]["text"]["text"], "hello",
        "{answer}"
    );

    let other = json!({"inputs": {"in": frame, "into": frame}}).to_string();
    let ndjson = ("accept", "application/x-ndjson");
    for headers in [&[JSON] as &[_], &[JSON, ndjson]] {
        let (status, answer) = post(&gateway, path, headers, other.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains("'into'") && detail.contains("[in]"),
            "{detail}"
        );
    }
    let misspelt = json!({"inputz": {"in": frame}}).to_string();
    let (status, answer) = post(&gateway, path, &[JSON], misspelt).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("inputz") && detail.contains("`inputs`"),
        "{detail}"
    );
}

const ROOM: &str = "version: tidegate/v1\nname: room\ninputs: [{name: a, kind: text}, {name: b, kind: text}]\n\
                    outputs: [{name: to-a, kind: text, for: a}, {name: to-b, kind: text, for: b}]\n\
                    edges: [a -> to-b, b -> to-a]\n";

#[tokio::test]
async fn execute_has_every_seat_for_itself() {
    let mut config = Config::default();
    config.limits.idle.0 = Duration::from_secs(5);
    let gateway = gateway(ROOM, config);
    let path = "/v1/pipelines/room/execute";
    let frame = json!([{"text": {"text": "hello"}}]);
    for (inputs, to_a, to_b) in [
        (json!({}), 0, 0),
        (json!({"b": frame}), 1, 0),
        (json!({"a": frame, "b": frame}), 1, 1),
    ] {
        let body = json!({"inputs": inputs}).to_string();
        let (status, answer) = post(&gateway, path, &[JSON], body).await;
        assert_eq!(status, StatusCode::OK, "{inputs}: {answer}");
        let frames = |port: &str| answer["outputs"][port].as_array().map(Vec::len);
        assert_eq!(frames("to-a"), Some(to_a), "{inputs}: {answer}");
        assert_eq!(frames("to-b"), Some(to_b), "{inputs}: {answer}");
    }
}

#[tokio::test]
async fn execute_by_grpc_refuses_frames_for_ports_that_there_are_not() {
    let service = crate::grpc::gateway::Service::new(gateway(PASS, Config::default()));
    let frame = v1::Frame {
        payload: Some(v1::frame::Payload::Text(v1::Text {
            text: "hello".to_owned(),
        })),
        ..v1::Frame::default()
    };
    let frames = v1::Frames {
        frames: vec![frame],
    };
    let ask = |port: &str| v1::ExecuteRequest {
        source: Some(v1::execute_request::Source::Pipeline("pass".to_owned())),
        inputs: [(port.to_owned(), frames.clone())].into(),
        ..v1::ExecuteRequest::default()
    };
    let unguarded = service.execute(tonic::Request::new(ask("in"))).await;
    let status = unguarded.expect_err("nobody has asked who this is");
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    let ask = |port: &str| {
        let mut request = tonic::Request::new(ask(port));
        request.extensions_mut().insert(Caller::anyone());
        request
    };
    let answer = service.execute(ask("in")).await;
    assert_eq!(answer.expect("it runs").into_inner().outputs.len(), 1);
    let answer = service.execute(ask("into")).await;
    let status = answer.expect_err("there is no such input");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("[in]"), "{status}");
}

#[tokio::test]
async fn a_pipeline_that_is_not_there_is_said_before_what_is_wrong_with_the_body() {
    let gateway = gateway(PASS, Config::default());
    let (status, answer) = post(&gateway, "/v1/pipelines/nope/execute", &[], "x").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    assert_eq!(answer["code"], "unknown_pipeline");
    let (_, answer) = post(&gateway, "/v1/pipelines/pass/execute", &[JSON], "{").await;
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("EOF") && !detail.contains('?'),
        "no field is named where there is none: {detail}"
    );
}

/// Ten milliseconds of a constant, 16-bit PCM, 16 kHz, one channel.
fn wav() -> Vec<u8> {
    let mut wav = b"RIFF\x64\x01\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend_from_slice(&16_000_u32.to_le_bytes());
    wav.extend_from_slice(&32_000_u32.to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data\x40\x01\0\0");
    wav.extend((0..160).flat_map(|_| 1_000_i16.to_le_bytes()));
    wav
}

#[tokio::test]
async fn a_recording_comes_back_as_one_where_that_is_asked_for() {
    let gateway = gateway(LOUDER, Config::default());
    let ask = async |accept: &str| {
        let request = Request::post("/v1/pipelines/louder/execute?parameters=%7B%22db%22%3A0%7D")
            .header("host", "127.0.0.1")
            .header("content-type", "audio/wav")
            .header("accept", accept);
        let request = request.body(Body::from(wav())).expect("a request");
        let answer = super::router(&gateway).oneshot(request).await;
        answer.expect("the router answers")
    };
    let answer = ask("audio/wav").await;
    assert_eq!(answer.headers()["content-type"], "audio/wav");
    let file = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
    let file = file.expect("a body");
    let sound = wav()[44..].to_vec();
    assert_eq!(&file[..4], b"RIFF");
    assert_eq!(&file[file.len() - sound.len()..], sound, "at 0 dB");
    assert_eq!(
        ask("*/*").await.headers()["content-type"],
        "application/json"
    );
}

#[tokio::test]
async fn sound_is_not_acceptable_from_a_pipeline_that_has_none() {
    let gateway = gateway(PASS, Config::default());
    let headers = [JSON, ("accept", "audio/wav")];
    let (status, answer) = post(&gateway, "/v1/pipelines/pass/execute", &headers, "{}").await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE, "{answer}");
}

#[tokio::test]
async fn a_media_file_takes_parameters_from_the_query_and_nothing_else() {
    let gateway = gateway(LOUDER, Config::default());
    let file = async |query: &str| {
        let path = format!("/v1/pipelines/louder/execute{query}");
        post(&gateway, &path, &[("content-type", "audio/wav")], wav()).await
    };
    // {"db": 0} and {"db": "loud"}
    let (status, same) = file("?parameters=%7B%22db%22%3A0%7D").await;
    assert_eq!(status, StatusCode::OK, "{same}");
    let (status, louder) = file("").await;
    assert_eq!(status, StatusCode::OK, "{louder}");
    let data = |answer: &Value| answer["outputs"]["speaker"][0]["audio"]["data"].clone();
    assert!(data(&same).is_string() && data(&same) != data(&louder));
    for query in [
        "?gain=loud",
        "?parameters=loud",
        "?parameters=%7B%22db%22%3A%22loud%22%7D",
    ] {
        let (status, answer) = file(query).await;
        assert!(status.is_client_error(), "{query}: {answer}");
        assert!(answer["detail"].is_string(), "{query}: {answer}");
    }
    let both = json!({"inputs": {}, "parameters": {"db": 1}}).to_string();
    let path = "/v1/pipelines/louder/execute?parameters=%7B%22db%22%3A0%7D";
    let (status, answer) = post(&gateway, path, &[JSON], both).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test]
async fn a_gateway_that_is_full_and_drains_says_that_it_drains() {
    let mut config = Config::default();
    config.limits.sessions = 0;
    let gateway = gateway(PASS, config);
    let unavailable = |text: &str| (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    assert_eq!(get(&gateway, "/readyz").await, unavailable("full\n"));
    let sdp = [("content-type", "application/sdp")];
    let pinged = async || {
        let (status, said) = post(&gateway, "/v1/whip/ping", &sdp, "v=0").await;
        (status, said["code"].clone())
    };
    let unavailable_to_who_pings = |code| (StatusCode::SERVICE_UNAVAILABLE, json!(code));
    assert_eq!(pinged().await, unavailable_to_who_pings("overloaded"));
    gateway.sessions.drain(Duration::from_secs(1));
    assert_eq!(get(&gateway, "/readyz").await, unavailable("draining\n"));
    assert_eq!(pinged().await, unavailable_to_who_pings("draining"));
}

#[tokio::test]
async fn a_shared_session_that_everybody_left_is_vacant() {
    let gateway = gateway(PASS, Config::default());
    let (events, mut receiver) = outbox(CHANNEL);
    // A source that never ends: the session does not either.
    let link = MemoryLink::new(
        Transport::Local,
        Box::new(std::vec::Vec::new().into_iter()),
        Box::new(|_| None::<StreamFormat>),
        Box::new(|port| Some(Accepts::Kind(port.kind))),
        events,
    );
    let request = open::Request {
        caller: Caller::anyone(),
        source: Source::Pipeline("pass".to_owned()),
        parameters: serde_json::Map::new(),
        key: Some("room".to_owned()),
        hop_count: 0,
        deadline: None,
        link: Box::new(link),
    };
    gateway.open(request).await.expect("opens");
    receiver.next().await.expect("opened");
    let state = async || {
        let (_, text) = get(&gateway, "/v1/sessions").await;
        let listed: Value = serde_json::from_str(&text).expect("JSON");
        listed["sessions"][0]["state"].clone()
    };
    assert_eq!(state().await, "running");
    drop(receiver);
    let mut last = Value::Null;
    for _ in 0..1_000 {
        last = state().await;
        if last == "vacant" {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the state is {last}");
}

#[tokio::test]
async fn whatever_hands_out_ice_servers_asks_for_the_token_and_probes_do_not() {
    let mut config = Config::default();
    config.auth.token = "s3cret".to_owned();
    let gateway = gateway(LOUDER, config);
    let options = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::options(path).header("host", "127.0.0.1:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = super::router(&gateway).oneshot(request).await;
        answer.expect("the router answers")
    };
    let whip = "/v1/pipelines/louder/whip";
    assert_eq!(options(whip, &[]).await.status(), StatusCode::UNAUTHORIZED);
    let preflight = [
        ("origin", "http://127.0.0.1:8080"),
        ("access-control-request-method", "POST"),
    ];
    let answer = options(whip, &preflight).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(!answer.headers().contains_key("link"));
    let probe = Request::post("/grpc.health.v1.Health/Check").header("host", "127.0.0.1");
    let probe = probe.header("content-type", "application/grpc");
    // An empty request, which names the whole server.
    let probe = probe.body(Body::from(&[0_u8; 5][..])).expect("a request");
    let answer = super::router(&gateway).oneshot(probe).await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
    let (status, _) = get(&gateway, "/metrics").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = post(&gateway, "/v1/whip/ping", &[], "v=0").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_host_or_origin_that_cannot_be_read_is_refused() {
    let gateway = gateway(PASS, Config::default());
    let two = Request::get("/healthz")
        .header("host", "127.0.0.1")
        .header("host", "evil");
    let (status, _) = ask(&gateway, two.body(Body::empty()).expect("a request")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for name in ["host", "origin"] {
        let value = http::HeaderValue::from_bytes(b"ev\xeel.example").expect("opaque");
        let mut request = Request::get("/healthz");
        if name == "origin" {
            request = request.header("host", "127.0.0.1");
        }
        let request = request.header(name, value).body(Body::empty());
        let (status, text) = ask(&gateway, request.expect("a request")).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
        assert!(text.contains(name), "{text}");
    }
}

/// A session that is being opened: it has its slot, and no driver yet.
fn opening(gateway: &Arc<Gateway>) -> (Slot, Inbox) {
    let slot = gateway.sessions.admit().expect("room");
    let now = gateway.clock.now();
    let Ok((_, inbox)) = gateway
        .sessions
        .insert(&slot, now, ("pass", &"".into()), None)
    else {
        panic!("it is not shared");
    };
    (slot, inbox)
}

#[tokio::test(start_paused = true)]
async fn sessions_that_cannot_answer_are_listed_without_being_waited_for_in_turn() {
    let gateway = gateway(PASS, Config::default());
    let silent: Vec<_> = (0..4).map(|_| opening(&gateway)).collect();
    // Two of them have a driver, which does not come to answer.
    for (_, inbox) in &silent[..2] {
        inbox.begin();
    }
    let began = tokio::time::Instant::now();
    let (_, text) = get(&gateway, "/v1/sessions").await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "one bound for all"
    );
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    let states = |state: &str| {
        let rows = listed["sessions"].as_array().expect("a list");
        rows.iter().filter(|row| row["state"] == state).count()
    };
    assert_eq!((states("busy"), states("opening")), (2, 2), "{text}");

    let began = tokio::time::Instant::now();
    let id = silent[3].0.id();
    let (status, text) = get(&gateway, &format!("/v1/sessions/{id}")).await;
    assert!(began.elapsed().is_zero());
    let seen: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (status, &seen["state"]),
        (StatusCode::OK, &json!("opening"))
    );
}

#[tokio::test]
async fn a_listing_that_is_cut_off_says_so_and_keeps_the_oldest() {
    let mut config = Config::default();
    config.limits.sessions = 1_002;
    let gateway = gateway(PASS, config);
    let all: Vec<_> = (0..1_002).map(|_| opening(&gateway)).collect();
    let (_, text) = get(&gateway, "/v1/sessions").await;
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    let rows = listed["sessions"].as_array().expect("a list");
    assert_eq!((rows.len(), &listed["more"]), (1_000, &json!(2)));
    assert_eq!(rows[0]["id"], all[0].0.id());
    assert!(rows.iter().all(|row| row["id"] != all[1_001].0.id()));
}
