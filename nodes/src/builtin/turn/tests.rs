//! A speaker who pauses and goes on, and a recogniser that lags behind.

use serde_json::{Value, json};
use tidegate_media::{Json, MediaTime, Timestamp};

use super::super::testing::{Bench, error};
use super::*;

fn gate(params: Value) -> Bench {
    let formats = [StreamFormat::Text, StreamFormat::Json, StreamFormat::Json];
    Bench::new("turn.gate", params, &formats)
}

fn said(utterance: u64, text: &str) -> Frame {
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Text(text.to_owned().into()));
    frame.meta.utterance = utterance;
    frame.meta.is_final = true;
    frame
}

fn shown(made: Vec<(usize, Frame)>) -> Vec<(u64, String)> {
    let one = |(port, frame): (usize, Frame)| match frame.payload {
        Payload::Text(text) => {
            assert!(port == 0 && frame.meta.is_final);
            (frame.meta.utterance, text.as_str().to_owned())
        }
        other => panic!("not text but {}", other.kind()),
    };
    made.into_iter().map(one).collect()
}

fn turn(utterance: u64, text: &str) -> Vec<(u64, String)> {
    vec![(utterance, text.to_owned())]
}

impl Bench {
    fn event(&mut self, port: usize, utterance: u64) -> Vec<(u64, String)> {
        let event = Json::from(&json!({}));
        let mut frame = Frame::new(MediaTime::ZERO, Payload::Json(event));
        frame.meta.utterance = utterance;
        shown(self.on(port, frame))
    }

    fn says(&mut self, utterance: u64, text: &str) -> Vec<(u64, String)> {
        shown(self.on(TEXT, said(utterance, text)))
    }

    /// Lets so many milliseconds pass.
    fn later(&mut self, millis: u64) -> Vec<(u64, String)> {
        let until = Timestamp::from_nanos(self.now.as_nanos() + millis * 1_000_000);
        shown(self.run_until(until))
    }
}

#[test]
fn what_is_understood_while_its_speaker_goes_on_is_one_turn_with_what_follows() {
    let mut gate = gate(json!({}));
    assert_eq!(gate.event(START, 1), []);
    assert_eq!(gate.event(STOP, 1), []);
    assert_eq!(gate.event(START, 2), []);
    assert_eq!(gate.says(1, " ask not "), [], "they speak");
    assert_eq!(gate.event(STOP, 2), [], "they are being understood");
    assert_eq!(gate.event(START, 3), []);
    assert_eq!(gate.event(STOP, 3), []);
    assert_eq!(gate.says(2, "what you"), [], "the third is still open");
    assert_eq!(gate.says(3, "can do"), turn(3, "ask not what you can do"));
    assert_eq!(gate.later(60_000), []);
    assert_eq!(gate.drops, []);
}

#[test]
fn where_nothing_is_open_a_text_passes_at_once_and_unchanged() {
    let mut gate = gate(json!({}));
    assert_eq!(gate.says(0, " typed "), turn(0, " typed "));
    for utterance in [1, 2] {
        gate.event(START, utterance);
        gate.event(STOP, utterance);
        assert_eq!(gate.says(utterance, "yes"), turn(utterance, "yes"));
        assert_eq!(gate.timer, None, "nothing is waited for");
    }
}

#[test]
fn an_empty_final_text_closes_its_utterance() {
    let mut gate = gate(json!({}));
    gate.event(START, 1);
    gate.event(STOP, 1);
    gate.event(START, 2);
    gate.says(1, "hello");
    gate.event(STOP, 2);
    assert_eq!(gate.says(2, " "), turn(2, "hello"), "it was a cough");
    gate.event(START, 3);
    gate.event(STOP, 3);
    assert_eq!(gate.says(3, ""), turn(3, ""), "whoever waits hears of it");
}

#[test]
fn a_final_text_before_speech_stops_waits_for_the_stop_alone() {
    let mut gate = gate(json!({}));
    gate.event(START, 1);
    assert_eq!(gate.says(1, "early"), []);
    assert_eq!(gate.event(STOP, 1), turn(1, "early"));
    assert_eq!(gate.timer, None);
}

#[test]
fn a_text_that_does_not_come_is_waited_for_no_longer_than_that_and_passes_when_it_does() {
    let mut gate = gate(json!({"wait": "2s"}));
    gate.event(START, 1);
    gate.event(STOP, 1);
    gate.event(START, 2);
    gate.says(1, "hello");
    assert_eq!(gate.later(30_000), [], "who speaks is waited for");
    gate.event(STOP, 2);
    assert_eq!(gate.later(1_999), []);
    assert_eq!(gate.later(1), turn(1, "hello"));
    assert_eq!(gate.says(2, "again"), turn(2, "again"));
}

#[test]
fn a_later_text_closes_what_came_before_it() {
    let mut gate = gate(json!({}));
    for utterance in [1, 2] {
        gate.event(START, utterance);
        gate.event(STOP, utterance);
    }
    assert_eq!(gate.says(2, "two"), turn(2, "two"), "the first was shed");
}

#[test]
fn without_numbers_each_text_closes_the_oldest_utterance() {
    let mut gate = gate(json!({}));
    for _ in 0..2 {
        gate.event(START, 0);
        gate.event(STOP, 0);
    }
    assert_eq!(gate.says(0, "one"), []);
    assert_eq!(gate.says(0, "two"), turn(0, "one two"));
}

#[test]
fn partial_texts_are_dropped_and_counted() {
    let mut gate = gate(json!({}));
    let mut partial = said(1, "he");
    partial.meta.is_final = false;
    assert_eq!(shown(gate.on(TEXT, partial)), []);
    assert_eq!(gate.drops, [(DropReason::Condition, 1)]);
}

#[test]
fn what_is_held_is_bounded_and_nothing_of_it_is_lost() {
    let mut gate = gate(json!({}));
    gate.event(START, 1);
    let much = "x".repeat(HELD_MAX);
    assert_eq!(gate.says(1, &much), []);
    assert_eq!(gate.says(1, "y"), turn(1, &format!("{much} y")));
    assert_eq!(gate.says(1, "z"), [], "they still speak");
    assert_eq!(gate.event(STOP, 1), turn(1, "z"));
}

#[test]
fn at_the_end_nothing_stays_held() {
    let mut gate = gate(json!({}));
    gate.event(START, 1);
    gate.says(1, "bye");
    assert_eq!(shown(gate.end_port(STOP)), turn(1, "bye"));
    gate.event(START, 2);
    gate.says(2, "now");
    assert_eq!(shown(gate.end_port(TEXT)), turn(2, "now"));
}

#[test]
fn an_interrupt_that_names_it_forgets_what_is_held() {
    let mut gate = gate(json!({}));
    gate.event(START, 1);
    gate.event(STOP, 1);
    gate.event(START, 2);
    gate.says(1, "forget it");
    gate.interrupt();
    assert_eq!(gate.drops, [(DropReason::Interrupted, 1)]);
    gate.event(STOP, 2);
    assert_eq!(gate.says(2, "hello"), turn(2, "hello"));
}

#[test]
fn a_wait_out_of_range_is_refused() {
    let inputs = [StreamFormat::Text, StreamFormat::Json, StreamFormat::Json];
    assert_eq!(
        error("turn.gate", json!({"wait": "1ms"}), &inputs).path,
        "wait"
    );
}
