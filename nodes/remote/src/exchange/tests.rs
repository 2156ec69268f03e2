//! The protocol's rules, one by one, without a transport.

use std::time::Duration;

use tidegate_media::{AudioFormat, MediaTime, Payload, Text};
use tidegate_nodes::{Code, Phase};
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
    Exchange::begin(&ports, &opened(features), timeouts, NOW).expect("fits")
}

fn audio(seq: u64) -> HopCommand {
    let format = AudioFormat::pcm_s16(16_000, 1);
    let audio = tidegate_media::Audio::encoded(format, vec![0; 640].into());
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Audio(audio));
    frame.meta.seq = seq;
    HopCommand::Frame { port: 0, frame }
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

fn events(exchange: &mut Exchange) -> Vec<HopEvent> {
    std::iter::from_fn(|| exchange.poll_event()).collect()
}

fn failure(exchange: &mut Exchange) -> Error {
    let mut events = events(exchange);
    let Some(HopEvent::Failed(error)) = events.pop() else {
        panic!("no failure at the end of {events:?}")
    };
    assert!(exchange.is_over());
    error
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
    assert_eq!(events(&mut exchange), []);
}

#[test]
fn the_graph_gets_the_workers_credit_or_where_that_is_not_counted_our_own() {
    let mut counted = exchange(&["credits"]);
    counted.receive(NOW, credit(3));
    let given = events(&mut counted);
    assert!(
        matches!(
            given[..],
            [HopEvent::Credit {
                port: 0,
                frames: 3,
                ..
            }]
        ),
        "{given:?}"
    );

    let mut uncounted = exchange(&[]);
    let given = events(&mut uncounted);
    assert!(
        matches!(
            given[..],
            [HopEvent::Credit {
                port: 0,
                frames: 64,
                ..
            }]
        ),
        "{given:?}"
    );
}

#[test]
fn frames_beyond_credit_fail_the_hop_rather_than_the_worker() {
    let mut exchange = exchange(&["credits"]);
    assert_eq!(exchange.command(NOW, audio(1)), None);
    assert_eq!(failure(&mut exchange).code, Code::Internal);
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
    let events = events(&mut exchange);
    assert!(matches!(events[0], HopEvent::Frame { port: 0, .. }));
    assert_eq!(events.len(), 1);
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
        assert_eq!(events(&mut exchange), []);
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
fn an_interrupt_voids_what_older_input_caused() {
    let mut exchange = exchange(&[]);
    events(&mut exchange);
    for seq in 1..=2 {
        assert!(exchange.command(NOW, audio(seq)).is_some());
    }
    let sent = exchange.command(NOW, HopCommand::Interrupt);
    assert_eq!(sent, Some((ClientMessage::Interrupt, None)));
    assert!(exchange.command(NOW, audio(3)).is_some());
    for caused_by in [2, 3] {
        exchange.receive(NOW, text("out", caused_by));
    }
    let events = events(&mut exchange);
    let reason = DropReason::Interrupted;
    assert_eq!(events[0], HopEvent::Dropped { reason, frames: 1 });
    assert!(matches!(&events[1], HopEvent::Frame { frame, .. } if frame.meta.caused_by == 3));
}

#[test]
fn what_an_interrupt_takes_back_leaves_no_gap_in_the_numbers_on_the_wire() {
    let mut exchange = exchange(&[]);
    events(&mut exchange);
    for seq in 1..=3 {
        assert!(exchange.command(NOW, audio(seq)).is_some());
    }
    let mut unsent = Counts::default();
    let (port, bytes) = (0, 640);
    unsent.add(FramePlace { port, bytes });
    exchange.discarded(&unsent);
    assert!(exchange.command(NOW, HopCommand::Interrupt).is_some());
    let sent = exchange.command(NOW, audio(4));
    let Some((ClientMessage::Frame { frame, .. }, _)) = sent else {
        panic!("{sent:?}")
    };
    assert_eq!(frame.meta.seq, 3);
    exchange.receive(NOW, text("out", 3));
    let last = events(&mut exchange).pop();
    assert!(
        matches!(&last, Some(HopEvent::Frame { frame, .. }) if frame.meta.caused_by == 4),
        "{last:?}"
    );
}

#[test]
fn ends_pass_both_ways_once() {
    let mut exchange = exchange(&[]);
    events(&mut exchange);
    let end = HopCommand::End { port: 0 };
    assert!(exchange.command(NOW, end.clone()).is_some());
    assert_eq!(exchange.command(NOW, end), None);
    exchange.receive(NOW, ServerMessage::End { port: name("out") });
    exchange.receive(
        NOW,
        ServerMessage::Ended {
            reason: String::new(),
        },
    );
    assert_eq!(events(&mut exchange), [HopEvent::Ended { port: 0 }]);
    assert!(exchange.is_over());
    exchange.closed();
    assert_eq!(events(&mut exchange), []);
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
    let mut exchange = exchange(&[]);
    events(&mut exchange);
    assert!(exchange.command(NOW, audio(1)).is_some());
    exchange.receive(
        NOW,
        ServerMessage::Ack(Ack {
            port: name("in"),
            seq: 1,
        }),
    );
    assert_eq!(
        events(&mut exchange),
        [HopEvent::Acknowledged { port: 0, seq: 1 }]
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
    events(&mut exchange);
    assert!(exchange.command(NOW, audio(1)).is_some());
    let due = exchange.poll_timeout().expect("something is awaited");
    exchange.handle_timeout(due.saturating_sub(Duration::from_nanos(1)));
    assert_eq!(events(&mut exchange), []);
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
    let mut exchange = Exchange::begin(&ports, &opened, Timeouts::default(), NOW).expect("fits");
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
