//! Frames through in-place nodes: order, fan-out, fan-in, ends, numbers, errors.

use serde_json::json;
use tidegate_nodes::graph::{Input, Mode, Output, Stage};
use tidegate_nodes::node::DropReason;
use tidegate_nodes::plan::{Source, Target};
use tidegate_nodes::{Code, Placement};

use crate::toolkit::*;

#[test]
fn a_chain_of_nodes_is_called_in_order_within_one_input() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let a = sketch.node_with("mark", json!({"mark": "a"}));
    let b = sketch.node_with("mark", json!({"mark": "b"}));
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[a, b], to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "x");
    assert_eq!(bench.heard(), ["xab"]);
    let row = bench.stats("mark0");
    assert_eq!(
        (row.frames_in, row.bytes_in, row.frames_out, row.bytes_out),
        (1, 1, 1, 2)
    );
}

#[test]
fn the_first_edge_is_followed_to_its_end_before_the_second() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let twice = sketch.node_with("repeat", json!({"times": 2}));
    let a = sketch.node_with("mark", json!({"mark": "a"}));
    let aa = sketch.node_with("mark", json!({"mark": "a"}));
    let b = sketch.node_with("mark", json!({"mark": "b"}));
    let to = sketch.output("out", TEXT);
    sketch.join(from, into(twice));
    sketch.join(out(twice), into(a));
    sketch.join(out(twice), into(b));
    sketch.chain(out(a), &[aa], to);
    sketch.join(out(b), to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "x");
    assert_eq!(bench.heard(), ["xaa", "xb", "xaa", "xb"]);
}

#[test]
fn frames_are_numbered_for_each_listener_and_name_the_input_that_caused_them() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let twice = sketch.node_with("repeat", json!({"times": 2}));
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[twice], to);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live)[0];
    bench.say(0, "x");
    bench.now = at(7);
    bench.say(0, "y");
    let late = bench.listen(0, Mode::Live, false);
    bench.say(0, "z");
    let frames = bench.take().into_iter().filter_map(|output| match output {
        Output::Frame { egress, frame } => Some((
            egress,
            frame.meta.seq,
            frame.meta.caused_by,
            frame.meta.ingress,
        )),
        _ => None,
    });
    let frames = frames.collect::<Vec<_>>();
    let expected = [
        (egress, 1, 1, at(1)),
        (egress, 2, 1, at(1)),
        (egress, 3, 2, at(7)),
        (egress, 4, 2, at(7)),
        (egress, 5, 3, at(7)),
        (late, 1, 3, at(7)),
        (egress, 6, 3, at(7)),
        (late, 2, 3, at(7)),
    ];
    assert_eq!(frames, expected);
}

#[test]
fn what_nobody_hears_is_counted_and_what_nobody_asked_for_is_not() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let detect = sketch.node("detect");
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[detect], to);
    let mut bench = sketch.run();
    bench.say(0, "speech");
    let detect = bench.stats("detect0");
    assert_eq!((detect.dropped_frames(), detect.frames_out), (0, 2));
    assert_eq!(bench.dropped("out", DropReason::NoListener), 1);
    assert_eq!(bench.take(), []);
}

#[test]
fn an_end_flushes_each_node_and_follows_its_last_frame() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let a = sketch.node("hold");
    let b = sketch.node("hold");
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[a, b], to);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live)[0];
    bench.say(0, "x");
    bench.say(0, "y");
    assert_eq!(bench.heard(), Vec::<String>::new());
    bench.end(0);
    let ends = bench.said.split_off(2);
    assert_eq!(bench.heard(), ["x", "y"]);
    assert_eq!(ends, [Output::Ended { egress }, Output::Finished]);
    bench.say(0, "late");
    bench.end(0);
    assert_eq!(bench.take(), []);
    assert_eq!(bench.dropped("in", DropReason::HopEnded), 1);
}

#[test]
fn where_edges_meet_the_end_comes_after_the_last_of_them() {
    let mut sketch = Sketch::new();
    let one = sketch.input("one", TEXT);
    let two = sketch.input("two", TEXT);
    let join = sketch.node("join");
    let to = sketch.output("out", TEXT);
    sketch.join(one, into(join));
    sketch.join(two, into(join));
    sketch.join(one, Target::Hop { hop: join, port: 1 });
    sketch.join(out(join), to);
    sketch.join(two, to);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live)[0];
    bench.say(0, "a");
    bench.say(1, "b");
    assert_eq!(bench.heard(), ["a", "a", "b", "b"]);
    bench.end(0);
    assert_eq!(bench.take(), []);
    bench.say(1, "c");
    assert_eq!(bench.heard(), ["c", "c"]);
    bench.end(1);
    assert_eq!(bench.take(), [Output::Ended { egress }, Output::Finished]);
}

#[test]
fn a_node_that_fails_ends_the_session_and_is_named() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let brittle = sketch.node("brittle");
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[brittle], to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "good");
    bench.say(0, "bad");
    bench.say(0, "good");
    bench.give(Input::Interrupt);
    bench.end(0);
    let said = bench.take();
    assert_eq!(said.len(), 2, "{said:?}");
    let Some(Output::Failed(error)) = said.last() else {
        panic!("{said:?}")
    };
    assert_eq!(
        (error.code, error.hop.as_deref()),
        (Code::NodeFailed, Some("brittle0"))
    );
    assert_eq!(bench.graph.poll_timeout(), None);
    assert_eq!(bench.dropped("in", DropReason::HopEnded), 1);
}

#[test]
fn a_frame_that_is_not_of_the_inputs_format_goes_no_further() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", SOUND);
    let to = sketch.output("out", SOUND);
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "text");
    bench.send(0, audio(0));
    assert_eq!(bench.heard(), ["Audio"]);
    assert_eq!(bench.dropped("in", DropReason::Undecodable), 1);
}

#[test]
fn in_place_nodes_are_timed_at_first_and_then_once_in_sixty_four_calls() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let node = sketch.node("identity");
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[node], to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.measured.lock().unwrap().step = ms(3);
    for _ in 0..256 {
        bench.say(0, "x");
    }
    let records = &bench.measured.lock().unwrap().records;
    assert_eq!(records.len(), 8 + 4);
    assert!(
        records
            .iter()
            .all(|record| *record == (node, Stage::Service, ms(3)))
    );
}

#[test]
fn a_plan_whose_in_place_nodes_feed_themselves_is_refused() {
    let mut sketch = Sketch::new();
    let a = sketch.node("identity");
    let b = sketch.node("identity");
    sketch.join(out(a), into(b));
    sketch.join(out(b), into(a));
    let error = sketch.refused();
    assert_eq!(error.code, Code::Internal);
}

#[test]
fn a_node_that_cannot_be_built_is_named() {
    let mut sketch = Sketch::new();
    sketch.node_with("identity", json!({"refuse": true}));
    let error = sketch.refused();
    assert_eq!(
        (error.code, error.hop.as_deref()),
        (Code::NodeFailed, Some("identity0"))
    );
}

#[test]
fn edges_that_join_nothing_are_refused() {
    let mut sketch = Sketch::new();
    let a = sketch.hop("a", Placement::InPlace, (1, 1));
    sketch.join(Source::Input(3), into(a));
    let error = sketch.refused();
    assert_eq!(error.code, Code::Internal);
}

#[test]
fn a_call_that_makes_more_than_a_call_may_fails_its_session() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let many = sketch.node_with("repeat", json!({"times": 1_000_000}));
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[many], to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "x");
    let failed = bench.take().into_iter().find_map(|output| match output {
        Output::Failed(error) => Some(error),
        _ => None,
    });
    let error = failed.expect("the session failed");
    assert_eq!(error.code, Code::NodeFailed);
    assert_eq!(error.hop.as_deref(), Some("repeat0"));
    assert!(bench.stats("repeat0").frames_out < 1_000_000);
}

#[test]
fn what_is_large_already_when_it_comes_is_passed_on() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let pass = sketch.node("identity");
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[pass], to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, &"x".repeat(tidegate_nodes::CALL_BYTES_MAX + 1));
    assert_eq!(bench.heard().len(), 1);
}
