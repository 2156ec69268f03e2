//! Ring and ledger by themselves; what they do together is in the failover's simulation.

use std::collections::VecDeque;

use tidegate_media::{Frame, MediaTime, Payload, Timestamp};
use tidegate_nodes::HopEvent;

use super::ledger::Hold;
use super::{Cursor, Ledger, Next, ReplayLimits, Ring, Verdict};
use crate::exchange::Cause;

fn frame(seq: u64, utterance: u64, is_final: bool) -> Frame {
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Binary(vec![0; 10].into()));
    frame.meta.seq = seq;
    frame.meta.utterance = utterance;
    frame.meta.is_final = is_final;
    frame
}

fn ring(ports: usize, frames: usize) -> Ring {
    let limits = ReplayLimits {
        frames,
        ..ReplayLimits::default()
    };
    Ring::new(ports, limits)
}

/// Sends all that is there; the ports' numbers in the order in which they went.
fn send(ring: &mut Ring, cursor: &mut Cursor) -> Vec<(usize, u64, bool)> {
    let mut sent = Vec::new();
    while let Some(next) = ring.next(cursor, |_| true) {
        match next {
            Next::Frame(port) => {
                let frame = ring.take(cursor, port, Timestamp::ZERO).expect("there");
                sent.push((port, frame.meta.seq, frame.meta.replayed));
            }
            Next::End(port) => {
                cursor.end_sent(port);
                sent.push((port, 0, false));
            }
        }
    }
    sent
}

#[test]
fn a_replay_has_the_order_over_all_ports_and_ends_again() {
    let mut ring = ring(2, 100);
    let mut cursor = ring.start();
    for (port, seq) in [(0, 1), (1, 1), (1, 2), (0, 2)] {
        ring.push(port, frame(seq, 0, false));
    }
    ring.end(1);
    ring.push(0, frame(3, 0, false));
    let first = send(&mut ring, &mut cursor);
    let order = [(0, 1), (1, 1), (1, 2), (0, 2), (1, 0), (0, 3)];
    assert_eq!(first, order.map(|(port, seq)| (port, seq, false)));
    ring.acknowledge(0, 1);
    let mut cursor = ring.start();
    ring.push(0, frame(4, 0, false));
    let second = send(&mut ring, &mut cursor);
    assert_eq!(
        second,
        [
            (1, 1, true),
            (1, 2, true),
            (0, 2, true),
            (1, 0, false),
            (0, 3, true),
            (0, 4, false)
        ]
    );
}

#[test]
fn a_place_of_replay_holds_from_the_acknowledgement_after_it() {
    let mut ring = ring(1, 100);
    let mut cursor = ring.start();
    for seq in 1..=8 {
        ring.push(0, frame(seq, 0, false));
    }
    send(&mut ring, &mut cursor);
    ring.replay_from(0, 3);
    ring.acknowledge(0, 4);
    assert_eq!(ring.len(), 6);
    // The next place, whose acknowledgement is lost: a replay must begin at the one before.
    ring.replay_from(0, 6);
    assert_eq!(ring.len(), 6);
    ring.acknowledge(0, 6);
    assert_eq!(ring.len(), 3);
    // One behind what is consumed takes it back.
    ring.replay_from(0, 8);
    ring.acknowledge(0, 7);
    assert_eq!(ring.len(), 1);
}

#[test]
fn an_utterance_is_kept_until_its_last_frame_is_acknowledged() {
    let mut ring = ring(1, 100);
    ring.keep_whole_utterances(true);
    let mut cursor = ring.start();
    for (seq, utterance, is_final) in [(1, 0, false), (2, 1, false), (3, 1, true), (4, 2, false)] {
        ring.push(0, frame(seq, utterance, is_final));
    }
    send(&mut ring, &mut cursor);
    ring.acknowledge(0, 2);
    assert_eq!(ring.len(), 3);
    ring.acknowledge(0, 3);
    assert_eq!(ring.len(), 1);
    ring.acknowledge(0, 4);
    assert_eq!(ring.len(), 1);
    // Another one begins without a last frame of the one before.
    ring.push(0, frame(5, 3, false));
    send(&mut ring, &mut cursor);
    ring.acknowledge(0, 5);
    assert_eq!((ring.len(), ring.gap()), (1, 0));
}

#[test]
fn what_had_to_be_forgotten_is_a_gap_and_what_was_not_sent_is_never_forgotten() {
    let mut ring = ring(1, 4);
    let mut cursor = ring.start();
    for seq in 1..=6 {
        ring.push(0, frame(seq, 0, false));
    }
    ring.shrink(true);
    assert_eq!(ring.len(), 6);
    send(&mut ring, &mut cursor);
    ring.shrink(false);
    assert_eq!(ring.len(), 6);
    ring.shrink(true);
    assert_eq!((ring.len(), ring.gap()), (4, 2));
    ring.acknowledge(0, 1);
    assert_eq!(ring.gap(), 1);
    ring.gap_reported();
    assert_eq!(ring.gap(), 0);
}

#[test]
fn an_answer_releases_what_was_sent_before_it_on_any_port() {
    let mut ring = ring(2, 100);
    let mut cursor = ring.start();
    for (port, seq) in [(0, 1), (1, 1), (0, 2), (1, 2)] {
        ring.push(port, frame(seq, 0, false));
    }
    send(&mut ring, &mut cursor);
    ring.answered(Cause { port: 0, seq: 2 });
    assert_eq!((ring.acked(0), ring.acked(1), ring.len()), (1, 1, 2));
    assert!(!ring.is_settled());
    ring.answered(Cause { port: 1, seq: 2 });
    assert!(ring.is_settled());
}

/// One input and one output, of which utterances are held or not.
fn ledger(hold: Hold) -> Ledger {
    Ledger::new(1, std::iter::once(hold), ReplayLimits::default())
}

fn said(out: &mut VecDeque<HopEvent>) -> Vec<(u64, u32)> {
    let frames = out.drain(..).filter_map(|event| match event {
        HopEvent::Frame { frame, .. } => Some((frame.meta.utterance, frame.meta.revision)),
        _ => None,
    });
    frames.collect()
}

#[test]
fn of_a_deterministic_worker_as_many_outputs_of_a_cause_are_left_out_as_were_given() {
    let (mut ring, mut ledger) = (ring(1, 100), ledger(Hold::Nothing));
    let mut out = VecDeque::new();
    ledger.begin(true, &mut ring);
    let mut cursor = ring.start();
    ring.push(0, frame(1, 0, false));
    ring.push(0, frame(2, 0, false));
    send(&mut ring, &mut cursor);
    let mut say = |ledger: &mut Ledger, ring: &mut Ring, seq| {
        let cause = Some(Cause { port: 0, seq });
        ledger.output(ring, 0, cause, frame(0, 0, false), &mut out)
    };
    assert_eq!(say(&mut ledger, &mut ring, 1), Verdict::New);
    ring.acknowledge(0, 1);
    assert_eq!(say(&mut ledger, &mut ring, 2), Verdict::New);
    ledger.begin(true, &mut ring);
    // Of what warms the new worker up, of the one that was given, and of the one that was not.
    let verdicts = [1, 2, 2].map(|seq| say(&mut ledger, &mut ring, seq));
    assert_eq!(
        verdicts,
        [Verdict::Repeated, Verdict::Repeated, Verdict::New]
    );
}

#[test]
fn what_a_worker_numbers_from_one_again_goes_on_where_the_one_before_left_off() {
    let (mut ring, mut ledger) = (ring(1, 100), ledger(Hold::Nothing));
    let mut out = VecDeque::new();
    ledger.begin(false, &mut ring);
    let mut cursor = ring.start();
    ring.push(0, frame(1, 0, false));
    send(&mut ring, &mut cursor);
    let cause = Some(Cause { port: 0, seq: 1 });
    for (utterance, is_final) in [(1, true), (2, false)] {
        let frame = frame(0, utterance, is_final);
        ledger.output(&mut ring, 0, cause, frame, &mut out);
    }
    assert_eq!(said(&mut out), [(1, 0), (2, 0)]);
    ledger.begin(false, &mut ring);
    // The new worker says the second one again, as its first, and then a third.
    for (utterance, is_final) in [(1, false), (1, true), (2, true)] {
        let frame = frame(0, utterance, is_final);
        ledger.output(&mut ring, 0, cause, frame, &mut out);
    }
    assert_eq!(said(&mut out), [(2, 1), (2, 1), (3, 0)]);
}

#[test]
fn what_is_held_is_given_at_its_end_or_not_at_all() {
    let (mut ring, mut ledger) = (ring(1, 100), ledger(Hold::Utterances));
    let mut out = VecDeque::new();
    ledger.begin(false, &mut ring);
    let mut say = |ledger: &mut Ledger, ring: &mut Ring, is_final| {
        ledger.output(ring, 0, None, frame(0, 1, is_final), &mut out);
        said(&mut out).len()
    };
    assert_eq!(say(&mut ledger, &mut ring, false), 0);
    ledger.begin(false, &mut ring);
    assert_eq!(say(&mut ledger, &mut ring, false), 0);
    assert_eq!(say(&mut ledger, &mut ring, true), 2);
}
