//! Tests of the mix: alignment, lateness, coming and going.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_media::Frame;

use super::super::testing::{Bench, audio, error, f32_of, micros, pcm};

const RATE: u32 = 8_000;
/// Samples of 20 ms.
const BLOCK: usize = 160;
const STEP: Duration = Duration::from_millis(20);

fn bench(mut params: Value, inputs: usize) -> Bench {
    params["sample_rate"] = RATE.into();
    Bench::new("audio.mix", params, &vec![pcm(RATE, 1); inputs])
}

/// 20 ms of a constant.
fn level(ms: i64, value: f32) -> Frame {
    audio(ms, RATE, 1, vec![value; BLOCK])
}

/// Port, start in milliseconds, and level of frames that are the same throughout.
fn told(made: &[(usize, Frame)]) -> Vec<(usize, i64, f32)> {
    made.iter()
        .map(|(port, frame)| {
            let samples = f32_of(frame);
            assert_eq!(samples.len(), BLOCK);
            assert!(samples.iter().all(|&s| s == samples[0]), "{samples:?}");
            (*port, micros(frame) / 1_000, samples[0])
        })
        .collect()
}

#[test]
fn voices_add_up_at_their_media_time() {
    let mut bench = bench(json!({}), 2);
    assert_eq!(
        told(&bench.on(0, level(0, 0.25))),
        [(0, 0, 0.25)],
        "alone at first"
    );
    assert_eq!(told(&bench.on(1, level(40, 0.5))), [], "it lies ahead");
    assert_eq!(told(&bench.on(0, level(20, 0.25))), [(0, 20, 0.25)]);
    assert_eq!(told(&bench.on(0, level(40, 0.25))), [(0, 40, 0.75)]);
}

#[test]
fn each_seat_hears_the_others() {
    let params = json!({"inputs": ["a", "b", "c"], "minus_self": true});
    let mut bench = bench(params, 3);
    assert_eq!(bench.formats.len(), 3);
    let alone = bench.on(0, level(0, 0.125));
    assert_eq!(told(&alone), [(0, 0, 0.0), (1, 0, 0.125), (2, 0, 0.125)]);
    bench.on(1, level(20, 0.25));
    bench.on(2, level(20, 0.5));
    let made = bench.on(0, level(20, 0.125));
    assert_eq!(told(&made), [(0, 20, 0.75), (1, 20, 0.625), (2, 20, 0.375)]);
}

#[test]
fn who_is_late_is_silence_and_comes_in_again() {
    let mut bench = bench(json!({"wait": "40ms"}), 2);
    bench.on(0, level(0, 0.5));
    bench.on(1, level(20, 0.25));
    assert_eq!(told(&bench.on(0, level(20, 0.5))), [(0, 20, 0.75)]);
    let start = bench.now;
    assert!(bench.on(0, level(40, 0.5)).is_empty());
    let before = start + Duration::from_millis(39);
    assert!(bench.run_until(before).is_empty());
    let made = bench.run_until(start + Duration::from_millis(40));
    assert_eq!(told(&made), [(0, 40, 0.5)]);
    // Its sound is not lost: it lies where the mix stands now.
    bench.on(1, level(40, 0.25));
    assert_eq!(told(&bench.on(0, level(60, 0.5))), [(0, 60, 0.75)]);
}

#[test]
fn who_stays_away_is_no_longer_waited_for() {
    let mut bench = bench(json!({}), 2);
    bench.on(0, level(0, 0.5));
    bench.on(1, level(20, 0.25));
    bench.on(0, level(20, 0.5));
    let mut delays = Vec::new();
    for index in 2..=9 {
        let mut made = bench.on(0, level(index * 20, 0.5));
        let sent = bench.now;
        made.extend(bench.run_until(sent + STEP));
        delays.push((index, made.len()));
    }
    let count: usize = delays.iter().map(|(_, count)| count).sum();
    assert_eq!(count, 8, "nothing is lost");
    assert_eq!(
        delays[6..],
        [(8, 1), (9, 1)],
        "and in the end nothing waits"
    );
    let made = bench.on(1, level(200, 0.25));
    assert!(made.is_empty(), "it is back, and waits for the other");
    assert_eq!(told(&bench.on(0, level(200, 0.5))), [(0, 200, 0.75)]);
}

#[test]
fn clients_with_clocks_of_their_own_meet_where_the_mix_stands() {
    let mut bench = bench(json!({}), 2);
    bench.on(0, level(1_000_000, 0.5));
    bench.on(1, level(0, 0.25));
    let made = bench.on(0, level(1_000_020, 0.5));
    assert_eq!(told(&made), [(0, 1_000_020, 0.75)]);
    bench.on(0, level(1_000_040, 0.5));
    let made = bench.on(1, level(20, 0.25));
    assert_eq!(told(&made), [(0, 1_000_040, 0.75)]);
}

#[test]
fn a_pause_of_all_is_a_leap_and_not_a_flood_of_silence() {
    let mut bench = bench(json!({}), 2);
    bench.on(0, level(0, 0.5));
    bench.on(1, level(20, 0.5));
    bench.on(0, level(20, 0.5));
    bench.run_until(bench.now + Duration::from_secs(60));
    let made = bench.on(0, level(60_000, 0.5));
    assert_eq!(told(&made), [(0, 60_000, 0.5)]);
}

#[test]
fn files_are_mixed_exactly_whoever_comes_first() {
    let mut bench = bench(json!({"live": false}), 2);
    for index in 0..50 {
        assert!(bench.on(0, level(index * 20, 0.5)).is_empty());
    }
    assert!(bench.end_port(0).is_empty());
    let mut made = Vec::new();
    for index in 10..60 {
        made.extend(bench.on(1, level(index * 20, 0.25)));
    }
    made.extend(bench.end_port(1));
    let told = told(&made);
    assert_eq!(told.len(), 60);
    for (index, (_, at, value)) in (0..).zip(told) {
        assert_eq!(at, index * 20);
        let expected =
            f32::from(u8::from(index < 50)) * 0.5 + f32::from(u8::from(index >= 10)) * 0.25;
        assert!((value - expected).abs() < 1e-6, "{at}");
    }
    assert_eq!(bench.timer, None, "no clock is needed");
}

#[test]
fn the_last_piece_is_padded_and_frames_of_any_length_fit() {
    let mut bench = bench(json!({"live": false, "inputs": 1}), 1);
    let mut made = Vec::new();
    for (ms, count) in [(0, 80), (10, 400), (60, 24)] {
        made.extend(bench.on(0, audio(ms, RATE, 1, vec![0.5; count])));
    }
    made.extend(bench.end_port(0));
    let samples: Vec<f32> = made.iter().flat_map(|(_, frame)| f32_of(frame)).collect();
    assert_eq!(samples.len(), 4 * BLOCK);
    let heard = samples.iter().filter(|&&s| s == 0.5).count();
    assert_eq!(heard, 504);
}

#[test]
fn part_of_a_block_is_not_kept_for_ever() {
    let mut bench = bench(json!({}), 2);
    bench.on(0, audio(0, RATE, 1, vec![0.5; 80]));
    let made = bench.run_until(bench.now + Duration::from_secs(1));
    assert_eq!(made.len(), 1);
    assert_eq!(f32_of(&made[0].1)[79..81], [0.5, 0.0]);
}

#[test]
fn what_exceeds_full_scale_is_clipped_and_no_number_is_silence() {
    let mut bench = bench(json!({"live": false}), 2);
    bench.on(0, level(0, 0.9));
    let made = bench.on(1, level(0, 0.9));
    assert_eq!(told(&made), [(0, 0, 1.0)]);
    bench.on(0, level(20, f32::NAN));
    let made = bench.on(1, level(20, 0.5));
    assert_eq!(told(&made), [(0, 20, 0.5)]);
}

#[test]
fn an_interrupt_forgets_what_waits() {
    let mut bench = bench(json!({}), 2);
    bench.on(0, level(0, 0.5));
    bench.on(1, level(20, 0.25));
    bench.interrupt();
    assert!(
        bench
            .run_until(bench.now + Duration::from_secs(1))
            .is_empty()
    );
}

#[test]
fn an_input_a_minute_ahead_is_an_error_and_not_a_leak() {
    let registry = crate::Registry::builtin();
    let node_type = registry.get("audio.mix").expect("a type");
    let params = json!({"live": false, "sample_rate": RATE});
    let mut node = node_type
        .build(&params, &[Some(pcm(RATE, 1)), Some(pcm(RATE, 1))])
        .expect("a node");
    let failed = (0..100).find_map(|second| {
        let mut effects = crate::node::Effects::default();
        let now = tidegate_media::Timestamp::ZERO;
        let mut cx = crate::Context::new(now, &mut effects);
        let frame = audio(second * 1_000, RATE, 1, vec![0.0; RATE as usize]);
        node.on_frame(&mut cx, 0, frame)
            .err()
            .map(|error| (second, error))
    });
    let (second, error) = failed.expect("it fails");
    assert_eq!(second, 60);
    assert!(error.to_string().contains("ended"), "{error}");
}

#[test]
fn names_that_cannot_be_ports_are_refused() {
    let at = |params| error("audio.mix", params, &[]).path;
    assert_eq!(at(json!({"inputs": ["a", "A"]})), "inputs[1]");
    assert_eq!(at(json!({"inputs": ["a", "a"]})), "inputs[1]");
    assert_eq!(at(json!({"inputs": 65})), "inputs");
    assert_eq!(at(json!({"wait": "11s"})), "wait");
}
