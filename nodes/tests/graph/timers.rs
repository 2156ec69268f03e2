//! Node timers: order, catching up, nodes that never get ahead.

use serde_json::json;
use tidegate_nodes::Placement;
use tidegate_nodes::graph::{Mode, Output, TIMER_REST};

use crate::toolkit::*;

/// A generator that an input starts.
fn generator(sketch: &mut Sketch, every_ms: u64) -> usize {
    let node = sketch.node_with("generate", json!({"every_ms": every_ms}));
    sketch.plan.hops[node].inputs = sketch.plan.hops[node].outputs.clone();
    node
}

#[test]
fn timers_fire_in_the_order_of_their_instants() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let slow = generator(&mut sketch, 50);
    let fast = generator(&mut sketch, 20);
    let one = sketch.output("slow", SOUND);
    let two = sketch.output("fast", SOUND);
    sketch.chain(from, &[slow], one);
    sketch.chain(from, &[fast], two);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live);
    bench.say(0, "go");
    assert_eq!(bench.graph.poll_timeout(), Some(at(1)));
    bench.pass(at(1 + 100));
    let order = bench.take().into_iter().map(|output| match output {
        Output::Frame { egress: id, .. } => usize::from(id == egress[1]),
        other => panic!("{other:?}"),
    });
    // At 1, 21, 41, 51, 61, 81, 101 ms; the first of two at the same instant is the first in the plan.
    assert_eq!(order.collect::<Vec<_>>(), [0, 1, 1, 1, 0, 1, 1, 0, 1]);
}

#[test]
fn a_node_that_asks_for_the_past_for_ever_gets_no_more_than_its_share() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let restless = sketch.node("restless");
    let generate = generator(&mut sketch, 10);
    let to = sketch.output("out", SOUND);
    sketch.join(from, into(restless));
    sketch.chain(from, &[generate], to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "go");
    bench.graph.handle_timeout(bench.now);
    assert_eq!(bench.graph.poll_timeout(), Some(bench.now + TIMER_REST));
    bench.pass(at(100));
    assert_eq!(
        bench.stats("generate1").frames_out,
        10,
        "others get their turn"
    );
}

#[test]
fn generators_end_with_the_last_input() {
    let mut sketch = Sketch::new();
    let one = sketch.input("one", TEXT);
    let two = sketch.input("two", TEXT);
    let tone = sketch.node_with("generate", json!({"every_ms": 20}));
    let far = sketch.hop("far", Placement::Remote, (0, 1));
    let sink = sketch.node("sink");
    let to = sketch.output("out", SOUND);
    sketch.join(one, into(sink));
    sketch.join(two, into(sink));
    sketch.join(out(tone), to);
    sketch.join(out(far), to);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live)[0];
    bench.pass(at(50));
    assert_eq!(bench.heard().len(), 3, "it begins by itself");
    bench.end(0);
    assert_eq!(bench.take(), []);
    bench.end(1);
    assert_eq!(bench.take(), [Output::Ended { egress }, Output::Finished]);
    assert_eq!(bench.graph.poll_timeout(), None);
}

#[test]
fn a_generator_may_end_its_outputs_and_is_not_called_again() {
    let mut sketch = Sketch::new();
    sketch.input("in", TEXT);
    let tone = sketch.node_with("generate", json!({"every_ms": 20, "frames": 3}));
    let to = sketch.output("out", SOUND);
    sketch.join(out(tone), to);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live)[0];
    bench.pass(at(40));
    assert_eq!(bench.heard().len(), 2);
    bench.pass(at(1_000));
    let said = bench.take();
    assert!(matches!(said[0], Output::Frame { .. }));
    assert_eq!(said[1..], [Output::Ended { egress }, Output::Finished]);
}

#[test]
fn a_node_with_inputs_ends_with_them_whatever_it_says() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let node = sketch.node_with("generate", json!({"every_ms": 20, "frames": 1}));
    sketch.plan.hops[node].inputs = sketch.plan.hops[node].outputs.clone();
    let to = sketch.output("out", SOUND);
    sketch.chain(from, &[node], to);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live)[0];
    bench.say(0, "go");
    bench.pass(at(1 + 100));
    assert_eq!(bench.heard().len(), 6);
    bench.end(0);
    assert_eq!(bench.take(), [Output::Ended { egress }, Output::Finished]);
}

#[test]
fn time_never_goes_back() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let node = generator(&mut sketch, 10);
    let to = sketch.output("out", SOUND);
    sketch.chain(from, &[node], to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.now = at(50);
    bench.say(0, "go");
    bench.now = at(10);
    bench.graph.handle_timeout(bench.now);
    assert_eq!(bench.graph.poll_timeout(), Some(at(60)));
}
