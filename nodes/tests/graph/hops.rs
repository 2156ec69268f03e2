//! Offloaded and remote hops: credit, order, times, ends, what they may not do.

use std::time::Duration;

use tidegate_nodes::graph::{Mode, Output, Stage};
use tidegate_nodes::node::DropReason;
use tidegate_nodes::plan::Target;
use tidegate_nodes::{Code, Error, HopCommand, HopEvent, Placement};

use crate::toolkit::*;

/// `in -> far -> out` with one hop of this placement.
fn through(placement: Placement) -> (Sketch, usize) {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let far = sketch.hop("identity", placement, (1, 1));
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[far], to);
    (sketch, far)
}

fn frames(commands: &[HopCommand]) -> Vec<(u64, String)> {
    let frames = commands.iter().filter_map(|command| match command {
        HopCommand::Frame { frame, .. } => Some((frame.meta.seq, words(frame))),
        _ => None,
    });
    frames.collect()
}

#[test]
fn a_hop_gets_frames_within_its_credit_numbered_from_one() {
    let (sketch, far) = through(Placement::Remote);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    for word in ["a", "b", "c"] {
        bench.say(0, word);
    }
    assert_eq!(bench.told(), []);
    assert_eq!(bench.stats("identity").queue_frames, 3);
    bench.credit(far, 2);
    assert_eq!(
        frames(&bench.told()),
        [(1, "a".to_owned()), (2, "b".to_owned())]
    );
    let row = bench.stats("identity");
    assert_eq!(
        (row.queue_frames, row.queue_bytes, row.in_flight),
        (1, 1, 2)
    );
    bench.credit(far, 5);
    assert_eq!(frames(&bench.told()), [(3, "c".to_owned())]);
}

#[test]
fn credit_in_bytes_is_overdrawn_by_one_frame_at_most() {
    let (sketch, far) = through(Placement::Remote);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    let credit = |bytes| HopEvent::Credit {
        port: 0,
        frames: 10,
        bytes,
    };
    bench.event(far, credit(4));
    bench.say(0, "123456");
    bench.say(0, "7");
    assert_eq!(frames(&bench.told()).len(), 1);
    bench.event(far, credit(2));
    assert_eq!(frames(&bench.told()).len(), 0);
    bench.event(far, credit(1));
    assert_eq!(frames(&bench.told()).len(), 1);
}

#[test]
fn an_answer_gets_back_what_caused_it_and_its_time_is_told_apart() {
    let (sketch, far) = through(Placement::Remote);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    bench.now = at(10);
    bench.say(0, "a");
    bench.now = at(13);
    bench.credit(far, 1);
    bench.now = at(20);
    let mut frame = text("A");
    frame.meta.caused_by = 1;
    frame.meta.service = Some(ms(5));
    frame.meta.utterance = 4;
    bench.take();
    bench.event(
        far,
        HopEvent::Frame {
            port: 0,
            frame: frame.clone(),
        },
    );
    bench.event(far, HopEvent::Frame { port: 0, frame });
    let said = bench.take();
    let [Output::Frame { frame, .. }, _] = &said[..] else {
        panic!("{said:?}")
    };
    let meta = frame.meta;
    assert_eq!((meta.caused_by, meta.ingress, meta.seq), (1, at(10), 1));
    assert_eq!(meta.service, None);
    let measured = bench.measured.lock().unwrap();
    let answer = [
        (far, Stage::Queue, ms(3)),
        (far, Stage::Service, ms(5)),
        (far, Stage::Wire, ms(2)),
    ];
    let mut expected = answer.to_vec();
    expected.push((far, Stage::FirstOutput, ms(10)));
    expected.extend(answer);
    assert_eq!(measured.records, expected);
    assert_eq!(measured.latencies[0].1, ms(10));
    drop(measured);
    assert_eq!(bench.stats("identity").in_flight, 0);
}

#[test]
fn of_a_thread_that_says_nothing_all_the_time_is_service() {
    let (sketch, far) = through(Placement::Offload);
    let mut bench = sketch.run();
    assert_eq!(bench.offloaded.len(), 1);
    bench.open(Mode::Waits);
    bench.credit(far, 1);
    bench.say(0, "a");
    bench.now = at(4);
    bench.answer(far, 1, "A");
    let records = &bench.measured.lock().unwrap().records;
    let expected = [
        (far, Stage::Queue, Duration::ZERO),
        (far, Stage::Service, ms(3)),
        (far, Stage::Wire, Duration::ZERO),
    ];
    assert_eq!(records[..], expected);
}

#[test]
fn an_utterances_first_output_is_timed_from_the_input_that_it_answers() {
    let (sketch, far) = through(Placement::Remote);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    bench.credit(far, 3);
    for (millis, words) in [(0, "a"), (1_000, "b"), (2_000, "c")] {
        bench.now = at(millis);
        bench.say(0, words);
    }
    // A partial result of what was there by the second, and the final one.
    for (millis, cause, words) in [(2_100, 2, "ab"), (2_400, 3, "abc")] {
        bench.now = at(millis);
        let mut frame = text(words);
        frame.meta.utterance = 1;
        frame.meta.caused_by = cause;
        bench.event(far, HopEvent::Frame { port: 0, frame });
    }
    let records = &bench.measured.lock().unwrap().records;
    let first = records
        .iter()
        .filter(|(_, stage, _)| *stage == Stage::FirstOutput);
    let first: Vec<_> = first.map(|(.., took)| *took).collect();
    assert_eq!(
        first,
        [ms(1_100)],
        "neither from the first input nor to the last output"
    );
}

#[test]
fn an_answer_that_nothing_caused_has_no_latency() {
    let (sketch, far) = through(Placement::Remote);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    bench.now = at(100);
    bench.answer(far, 0, "on its own");
    assert_eq!(bench.heard(), ["on its own"]);
    let measured = bench.measured.lock().unwrap();
    assert!(measured.records.is_empty() && measured.latencies.is_empty());
}

#[test]
fn a_ports_end_follows_its_last_frame_and_the_hops_end_ends_the_output() {
    let (sketch, far) = through(Placement::Remote);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Waits)[0];
    bench.say(0, "a");
    bench.end(0);
    assert_eq!(bench.told(), []);
    bench.credit(far, 1);
    let told = bench.told();
    assert_eq!(told.len(), 2);
    assert_eq!(told[1], HopCommand::End { port: 0 });
    bench.answer(far, 1, "A");
    bench.event(far, HopEvent::Ended { port: 0 });
    let said = bench.take();
    assert_eq!(said[1..], [Output::Ended { egress }, Output::Finished]);
    bench.answer(far, 1, "too late");
    assert_eq!(bench.take(), []);
}

#[test]
fn each_output_of_a_hop_ends_for_itself() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let far = sketch.hop("far", Placement::Remote, (1, 2));
    let one = sketch.output("one", TEXT);
    let two = sketch.output("two", TEXT);
    sketch.chain(from, &[far], one);
    sketch.join(tidegate_nodes::plan::Source::Hop { hop: far, port: 1 }, two);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live);
    bench.event(far, HopEvent::Ended { port: 1 });
    assert_eq!(bench.take(), [Output::Ended { egress: egress[1] }]);
    bench.event(
        far,
        HopEvent::Frame {
            port: 1,
            frame: text("x"),
        },
    );
    assert_eq!(bench.dropped("far", DropReason::HopEnded), 1);
    bench.event(far, HopEvent::Ended { port: 0 });
    assert_eq!(
        bench.take(),
        [Output::Ended { egress: egress[0] }, Output::Finished]
    );
    bench.say(0, "x");
    assert_eq!(bench.dropped("in", DropReason::HopEnded), 1);
}

#[test]
fn a_hop_without_outputs_is_done_when_it_has_acknowledged_everything() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let tap = sketch.hop("sink", Placement::Offload, (1, 0));
    let to = sketch.output("out", TEXT);
    sketch.join(from, into(tap));
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    bench.credit(tap, 4);
    bench.say(0, "x");
    bench.end(0);
    assert!(!bench.take().contains(&Output::Finished));
    bench.event(tap, HopEvent::Acknowledged { port: 0, seq: 1 });
    assert_eq!(bench.take(), [Output::Finished]);
}

#[test]
fn a_hop_that_fails_ends_the_session_and_is_named() {
    let (sketch, far) = through(Placement::Remote);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.event(
        far,
        HopEvent::Failed(Error::new(Code::Network, "the worker went away")),
    );
    bench.credit(far, 1);
    let said = bench.take();
    let [Output::Failed(error)] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(
        (error.code, error.hop.as_deref()),
        (Code::Network, Some("identity"))
    );
}

#[test]
fn a_worker_that_sends_another_kind_than_agreed_is_at_fault() {
    let (mut sketch, far) = through(Placement::Remote);
    sketch.plan.hops[far].outputs[0].format = Some(TEXT);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.event(
        far,
        HopEvent::Frame {
            port: 0,
            frame: audio(0),
        },
    );
    let said = bench.take();
    let [Output::Failed(error)] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(error.code, Code::InvalidRemoteData);
    assert!(error.message.contains("audio") && error.message.contains("text"));
}

#[test]
fn frames_whose_deadline_passed_are_not_sent_to_a_hop_unless_their_sender_waits() {
    for (mode, sent) in [(Mode::Live, 1), (Mode::Waits, 2)] {
        let (sketch, far) = through(Placement::Remote);
        let mut bench = sketch.run();
        bench.open(mode);
        let mut stale = text("stale");
        stale.meta.deadline = Some(at(5));
        bench.send(0, stale);
        bench.say(0, "fresh");
        bench.now = at(6);
        bench.credit(far, 9);
        assert_eq!(frames(&bench.told()).len(), sent, "{mode:?}");
        let lost = bench.dropped("identity", DropReason::Deadline);
        assert_eq!(usize::try_from(lost).unwrap() + sent, 2);
    }
}

#[test]
fn what_a_hop_drops_itself_is_counted() {
    let (sketch, far) = through(Placement::Offload);
    let mut bench = sketch.run();
    let reason = DropReason::Condition;
    bench.event(far, HopEvent::Dropped { reason, frames: 3 });
    assert_eq!(bench.dropped("identity", reason), 3);
}

#[test]
fn messages_from_places_that_are_not_there_change_nothing() {
    let (sketch, far) = through(Placement::Remote);
    let mut bench = sketch.run();
    bench.credit(far + 1, 1);
    bench.event(
        far,
        HopEvent::Credit {
            port: 7,
            frames: 1,
            bytes: 1,
        },
    );
    bench.event(far, HopEvent::Acknowledged { port: 7, seq: 1 });
    bench.say(9, "x");
    bench.end(9);
    assert_eq!(bench.take(), []);
}

#[test]
fn two_ports_of_a_hop_are_numbered_each_for_itself() {
    let mut sketch = Sketch::new();
    let one = sketch.input("one", TEXT);
    let two = sketch.input("two", TEXT);
    let far = sketch.hop("far", Placement::Remote, (2, 1));
    let to = sketch.output("out", TEXT);
    sketch.chain(one, &[far], to);
    sketch.join(two, Target::Hop { hop: far, port: 1 });
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    for port in 0..2 {
        bench.event(
            far,
            HopEvent::Credit {
                port,
                frames: 9,
                bytes: u64::MAX,
            },
        );
    }
    bench.now = at(5);
    bench.say(0, "a");
    bench.now = at(6);
    bench.say(1, "b");
    assert_eq!(
        frames(&bench.told())
            .iter()
            .map(|f| f.0)
            .collect::<Vec<_>>(),
        [1, 1]
    );
    bench.answer(far, 1, "A");
    let said = bench.take();
    let [Output::Frame { frame, .. }] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(
        frame.meta.ingress,
        at(6),
        "of both the one with the newer input"
    );
}
