//! Hops at servers that hear an utterance as it comes: a plain WebSocket and Wyoming, against servers that behave and servers that do not.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use serde_json::{Map, Value, json};
use tidegate_media::{Audio, AudioFormat, Codec, Frame, MediaTime, Payload};
use tidegate_nodes::compile::remote::Protocol;
use tidegate_nodes::{HopCommand, HopEvent, HopNote, StreamFormat};
use tidegate_remote::{
    Connector, ConnectorConfig, Foreign, HopPorts, Memory, RemoteConfig, Target, Transport,
};
use tokio::sync::Notify;

use super::driver::{self, Driven};
use super::web::Web;

/// How a server of speech to text behaves. Its words are how many frames it has heard.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// Finds an utterance in every so many frames.
    cuts: Option<usize>,
    /// Closes in order after so many, as one that shuts down.
    leaves: Option<usize>,
    /// Finds an utterance where a frame is silent; its words are how many were not.
    pauses: bool,
    /// Says of each frame a hundred letters that stay.
    babbles: bool,
}

/// A server, and what ended its connections: whether the client had told the end of its sound.
fn server(manner: Manner) -> (Web, mpsc::Receiver<bool>) {
    let (ended, ends) = mpsc::channel();
    let upgrade = move |upgrade: WebSocketUpgrade| {
        let ended = ended.clone();
        async move {
            upgrade.on_upgrade(move |socket| async move {
                let told = listen(socket, manner).await;
                // The test may not ask.
                ended.send(told).ok();
            })
        }
    };
    (Web::start(Router::new().route("/", get(upgrade))), ends)
}

async fn listen(mut socket: WebSocket, manner: Manner) -> bool {
    let (mut frames, mut before) = (0, 0);
    while let Some(Ok(message)) = socket.recv().await {
        let (said, ended) = match message {
            Message::Binary(_) if manner.babbles => (json!({"text": "a".repeat(100)}), false),
            Message::Binary(sound) if manner.pauses => {
                let silent = sound.iter().all(|byte| *byte == 0);
                frames += usize::from(!silent);
                let said = frames - before;
                if silent {
                    before = frames;
                }
                let text = if said > 0 {
                    format!("{said} frames")
                } else {
                    String::new()
                };
                let key = if silent && said > 0 {
                    "text"
                } else {
                    "partial"
                };
                (json!({key: text}), false)
            }
            Message::Binary(_) => {
                frames += 1;
                let cut = manner.cuts.is_some_and(|every| frames % every == 0);
                let text = format!("{} frames", frames - before);
                if cut {
                    before = frames;
                }
                let key = if cut { "text" } else { "partial" };
                (json!({key: text}), manner.leaves == Some(frames))
            }
            Message::Text(text) if text.contains("eof") => {
                let left = frames - before;
                let text = if left > 0 {
                    format!("{left} frames.")
                } else {
                    String::new()
                };
                (json!({"text": text}), true)
            }
            _ => continue,
        };
        let sent = socket.send(Message::Text(said.to_string().into())).await;
        if ended || sent.is_err() {
            drop(socket.send(Message::Close(None)).await);
            return said.get("text").is_some();
        }
    }
    false
}

fn config(servers: &[&Web]) -> RemoteConfig {
    let options = json!({"end": {"eof": 1}, "partial": "/partial"});
    let Value::Object(options) = options else {
        unreachable!("a map")
    };
    let endpoints: Vec<_> = servers.iter().map(|web| web.endpoint()).collect();
    RemoteConfig {
        transport: Transport::Websocket,
        target: Target::Endpoint,
        parameters: Map::new(),
        foreign: Some(Foreign {
            protocol: Protocol::WebsocketStt,
            options,
            memory: Memory::default(),
        }),
        ..driver::config(&endpoints)
    }
}

async fn open(config: &RemoteConfig) -> Driven {
    open_at(
        &driver::connector(),
        config,
        AudioFormat::pcm_s16(16_000, 1),
    )
    .await
}

async fn open_at(connector: &Connector, config: &RemoteConfig, format: AudioFormat) -> Driven {
    let ports = HopPorts {
        hop: "stt".into(),
        inputs: vec![("in".into(), Some(StreamFormat::audio(format)))],
        outputs: vec![("out".into(), Some(StreamFormat::Text))],
    };
    let hop = driver::open_with(connector, config, &ports, driver::context()).await;
    Driven::new(hop.expect("it opens"))
}

async fn speak(hop: &mut Driven, utterance: u64, is_final: bool) {
    let sound = Audio::from_s16(16_000, 1, vec![1; 320]);
    sound_of(hop, sound, utterance, is_final).await;
}

async fn sound_of(hop: &mut Driven, sound: Audio, utterance: u64, is_final: bool) {
    hop.wait_for_credit().await;
    hop.credit -= 1;
    hop.sent += 1;
    let at = MediaTime::from_micros(i64::try_from(hop.sent * 20_000).expect("a time"));
    let mut frame = Frame::new(at, Payload::Audio(sound));
    frame.meta.seq = hop.sent;
    (frame.meta.utterance, frame.meta.is_final) = (utterance, is_final);
    hop.hop.send(hop.now, HopCommand::Frame { port: 0, frame });
}

/// Words, and whether they are the last of their utterance.
fn words(frame: &Frame) -> (String, bool) {
    let Payload::Text(text) = &frame.payload else {
        panic!("{frame:?}")
    };
    (text.as_str().to_owned(), frame.meta.is_final)
}

/// All that is said of an utterance up to its end.
async fn rest(hop: &mut Driven) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        frames.push(hop.frame().await);
        if frames.last().is_some_and(|frame| frame.meta.is_final) {
            return frames;
        }
    }
}

fn revisions(frames: &[Frame]) -> Vec<u32> {
    frames.iter().map(|frame| frame.meta.revision).collect()
}

fn partial(count: usize) -> (String, bool) {
    (format!("{count} frames"), false)
}

#[tokio::test]
async fn words_come_while_somebody_speaks_and_the_end_is_told_at_once() {
    let (web, ends) = server(Manner::default());
    let mut hop = open(&config(&[&web])).await;
    for utterance in 1..3 {
        speak(&mut hop, utterance, false).await;
        let first = hop.frame().await;
        assert_eq!(words(&first), partial(1), "nothing has ended yet");
        let meta = first.meta;
        let seq = 2 * utterance - 1;
        assert_eq!(
            (meta.utterance, meta.revision, meta.caused_by),
            (utterance, 1, seq)
        );
        speak(&mut hop, utterance, true).await;
        let frames = rest(&mut hop).await;
        let last = frames.last().expect("a final one");
        assert_eq!(words(last), ("2 frames.".to_owned(), true));
        assert_eq!(last.meta.caused_by, 2 * utterance);
        assert!(last.meta.revision > 1, "it supersedes: {last:?}");
        assert!(
            ends.recv().expect("a connection of its own"),
            "its end was told"
        );
    }
}

#[tokio::test]
async fn another_server_takes_over_in_the_midst_of_an_utterance() {
    let (mut first, _) = server(Manner::default());
    let (second, _) = server(Manner::default());
    let mut hop = open(&config(&[&first, &second])).await;
    let mut said = Vec::new();
    for count in 1..4 {
        speak(&mut hop, 1, false).await;
        said.push(hop.frame().await);
        assert_eq!(words(&said[count - 1]), partial(count));
    }
    first.kill();
    speak(&mut hop, 1, true).await;
    said.extend(rest(&mut hop).await);
    let whole = ("4 frames.".to_owned(), true);
    assert_eq!(
        said.last().map(words),
        Some(whole),
        "it has heard all of it"
    );
    let rising = revisions(&said).windows(2).all(|two| two[0] < two[1]);
    assert!(rising, "what is said again supersedes: {said:?}");
    assert!(said.iter().all(|frame| frame.meta.utterance == 1));
    let mut failovers = hop.notes.iter().filter_map(|note| match note {
        HopNote::Failover { replayed, .. } => Some(*replayed),
        _ => None,
    });
    assert!(
        failovers.next().is_some_and(|replayed| replayed >= 3),
        "{:?}",
        hop.notes
    );
    assert_eq!(failovers.next(), None);
}

#[tokio::test]
async fn a_server_that_leaves_in_the_midst_of_an_utterance_has_not_said_its_end() {
    let leaves = Manner {
        leaves: Some(2),
        ..Manner::default()
    };
    let ((first, _), (second, _)) = (server(leaves), server(Manner::default()));
    let mut hop = open(&config(&[&first, &second])).await;
    for _ in 0..4 {
        speak(&mut hop, 1, false).await;
    }
    speak(&mut hop, 1, true).await;
    let said = rest(&mut hop).await;
    let whole = ("5 frames.".to_owned(), true);
    assert_eq!(said.last().map(words), Some(whole));
    // Once: no other frame is there.
    hop.settle().await;
}

#[tokio::test]
async fn an_interrupt_ends_what_is_being_heard_and_nothing_comes_of_it() {
    let (web, ends) = server(Manner::default());
    let mut hop = open(&config(&[&web])).await;
    speak(&mut hop, 1, false).await;
    assert_eq!(words(&hop.frame().await), partial(1));
    hop.hop.send(hop.now, HopCommand::Interrupt);
    assert!(
        !ends.recv().expect("the connection is closed"),
        "without its end"
    );
    speak(&mut hop, 2, true).await;
    let said = rest(&mut hop).await;
    assert!(
        said.iter().all(|frame| frame.meta.utterance == 2),
        "{said:?}"
    );
    assert_eq!(said.last().map(words), Some(("1 frames.".to_owned(), true)));
}

#[tokio::test]
async fn sound_that_nobody_has_cut_is_cut_by_the_server() {
    let cuts = Manner {
        cuts: Some(3),
        ..Manner::default()
    };
    let (web, _) = server(cuts);
    let mut hop = open(&config(&[&web])).await.with_acks();
    let (mut said, mut acknowledged) = (Vec::new(), 0);
    for number in 1..=7 {
        speak(&mut hop, 0, false).await;
        loop {
            match hop.event().await {
                HopEvent::Frame { frame, .. } => {
                    said.push((words(&frame), frame.meta.utterance, frame.meta.revision));
                    break;
                }
                HopEvent::Acknowledged { seq, .. } => acknowledged = seq,
                other => panic!("{other:?} after {number} frames"),
            }
        }
    }
    let third = |utterance| (("3 frames".to_owned(), true), utterance, 3);
    let expected = [
        (partial(1), 1, 1),
        (partial(2), 1, 2),
        third(1),
        (partial(1), 2, 1),
        (partial(2), 2, 2),
        third(2),
        (partial(1), 3, 1),
    ];
    assert_eq!(said, expected);
    assert_eq!(acknowledged, 5, "what a later utterance may need is kept");
    hop.hop.send(hop.now, HopCommand::End { port: 0 });
    let last = loop {
        match hop.event().await {
            HopEvent::Frame { frame, .. } => break frame,
            HopEvent::Acknowledged { .. } => {}
            other => panic!("{other:?} at the end"),
        }
    };
    assert_eq!(words(&last), ("1 frames.".to_owned(), true));
    assert_eq!(last.meta.utterance, 3);
}

#[tokio::test]
async fn another_server_takes_over_where_the_one_before_had_cut() {
    let pauses = Manner {
        pauses: true,
        ..Manner::default()
    };
    let ((mut first, _), (second, _)) = (server(pauses), server(pauses));
    let mut hop = open(&config(&[&first, &second])).await;
    let mut said = Vec::new();
    for (number, loud) in [true, true, false, true, true, true, false, true]
        .into_iter()
        .enumerate()
    {
        let sound = Audio::from_s16(16_000, 1, vec![i16::from(loud); 320]);
        sound_of(&mut hop, sound, 0, false).await;
        said.push(hop.frame().await);
        assert_eq!(said.len(), number + 1);
    }
    first.kill();
    speak(&mut hop, 0, false).await;
    hop.hop.send(hop.now, HopCommand::End { port: 0 });
    said.extend(rest(&mut hop).await);
    let finals = said.iter().filter(|frame| frame.meta.is_final);
    let finals: Vec<_> = finals
        .map(|frame| (frame.meta.utterance, words(frame).0))
        .collect();
    let expected = [(1, "2 frames"), (2, "3 frames"), (3, "2 frames.")];
    let expected = expected.map(|(number, text)| (number, text.to_owned()));
    assert_eq!(
        finals, expected,
        "as one server would have said it: {said:?}"
    );
    for utterance in 1..=3 {
        let of = said
            .iter()
            .filter(|frame| frame.meta.utterance == utterance);
        let revisions = revisions(&of.cloned().collect::<Vec<_>>());
        assert!(revisions.is_sorted_by(|a, b| a < b), "{said:?}");
    }
}

#[tokio::test]
async fn a_server_is_not_late_while_nobody_listens_to_it() {
    let gate = Arc::new(Notify::new());
    let (told, tells) = mpsc::channel();
    let answering = Arc::clone(&gate);
    let upgrade = move |upgrade: WebSocketUpgrade| {
        let (gate, told) = (Arc::clone(&answering), told.clone());
        async move {
            upgrade.on_upgrade(move |mut socket| async move {
                while !matches!(socket.recv().await, Some(Ok(Message::Text(_))) | None) {}
                told.send(()).ok();
                gate.notified().await;
                let said = json!({"text": "late"}).to_string();
                drop(socket.send(Message::Text(said.into())).await);
                drop(socket.send(Message::Close(None)).await);
            })
        }
    };
    let web = Web::start(Router::new().route("/", get(upgrade)));
    let mut config = config(&[&web]);
    config.timeouts.call = Some(Duration::from_secs(10));
    let mut hop = open(&config).await;
    speak(&mut hop, 1, true).await;
    let heard = async {
        while tells.try_recv().is_err() {
            hop.settle().await;
            tokio::task::yield_now().await;
        }
    };
    let heard = tokio::time::timeout(driver::PATIENCE, heard).await;
    heard.expect("the server has all of it");
    hop.hop.hold(hop.now);
    hop.now += Duration::from_secs(60);
    // It would fail.
    hop.settle().await;
    gate.notify_one();
    let said = rest(&mut hop).await;
    assert_eq!(said.last().map(words), Some(("late".to_owned(), true)));
}

/// What the hop fails of.
async fn failure(hop: &mut Driven) -> String {
    loop {
        match hop.event().await {
            HopEvent::Failed(error) => return error.message,
            HopEvent::Frame { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_says_more_and_more_of_an_utterance_is_left() {
    let babbles = Manner {
        babbles: true,
        ..Manner::default()
    };
    let (web, _) = server(babbles);
    let connector = Connector::new(ConnectorConfig {
        message_bytes: 16 << 10,
        ..ConnectorConfig::default()
    });
    let pcm = AudioFormat::pcm_s16(16_000, 1);
    let mut hop = open_at(&connector, &config(&[&web]), pcm).await;
    for _ in 0..200 {
        speak(&mut hop, 1, false).await;
    }
    let message = failure(&mut hop).await;
    assert!(
        message.contains("a transcript of more than 16384 bytes"),
        "{message}"
    );
}

#[tokio::test]
async fn sound_that_the_server_would_take_for_noise_is_not_sent() {
    let (web, _) = server(Manner::default());
    let format = AudioFormat {
        codec: Codec::PcmF32,
        ..AudioFormat::pcm_s16(16_000, 1)
    };
    let mut hop = open_at(&driver::connector(), &config(&[&web]), format).await;
    let sound = Audio::from_f32(16_000, 1, vec![0.5; 320]);
    sound_of(&mut hop, sound, 1, false).await;
    let message = failure(&mut hop).await;
    assert!(
        message.contains("declare it with 'format: pcm_s16/16000/1'"),
        "{message}"
    );
}
