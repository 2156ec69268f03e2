//! The other side of the codec, for its unit tests and its fuzz target: a pipeline of a voice agent's shape, and what it says.

use serde_json::{Map, Value, json};
use tidegate_media::{Audio, Frame, Json, MediaTime, Payload};
use tidegate_nodes::StreamFormat;
use tidegate_nodes::graph::Mode;

use super::ports::Wire;
use super::{Ports, Realtime};
use crate::session::link::{LinkMessage, OpenedInfo};

/// Numbers of its ports.
pub(super) const MIC: usize = 0;
pub(super) const SPEAKER: usize = 0;
pub(super) const HEARD: usize = 1;
pub(super) const ANSWER: usize = 2;
pub(super) const TURNS: usize = 3;

/// The shape of a voice agent.
pub(super) fn agent() -> Ports {
    let name = |name: &str| Some(name.to_owned());
    Ports {
        model: "agent".to_owned(),
        audio_in: name("mic"),
        audio_out: name("speaker"),
        text_out: name("answer"),
        heard: name("heard"),
        events: name("turns"),
        interrupts: true,
        ..Ports::default()
    }
}

/// What a session of it says first.
pub(super) fn opening(ports: &Ports) -> LinkMessage {
    let place = |index: usize, port: &Option<String>, format: StreamFormat| {
        port.clone().map(|name| (index, name, format))
    };
    let inputs = [
        place(MIC, &ports.audio_in, Wire::Pcm.stream()),
        place(1, &ports.text_in, StreamFormat::Text),
    ];
    let outputs = [
        place(SPEAKER, &ports.audio_out, Wire::Pcm.stream()),
        place(HEARD, &ports.heard, StreamFormat::Text),
        place(ANSWER, &ports.text_out, StreamFormat::Text),
        place(TURNS, &ports.events, StreamFormat::Json),
    ];
    LinkMessage::Opened(Box::new(OpenedInfo {
        session_id: "1".to_owned(),
        pipeline: ports.model.clone(),
        inputs: inputs.into_iter().flatten().collect(),
        outputs: outputs.into_iter().flatten().collect(),
        deterministic: false,
        message_bytes: 1 << 20,
        session_limit: None,
        idle_limit: None,
    }))
}

/// A client's events, one a line, whatever they are; the first line is the session as a key has it. The pipeline goes on with its
/// turns meanwhile.
pub(crate) fn survives(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for tracks in [false, true] {
        let mut lines = text.lines();
        let session = lines.next().unwrap_or_default();
        let ports = Ports {
            text_in: Some("typed".to_owned()),
            ..agent()
        };
        let opening = opening(&ports);
        let mut codec = Realtime::new(ports, Mode::Live, tracks);
        if let Ok(session) = serde_json::from_str::<Map<String, Value>>(session) {
            drop(codec.configure(&session));
        }
        codec.tell(opening);
        for (at, line) in lines.enumerate() {
            codec.handle(line);
            speak(&mut codec, at);
            while codec.next_event().is_some() {}
            while let Some(said) = codec.next_said() {
                let event: Value = serde_json::from_str(&said.text).unwrap_or_default();
                let whole = event["type"].is_string() && event["event_id"].is_string();
                assert!(whole, "an event: {}", said.text);
            }
        }
    }
}

/// The next thing that the pipeline says: one turn after another.
fn speak(codec: &mut Realtime, at: usize) {
    let turn = at as u64 / 6 + 1;
    match at % 6 {
        0 => speech(codec, "speech_start", turn, turn * 1_000),
        1 => speech(codec, "speech_stop", turn, turn * 1_000 + 500),
        2 => told(codec, HEARD, turn, true, Payload::Text("When?".into())),
        3 => told(codec, ANSWER, turn, true, Payload::Text("Now.".into())),
        place => sound(codec, turn, place == 5),
    }
}

/// Something comes of one of its outputs.
pub(super) fn told(
    codec: &mut Realtime,
    output: usize,
    utterance: u64,
    last: bool,
    payload: Payload,
) {
    let mut frame = Frame::new(MediaTime::ZERO, payload);
    frame.meta.utterance = utterance;
    frame.meta.is_final = last;
    codec.tell(LinkMessage::Frame { output, frame });
}

/// It says something.
pub(super) fn sound(codec: &mut Realtime, utterance: u64, last: bool) {
    let audio = Audio::encoded(Wire::Pcm.format(), bytes::Bytes::from_static(&[0; 960]));
    told(codec, SPEAKER, utterance, last, Payload::Audio(audio));
}

/// It hears somebody begin or cease to speak.
pub(super) fn speech(codec: &mut Realtime, kind: &str, utterance: u64, ms: u64) {
    let event = json!({"type": kind, "utterance": utterance, "media_time": ms * 1_000});
    let payload = Payload::Json(Json::from(&event));
    told(codec, TURNS, utterance, false, payload);
}
