//! What is encoded comes back the same; what is not ours gives an error that says where and how to mend it.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use tidegate_media::{AudioFormat, Payload};

use super::*;
use crate::message::StreamSpec;
use crate::name::PortName;
use crate::testing::{self, NOW};
use crate::v1::client_message::Message;

fn no_formats() -> PortFormats {
    PortFormats::default()
}

fn error_of(frame: v1::Frame) -> String {
    decode_frame(frame, NOW, &no_formats())
        .expect_err("must be refused")
        .to_string()
}

fn audio_frame(data: &'static [u8], format: Option<v1::AudioFormat>) -> v1::Frame {
    let audio = v1::Audio {
        format,
        data: Bytes::from_static(data),
    };
    v1::Frame {
        port: "mic".into(),
        payload: Some(v1::frame::Payload::Audio(audio)),
        ..v1::Frame::default()
    }
}

proptest! {
    #[test]
    fn client_messages_come_back_the_same(message in testing::client()) {
        let bytes = encode_client_bytes(message.clone(), NOW);
        prop_assert_eq!(decode_client_bytes(bytes, NOW, &no_formats()), Ok(message));
    }

    #[test]
    fn server_messages_come_back_the_same(message in testing::server()) {
        let bytes = encode_server_bytes(message.clone(), NOW);
        prop_assert_eq!(decode_server_bytes(bytes, NOW, &no_formats()), Ok(Some(message)));
    }

    #[test]
    fn executions_come_back_the_same(execute in testing::execute()) {
        let wire = encode_execute(execute.clone(), NOW);
        prop_assert_eq!(decode_execute(wire, NOW), Ok(execute));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let bytes = Bytes::from(bytes);
        let _ = decode_client_bytes(bytes.clone(), NOW, &no_formats());
        let _ = decode_server_bytes(bytes, NOW, &no_formats());
    }

    #[test]
    fn no_damaged_message_makes_it_panic(
        message in testing::client(), at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = encode_client_bytes(message, NOW).to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = with;
            if cut { bytes.truncate(at) }
        }
        let _ = decode_client_bytes(bytes.into(), NOW, &no_formats());
    }
}

#[test]
fn payloads_are_shared_with_the_bytes_that_carried_them() {
    let frame = audio_frame(b"01234567", None);
    let message = v1::ClientMessage {
        message: Some(Message::Frame(frame)),
    };
    let bytes = Bytes::from(message.encode_to_vec());
    let range = bytes.as_ptr_range();
    let decoded = decode_client_bytes(bytes, NOW, &no_formats());
    let Ok(ClientMessage::Frame { frame, .. }) = decoded else {
        panic!("{decoded:?}")
    };
    let Payload::Audio(audio) = &frame.payload else {
        panic!("{frame:?}")
    };
    assert!(range.contains(&audio.data.as_ptr()));
    let data = audio.data.as_ptr();
    let encoded = encode_frame("mic".into(), frame, NOW);
    let Some(v1::frame::Payload::Audio(audio)) = encoded.payload else {
        panic!("lost its payload")
    };
    assert_eq!(audio.data.as_ptr(), data);
}

#[test]
fn audio_without_a_format_takes_that_of_its_port() {
    let mut formats = no_formats();
    let port = PortName::new("mic").expect("a name");
    formats.set(port, StreamSpec::Audio(AudioFormat::pcm_f32(48_000, 2)));
    let of = |formats| {
        let (_, frame) = decode_frame(audio_frame(b"01234567", None), NOW, formats).expect("fits");
        let Payload::Audio(audio) = frame.payload else {
            panic!("no audio")
        };
        audio.format
    };
    assert_eq!(of(&formats), AudioFormat::pcm_f32(48_000, 2));
    assert_eq!(of(&no_formats()), StreamSpec::DEFAULT_AUDIO);
}

#[test]
fn times_keep_their_meaning_at_their_edges() {
    let (_, mut frame) =
        decode_frame(audio_frame(b"", None), NOW, &no_formats()).expect("an empty frame");
    frame.meta.deadline = Some(NOW.saturating_sub(std::time::Duration::from_secs(1)));
    frame.meta.service = Some(std::time::Duration::from_nanos(300));
    let encoded = encode_frame("mic".into(), frame, NOW);
    // Both are there, so neither may become the 0 that means "none".
    assert_eq!((encoded.deadline, encoded.service), (1, 1));
}

#[test]
fn errors_say_which_field_and_how_to_mend_it() {
    let format = |codec, sample_rate, channels| {
        Some(v1::AudioFormat {
            codec,
            sample_rate,
            channels,
        })
    };
    let cases = [
        (
            v1::Frame::default(),
            "frame.port is missing: name a port of the pipeline",
        ),
        (
            v1::Frame {
                port: "mic".into(),
                ..v1::Frame::default()
            },
            "frame.payload is missing: send one of audio, video, text, binary, tensor, json",
        ),
        (
            audio_frame(b"123", None),
            "frame.audio.data has 3 bytes: pcm_s16/16000/1 needs a multiple of 2",
        ),
        (
            audio_frame(b"", format(9, 16_000, 1)),
            "frame.audio.format.codec has the unknown number 9: name one of pcm_s16, pcm_f32, opus, pcmu or pcma",
        ),
        (
            audio_frame(b"", format(1, 0, 1)),
            "frame.audio.format.sample_rate is 0: name samples a second, 4000 to 384000",
        ),
        (
            audio_frame(b"", format(1, 16_000, 300)),
            "frame.audio.format.channels is 300: name a count of interleaved channels, 1 to 64",
        ),
    ];
    for (frame, expected) in cases {
        assert_eq!(error_of(frame), expected);
    }
    let empty = decode_client(v1::ClientMessage::default(), NOW, &no_formats());
    let error = empty.expect_err("must be refused").to_string();
    assert_eq!(
        error,
        "message is empty or of an unknown kind: send one of open, frame, interrupt, end, credit, ack"
    );
}

#[test]
fn messages_of_a_newer_server_are_passed_over() {
    // Field 99, length-delimited, empty.
    let bytes = Bytes::from_static(&[0x9a, 0x06, 0x00]);
    assert_eq!(decode_server_bytes(bytes, NOW, &no_formats()), Ok(None));
}

#[test]
fn parameters_have_a_depth() {
    let mut value = prost_types::Value::from(1.0);
    for _ in 0..crate::limits::PARAMETERS_DEPTH {
        value = prost_types::Value::from(vec![value]);
    }
    let open = v1::Open {
        source: Some(v1::open::Source::Pipeline("echo".into())),
        parameters: Some(prost_types::Struct {
            fields: [("deep".to_owned(), value)].into(),
        }),
        ..v1::Open::default()
    };
    let message = v1::ClientMessage {
        message: Some(Message::Open(open)),
    };
    let error = decode_client(message, NOW, &no_formats()).expect_err("too deep");
    assert!(error.is_too_large(), "{error}");
}
