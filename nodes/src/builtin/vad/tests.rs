//! Tests of the node: utterances, events and their times.

use serde_json::{Value, json};
use tidegate_media::{Frame, Payload};

use super::super::testing::{
    Bench, audio, error, f32_of, micros, pcm, room_noise, speech_like, stream, tone,
};
use super::listener::{AUDIO, PROBABILITY, SPEECH, START, STOP};

/// One second of faint noise, two of what sounds like speech, and one and a half of noise again.
fn scene(rate: u32) -> Vec<f32> {
    let second = rate as usize;
    let mut samples = room_noise(second * 9 / 2, 0.002, 9);
    for (to, from) in samples[second..]
        .iter_mut()
        .zip(speech_like(rate, 2 * second))
    {
        *to += from;
    }
    samples
}

fn bench(params: Value, rate: u32) -> Bench {
    Bench::new("audio.vad", params, &[pcm(rate, 1)])
}

fn run(bench: &mut Bench, frames: Vec<Frame>) -> Vec<(usize, Frame)> {
    let mut made: Vec<_> = frames.into_iter().flat_map(|f| bench.on(0, f)).collect();
    made.extend(bench.end_port(0));
    made
}

fn of(made: &[(usize, Frame)], port: usize) -> Vec<Frame> {
    let frames = made.iter().filter(|(at, _)| *at == port);
    frames.map(|(_, frame)| frame.clone()).collect()
}

fn event(frame: &Frame) -> Value {
    match &frame.payload {
        Payload::Json(json) => json.to_value(),
        other => panic!("not JSON but {}", other.kind()),
    }
}

fn near(value: &Value, expected_ms: i64, slack_ms: i64) {
    let micros = value["media_time"].as_i64().expect("a time");
    let off = (micros - expected_ms * 1_000).abs();
    assert!(
        off <= slack_ms * 1_000,
        "{value}, expected {expected_ms} ms"
    );
}

#[test]
fn speech_becomes_one_utterance_with_pre_roll_and_events() {
    for rate in [16_000, 48_000] {
        let frames = stream(rate, 1, rate as usize / 50, &scene(rate));
        let made = run(&mut bench(json!({}), rate), frames.clone());
        assert_eq!(of(&made, AUDIO), frames, "all passes unchanged");
        let (starts, stops) = (of(&made, START), of(&made, STOP));
        assert_eq!((starts.len(), stops.len()), (1, 1), "at {rate} Hz");
        let (start, stop) = (event(&starts[0]), event(&stops[0]));
        near(&start, 1_000, 150);
        near(&stop, 3_000, 250);
        assert_eq!(
            (&start["type"], &start["utterance"]),
            (&json!("speech_start"), &json!(1))
        );
        assert_eq!(stop["type"], "speech_stop");
        assert!(start["probability"].as_f64().expect("a number") >= 0.5);
        let speech = of(&made, SPEECH);
        let from = start["media_time"].as_i64().expect("a time") - 300_000;
        assert!(
            (micros(&speech[0]) - from).abs() <= 20_000,
            "starts with the pre-roll"
        );
        for pair in speech.windows(2) {
            assert_eq!(
                micros(&pair[1]) - micros(&pair[0]),
                20_000,
                "without a hole"
            );
        }
        let finals = speech.iter().filter(|f| f.meta.is_final).count();
        assert!(finals == 1 && speech.last().expect("frames").meta.is_final);
        assert!(speech.iter().all(|frame| frame.meta.utterance == 1));
    }
}

#[test]
fn the_start_comes_before_its_speech_and_soon() {
    let mut bench = bench(json!({"min_speech": "80ms"}), 16_000);
    for frame in stream(16_000, 1, 320, &scene(16_000)) {
        let at = micros(&frame);
        let made = bench.on(0, frame);
        if let Some(first) = made.iter().position(|(port, _)| *port == START) {
            assert!(made[..first].iter().all(|(port, _)| *port != SPEECH));
            let onset = micros(&made[first].1);
            assert!(at + 20_000 - onset < 200_000, "{} µs late", at - onset);
            return;
        }
    }
    panic!("no start");
}

#[test]
fn noise_tones_and_silence_are_no_speech() {
    let seconds = 3 * 48_000;
    let signals = [
        vec![0.0; seconds],
        room_noise(seconds, 0.3, 3),
        super::super::testing::noise(seconds, 0.03, 4),
        tone(440.0, 48_000, seconds, 0.4),
    ];
    for samples in signals {
        let made = run(
            &mut bench(json!({}), 48_000),
            stream(48_000, 1, 960, &samples),
        );
        assert!(made.iter().all(|(port, _)| *port == AUDIO));
    }
}

#[test]
fn one_long_frame_gives_what_many_short_ones_give() {
    let samples = scene(16_000);
    let short = run(
        &mut bench(json!({}), 16_000),
        stream(16_000, 1, 320, &samples),
    );
    let long = run(
        &mut bench(json!({}), 16_000),
        vec![audio(0, 16_000, 1, samples)],
    );
    assert_eq!(of(&short, SPEECH), of(&long, SPEECH));
    assert_eq!(of(&short, STOP), of(&long, STOP));
}

#[test]
fn an_end_or_a_leap_in_mid_speech_closes_the_utterance() {
    let samples = scene(16_000);
    let frames = stream(16_000, 1, 320, &samples[..32_000]);
    let made = run(&mut bench(json!({}), 16_000), frames.clone());
    let speech = of(&made, SPEECH);
    let last = speech.last().expect("frames");
    assert!(last.meta.is_final && f32_of(last).is_empty());
    assert_eq!(of(&made, STOP).len(), 1);

    let mut bench = bench(json!({}), 16_000);
    for frame in frames {
        bench.on(0, frame);
    }
    let made = bench.on(0, audio(60_000, 16_000, 1, vec![0.0; 320]));
    let ports: Vec<_> = made.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, [STOP, SPEECH, AUDIO]);
    assert_eq!(micros(&made[1].1), 2_000_000);
}

#[test]
fn a_final_frame_closes_the_utterance_without_a_hangover_and_what_follows_is_another() {
    let rate = 16_000;
    let mut frames = stream(rate, 1, 320, &scene(rate));
    // In the midst of what is said.
    frames[100].meta.is_final = true;
    let made = run(&mut bench(json!({}), rate), frames.clone());
    let stops = of(&made, STOP);
    assert_eq!(stops.len(), 2, "what goes on is a second utterance");
    near(&event(&stops[0]), 2_020, 1);
    let finals = of(&made, SPEECH);
    let finals = finals.iter().filter(|frame| frame.meta.is_final);
    assert_eq!(finals.map(|f| f.meta.utterance).collect::<Vec<_>>(), [1, 2]);
    let order = made
        .iter()
        .filter(|(port, _)| [SPEECH, STOP].contains(port));
    let order: Vec<_> = order.map(|(port, f)| (*port, f.meta.is_final)).collect();
    let stop = order.iter().position(|(port, _)| *port == STOP);
    assert_eq!(order[stop.expect("one") + 1], (SPEECH, true), "told first");
}

#[test]
fn an_interrupt_forgets_but_numbers_go_on() {
    let frames = stream(16_000, 1, 320, &scene(16_000));
    let mut bench = bench(json!({}), 16_000);
    for frame in &frames[..100] {
        bench.on(0, frame.clone());
    }
    bench.interrupt();
    let made = run(&mut bench, frames);
    assert_eq!(event(&of(&made, START)[0])["utterance"], 2);
}

#[test]
fn the_verdicts_come_out_if_asked_for() {
    let mut bench = bench(json!({"probability": true}), 16_000);
    let made = run(&mut bench, stream(16_000, 1, 320, &scene(16_000)));
    let verdicts = of(&made, PROBABILITY);
    assert_eq!(verdicts.len(), 72_000 / 256);
    assert!(
        verdicts
            .iter()
            .any(|v| event(v)["probability"].as_f64() > Some(0.5))
    );
}

#[test]
fn settings_out_of_range_are_named() {
    let at = |params| error("audio.vad", params, &[pcm(16_000, 1)]).path;
    assert_eq!(at(json!({"threshold": 1.5})), "threshold");
    assert_eq!(at(json!({"release": 0.6})), "release");
    assert_eq!(at(json!({"hangover": "10ms"})), "hangover");
    assert_eq!(at(json!({"pre_roll": "1h"})), "pre_roll");
    assert_eq!(at(json!({"pre_roll": 300})), "pre_roll");
}
