//! Hops by HTTP calls, against services that behave and services that do not.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use tidegate_media::{
    Audio, AudioFormat, Dtype, Frame, Json, Kind, MediaTime, Payload, Tensor, Text, Video,
    VideoCodec, VideoFormat,
};
use tidegate_nodes::compile::remote::HopMode;
use tidegate_nodes::{Code, Error, HopCommand, HopEvent, Phase, StreamFormat};
use tidegate_proto::message::{Execute, Source};
use tidegate_proto::{PortName, ServerMessage, json};
use tidegate_remote::{HopPorts, RemoteConfig, Target, Transport};

use super::driver::{self, Driven};
use super::web::Web;

mod failures;

const NDJSON: &str = "application/x-ndjson";

fn config(endpoint: String, mode: HopMode) -> RemoteConfig {
    RemoteConfig {
        transport: Transport::Http,
        mode,
        ..driver::config(&[endpoint])
    }
}

/// What a service was asked, and by whom.
type Asked = (Execute, HeaderMap);

/// A service that sends all of its frames back on `out`, at the path of the pipeline `echo`.
fn echo() -> (Web, mpsc::Receiver<Asked>) {
    let (saw, seen) = mpsc::channel();
    let answer = |State(saw): State<Arc<Mutex<mpsc::Sender<Asked>>>>,
                  headers: HeaderMap,
                  body: String| async move {
        let execute = json::decode_execute(&body, Some("echo"), driver::NOW).expect("a body");
        let streamed = headers.get(header::ACCEPT).is_some_and(|v| v == NDJSON);
        let frames = execute.inputs.iter().flat_map(|(_, frames)| frames.clone());
        let frames: Vec<_> = frames
            .map(|mut frame| {
                frame.meta.caused_by = frame.meta.seq;
                frame
            })
            .collect();
        drop(saw.lock().expect("not poisoned").send((execute, headers)));
        let port = PortName::new("out").expect("a name");
        if !streamed {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            return (
                kind,
                Body::from(json::encode_outputs(&[(port, frames)], driver::NOW)),
            );
        }
        let lines = frames.into_iter().map(move |frame| {
            let message = ServerMessage::Frame {
                port: port.clone(),
                caused_port: None,
                frame,
            };
            Ok::<_, std::io::Error>(json::encode_server(&message, driver::NOW) + "\n")
        });
        let body = Body::from_stream(tokio_stream::iter(lines));
        ([(header::CONTENT_TYPE, NDJSON)], body)
    };
    let router = Router::new()
        .route("/v1/pipelines/echo/execute", post(answer))
        .with_state(Arc::new(Mutex::new(saw)));
    (Web::start(router), seen)
}

/// A service with this one answer.
fn service<F>(answer: fn(Request<Body>) -> F) -> Web
where
    F: Future<Output = axum::response::Response> + Send + 'static,
{
    Web::start(Router::new().fallback(answer))
}

fn says(status: u16, kind: &'static str, text: impl Into<Body>) -> axum::response::Response {
    let response = http::Response::builder().status(status);
    let response = response
        .header(header::CONTENT_TYPE, kind)
        .body(text.into());
    response.expect("a response")
}

async fn open(config: &RemoteConfig) -> Driven {
    Driven::new(driver::open(config).await.expect("it opens")).with_acks()
}

/// The one failure of a call.
async fn failure(web: &Web) -> Error {
    let mut hop = open(&config(web.endpoint(), HopMode::Unary)).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::from_static(b"hello"));
    hop.hop.send(driver::NOW, HopCommand::End { port: 0 });
    hop.failure().await
}

fn frame(seq: u64, payload: Payload) -> Frame {
    let mut frame = Frame::new(MediaTime::from_micros(20_000), payload);
    frame.meta.seq = seq;
    frame
}

#[tokio::test]
async fn a_unary_hop_makes_one_call_of_an_utterance() {
    let (web, seen) = echo();
    let mut hop = open(&config(web.endpoint(), HopMode::Unary)).await;
    hop.wait_for_credit().await;
    for seq in 1..=3 {
        let mut frame = frame(seq, Payload::Binary(Bytes::new()));
        (frame.meta.utterance, frame.meta.is_final) = (1, seq == 3);
        assert!(hop.is_quiet().await);
        hop.hop
            .send(driver::NOW, HopCommand::Frame { port: 0, frame });
    }
    for seq in 1..=3 {
        let frame = hop.frame().await;
        assert_eq!((frame.meta.caused_by, frame.meta.seq), (seq, seq));
    }
    assert_eq!(
        hop.event().await,
        HopEvent::Acknowledged { port: 0, seq: 3 }
    );
    hop.hop.send(driver::NOW, HopCommand::End { port: 0 });
    assert_eq!(hop.event().await, HopEvent::Ended { port: 0 });
    let (execute, headers) = seen.recv().expect("one call");
    assert_eq!(execute.source, Source::Pipeline("echo".into()));
    assert_eq!(execute.hop_count, 1);
    assert_eq!(execute.deadline, Some(Duration::from_secs(60)));
    assert_eq!(headers[header::AUTHORIZATION], "Bearer token");
    assert_eq!(headers[header::ACCEPT], "application/json");
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_streaming_hop_calls_for_each_frame_and_takes_lines_as_they_come() {
    let (web, seen) = echo();
    let mut hop = open(&config(web.endpoint(), HopMode::Stream)).await;
    for seq in 1..=300 {
        hop.wait_for_credit().await;
        hop.send(Bytes::from(vec![7; 1_000]));
        let frame = hop.frame().await;
        assert_eq!((frame.meta.caused_by, frame.meta.seq), (seq, seq));
        assert_eq!(hop.event().await, HopEvent::Acknowledged { port: 0, seq });
    }
    let (execute, headers) = seen.recv().expect("a call");
    assert_eq!(
        (execute.inputs[0].1.len(), &headers[header::ACCEPT]),
        (1, &header::HeaderValue::from_static(NDJSON))
    );
}

#[tokio::test]
async fn every_kind_of_frame_travels_both_ways() {
    let audio = AudioFormat::pcm_s16(16_000, 1);
    let video = VideoFormat {
        codec: VideoCodec::Vp8,
    };
    let tensor = Tensor::new(Dtype::F32, &[2, 1], Bytes::from(vec![1; 8])).expect("a tensor");
    let cases = [
        (
            StreamFormat::audio(audio),
            Payload::Audio(Audio::encoded(audio, Bytes::from(vec![1; 640]))),
        ),
        (
            StreamFormat::Video(video),
            Payload::Video(Video {
                format: video,
                key: true,
                data: Bytes::from_static(b"picture"),
            }),
        ),
        (StreamFormat::Text, Payload::Text(Text::from("grüezi"))),
        (
            StreamFormat::Binary,
            Payload::Binary(Bytes::from_static(&[0, 255])),
        ),
        (StreamFormat::Tensor, Payload::Tensor(tensor)),
        (
            StreamFormat::Json,
            Payload::Json(Json::parse(Bytes::from_static(br#"{"a":[1,null]}"#)).expect("JSON")),
        ),
    ];
    let (web, _seen) = echo();
    let kinds: Vec<Kind> = cases.iter().map(|(_, payload)| payload.kind()).collect();
    for mode in [HopMode::Unary, HopMode::Stream] {
        for (format, payload) in &cases {
            let ports = HopPorts {
                hop: "far".into(),
                inputs: vec![("in".into(), Some(*format))],
                outputs: vec![("out".into(), Some(*format))],
            };
            let config = config(web.endpoint(), mode);
            let connector = driver::connector();
            let hop = driver::open_with(&connector, &config, &ports, driver::context()).await;
            let mut hop = Driven::new(hop.expect("it opens")).with_acks();
            hop.wait_for_credit().await;
            let frame = frame(1, payload.clone());
            hop.hop
                .send(driver::NOW, HopCommand::Frame { port: 0, frame });
            hop.hop.send(driver::NOW, HopCommand::End { port: 0 });
            assert_eq!(hop.frame().await.payload, *payload);
        }
    }
    assert_eq!(kinds.len(), 6);
}

#[tokio::test]
async fn a_service_of_one_purpose_needs_no_names() {
    // It is asked at the endpoint's own path, and its only output is whatever it calls it.
    let web = service(|request| async move {
        assert_eq!(request.uri().path(), "/speak");
        says(
            200,
            "application/json",
            r#"{"outputs":{"speech":[{"text":{"text":"hi"}}]}}"#,
        )
    });
    let text = Some(StreamFormat::Text);
    let ports = HopPorts {
        hop: "tts".into(),
        inputs: vec![(String::new(), text)],
        outputs: vec![(String::new(), text)],
    };
    let config = RemoteConfig {
        target: Target::Endpoint,
        ..config(format!("{}/speak", web.endpoint()), HopMode::Stream)
    };
    let hop = driver::open_with(&driver::connector(), &config, &ports, driver::context()).await;
    let mut hop = Driven::new(hop.expect("it opens")).with_acks();
    hop.wait_for_credit().await;
    let mut frame = frame(1, Payload::Text(Text::from("hello")));
    (frame.meta.utterance, frame.meta.is_final) = (4, true);
    hop.hop
        .send(driver::NOW, HopCommand::Frame { port: 0, frame });
    let frame = hop.frame().await;
    assert_eq!(frame.payload, Payload::Text(Text::from("hi")));
    assert_eq!((frame.meta.caused_by, frame.meta.utterance), (1, 4));
}

#[tokio::test]
async fn a_success_without_output_is_a_consumed_input() {
    let web = service(|_| async { says(204, "", "") });
    let mut hop = open(&config(web.endpoint(), HopMode::Stream)).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    assert_eq!(
        hop.event().await,
        HopEvent::Acknowledged { port: 0, seq: 1 }
    );
}

#[tokio::test]
async fn an_interrupt_gives_the_call_up() {
    let web = service(|_| async { std::future::pending().await });
    let mut hop = open(&config(web.endpoint(), HopMode::Stream)).await;
    hop.wait_for_credit().await;
    hop.send(Bytes::new());
    assert!(hop.is_quiet().await);
    hop.hop.send(driver::NOW, HopCommand::Interrupt);
    assert_eq!(
        hop.event().await,
        HopEvent::Acknowledged { port: 0, seq: 1 }
    );
}
