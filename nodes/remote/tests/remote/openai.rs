//! Hops at servers with OpenAI's interfaces.

use std::sync::{Arc, Mutex, mpsc};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};
use tidegate_media::{Audio, AudioFormat, Frame, MediaTime, Payload, Text};
use tidegate_nodes::compile::remote::Protocol;
use tidegate_nodes::{Code, HopCommand, HopEvent, StreamFormat};
use tidegate_remote::{Foreign, HopPorts, Memory, RemoteConfig, Target, Transport};

use super::driver::{self, Driven};
use super::web::Web;

/// What a server was asked: headers and body.
type Asked = (HeaderMap, Bytes);

/// A server that answers each request at a path with the next of these: a content type, and the answer's parts. With `endless`, the
/// first of them never ends.
fn server(
    path: &'static str,
    answers: Vec<(&'static str, Vec<Vec<u8>>)>,
    endless: bool,
) -> (Web, mpsc::Receiver<Asked>) {
    let (saw, seen) = mpsc::channel();
    let count = answers.len();
    let state = Arc::new(Mutex::new((saw, answers.into_iter())));
    let answer = move |headers: HeaderMap, body: Bytes| async move {
        let mut state = state.lock().expect("not poisoned");
        state.0.send((headers, body)).expect("the test listens");
        let (kind, parts) = state.1.next().expect("an answer");
        let endless = endless && state.1.len() + 1 == count;
        let parts = parts
            .into_iter()
            .map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
        let rest = futures_util::stream::pending();
        let body = match endless {
            true => Body::from_stream(futures_util::StreamExt::chain(
                tokio_stream::iter(parts),
                rest,
            )),
            false => Body::from_stream(tokio_stream::iter(parts)),
        };
        let response = Response::builder().header(header::CONTENT_TYPE, kind);
        response.body(body).expect("a response")
    };
    (Web::start(Router::new().route(path, post(answer))), seen)
}

fn config(web: &Web, protocol: Protocol, options: Value, parameters: Value) -> RemoteConfig {
    let map = |value: Value| match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    RemoteConfig {
        transport: Transport::Http,
        target: Target::Pipeline("a-model".into()),
        parameters: map(parameters),
        foreign: Some(Foreign {
            protocol,
            options: map(options),
            memory: Memory::default(),
        }),
        ..driver::config(&[web.endpoint()])
    }
}

async fn open(config: &RemoteConfig, input: StreamFormat, output: StreamFormat) -> Driven {
    let ports = HopPorts {
        hop: "far".into(),
        inputs: vec![("in".into(), Some(input))],
        outputs: vec![("out".into(), Some(output))],
    };
    let connector = driver::connector();
    let hop = driver::open_with(&connector, config, &ports, driver::context()).await;
    Driven::new(hop.expect("it opens"))
}

async fn send(hop: &mut Driven, utterance: u64, is_final: bool, payload: Payload) {
    hop.wait_for_credit().await;
    hop.credit -= 1;
    hop.sent += 1;
    let mut frame = Frame::new(MediaTime::from_micros(40_000), payload);
    frame.meta.seq = hop.sent;
    (frame.meta.utterance, frame.meta.is_final) = (utterance, is_final);
    hop.hop.send(hop.now, HopCommand::Frame { port: 0, frame });
}

async fn say(hop: &mut Driven, utterance: u64, text: &str) {
    send(hop, utterance, true, Payload::Text(Text::from(text))).await;
}

/// Texts of an utterance until its end, with their revisions.
async fn heard(hop: &mut Driven) -> Vec<(String, u32)> {
    let mut texts = Vec::new();
    loop {
        let frame = hop.frame().await;
        let Payload::Text(text) = &frame.payload else {
            panic!("{frame:?}")
        };
        texts.push((text.as_str().to_owned(), frame.meta.revision));
        if frame.meta.is_final {
            return texts;
        }
    }
}

fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

fn chunk(text: &str) -> Vec<u8> {
    event(&json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// What the model was told with the next request.
fn messages(seen: &mpsc::Receiver<Asked>) -> Vec<String> {
    let (_, body) = seen.recv().expect("a request");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (&body["model"], &body["stream"]),
        (&json!("a-model"), &json!(true))
    );
    let messages = body["messages"].as_array().expect("messages").iter();
    let content = messages.map(|message| message["content"].as_str().expect("text").to_owned());
    content.collect()
}

#[tokio::test]
async fn speech_comes_as_whole_samples_however_it_was_parted() {
    let samples: Vec<i16> = (0..6_000).collect();
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let parts = bytes.chunks(1_501).map(<[u8]>::to_vec).collect();
    let (web, seen) = server("/v1/audio/speech", vec![("audio/pcm", parts)], false);
    let config = config(
        &web,
        Protocol::OpenaiSpeech,
        json!({}),
        json!({"voice": "a", "speed": 1.5}),
    );
    let pcm = AudioFormat::pcm_s16(24_000, 1);
    let mut hop = open(&config, StreamFormat::Text, StreamFormat::audio(pcm)).await;
    say(&mut hop, 1, "Hello there.").await;
    let (mut got, mut at) = (Vec::new(), MediaTime::from_micros(40_000));
    loop {
        let frame = hop.frame().await;
        let Payload::Audio(audio) = &frame.payload else {
            panic!("{frame:?}")
        };
        assert_eq!((audio.format, frame.meta.utterance), (pcm, 1));
        assert_eq!(frame.meta.media_time, at, "sound follows sound");
        at += audio.duration();
        got.extend(audio.to_s16().iter().copied());
        if frame.meta.is_final {
            break;
        }
    }
    assert_eq!(got, samples);
    let (headers, body) = seen.recv().expect("a request");
    assert_eq!(headers["authorization"], "Bearer token");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let wanted = json!({"model": "a-model", "input": "Hello there.", "response_format": "pcm", "voice": "a", "speed": 1.5});
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn what_is_understood_so_far_is_superseded_by_what_was_said() {
    let events = vec![
        event(&json!({"type": "transcript.text.delta", "delta": "ask"})),
        event(&json!({"type": "transcript.text.delta", "delta": " not"})),
        event(&json!({"type": "transcript.text.done", "text": "Ask not."})),
    ];
    let whole = serde_json::to_vec(&json!({"text": " Yes. "})).expect("JSON");
    let answers = vec![
        ("text/event-stream", events),
        ("application/json", vec![whole]),
    ];
    let (web, seen) = server("/v1/audio/transcriptions", answers, false);
    let config = config(
        &web,
        Protocol::OpenaiTranscriptions,
        json!({}),
        json!({"language": "en"}),
    );
    let pcm = AudioFormat::pcm_s16(16_000, 1);
    let mut hop = open(&config, StreamFormat::audio(pcm), StreamFormat::Text).await;
    let sound = |samples| Payload::Audio(Audio::from_s16(16_000, 1, samples));
    send(&mut hop, 1, false, sound(vec![1; 320])).await;
    send(&mut hop, 1, true, sound(vec![2; 320])).await;
    let texts = heard(&mut hop).await;
    let revisions: Vec<_> = texts.iter().map(|(_, revision)| *revision).collect();
    assert!(revisions.windows(2).all(|two| two[0] < two[1]), "{texts:?}");
    assert_eq!(
        texts.last().map(|(text, _)| text.as_str()),
        Some("Ask not.")
    );
    assert!(
        texts
            .iter()
            .all(|(text, _)| text.starts_with("ask") || text == "Ask not.")
    );
    // A server that answers whole.
    send(&mut hop, 2, true, sound(vec![3; 320])).await;
    assert_eq!(heard(&mut hop).await, [("Yes.".to_owned(), 1)]);
    let (headers, body) = seen.recv().expect("a request");
    let kind = headers["content-type"].to_str().expect("text");
    assert!(kind.starts_with("multipart/form-data; boundary="), "{kind}");
    let text = String::from_utf8_lossy(&body);
    for part in [
        "name=\"model\"\r\n\r\na-model",
        "name=\"language\"\r\n\r\nen",
        "name=\"stream\"\r\n\r\ntrue",
        "RIFF",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(body.len() > 4 * 320, "all the sound is there");
}

#[tokio::test]
async fn a_conversation_is_remembered_as_far_as_it_was_heard() {
    let answers = vec![
        (
            "text/event-stream",
            vec![chunk("Hel"), chunk("lo."), b"data: [DONE]\n\n".to_vec()],
        ),
        ("text/event-stream", vec![chunk("One, two,")]),
        ("text/event-stream", vec![chunk("Bye.")]),
    ];
    let (web, seen) = server("/v1/chat/completions", answers, false);
    let options = json!({"system": "Be brief.", "turns": 1});
    let config = config(
        &web,
        Protocol::OpenaiChat,
        options,
        json!({"temperature": 0}),
    );
    let mut hop = open(&config, StreamFormat::Text, StreamFormat::Text).await;
    say(&mut hop, 1, "Hi.").await;
    let texts = heard(&mut hop).await;
    assert_eq!(
        texts,
        [
            ("Hel".to_owned(), 0),
            ("lo.".to_owned(), 0),
            (String::new(), 0)
        ]
    );
    assert_eq!(messages(&seen), ["Be brief.", "Hi."]);
    say(&mut hop, 2, "Count.").await;
    assert_eq!(heard(&mut hop).await.len(), 2);
    assert_eq!(messages(&seen), ["Be brief.", "Hi.", "Hello.", "Count."]);
    say(&mut hop, 3, "Goodbye.").await;
    heard(&mut hop).await;
    assert_eq!(
        messages(&seen),
        ["Be brief.", "Count.", "One, two,", "Goodbye."],
        "one exchange is remembered"
    );
}

#[tokio::test]
async fn an_interrupt_ends_the_request_and_keeps_what_was_heard_of_the_answer() {
    let answers = vec![
        ("text/event-stream", vec![chunk("One, two,")]),
        ("text/event-stream", vec![chunk("Yes.")]),
    ];
    let (web, seen) = server("/v1/chat/completions", answers, true);
    let config = config(&web, Protocol::OpenaiChat, json!({}), json!({}));
    let mut hop = open(&config, StreamFormat::Text, StreamFormat::Text).await;
    say(&mut hop, 1, "Count.").await;
    assert!(matches!(hop.frame().await.payload, Payload::Text(_)));
    hop.hop.send(hop.now, HopCommand::Interrupt);
    say(&mut hop, 2, "Stop?").await;
    assert_eq!(heard(&mut hop).await.len(), 2);
    assert_eq!(messages(&seen), ["Count."]);
    assert_eq!(messages(&seen), ["Count.", "One, two,", "Stop?"]);
}

#[tokio::test]
async fn a_refusal_says_what_the_server_says() {
    let refuse = || async {
        let error = json!({"error": {"message": "no such voice: kermit", "type": "invalid_request_error", "param": "voice", "code": null}});
        (http::StatusCode::BAD_REQUEST, axum::Json(error))
    };
    let web = Web::start(Router::new().route("/openai/v1/audio/speech", post(refuse)));
    let mut config = config(&web, Protocol::OpenaiSpeech, json!({}), json!({}));
    config.endpoints = vec![format!("{}/openai/v1/", web.endpoint())];
    let audio = StreamFormat::audio(AudioFormat::pcm_s16(24_000, 1));
    let mut hop = open(&config, StreamFormat::Text, audio).await;
    say(&mut hop, 1, "Hello.").await;
    let HopEvent::Failed(error) = hop.event().await else {
        panic!("no failure")
    };
    assert_eq!(
        (error.code, error.retryable),
        (Code::RemoteExecution, false)
    );
    assert!(
        error
            .message
            .contains("no such voice: kermit (HTTP status 400"),
        "{error}"
    );
}
