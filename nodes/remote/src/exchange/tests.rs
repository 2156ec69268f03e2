//! The protocol's rules, one by one, without a transport.

use std::time::Duration;

use tidegate_media::{AudioFormat, MediaTime, Payload, Text};
use tidegate_nodes::{Code, Error, Phase};
use tidegate_proto::ServerMessage;
use tidegate_proto::message::{Ack, Port, StreamSpec, WireError};

use super::*;

const NOW: Timestamp = Timestamp::from_nanos(1_000);

fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

fn opened(features: &[&str]) -> Opened {
    let port = |text, direction, kind| Port {
        name: name(text),
        direction,
        kind,
        format: None,
    };
    Opened {
        ports: vec![
            port("in", Direction::Input, Kind::Audio),
            port("unfed", Direction::Input, Kind::Text),
            port("out", Direction::Output, Kind::Text),
            port("extra", Direction::Output, Kind::Json),
        ],
        features: features.iter().map(|&feature| feature.to_owned()).collect(),
        ..Opened::default()
    }
}

fn exchange(features: &[&str]) -> Exchange {
    let audio = StreamFormat::audio(AudioFormat::pcm_s16(16_000, 1));
    let ports = HopPorts {
        hop: "stt".into(),
        inputs: vec![("in".into(), Some(audio))],
        outputs: vec![("out".into(), Some(StreamFormat::Text))],
    };
    let timeouts = Timeouts {
        first_output: Some(Duration::from_secs(1)),
        ..Timeouts::default()
    };
    Exchange::begin(&ports, &opened(features), timeouts).expect("fits")
}

fn audio(seq: u64) -> Frame {
    let format = AudioFormat::pcm_s16(16_000, 1);
    let audio = tidegate_media::Audio::encoded(format, vec![0; 640].into());
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Audio(audio));
    frame.meta.seq = seq;
    frame
}

/// The number on the wire of the frame that the graph gives this number.
fn send(exchange: &mut Exchange, seq: u64) -> u64 {
    assert!(exchange.can_send(0));
    match exchange.frame(NOW, 0, audio(seq)) {
        Some((ClientMessage::Frame { frame, .. }, _)) => frame.meta.seq,
        other => panic!("{other:?} instead of a frame"),
    }
}

fn text(port: &str, caused_by: u64) -> ServerMessage {
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Text(Text::from("hello")));
    frame.meta.caused_by = caused_by;
    ServerMessage::Frame {
        port: name(port),
        caused_port: None,
        frame,
    }
}

fn credit(frames: u32) -> ServerMessage {
    ServerMessage::Credit(Credit {
        port: name("in"),
        frames,
        bytes: Credit::UNCOUNTED,
    })
}

fn said(exchange: &mut Exchange) -> Vec<Said> {
    std::iter::from_fn(|| exchange.poll_said()).collect()
}

fn failure(exchange: &mut Exchange) -> Error {
    let mut said = said(exchange);
    let Some(Said::Failed(error)) = said.pop() else {
        panic!("no failure at the end of {said:?}")
    };
    assert!(exchange.is_over());
    error.into()
}

#[test]
fn the_worker_gets_credit_for_all_its_outputs_and_the_end_of_what_nobody_feeds() {
    let mut exchange = exchange(&["credits"]);
    let sent: Vec<_> = std::iter::from_fn(|| exchange.poll_transmit()).collect();
    let credited = |port: &str| {
        let wanted = name(port);
        sent.iter()
            .any(|message| matches!(message, ClientMessage::Credit(c) if c.port == wanted))
    };
    assert!(credited("out") && credited("extra"));
    let port = Some(name("unfed"));
    assert!(sent.contains(&ClientMessage::End { port }));
    assert!(said(&mut exchange).is_empty());
}

#[test]
fn there_is_room_for_the_workers_credit_or_where_that_is_not_counted_for_our_own() {
    let mut counted = exchange(&["credits"]);
    assert!(!counted.can_send(0));
    counted.receive(NOW, credit(3));
    assert_eq!(counted.room(0).frames, 3);
    assert_eq!(exchange(&[]).room(0).frames, 64);
}

#[test]
fn outputs_come_through_and_those_of_ports_not_joined_are_no_loss() {
    let mut exchange = exchange(&["credits"]);
    exchange.receive(NOW, text("out", 0));
    let json = tidegate_media::Json::from(&serde_json::Value::Null);
    let frame = Frame::new(MediaTime::ZERO, Payload::Json(json));
    let port = name("extra");
    exchange.receive(
        NOW,
        ServerMessage::Frame {
            port,
            caused_port: None,
            frame,
        },
    );
    let said = said(&mut exchange);
    assert!(matches!(said[..], [Said::Frame { port: 0, .. }]));
}

#[test]
fn what_the_protocol_does_not_allow_is_invalid_remote_data_and_says_what() {
    let unknown = text("nowhere", 0);
    let wrong_kind = text("extra", 0);
    let late_opened = ServerMessage::Opened(Box::default());
    let cases = [
        (
            unknown,
            "output 'nowhere', which it did not list when it opened",
        ),
        (wrong_kind, "a frame of text on 'extra', which is json"),
        (late_opened, "a second 'opened'"),
    ];
    for (message, expected) in cases {
        let mut exchange = exchange(&[]);
        exchange.receive(NOW, message);
        let error = failure(&mut exchange);
        assert_eq!(error.code, Code::InvalidRemoteData);
        assert!(error.message.ends_with(expected), "{}", error.message);
        exchange.receive(NOW, text("out", 0));
        assert!(said(&mut exchange).is_empty());
    }
}

#[test]
fn a_worker_beyond_its_credit_is_refused() {
    let mut exchange = exchange(&["credits"]);
    exchange.outputs[0].window = ReceiveWindow::exhausted();
    exchange.receive(NOW, text("out", 0));
    let message = failure(&mut exchange).message;
    assert!(
        message.ends_with("more frames on 'out' than it had credit for"),
        "{message}"
    );
}

#[test]
fn what_an_interrupt_takes_back_leaves_no_gap_in_the_numbers_on_the_wire() {
    let mut exchange = exchange(&[]);
    for seq in 1..=3 {
        assert_eq!(send(&mut exchange, seq), seq);
    }
    let mut unsent = Counts::default();
    let (port, bytes) = (0, 640);
    unsent.add(FramePlace { port, bytes });
    exchange.discarded(&unsent);
    assert_eq!(exchange.interrupt(NOW), ClientMessage::Interrupt);
    assert_eq!(send(&mut exchange, 4), 3);
    exchange.receive(NOW, text("out", 3));
    let last = said(&mut exchange).pop();
    assert!(
        matches!(&last, Some(Said::Frame { cause: Some(cause), .. }) if cause.seq == 4),
        "{last:?}"
    );
}

#[test]
fn ends_pass_both_ways_once() {
    let mut exchange = exchange(&[]);
    assert!(exchange.end(NOW, 0).is_some());
    assert_eq!(exchange.end(NOW, 0), None);
    exchange.receive(NOW, ServerMessage::End { port: name("out") });
    exchange.receive(
        NOW,
        ServerMessage::Ended {
            reason: String::new(),
        },
    );
    let said_all = said(&mut exchange);
    assert!(
        matches!(said_all[..], [Said::Ended { port: 0 }, Said::Over]),
        "{said_all:?}"
    );
    assert!(exchange.is_over());
    exchange.closed();
    assert!(said(&mut exchange).is_empty());
}

#[test]
fn a_stream_that_closes_before_the_end_is_a_broken_connection() {
    let mut exchange = exchange(&[]);
    exchange.closed();
    assert_eq!(failure(&mut exchange).code, Code::Network);
    assert_eq!(exchange.poll_timeout(), None);
}

#[test]
fn acknowledgements_and_errors_of_the_worker_are_passed_on() {
    let mut exchange = exchange(&["acks"]);
    assert!(exchange.acks());
    send(&mut exchange, 41);
    let place = || Ack {
        port: name("in"),
        seq: 1,
    };
    exchange.receive(NOW, ServerMessage::Ack(place()));
    exchange.receive(NOW, ServerMessage::ReplayFrom(place()));
    let said_all = said(&mut exchange);
    assert!(
        matches!(
            said_all[..],
            [
                Said::Acknowledged { port: 0, seq: 41 },
                Said::ReplayFrom { port: 0, seq: 41 }
            ]
        ),
        "{said_all:?}"
    );
    assert_eq!(exchange.poll_timeout(), None);
    let error = WireError {
        code: "overloaded".into(),
        message: "full".into(),
        ..WireError::default()
    };
    exchange.receive(NOW, ServerMessage::Error(Box::new(error)));
    assert_eq!(failure(&mut exchange).code, Code::Overloaded);
}

#[test]
fn a_worker_that_never_answers_times_out_in_the_phase_of_the_first_output() {
    let mut exchange = exchange(&[]);
    send(&mut exchange, 1);
    let due = exchange.poll_timeout().expect("something is awaited");
    exchange.handle_timeout(due.saturating_sub(Duration::from_nanos(1)));
    assert!(said(&mut exchange).is_empty());
    exchange.handle_timeout(due);
    let error = failure(&mut exchange);
    assert_eq!(
        (error.code, error.phase),
        (Code::Timeout, Some(Phase::FirstOutput))
    );
}

#[test]
fn audio_in_another_format_than_agreed_is_refused() {
    let pcm = AudioFormat::pcm_s16(16_000, 1);
    let ports = HopPorts {
        hop: "tts".into(),
        inputs: Vec::new(),
        outputs: vec![("out".into(), Some(StreamFormat::audio(pcm)))],
    };
    let mut opened = opened(&[]);
    opened.ports[2].kind = Kind::Audio;
    opened.ports[2].format = Some(StreamSpec::Audio(pcm));
    let mut exchange = Exchange::begin(&ports, &opened, Timeouts::default()).expect("fits");
    let other = tidegate_media::Audio::from_f32(48_000, 1, vec![0.0]);
    let frame = Frame::new(MediaTime::ZERO, Payload::Audio(other));
    let port = name("out");
    exchange.receive(
        NOW,
        ServerMessage::Frame {
            port,
            caused_port: None,
            frame,
        },
    );
    let message = failure(&mut exchange).message;
    assert!(
        message.contains("pcm_f32/48000/1 on 'out', which is pcm_s16/16000/1"),
        "{message}"
    );
}
