//! What may be acknowledged of an input, and from where a replay would have to begin.

use tidegate_nodes::graph::{Consumed, Input, Mode, Output};
use tidegate_nodes::plan::{Target, WhenFull};
use tidegate_nodes::{Hold, HopEvent, Placement};

use crate::toolkit::{Bench, SOUND, Sketch, TEXT, audio, into, ms, out, queue, text};

/// Acknowledged, and from where on a replay would begin.
fn consumed(bench: &mut Bench, input: usize) -> (u64, u64) {
    let Consumed {
        acknowledged,
        replay_from,
    } = bench.graph.consumed(input).unwrap();
    (acknowledged, replay_from)
}

fn line(node_types: &[&str]) -> Bench {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let to = sketch.output("out", TEXT);
    let nodes: Vec<_> = node_types.iter().map(|name| sketch.node(name)).collect();
    sketch.chain(from, &nodes, to);
    let mut bench = sketch.run();
    bench.graph.track();
    bench
}

/// One input, one remote hop, one output.
fn far() -> (Bench, usize) {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let to = sketch.output("out", TEXT);
    let far = sketch.hop("far", Placement::Remote, (1, 1));
    sketch.chain(from, &[far], to);
    let mut bench = sketch.run();
    bench.graph.track();
    bench.open(Mode::Waits);
    (bench, far)
}

#[test]
fn nothing_is_known_of_a_graph_that_was_not_asked_to_keep_track() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let to = sketch.output("out", TEXT);
    sketch.join(from, to);
    let mut bench = sketch.run();
    assert_eq!(bench.graph.consumed(0), None);
}

#[test]
fn what_passes_in_place_is_consumed_at_once() {
    let mut bench = line(&["identity", "mark"]);
    bench.open(Mode::Live);
    assert_eq!(consumed(&mut bench, 0), (0, 1));
    bench.say(0, "a");
    bench.say(0, "b");
    assert_eq!(bench.heard().len(), 2);
    assert_eq!(consumed(&mut bench, 0), (2, 3));
}

#[test]
fn what_waits_for_its_listener_is_not_consumed() {
    let mut bench = line(&["identity"]);
    bench
        .graph
        .attach_input(bench.now, 0, TEXT, Mode::Waits)
        .unwrap();
    let egress = bench.listen(0, Mode::Waits, true);
    bench.say(0, "a");
    bench.say(0, "b");
    assert_eq!(consumed(&mut bench, 0), (0, 1));
    bench.give(Input::EgressCredit { egress, frames: 1 });
    assert_eq!(consumed(&mut bench, 0), (1, 2));
    bench.give(Input::EgressCredit { egress, frames: 1 });
    assert_eq!(consumed(&mut bench, 0), (2, 3));
}

#[test]
fn what_is_paced_is_consumed_when_it_has_left() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", SOUND);
    let to = sketch.output("out", SOUND);
    sketch.output_queue(64, WhenFull::Block).paced = true;
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench.graph.track();
    bench.open(Mode::Live);
    for n in 0..6 {
        bench.send(0, audio(20 * n));
    }
    assert_eq!(consumed(&mut bench, 0), (4, 5), "60 ms ahead");
    bench.pass(bench.now + ms(20));
    assert_eq!(consumed(&mut bench, 0), (5, 6));
}

#[test]
fn what_is_with_a_hop_is_consumed_when_the_hop_says_so_and_its_answer_has_left() {
    let (mut bench, far) = far();
    bench.credit(far, 9);
    bench.say(0, "a");
    bench.say(0, "b");
    bench.answer(far, 1, "A");
    assert_eq!(consumed(&mut bench, 0), (0, 1), "more may come of it");
    bench.event(far, HopEvent::Acknowledged { port: 0, seq: 1 });
    assert_eq!(consumed(&mut bench, 0), (1, 2));
    bench.event(far, HopEvent::Acknowledged { port: 0, seq: 2 });
    assert_eq!(
        consumed(&mut bench, 0),
        (2, 3),
        "it made nothing of the second"
    );
}

#[test]
fn a_frame_before_a_hop_without_credit_is_not_consumed() {
    let (mut bench, far) = far();
    bench.say(0, "a");
    assert_eq!(consumed(&mut bench, 0), (0, 1));
    bench.credit(far, 1);
    bench.event(far, HopEvent::Acknowledged { port: 0, seq: 1 });
    assert_eq!(consumed(&mut bench, 0), (1, 2));
}

#[test]
fn what_a_node_keeps_is_acknowledged_and_would_be_replayed() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let other = sketch.input("other", TEXT);
    let to = sketch.output("out", TEXT);
    let nodes = ["hold", "hold"].map(|name| sketch.node(name));
    sketch.chain(from, &nodes, to);
    let sink = sketch.node("sink");
    sketch.join(other, into(sink));
    let mut bench = sketch.run();
    bench.graph.track();
    bench.open(Mode::Live);
    for words in ["a", "b", "c"] {
        bench.say(0, words);
    }
    assert_eq!(bench.heard(), ["a"]);
    assert_eq!(
        consumed(&mut bench, 0),
        (3, 1),
        "the end may make more of the third, which made the first be told"
    );
    bench.say(0, "d");
    bench.heard();
    bench.say(1, "x");
    assert_eq!(
        consumed(&mut bench, 0),
        (4, 3),
        "the second node has what came of the third"
    );
    bench.end(0);
    bench.end(1);
    assert_eq!(consumed(&mut bench, 0), (4, 5));
}

#[test]
fn what_a_hop_keeps_is_as_old_as_it_says() {
    let (mut bench, far) = far();
    bench.credit(far, 9);
    for words in ["a", "b", "c"] {
        bench.say(0, words);
    }
    bench.event(far, HopEvent::Holds(Hold::From(2)));
    bench.event(far, HopEvent::Acknowledged { port: 0, seq: 3 });
    assert_eq!(consumed(&mut bench, 0), (3, 2));
    bench.event(far, HopEvent::Holds(Hold::Nothing));
    assert_eq!(consumed(&mut bench, 0), (3, 4));
}

#[test]
fn a_frame_that_waits_needs_what_the_node_kept_when_it_made_it() {
    let mut bench = line(&["hold"]);
    bench
        .graph
        .attach_input(bench.now, 0, TEXT, Mode::Waits)
        .unwrap();
    bench.listen(0, Mode::Waits, true);
    bench.say(0, "a");
    assert_eq!(consumed(&mut bench, 0), (1, 1));
    // Makes the node give the first away, which then waits.
    bench.say(0, "b");
    assert_eq!(consumed(&mut bench, 0), (0, 1));
}

#[test]
fn what_was_shed_or_interrupted_is_consumed() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let to = sketch.output("out", TEXT);
    let far = sketch.hop("far", Placement::Remote, (1, 1));
    sketch.join(from, Target::Hop { hop: far, port: 0 }).queue = queue(2, WhenFull::DropOldest);
    sketch.join(out(far), to);
    sketch.interrupt(None, &[far]);
    let mut bench = sketch.run();
    bench.graph.track();
    bench.open(Mode::Live);
    for words in ["a", "b", "c"] {
        bench.say(0, words);
    }
    assert_eq!(consumed(&mut bench, 0), (1, 2), "the first was shed");
    bench.credit(far, 1);
    bench.give(Input::Interrupt);
    assert_eq!(
        consumed(&mut bench, 0),
        (3, 4),
        "nobody waits for what was flushed, here or in the hop"
    );
}

#[test]
fn each_input_is_counted_for_itself_and_replayed_from_one_moment_on() {
    let mut sketch = Sketch::new();
    let one = sketch.input("one", TEXT);
    let two = sketch.input("two", TEXT);
    let to = sketch.output("out", TEXT);
    let hold = sketch.node("hold");
    sketch.chain(one, &[hold], to);
    sketch.join(two, to);
    let mut bench = sketch.run();
    bench.graph.track();
    bench.open(Mode::Live);
    for input in [1, 1, 0, 1, 1] {
        bench.say(input, "x");
    }
    assert_eq!(consumed(&mut bench, 0), (1, 1));
    assert_eq!(
        consumed(&mut bench, 1),
        (4, 3),
        "of what came after the frame that is kept"
    );
    let ports: Vec<_> = bench
        .take()
        .iter()
        .map(|output| match output {
            Output::Frame { frame, .. } => (frame.meta.caused_port, frame.meta.caused_by),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ports, [(2, 1), (2, 2), (2, 3), (2, 4)]);
}

#[test]
fn a_client_that_comes_later_is_told_of_its_own_frames_only() {
    let mut bench = line(&["hold"]);
    bench.open(Mode::Live);
    bench.say(0, "a");
    bench.say(0, "b");
    bench.graph.detach_input(bench.now, 0);
    bench
        .graph
        .attach_input(bench.now, 0, TEXT, Mode::Live)
        .unwrap();
    let mut first = text("c");
    first.meta.seq = 1;
    bench.send(0, first);
    assert_eq!(consumed(&mut bench, 0).1, 1);
}
