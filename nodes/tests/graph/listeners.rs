//! Listeners: pacing, credit, video, conversions.

use tidegate_nodes::graph::{Input, Listener, Mode, Output};
use tidegate_nodes::node::DropReason;
use tidegate_nodes::plan::WhenFull;
use tidegate_nodes::{Accepts, Code, HopEvent, Placement};

use crate::toolkit::*;

/// A hop that speaks: `in -> tts -> out`, paced.
fn speaker(frames: u32, when_full: WhenFull) -> (Sketch, usize) {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let tts = sketch.hop("tts", Placement::Remote, (1, 1));
    let to = sketch.output("out", SOUND);
    sketch.output_queue(frames, when_full).paced = true;
    sketch.chain(from, &[tts], to);
    (sketch, tts)
}

fn speak(bench: &mut Bench, tts: usize, frames: u64) {
    for n in 0..frames {
        let frame = audio(n * 20);
        bench.event(tts, HopEvent::Frame { port: 0, frame });
    }
}

#[test]
fn speech_made_at_once_fills_the_queue_and_leaves_as_it_is_played() {
    let (sketch, tts) = speaker(100, WhenFull::Block);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    speak(&mut bench, tts, 250);
    assert!(!bench.graph.hop_ready(tts));
    assert_eq!(
        bench.heard().len(),
        4,
        "three packets ahead of the one that plays"
    );
    bench.pass(at(1 + 1_000));
    assert_eq!(bench.heard().len(), 50);
    bench.pass(at(1 + 5_000));
    assert_eq!(bench.heard().len(), 196);
    assert_eq!(bench.stats("out").dropped_frames(), 0);
    assert!(bench.graph.hop_ready(tts));
}

#[test]
fn under_waits_nothing_is_paced() {
    let (sketch, tts) = speaker(100, WhenFull::Block);
    let mut bench = sketch.run();
    bench.open(Mode::Waits);
    speak(&mut bench, tts, 250);
    assert_eq!(bench.heard().len(), 250);
}

#[test]
fn a_gateway_in_front_is_not_paced_beside_a_client_that_plays() {
    let (sketch, tts) = speaker(100, WhenFull::Block);
    let mut bench = sketch.run();
    let client = bench.listen(0, Mode::Live, false);
    let in_front = Listener {
        accepts: Accepts::Anything,
        mode: Mode::Live,
        plays: false,
        metered: false,
    };
    let gateway = bench.listen_as(0, in_front);
    speak(&mut bench, tts, 50);
    let heard = bench.take();
    let by = |who| {
        let his =
            |output: &&Output| matches!(output, Output::Frame { egress, .. } if *egress == who);
        heard.iter().filter(his).count()
    };
    assert_eq!((by(client), by(gateway)), (4, 50));
}

#[test]
fn age_counts_from_the_time_a_frame_is_due() {
    let (mut sketch, tts) = speaker(1_000, WhenFull::DropOldest);
    sketch.plan.outputs[0].queue.age = Some(ms(100));
    let mut bench = sketch.run();
    let egress = bench.listen(0, Mode::Live, true);
    speak(&mut bench, tts, 50);
    bench.give(Input::EgressCredit {
        egress,
        frames: 100,
    });
    bench.pass(at(1 + 980));
    assert_eq!(bench.heard().len(), 50);
    bench.give(Input::EgressCredit { egress, frames: 0 });
    assert_eq!(bench.dropped("out", DropReason::Age), 0);
    let deaf = bench.listen(0, Mode::Live, true);
    speak(&mut bench, tts, 10);
    bench.pass(at(3_000));
    bench.give(Input::EgressCredit {
        egress: deaf,
        frames: 100,
    });
    assert_eq!(bench.dropped("out", DropReason::Age), 10);
}

#[test]
fn packets_are_not_paced() {
    let mut sketch = Sketch::new();
    let packets = tidegate_nodes::StreamFormat::Audio {
        format: PCM,
        packets: true,
    };
    let from = sketch.input("in", packets);
    let to = sketch.output("out", packets);
    sketch.output_queue(64, WhenFull::DropOldest).paced = true;
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    for n in 0..50 {
        bench.send(0, packet(n));
    }
    assert_eq!(bench.heard().len(), 50);
}

#[test]
fn a_live_stream_passes_a_paced_output_at_once() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", SOUND);
    let to = sketch.output("out", SOUND);
    sketch.output_queue(64, WhenFull::DropOldest).paced = true;
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    for n in 0..200 {
        let jitter = [0, 17, 35, 3, 50][usize::try_from(n % 5).unwrap()];
        bench.now = at(100 + n * 20 + jitter);
        bench.send(0, audio(n * 20));
        assert_eq!(bench.heard().len(), 1, "frame {n}");
    }
}

/// A live sender at twice its media time for ten seconds into a paced output of ten frames; when each frame was heard.
fn twice_as_fast(when_full: WhenFull) -> (Bench, Vec<u64>) {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", SOUND);
    let to = sketch.output("out", SOUND);
    sketch.output_queue(10, when_full).paced = true;
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    let mut heard = Vec::new();
    for n in 0..1_000 {
        bench.pass(at(100 + n * 10));
        heard.extend(bench.heard().iter().map(|_| 100 + n * 10));
        bench.send(0, audio(n * 20));
        heard.extend(bench.heard().iter().map(|_| 100 + n * 10));
    }
    (bench, heard)
}

#[test]
fn a_sender_faster_than_its_media_time_is_heard_without_a_gap_whichever_end_is_shed() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let (bench, heard) = twice_as_fast(when_full);
        // Ten seconds play 500 frames; three packets leave ahead of the one that plays.
        assert!((499..=504).contains(&heard.len()), "{}", heard.len());
        let gap = heard.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert_eq!(gap, Some(20), "{when_full:?}");
        let stats = bench.stats("out");
        assert!(stats.queue_frames <= 10);
        let all = heard.len() as u64 + bench.dropped("out", DropReason::QueueFull);
        assert_eq!(all + u64::from(stats.queue_frames), 1_000);
    }
}

#[test]
fn what_is_left_of_a_burst_that_overflowed_follows_at_once() {
    let (sketch, tts) = speaker(5, WhenFull::DropOldest);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    speak(&mut bench, tts, 250);
    assert_eq!(bench.heard().len(), 4);
    bench.pass(at(1 + 100));
    assert_eq!(
        bench.heard().len(),
        5,
        "at media pace, right after what was heard"
    );
    assert_eq!(bench.dropped("out", DropReason::QueueFull), 241);
}

#[test]
fn a_metered_listener_ends_after_it_took_the_last_frame() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let to = sketch.output("out", TEXT);
    sketch.join(from, to);
    let mut bench = sketch.run();
    let egress = bench.listen(0, Mode::Waits, true);
    bench.say(0, "a");
    bench.end(0);
    assert_eq!(bench.take(), []);
    bench.give(Input::EgressCredit { egress, frames: 1 });
    assert_eq!(
        bench.take()[1..],
        [Output::Ended { egress }, Output::Finished]
    );
}

#[test]
fn one_slow_listener_does_not_hold_up_another_that_sheds() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", TEXT);
    let to = sketch.output("out", TEXT);
    sketch.output_queue(2, WhenFull::DropOldest);
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench
        .graph
        .attach_input(at(1), 0, TEXT, Mode::Live)
        .unwrap();
    let slow = bench.listen(0, Mode::Live, true);
    bench.listen(0, Mode::Live, false);
    for word in ["a", "b", "c"] {
        bench.say(0, word);
    }
    assert_eq!(bench.heard(), ["a", "b", "c"]);
    bench.give(Input::EgressCredit {
        egress: slow,
        frames: 9,
    });
    assert_eq!(bench.heard(), ["b", "c"]);
    assert_eq!(bench.dropped("out", DropReason::QueueFull), 1);
    let row = bench.stats("out");
    assert_eq!(row.frames_in, row.frames_out + row.dropped_frames());
}

#[test]
fn video_that_is_shed_resumes_at_a_key_frame_which_is_asked_for() {
    let mut sketch = Sketch::new();
    let sound = sketch.input("mic", SOUND);
    let from = sketch.input("camera", PICTURES);
    let to = sketch.output("screen", PICTURES);
    sketch.output_queue(2, WhenFull::DropOldest);
    sketch.join(from, to);
    let speaker = sketch.output("speaker", SOUND);
    sketch.join(sound, speaker);
    let mut bench = sketch.run();
    let egress = bench.listen(0, Mode::Live, true);
    bench.take();
    bench.now = at(1_000);
    for key in [true, false, false] {
        bench.send(1, video(key));
    }
    assert_eq!(bench.take(), [Output::KeyFrameWanted { input: 1 }]);
    bench.send(1, video(false));
    assert_eq!(bench.take(), [], "asked for already");
    bench.now = at(2_000);
    bench.send(1, video(false));
    assert_eq!(bench.take(), [Output::KeyFrameWanted { input: 1 }]);
    bench.send(1, video(true));
    bench.give(Input::EgressCredit { egress, frames: 9 });
    assert!(matches!(&bench.take()[..], [Output::Frame { .. }]));
    assert_eq!(bench.dropped("screen", DropReason::QueueFull), 1);
    assert_eq!(bench.dropped("screen", DropReason::AwaitingKeyFrame), 4);
}

#[test]
fn a_listener_that_joins_a_video_gets_a_key_frame_first() {
    let mut sketch = Sketch::new();
    let from = sketch.input("camera", PICTURES);
    let to = sketch.output("screen", PICTURES);
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench
        .graph
        .attach_input(at(1), 0, PICTURES, Mode::Live)
        .unwrap();
    bench.listen(0, Mode::Live, false);
    assert_eq!(bench.take(), [Output::KeyFrameWanted { input: 0 }]);
    bench.send(0, video(false));
    bench.send(0, video(true));
    bench.send(0, video(false));
    assert_eq!(bench.heard(), ["Video", "Video"]);
}

#[test]
fn each_listener_gets_the_conversions_it_needs_and_clients_of_a_place_share_their_rows() {
    let mut sketch = Sketch::new();
    let from = sketch.input("in", SOUND);
    let to = sketch.output("out", SOUND);
    sketch.join(from, to);
    let mut bench = sketch.run();
    bench.open(Mode::Live);
    let opus = Accepts::exactly(tidegate_media::AudioFormat::WEBRTC_OPUS);
    let listener = |accepts| Listener {
        accepts,
        mode: Mode::Live,
        plays: true,
        metered: false,
    };
    for _ in 0..2 {
        let (_, format) = bench
            .graph
            .attach_output(at(1), 0, listener(opus.clone()))
            .unwrap();
        assert_eq!(format, OPUS);
    }
    let rows = bench.graph.hop_stats().iter().map(|row| row.id.to_string());
    assert_eq!(
        rows.collect::<Vec<_>>(),
        ["in", "out", "out:pcm", "out:encode"]
    );
    bench.send(0, audio(0));
    assert_eq!(bench.heard().len(), 3);
    assert_eq!(bench.stats("out:encode").frames_in, 2);
    let text = listener(Accepts::Kind(tidegate_media::Kind::Text));
    let error = bench.graph.attach_output(at(1), 0, text).unwrap_err();
    assert_eq!(error.code, Code::Incompatible);
}
