//! A call against a session that is written by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::session::link::OpenedInfo;

const NOW: Timestamp = Timestamp::ZERO;

fn codec(ports: &[(&str, StreamFormat)]) -> TwilioCodec {
    let call = Call {
        ports: Vec::new(),
        keys_as_text: true,
    };
    let metrics = Arc::new(Metrics::new());
    let mut codec = TwilioCodec::new(call, "MZ1".to_owned(), 1, Start::default(), metrics);
    let inputs = ports.iter().enumerate();
    let info = OpenedInfo {
        session_id: String::new(),
        pipeline: String::new(),
        inputs: inputs
            .map(|(index, (name, format))| (index, (*name).to_owned(), *format))
            .collect(),
        outputs: Vec::new(),
        deterministic: true,
        message_bytes: 0,
        session_limit: None,
        idle_limit: None,
    };
    let mut out = Outgoing::default();
    codec.encode(LinkMessage::Opened(Box::new(info)), NOW, &mut out);
    codec
}

fn say(codec: &mut TwilioCodec, message: &Value) -> Result<Vec<LinkEvent>, Error> {
    let message = Message::Text(message.to_string().into());
    codec.decode(message, NOW, &mut Outgoing::default())?;
    Ok(std::iter::from_fn(|| codec.event()).collect())
}

fn media(sequence: u64, timestamp: u64) -> Value {
    json!({
        "event": "media", "sequenceNumber": sequence.to_string(), "streamSid": "MZ1",
        "media": {"track": "inbound", "chunk": "1", "timestamp": timestamp.to_string(), "payload": STANDARD.encode([0xff; 160])},
    })
}

fn voice() -> (&'static str, StreamFormat) {
    ("mic", StreamFormat::audio(FORMAT))
}

fn hear(codec: &mut TwilioCodec, message: LinkMessage) -> Vec<Value> {
    let mut out = Outgoing::default();
    codec.encode(message, NOW, &mut out);
    let texts = out.drain().map(|message| match message {
        Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("{other:?}"),
    });
    texts.collect()
}

fn spoken(utterance: u64, is_final: bool) -> LinkMessage {
    let audio = Audio::encoded(FORMAT, Bytes::from_static(&[0xff; 160]));
    let mut frame = Frame::new(MediaTime::default(), Payload::Audio(audio));
    frame.meta.utterance = utterance;
    frame.meta.is_final = is_final;
    LinkMessage::Frame { output: 0, frame }
}

#[test]
fn sound_keeps_its_time_line_and_a_hole_in_it() {
    let mut codec = codec(&[voice()]);
    let mut times = Vec::new();
    // Jitter of the stamps, then half a second that never came.
    for (sequence, stamp) in [(2, 3), (3, 27), (4, 41), (5, 560)] {
        let events = say(&mut codec, &media(sequence, stamp)).expect("in order");
        let [LinkEvent::Frame { input: 0, frame }] = &events[..] else {
            panic!("{events:?}");
        };
        times.push(frame.meta.media_time.as_micros() / 1_000);
        assert_eq!(frame.duration(), Duration::from_millis(20));
    }
    assert_eq!(times, [0, 20, 40, 560]);
}

#[test]
fn a_number_that_comes_twice_or_another_stream_ends_the_call_and_a_gap_does_not() {
    let mut codec = codec(&[voice()]);
    say(&mut codec, &media(2, 0)).expect("the next");
    say(&mut codec, &media(7, 20)).expect("a gap");
    let error = say(&mut codec, &media(7, 40)).expect_err("again");
    assert_eq!(error.code, Code::BadRequest, "{error}");
    let mut foreign = media(8, 40);
    foreign["streamSid"] = "MZ2".into();
    let error = say(&mut codec, &foreign).expect_err("another stream");
    assert!(error.message.contains("MZ2"), "{error}");
}

#[test]
fn keys_go_to_a_json_input_else_to_a_text_input_else_nowhere() {
    let dtmf = json!({"event": "dtmf", "sequenceNumber": "2", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": "5"}});
    let mut with_json = codec(&[
        voice(),
        ("typed", StreamFormat::Text),
        ("events", StreamFormat::Json),
    ]);
    assert!(with_json.event().is_some(), "of the call");
    let events = say(&mut with_json, &dtmf).expect("a key");
    let [LinkEvent::Frame { input: 2, frame }] = &events[..] else {
        panic!("{events:?}");
    };
    let Payload::Json(told) = &frame.payload else {
        panic!("{frame:?}");
    };
    assert_eq!(told.to_value(), json!({"type": "dtmf", "digit": "5"}));

    let mut with_text = codec(&[voice(), ("typed", StreamFormat::Text)]);
    let events = say(&mut with_text, &dtmf).expect("a key");
    let [LinkEvent::Frame { input: 1, frame }] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(matches!(&frame.payload, Payload::Text(text) if text.as_str() == "5"));

    let events = say(&mut codec(&[voice()]), &dtmf).expect("a key");
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn an_utterance_is_followed_by_its_mark_and_an_interrupt_clears_what_waits() {
    let mut codec = codec(&[voice(), ("events", StreamFormat::Json)]);
    assert!(codec.event().is_some(), "of the call");
    let kinds = |told: &[Value]| {
        let kinds = told.iter().map(|message| message["event"].to_string());
        kinds.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(kinds(&hear(&mut codec, spoken(1, false))), "\"media\"");
    let told = hear(&mut codec, spoken(1, true));
    assert_eq!(kinds(&told), "\"media\" \"mark\"");
    let name = told[1]["mark"]["name"].clone();
    let back =
        json!({"event": "mark", "sequenceNumber": "2", "streamSid": "MZ1", "mark": {"name": name}});
    let events = say(&mut codec, &back).expect("it was set");
    let [LinkEvent::Frame { input: 1, frame }] = &events[..] else {
        panic!("{events:?}");
    };
    let Payload::Json(played) = &frame.payload else {
        panic!("{frame:?}");
    };
    let expected = json!({"type": "played", "utterance": 1, "position": 0.04});
    assert_eq!(played.to_value(), expected);
    hear(&mut codec, spoken(2, false));
    let told = hear(&mut codec, LinkMessage::Interrupted { output: 0 });
    assert_eq!(told, [json!({"event": "clear", "streamSid": "MZ1"})]);
    let Some(LinkEvent::Frame { frame, .. }) = codec.event() else {
        panic!("it is told how far the caller has heard");
    };
    let Payload::Json(heard) = &frame.payload else {
        panic!("{frame:?}");
    };
    let expected = json!({"type": "interrupted", "utterance": 2, "position": 0.04});
    assert_eq!(heard.to_value(), expected);
}

#[test]
fn numbers_may_be_strings_or_numbers_and_unknown_events_are_passed_over() {
    let mut codec = codec(&[voice()]);
    let mut number = media(2, 0);
    number["sequenceNumber"] = 2.into();
    assert_eq!(say(&mut codec, &number).expect("a number").len(), 1);
    let later = json!({"event": "weather", "sequenceNumber": "3"});
    assert!(say(&mut codec, &later).expect("unknown").is_empty());
    let cut = json!({"event": "media", "sequenceNumber": "3"});
    say(&mut codec, &cut).expect_err("no payload");
}
