//! What is written is read back the same; what is not ours gives an error that says where and how to mend it.

use proptest::prelude::*;
use tidegate_media::{Json, Payload};

use super::*;
use crate::message::Source;
use crate::testing::{self, NOW};

fn client(text: &str) -> Result<ClientMessage, WireMessageError> {
    decode_client(text, NOW, &PortFormats::default())
}

fn server(text: &str) -> Result<Option<ServerMessage>, WireMessageError> {
    decode_server(text, NOW, &PortFormats::default())
}

fn error_of(text: &str) -> String {
    client(text).expect_err("must be refused").to_string()
}

proptest! {
    #[test]
    fn client_messages_come_back_the_same(message in testing::client()) {
        let text = encode_client(&message, NOW);
        prop_assert_eq!(client(&text), Ok(message), "{}", text);
    }

    #[test]
    fn server_messages_come_back_the_same_on_one_line(message in testing::server()) {
        let text = encode_server(&message, NOW);
        prop_assert!(!text.contains(['\n', '\r']));
        prop_assert_eq!(server(&text), Ok(Some(message)), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,64}") {
        let _ = client(&text);
        let _ = server(&text);
    }

    #[test]
    fn no_damaged_message_makes_it_panic(
        message in testing::client(), at in any::<prop::sample::Index>(), with in any::<char>(),
    ) {
        let text = encode_client(&message, NOW);
        let at = at.index(text.chars().count());
        let damaged: String =
            text.chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
        let _ = client(&damaged);
        let _ = server(&damaged);
    }

    #[test]
    fn executions_come_back_the_same(execute in testing::execute()) {
        let text = encode_execute(&execute, NOW);
        prop_assert!(!text.contains('\n'));
        let outputs = encode_outputs(&execute.inputs, NOW);
        prop_assert_eq!(decode_outputs(&outputs, NOW), Ok(execute.inputs.clone()));
        prop_assert_eq!(decode_execute(&text, None, NOW), Ok(execute));
    }
}

#[test]
fn the_forms_of_messages_are_those_that_clients_rely_on() {
    let texts = [
        r#"{"open":{"pipeline":"echo","parameters":{"gain":2},"mode":"waits","features":["credits"],"session":"s","as":["mic"],"inputs":[{"port":"mic","audio":{"codec":"opus","sample_rate":48000,"channels":1}}],"raw":{"input":"mic"},"hop_count":1,"deadline":5000000}}"#,
        r#"{"frame":{"port":"mic","seq":1,"media_time":20000,"utterance":3,"final":true,"audio":{"format":{"codec":"pcm_s16","sample_rate":16000,"channels":1},"data":"AAE="}}}"#,
        r#"{"frame":{"port":"in","seq":1,"media_time":0,"tensor":{"dtype":"f16","shape":[1,2],"data":"AAECAw=="}}}"#,
        r#"{"frame":{"port":"in","seq":1,"media_time":0,"json":{"value":{"a":[1.50,1e3]}}}}"#,
        r#"{"frame":{"port":"in","seq":1,"media_time":0,"video":{"format":{"codec":"vp8"},"key":true,"data":""}}}"#,
        r#"{"interrupt":{}}"#,
        r#"{"end":{}}"#,
        r#"{"end":{"port":"mic"}}"#,
        r#"{"credit":{"port":"speaker","frames":8}}"#,
        r#"{"ack":{"port":"speaker","seq":9}}"#,
    ];
    for text in texts {
        let message = client(text).expect(text);
        assert_eq!(encode_client(&message, NOW), text);
    }
    let texts = [
        r#"{"opened":{"session_id":"s1","ports":[{"name":"mic","direction":"input","kind":"audio","audio":{"codec":"pcm_s16","sample_rate":16000,"channels":1}}],"features":[],"limits":{"message_bytes":4194304},"pipeline":"echo","gateway":"0.1.0"}}"#,
        r#"{"error":{"code":"timeout","message":"m","fault":"worker","retryable":true,"hop":"stt","endpoint":"http://a","phase":"connect"}}"#,
        r#"{"interrupted":{"port":"speaker","reason":"speech"}}"#,
        r#"{"stats":{"hops":[{"hop":"stt","frames_in":1,"frames_out":2,"dropped":0,"queue_frames":0,"wire":{"count":1,"p50":2,"p90":3,"p99":4,"max":5}}]}}"#,
        r#"{"replay_from":{"port":"mic","seq":4}}"#,
        r#"{"draining":{"deadline":30000000}}"#,
        r#"{"ended":{"reason":"done"}}"#,
        r#"{"end":{"port":"captions"}}"#,
    ];
    for text in texts {
        let message = server(text).expect(text).expect(text);
        assert_eq!(encode_server(&message, NOW), text);
    }
}

#[test]
fn errors_say_where_and_how_to_mend_it() {
    let cases = [
        (
            "",
            "message is not JSON of tidegate.v1: EOF while parsing a value at line 1 column 0",
        ),
        (
            r#"{"opne":{}}"#,
            "message is not JSON of tidegate.v1: unknown variant `opne`, expected one of `open`, `frame`, `interrupt`, `end`, `credit`, `ack` at line 1 column 7",
        ),
        (
            r#"{"frame":{"port":"mic","seq":"1"}}"#,
            "message is not JSON of tidegate.v1: frame.seq: invalid type: string \"1\", expected u64 at line 1 column 32",
        ),
        (
            r#"{"frame":{"port":"mic","audio":{"format":{"codec":"mp3"},"data":""}}}"#,
            "message is not JSON of tidegate.v1: frame.audio.format.codec: unknown variant `mp3`, expected one of `pcm_s16`, `pcm_f32`, `opus`, `pcmu`, `pcma` at line 1 column 55",
        ),
        (
            r#"{"frame":{"port":"mic","audio":{"data":"%"}}}"#,
            "message is not JSON of tidegate.v1: frame.audio.data: not padded standard base64: Invalid symbol 37, offset 0. at line 1 column 42",
        ),
        (
            r#"{"frame":{"audio":{"data":""}}}"#,
            "frame.port is missing: name a port of the pipeline",
        ),
        (
            r#"{"frame":{"port":"a","text":{"text":""},"binary":{"data":""}}}"#,
            "frame.payload is there more than once: send one of audio, video, text, binary, tensor, json",
        ),
        (
            r#"{"open":{"pipeline":"a","inputs":[{"port":"m","audio":{"codec":"opus","sample_rate":16000,"channels":1}}]}}"#,
            "open.inputs.audio is opus/16000/1: opus is named with a sample rate of 48000 and one or two channels, whatever it was made of",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error_of(text), expected, "for {text}");
    }
}

#[test]
fn errors_in_a_list_of_frames_name_the_frame() {
    let of = |text| {
        decode_execute(text, Some("echo"), NOW)
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        of(r#"{"inputs":{"in":[{"text":{"text":"a"}},{"audio":{"data":"AAAA"}}]}}"#),
        "execute.inputs.in[1].audio.data has 3 bytes: pcm_s16/16000/1 needs a multiple of 2"
    );
    assert_eq!(
        of(r#"{"inputs":{"in":[{"port":"out","text":{"text":"a"}}]}}"#),
        "execute.inputs.in[0].port is out: leave it out, or name the list's own port"
    );
}

#[test]
fn what_is_executed_is_said_by_the_path_or_by_the_body() {
    let source = |text, path| decode_execute(text, path, NOW).map(|execute| execute.source);
    let echo = || Ok(Source::Pipeline("echo".to_owned()));
    assert_eq!(source("{}", Some("echo")), echo());
    assert_eq!(source(r#"{"pipeline":"echo"}"#, Some("echo")), echo());
    assert_eq!(source(r#"{"pipeline":"echo"}"#, None), echo());
    let given = Ok(Source::Manifest("{}".to_owned()));
    assert_eq!(source(r#"{"manifest":{}}"#, None), given);
    let refused = |text, path| source(text, path).expect_err("refused").to_string();
    assert!(refused("{}", None).starts_with("execute.pipeline is missing"));
    for text in [r#"{"pipeline":"tap"}"#, r#"{"manifest":{}}"#] {
        let error = refused(text, Some("echo"));
        assert!(error.contains("contradicts the path of 'echo'"), "{error}");
    }
}

#[test]
fn a_manifest_is_its_text_or_the_object_itself() {
    for (text, expected) in [
        (r#"{"open":{"manifest":"name: a\n"}}"#, "name: a\n"),
        (r#"{"open":{"manifest":{"name": "a"}}}"#, r#"{"name": "a"}"#),
    ] {
        let Ok(ClientMessage::Open(open)) = client(text) else {
            panic!("{text}")
        };
        assert_eq!(open.source, Source::Manifest(expected.to_owned()));
    }
}

#[test]
fn unknown_fields_and_newer_kinds_of_a_server_are_passed_over() {
    assert_eq!(
        client(r#"{"interrupt":{"new":[1]}}"#),
        Ok(ClientMessage::Interrupt)
    );
    assert_eq!(server(r#"{"hologram":{"a":[{}]}}"#), Ok(None));
    assert!(server("{}").is_err());
    assert!(server(r#"{"ended":{},"ack":{}}"#).is_err());
}

#[test]
fn json_payloads_keep_their_numbers_and_lose_their_line_breaks() {
    let json = Json::parse("{\n\"a\": 12345678901234567890.10\r\n}".into()).expect("JSON");
    let frame = Frame::new(tidegate_media::MediaTime::ZERO, Payload::Json(json));
    let port = PortName::new("out").expect("a name");
    let message = ServerMessage::Frame {
        port,
        caused_port: None,
        frame,
    };
    let text = encode_server(&message, NOW);
    assert!(
        text.contains("{ \"a\": 12345678901234567890.10  }"),
        "{text}"
    );
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let deep = "[".repeat(100_000);
    assert!(client(&deep).is_err());
    assert!(
        client(&format!(
            r#"{{"open":{{"pipeline":"a","parameters":{{"x":{deep}"#
        ))
        .is_err()
    );
    let value = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let error = client(&format!(
        r#"{{"open":{{"pipeline":"a","parameters":{{"x":{value}}}}}}}"#
    ));
    assert!(error.expect_err("too deep").is_too_large());
}

#[test]
fn an_open_may_leave_the_pipeline_to_the_path() {
    let open = decode_client(r#"{"open":{}}"#, Timestamp::ZERO, &PortFormats::default());
    let Ok(ClientMessage::Open(open)) = open else {
        panic!("{open:?}");
    };
    assert_eq!(open.source, Source::Pipeline(String::new()));
}

#[test]
fn a_message_of_several_kinds_or_none_is_told_that_it_has_one() {
    let told = |text: &str| {
        let decoded = decode_client(text, NOW, &PortFormats::default());
        decoded.expect_err("no message").to_string()
    };
    let error = told(r#"{"open":{},"end":{}}"#);
    assert!(
        error.contains("exactly one key, its kind, and this one has end, open"),
        "{error}"
    );
    let error = told("{}");
    assert!(
        error.contains("exactly one key") && error.contains("none"),
        "{error}"
    );
    let error = told(r#"{"opne":{}}"#);
    assert!(error.contains("opne"), "{error}");
}
