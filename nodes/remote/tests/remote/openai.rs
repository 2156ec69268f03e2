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

/// An event's sound, of which there must be some, and whether it is the last of its utterance.
async fn hears(hop: &mut Driven) -> (usize, bool) {
    let frame = hop.frame().await;
    let Payload::Audio(audio) = &frame.payload else {
        panic!("{frame:?}")
    };
    (audio.data.len(), frame.meta.is_final)
}

fn input(seen: &mpsc::Receiver<Asked>) -> String {
    let (_, body) = seen.recv().expect("a request");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    body["input"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_text_in_pieces_is_spoken_sentence_by_sentence_while_it_is_written() {
    let answers = vec![("audio/pcm", vec![vec![1; 4_000]]); 3];
    let (web, seen) = server("/v1/audio/speech", answers, false);
    let config = config(&web, Protocol::OpenaiSpeech, json!({}), json!({}));
    let audio = StreamFormat::audio(AudioFormat::pcm_s16(24_000, 1));
    let mut hop = open(&config, StreamFormat::Text, audio).await;
    let piece = |text: &str| Payload::Text(Text::from(text));
    send(&mut hop, 1, false, piece("Hello, Mr. ")).await;
    send(&mut hop, 1, false, piece("Fox! How")).await;
    let mut bytes = 0;
    // All but a sample of the first sentence is heard, though more of the text is to come.
    while bytes < 3_998 {
        let (more, is_final) = hears(&mut hop).await;
        assert!(!is_final);
        bytes += more;
    }
    assert_eq!(input(&seen), "Hello, Mr. Fox!");
    send(&mut hop, 1, false, piece(" are you? I am")).await;
    send(&mut hop, 1, false, piece(" well")).await;
    send(&mut hop, 1, true, piece("")).await;
    loop {
        let (more, is_final) = hears(&mut hop).await;
        bytes += more;
        if is_final {
            break;
        }
    }
    assert_eq!(
        bytes, 12_000,
        "nothing is missing, and nothing is there twice"
    );
    assert_eq!([input(&seen), input(&seen)], ["How are you?", "I am well"]);
}

#[tokio::test]
async fn speech_that_breaks_off_goes_on_elsewhere_where_it_was() {
    let answer = || ("audio/pcm", vec![vec![1; 9_600]]);
    // Its first answer has no end.
    let (mut first, saw) = server("/v1/audio/speech", vec![answer()], true);
    let (second, seen) = server("/v1/audio/speech", vec![answer(); 2], false);
    let mut config = config(&first, Protocol::OpenaiSpeech, json!({}), json!({}));
    config.endpoints.push(second.endpoint());
    let audio = StreamFormat::audio(AudioFormat::pcm_s16(24_000, 1));
    let mut hop = open(&config, StreamFormat::Text, audio).await;
    say(&mut hop, 1, "One. Two.").await;
    let mut bytes = 0;
    // Frames of 20 ms; the newest is kept, which might be the last.
    while bytes < 8_640 {
        bytes += hears(&mut hop).await.0;
    }
    assert_eq!(input(&saw), "One.");
    first.kill();
    loop {
        let (more, is_final) = hears(&mut hop).await;
        bytes += more;
        if is_final {
            break;
        }
    }
    assert_eq!(bytes, 19_200, "what was heard is not said again");
    assert_eq!([input(&seen), input(&seen)], ["One.", "Two."]);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_costs_no_attempt() {
    let (web, requests) = closing();
    let config = RemoteConfig {
        endpoints: vec![web],
        ..config(
            &Web::start(Router::new()),
            Protocol::OpenaiTranscriptions,
            json!({"stream": false}),
            json!({}),
        )
    };
    let pcm = AudioFormat::pcm_s16(16_000, 1);
    let mut hop = open(&config, StreamFormat::audio(pcm), StreamFormat::Text).await;
    let sound = || Payload::Audio(Audio::from_s16(16_000, 1, vec![1; 320]));
    for (utterance, text) in [(1, "connection 1"), (2, "connection 2")] {
        send(&mut hop, utterance, true, sound()).await;
        assert_eq!(heard(&mut hop).await, [(text.to_owned(), 1)]);
    }
    // The clock of this hop stands still: an attempt that failed would never have been made again.
    assert_eq!(requests.iter().take(3).collect::<Vec<_>>(), [1, 1, 2]);
}

/// A server that answers the first request of each connection and closes it when it has read another; where, and by which connections
/// requests came.
fn closing() -> (String, mpsc::Receiver<usize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let (came, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in 1..3 {
            let (mut stream, _) = listener.accept().expect("a connection");
            for request in 0..2 {
                read_request(&mut stream);
                came.send(connection).expect("the test listens");
                if request == 0 {
                    let body = json!({"text": format!("connection {connection}")}).to_string();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    std::io::Write::write_all(&mut stream, (head + &body).as_bytes())
                        .expect("sent");
                    if connection == 2 {
                        break;
                    }
                }
            }
        }
    });
    (endpoint, requests)
}

fn read_request(stream: &mut std::net::TcpStream) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            let head_bytes = read
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .expect("a head")
                + 4;
            if read.len() >= head_bytes + length {
                return;
            }
        }
        let count = std::io::Read::read(stream, &mut buffer).expect("it can be read");
        assert!(count > 0, "the request is whole");
        read.extend_from_slice(&buffer[..count]);
    }
}
