//! Interrupts: what they flush, what they spare, what overtakes what.

use tidegate_nodes::graph::{EgressId, Input, Mode, Output};
use tidegate_nodes::node::DropReason;
use tidegate_nodes::plan::{Source, WhenFull};
use tidegate_nodes::{HopCommand, HopEvent, Placement};

use crate::toolkit::*;

/// `mic -> detect -> tts -> speaker` (paced) and `detect -> captions`; speech flushes the TTS.
fn dialogue() -> (Sketch, usize) {
    let mut sketch = Sketch::new();
    let mic = sketch.input("mic", TEXT);
    let detect = sketch.node("detect");
    let tts = sketch.hop("tts", Placement::Remote, (1, 1));
    let captions = sketch.output("captions", TEXT);
    let speaker = sketch.output("speaker", SOUND);
    sketch.output_queue(500, WhenFull::Block).paced = true;
    sketch.join(mic, into(detect));
    sketch.join(out(detect), into(tts)).queue = queue(64, WhenFull::DropOldest);
    sketch.join(out(detect), captions);
    sketch.join(out(tts), speaker);
    sketch.interrupt(
        Some(Source::Hop {
            hop: detect,
            port: 1,
        }),
        &[tts],
    );
    (sketch, tts)
}

fn speech(bench: &mut Bench, tts: usize, cause: u64, frames: u64) {
    for n in 0..frames {
        let mut frame = audio(n * 20);
        frame.meta.caused_by = cause;
        bench.event(tts, HopEvent::Frame { port: 0, frame });
    }
}

fn interrupted(said: &[Output]) -> Vec<EgressId> {
    let interrupted = said.iter().filter_map(|output| match output {
        Output::Interrupted { egress } => Some(*egress),
        _ => None,
    });
    interrupted.collect()
}

#[test]
fn speech_interrupts_what_is_being_said_and_the_rest_of_the_answer_is_not_wanted() {
    let (sketch, tts) = dialogue();
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live);
    bench.credit(tts, 1);
    bench.say(0, "question");
    bench.say(0, "waits for credit");
    speech(&mut bench, tts, 1, 100);
    bench.take();
    bench.say(0, "speech");
    let said = bench.take();
    assert_eq!(interrupted(&said), [egress[1]]);
    assert_eq!(
        said[0],
        Output::Hop {
            hop: tts,
            command: HopCommand::Interrupt
        }
    );
    assert_eq!(bench.dropped("speaker", DropReason::Interrupted), 96);
    assert_eq!(bench.dropped("tts", DropReason::Interrupted), 1);
    assert_eq!(
        bench.stats("tts").queue_frames,
        1,
        "the speech itself goes on"
    );
    speech(&mut bench, tts, 1, 5);
    assert_eq!(bench.dropped("tts", DropReason::Interrupted), 6);
    bench.credit(tts, 1);
    speech(&mut bench, tts, 1, 5);
    assert_eq!(bench.dropped("tts", DropReason::Interrupted), 11);
    bench.take();
    speech(&mut bench, tts, 2, 1);
    assert_eq!(bench.heard(), ["Audio"], "the new answer plays at once");
}

#[test]
fn a_clients_interrupt_does_the_same_and_spares_what_is_not_audio() {
    let (sketch, tts) = dialogue();
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live);
    let caption = bench.listen(0, Mode::Live, true);
    bench.say(0, "question");
    speech(&mut bench, tts, 0, 50);
    bench.take();
    bench.give(Input::Interrupt);
    assert_eq!(interrupted(&bench.take()), [egress[1]]);
    bench.give(Input::EgressCredit {
        egress: caption,
        frames: 1,
    });
    assert_eq!(bench.heard(), ["question"]);
}

#[test]
fn without_a_flush_every_audio_output_is_emptied() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", SOUND);
    let words = sketch.input("words", TEXT);
    let one = sketch.output("one", SOUND);
    let two = sketch.output("two", SOUND);
    let three = sketch.output("three", TEXT);
    sketch.join(from, one);
    sketch.join(from, two);
    sketch.join(words, three);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live);
    bench.give(Input::Interrupt);
    assert_eq!(interrupted(&bench.take()), egress[..2]);
}

#[test]
fn an_in_place_node_is_told_and_a_frame_of_the_interrupting_port_follows() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let detect = sketch.node("detect");
    let node = sketch.node("flushable");
    let events = sketch.output("events", TEXT);
    let to = sketch.output("out", TEXT);
    sketch.chain(from, &[detect, node], to);
    sketch.join(
        Source::Hop {
            hop: detect,
            port: 1,
        },
        events,
    );
    sketch.interrupt(
        Some(Source::Hop {
            hop: detect,
            port: 1,
        }),
        &[node],
    );
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    bench.say(0, "quiet");
    bench.say(0, "speech");
    bench.say(0, "quiet");
    assert_eq!(bench.heard(), ["quiet", "start", "flushed", "quiet"]);
}

#[test]
fn who_listens_is_told_why_before_what_is_over() {
    let (mut sketch, tts) = dialogue();
    let detect = Source::Hop { hop: 0, port: 1 };
    sketch.join(detect, into(tts)).queue = queue(64, WhenFull::DropOldest);
    let events = sketch.output("events", TEXT);
    sketch.join(detect, events);
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live);
    speech(&mut bench, tts, 0, 50);
    bench.take();
    bench.say(0, "speech");
    let said = bench.take();
    let told = |egress: EgressId| {
        let mut said = said.iter();
        said.position(|output| matches!(output, Output::Frame { egress: e, .. } | Output::Interrupted { egress: e } if *e == egress))
    };
    assert!(told(egress[2]).is_some(), "{said:?}");
    assert!(told(egress[2]) < told(egress[1]), "{said:?}");
    assert_eq!(interrupted(&said), [egress[1]]);
    // What goes on to a hop that is flushed comes behind that.
    assert_eq!(bench.stats("tts").queue_frames, 2);
}

#[test]
fn an_interrupt_reaches_the_session_even_if_nothing_else_is_joined_to_its_port() {
    let (sketch, tts) = dialogue();
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    speech(&mut bench, tts, 0, 50);
    bench.say(0, "speech");
    assert_eq!(bench.stats("speaker").queue_frames, 0);
}

#[test]
fn an_input_can_interrupt() {
    let mut sketch = Sketch::new();
    let button = sketch.input("button", TEXT);
    let mic = sketch.input("mic", SOUND);
    let to = sketch.output("out", SOUND);
    sketch.join(mic, to);
    let sink = sketch.node("sink");
    sketch.join(button, into(sink));
    sketch.interrupt(Some(button), &[]);
    let mut bench = sketch.run();
    let egress = bench.listen(0, Mode::Live, true);
    bench.send(1, audio(0));
    bench.say(0, "stop");
    assert_eq!(bench.take(), [Output::Interrupted { egress }]);
    assert_eq!(bench.dropped("out", DropReason::Interrupted), 1);
}

#[test]
fn ends_behind_what_was_flushed_still_come() {
    let (sketch, tts) = dialogue();
    let mut bench = sketch.run();
    let egress = bench.open(Mode::Live);
    bench.say(0, "question");
    bench.end(0);
    bench.take();
    bench.give(Input::Interrupt);
    let told = bench.told();
    assert_eq!(told, [HopCommand::Interrupt, HopCommand::End { port: 0 }]);
    bench.event(tts, HopEvent::Ended { port: 0 });
    assert_eq!(
        bench.take(),
        [Output::Ended { egress: egress[1] }, Output::Finished]
    );
}

#[test]
fn video_that_an_interrupt_flushed_resumes_at_a_key_frame_which_is_asked_for() {
    let mut sketch = Sketch::new();
    let from = sketch.input("camera", PICTURES);
    let far = sketch.hop("far", Placement::Remote, (1, 1));
    let to = sketch.output("screen", PICTURES);
    sketch.chain(from, &[far], to);
    sketch.interrupt(None, &[far]);
    let mut bench = sketch.run();
    bench
        .graph
        .attach_input(at(1), 0, PICTURES, Mode::Live)
        .unwrap();
    bench.send(0, video(true));
    bench.give(Input::Interrupt);
    assert!(bench.take().contains(&Output::KeyFrameWanted { input: 0 }));
    bench.send(0, video(false));
    assert_eq!(bench.dropped("far", DropReason::AwaitingKeyFrame), 1);
}

#[test]
fn a_hop_hears_of_interrupts_that_follow_each_other_once_until_it_is_sent_something_or_says_something()
 {
    let (sketch, tts) = dialogue();
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    let interrupts = |bench: &mut Bench| {
        bench.take();
        for _ in 0..1_000 {
            bench.give(Input::Interrupt);
        }
        let said = bench.take();
        let listeners = interrupted(&said).len();
        let hops = said.len() - listeners;
        let interrupt = Output::Hop {
            hop: tts,
            command: HopCommand::Interrupt,
        };
        assert_eq!(said.iter().filter(|said| **said == interrupt).count(), hops);
        assert_eq!(listeners, 1_000, "its listeners hear of each");
        hops
    };
    bench.credit(tts, 2);
    bench.say(0, "question");
    assert_eq!(interrupts(&mut bench), 1);
    assert_eq!(interrupts(&mut bench), 0, "nothing has happened since");
    bench.say(0, "another question");
    assert_eq!(interrupts(&mut bench), 1, "it was sent something");
    speech(&mut bench, tts, 2, 1);
    assert_eq!(interrupts(&mut bench), 1, "it said something");
    assert_eq!(interrupts(&mut bench), 0);
    bench.say(0, "waits for credit");
    assert_eq!(interrupts(&mut bench), 0, "what waits here never left");
    assert_eq!(bench.dropped("tts", DropReason::Interrupted), 2);
}
