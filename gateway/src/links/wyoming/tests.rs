//! Requests against a session that is written by hand.

use serde_json::Value;
use tidegate_media::{Audio, AudioFormat, Frame, MediaTime, Payload};
use tidegate_nodes::StreamFormat;

use super::*;
use crate::session::link::OpenedInfo;

const PCM: AudioFormat = AudioFormat::pcm_s16(16_000, 1);

fn opened(input: StreamFormat, output: StreamFormat) -> LinkMessage {
    LinkMessage::Opened(Box::new(OpenedInfo {
        session_id: String::new(),
        pipeline: String::new(),
        inputs: vec![(0, "in".to_owned(), input)],
        outputs: vec![(0, "out".to_owned(), output)],
        deterministic: true,
        message_bytes: 0,
        session_limit: None,
        idle_limit: None,
    }))
}

/// What is said to the client, and what the session is told.
fn tell(talk: &mut dyn Talk, message: LinkMessage) -> (Vec<Event>, Vec<LinkEvent>) {
    let (mut said, mut events) = (Vec::new(), VecDeque::new());
    let mut say = |_, event| said.push(event);
    match message {
        LinkMessage::Opened(info) => talk.opened(&info, &mut events),
        LinkMessage::Frame { frame, .. } => talk.made(&frame, &mut say),
        LinkMessage::OutputEnded { .. } => talk.ended(&mut say),
        other => panic!("{other:?}"),
    }
    (said, events.into())
}

fn hear(talk: &mut dyn Talk, event: Event) -> Result<Vec<LinkEvent>, Error> {
    let mut events = VecDeque::new();
    talk.hear(event, &mut events)?;
    Ok(events.into())
}

fn text(text: &str, utterance: u64, revision: u32, is_final: bool) -> LinkMessage {
    let mut frame = Frame::new(MediaTime::default(), Payload::Text(text.into()));
    frame.meta.utterance = utterance;
    frame.meta.revision = revision;
    frame.meta.is_final = is_final;
    LinkMessage::Frame { output: 0, frame }
}

fn chunk(rate: u32, bytes: &'static [u8]) -> Event {
    let mut event = Event::new("audio-chunk");
    for (name, value) in [("rate", rate), ("width", 2), ("channels", 1)] {
        event = event.with(name, value);
    }
    event.payload = bytes.into();
    event
}

fn texts(events: &[LinkEvent]) -> Vec<&str> {
    let frames = events.iter().filter_map(|event| match event {
        LinkEvent::Frame { frame, .. } => Some(&frame.payload),
        _ => None,
    });
    let texts = frames.map(|payload| match payload {
        Payload::Text(text) => text.as_str(),
        other => panic!("{other:?}"),
    });
    texts.collect()
}

#[test]
fn pieces_of_a_transcript_are_final_and_together_the_whole() {
    let mut asr = Asr::new(PCM, "in", "out", "en");
    tell(
        &mut asr,
        opened(StreamFormat::audio(PCM), StreamFormat::Text),
    );
    let mut said = Vec::new();
    for message in [
        text("And so", 1, 1, false),
        text("And so, my", 1, 2, false),
        text("And so, my fellow Americans.", 1, 3, true),
        text("Ask not", 2, 1, false),
        // The second never says that it is final.
        text("What you can do.", 3, 1, true),
        LinkMessage::OutputEnded { output: 0 },
    ] {
        said.extend(tell(&mut asr, message).0);
    }
    let kinds: Vec<_> = said.iter().map(|event| event.kind.as_str()).collect();
    let chunk = "transcript-chunk";
    let expected = [
        "transcript-start",
        chunk,
        chunk,
        chunk,
        "transcript",
        "transcript-stop",
    ];
    assert_eq!(kinds, expected);
    let pieces: String = said[1..4].iter().map(|event| event.text("text")).collect();
    assert_eq!(
        pieces,
        "And so, my fellow Americans. Ask not What you can do."
    );
    assert_eq!(said[4].text("text"), pieces);
    assert_eq!(said[4].text("language"), "en");
}

#[test]
fn sound_keeps_its_time_line_and_its_format() {
    let mut asr = Asr::new(PCM, "in", "out", "");
    tell(
        &mut asr,
        opened(StreamFormat::audio(PCM), StreamFormat::Text),
    );
    let mut times = Vec::new();
    for _ in 0..3 {
        let events = hear(&mut asr, chunk(16_000, &[0; 320])).expect("sound");
        let [LinkEvent::Frame { frame, .. }] = &events[..] else {
            panic!("{events:?}");
        };
        times.push(frame.meta.media_time.as_micros());
    }
    assert_eq!(times, [0, 10_000, 20_000]);
    let error = hear(&mut asr, chunk(8_000, &[0; 320])).expect_err("another rate");
    assert_eq!(error.code, Code::UnsupportedMedia);
    let error = hear(&mut asr, chunk(16_000, &[0; 3])).expect_err("half a sample");
    assert_eq!(error.code, Code::BadRequest);
    let events = hear(&mut asr, Event::new("audio-stop")).expect("the end");
    assert!(matches!(events[..], [LinkEvent::End { input: None }]));
    assert!(asr.is_complete());
}

#[test]
fn a_stream_of_text_is_said_by_sentences_and_the_old_request_in_it_is_passed_over() {
    let mut tts = Tts::new("in", "out", None);
    tell(
        &mut tts,
        opened(StreamFormat::Text, StreamFormat::audio(PCM)),
    );
    let say = |text: &str| Event::new("synthesize-chunk").with("text", text);
    let mut events = Vec::new();
    for piece in [
        "Pi is 3.",
        "14. And",
        " so on! ",
        "Dr. ",
        "Smith says so. The end",
    ] {
        events.extend(hear(&mut tts, say(piece)).expect("text"));
    }
    let said = ["Pi is 3.14.", "And so on!", "Dr. Smith says so."];
    assert_eq!(texts(&events), said);
    let whole = Event::new("synthesize").with("text", "Pi is 3.14. And so on! …");
    assert!(hear(&mut tts, whole).expect("passed over").is_empty());
    let last = hear(&mut tts, Event::new("synthesize-stop")).expect("the end");
    assert_eq!(texts(&last), ["The end"]);
    assert!(matches!(last[1], LinkEvent::End { input: None }));
    let (said, _) = tell(&mut tts, LinkMessage::OutputEnded { output: 0 });
    let kinds: Vec<_> = said.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["audio-start", "audio-stop", "synthesize-stopped"]);
}

#[test]
fn one_text_is_one_utterance_and_its_sound_comes_in_small_pieces() {
    let mut tts = Tts::new("in", "out", Some("One. Two."));
    let (_, events) = tell(
        &mut tts,
        opened(StreamFormat::Text, StreamFormat::audio(PCM)),
    );
    assert_eq!(texts(&events), ["One. Two."]);
    let audio = Audio::from_s16(16_000, 1, vec![0; 16_000]);
    let frame = Frame::new(MediaTime::default(), Payload::Audio(audio));
    let (said, _) = tell(&mut tts, LinkMessage::Frame { output: 0, frame });
    assert_eq!(said[0].kind, "audio-start");
    assert_eq!(said[0].data["rate"], Value::from(16_000));
    let bytes: usize = said[1..].iter().map(|event| event.payload.len()).sum();
    assert_eq!((said.len(), bytes), (5, 32_000));
    assert_eq!(said[4].number("timestamp"), Some(900));
}
