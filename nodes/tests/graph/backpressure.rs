//! What full queues do: to senders, to hops, to generators, and to frames.

use serde_json::json;
use tidegate_nodes::Placement;
use tidegate_nodes::graph::{Input, Mode, OVERRUN_MAX, Output};
use tidegate_nodes::node::DropReason;
use tidegate_nodes::plan::WhenFull;

use crate::toolkit::*;

/// `in -> far -> out` with a queue of two frames before the hop.
fn narrow(when_full: WhenFull) -> (Sketch, usize) {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let far = sketch.hop("far", Placement::Remote, (1, 1));
    let to = sketch.output("out", TEXT);
    sketch.join(from, into(far)).queue = queue(2, when_full);
    sketch.join(out(far), to);
    (sketch, far)
}

#[test]
fn a_full_queue_that_blocks_stops_its_inputs_and_loses_nothing_that_still_comes() {
    let (sketch, far) = narrow(WhenFull::Block);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "a");
    assert!(bench.graph.input_ready(0));
    bench.say(0, "b");
    assert!(!bench.graph.input_ready(0));
    bench.say(0, "c");
    bench.say(0, "d");
    assert_eq!(bench.stats("far").queue_frames, 4);
    bench.credit(far, 1);
    assert!(!bench.graph.input_ready(0));
    bench.credit(far, 1);
    assert!(!bench.graph.input_ready(0));
    bench.credit(far, 1);
    assert!(bench.graph.input_ready(0));
    bench.credit(far, 9);
    assert_eq!(bench.told().len(), 4);
    assert_eq!(bench.stats("far").dropped_frames(), 0);
}

#[test]
fn a_queue_that_sheds_never_stops_its_inputs() {
    let survivors = [
        (WhenFull::DropOldest, ["c", "d"]),
        (WhenFull::DropNewest, ["a", "b"]),
    ];
    for (when_full, expected) in survivors {
        let (sketch, far) = narrow(when_full);
        let mut bench = sketch.run();
        bench.open(Mode::Live);
        for word in ["a", "b", "c", "d"] {
            bench.say(0, word);
            assert!(bench.graph.input_ready(0));
        }
        assert_eq!(bench.dropped("far", DropReason::QueueFull), 2);
        bench.credit(far, 9);
        let told = bench.told();
        let told = told.iter().map(|command| match command {
            tidegate_nodes::HopCommand::Frame { frame, .. } => words(frame),
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn under_waits_every_edge_blocks_and_age_is_not_applied() {
    let (mut sketch, far) = narrow(WhenFull::DropOldest);
    sketch.plan.edges[0].queue.age = Some(ms(5));
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    for word in ["a", "b", "c"] {
        bench.say(0, word);
    }
    assert!(!bench.graph.input_ready(0));
    bench.now = at(1_000);
    bench.credit(far, 9);
    assert_eq!(bench.told().len(), 3);
}

#[test]
fn a_file_whose_client_has_gone_is_not_thinned_out() {
    let (sketch, far) = narrow(WhenFull::DropOldest);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    for word in ["a", "b", "c"] {
        bench.say(0, word);
    }
    bench.end(0);
    bench.graph.detach_input(bench.now, 0);
    bench.credit(far, 9);
    assert_eq!(bench.told().len(), 4);
}

#[test]
fn age_is_applied_to_a_live_stream() {
    let (mut sketch, far) = narrow(WhenFull::DropOldest);
    sketch.plan.edges[0].queue.age = Some(ms(5));
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "a");
    bench.now = at(100);
    bench.say(0, "b");
    bench.credit(far, 9);
    assert_eq!(bench.told().len(), 1);
    assert_eq!(bench.dropped("far", DropReason::Age), 1);
}

#[test]
fn only_inputs_that_reach_the_full_queue_before_another_are_stopped() {
    let mut sketch = Sketch::new();
    let one = sketch.input("one", TEXT);
    let two = sketch.input("two", TEXT);
    let three = sketch.input("three", TEXT);
    let first = sketch.hop("first", Placement::Remote, (1, 1));
    let second = sketch.hop("second", Placement::Remote, (1, 1));
    let node = sketch.node("identity");
    let to = sketch.output("out", TEXT);
    sketch.join(one, into(first)).queue = queue(2, WhenFull::DropOldest);
    sketch.join(out(first), into(second)).queue = queue(1, WhenFull::Block);
    sketch.join(two, into(node));
    sketch.join(out(node), into(second)).queue = queue(1, WhenFull::Block);
    sketch.join(out(second), to);
    sketch.join(three, to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.answer(first, 0, "x");
    let ready: Vec<_> = (0..3).map(|input| bench.graph.input_ready(input)).collect();
    assert_eq!(ready, [true, false, true]);
    assert_eq!(
        (bench.graph.hop_ready(first), bench.graph.hop_ready(second)),
        (false, true)
    );
}

#[test]
fn a_listener_that_takes_nothing_stops_the_hop_that_speaks_to_it() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let far = sketch.hop("far", Placement::Remote, (1, 1));
    let to = sketch.output("out", TEXT);
    sketch.output_queue(2, WhenFull::Block);
    sketch.chain(from, &[far], to);
    let mut bench = sketch.run();
    let egress = bench.listen(0, Mode::Live, true);
    for n in 0..5 {
        bench.answer(far, 0, &n.to_string());
    }
    assert!(!bench.graph.hop_ready(far));
    assert_eq!(bench.stats("out").queue_frames, 5);
    assert_eq!(bench.heard(), Vec::<String>::new());
    bench.give(Input::EgressCredit { egress, frames: 4 });
    assert_eq!(bench.heard(), ["0", "1", "2", "3"]);
    assert!(bench.graph.hop_ready(far));
    bench.give(Input::EgressCredit { egress, frames: 4 });
    assert_eq!(bench.heard(), ["4"]);
}

#[test]
fn a_listener_that_leaves_stops_nobody() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let to = sketch.output("out", TEXT);
    sketch.output_queue(1, WhenFull::Block);
    sketch.join(from, to);
    let mut bench = sketch.run();
    let egress = bench.listen(0, Mode::Live, true);
    bench.say(0, "a");
    bench.say(0, "b");
    assert!(!bench.graph.input_ready(0));
    bench.graph.detach_output(bench.now, egress);
    assert!(bench.graph.input_ready(0));
    assert_eq!(bench.dropped("out", DropReason::Detached), 2);
    let row = bench.stats("out");
    assert_eq!((row.frames_in, row.queue_frames), (2, 0));
}

#[test]
fn a_generator_rests_while_its_output_is_full() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let start = sketch.node_with("generate", json!({"every_ms": 10}));
    sketch.plan.hops[start].inputs = sketch.plan.hops[start].outputs.clone();
    let to = sketch.output("out", SOUND);
    sketch.output_queue(3, WhenFull::Block);
    sketch.chain(from, &[start], to);
    let mut bench = sketch.run();
    let egress = bench.listen(0, Mode::Live, true);
    bench.say(0, "go");
    bench.pass(at(500));
    assert_eq!(bench.stats("out").queue_frames, 3);
    assert_eq!(bench.graph.poll_timeout(), None);
    bench.give(Input::EgressCredit { egress, frames: 2 });
    assert!(bench.graph.poll_timeout().unwrap() <= bench.now);
    bench.pass(at(505));
    assert_eq!(bench.heard().len(), 2);
    assert_eq!(bench.stats("out").queue_frames, 2);
}

#[test]
fn a_driver_that_does_not_listen_is_stopped_by_an_error() {
    let (sketch, _) = narrow(WhenFull::Block);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    for _ in 0..OVERRUN_MAX + 2 {
        bench.say(0, "x");
        assert_eq!(bench.said, []);
    }
    bench.say(0, "x");
    assert!(matches!(&bench.take()[..], [Output::Failed(_)]));
}

#[test]
fn edges_into_one_port_share_the_widest_queue_and_block_if_one_of_them_does() {
    let mut sketch = Sketch::new();
    let one = sketch.input("one", TEXT);
    let two = sketch.input("two", TEXT);
    let far = sketch.hop("far", Placement::Remote, (1, 0));
    sketch.join(one, into(far)).queue = queue(1, WhenFull::DropOldest);
    sketch.join(two, into(far)).queue = queue(3, WhenFull::Block);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    for _ in 0..3 {
        assert!(bench.graph.input_ready(0) && bench.graph.input_ready(1));
        bench.say(0, "x");
    }
    assert!(!bench.graph.input_ready(0) && !bench.graph.input_ready(1));
}

#[test]
fn when_all_that_is_queued_expires_what_stands_behind_it_goes_on() {
    let (sketch, far) = narrow(WhenFull::Block);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    for word in ["stale", "stale", "fresh"] {
        let mut frame = text(word);
        frame.meta.deadline = (word == "stale").then_some(at(5));
        bench.send(0, frame);
    }
    bench.now = at(10);
    bench.credit(far, 1);
    assert_eq!(bench.told().len(), 1);
    assert_eq!(bench.dropped("far", DropReason::Deadline), 2);
}
