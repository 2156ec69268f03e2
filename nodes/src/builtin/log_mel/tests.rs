//! Tests against values that librosa 0.11 computed for the same signal.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "test signals are short"
)]

use serde_json::json;
use tidegate_media::{Frame, Payload};

use super::super::testing::{Bench, audio, error, micros, pcm, stream};

const RATE: u32 = 16_000;
const COLUMNS: [usize; 7] = [0, 5, 12, 20, 40, 60, 79];

/// Half a second of two tones in a hiss from a linear congruence.
fn signal() -> Vec<f32> {
    let mut state = 1_u64;
    (0..8_000_u32)
        .map(|n| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            let time = std::f64::consts::TAU * f64::from(n) / f64::from(RATE);
            let tones = 0.5 * (440.0 * time).sin() + 0.25 * (1_760.0 * time + 0.3).sin();
            (tones + (state as f64 / f64::from(1 << 30) - 1.0) * 0.05) as f32
        })
        .collect()
}

/// All rows of some frames, each with its media time.
fn rows(frames: &[Frame]) -> Vec<(i64, Vec<f32>)> {
    let mut rows = Vec::new();
    for frame in frames {
        let Payload::Tensor(tensor) = &frame.payload else {
            panic!("not a tensor");
        };
        let bands = tensor.shape()[1] as usize;
        let elements = tensor.elements::<f32>().expect("floats");
        assert_eq!(elements.len(), tensor.shape()[0] as usize * bands);
        for (index, row) in (0..).zip(elements.chunks(bands)) {
            rows.push((micros(frame) + index * 10_000, row.to_vec()));
        }
    }
    rows
}

fn run(params: serde_json::Value, size: usize) -> Vec<(i64, Vec<f32>)> {
    let mut bench = Bench::new("audio.log_mel", params, &[pcm(RATE, 1)]);
    let mut frames = bench.frames(stream(RATE, 1, size, &signal()));
    frames.extend(bench.end());
    rows(&frames)
}

fn check(row: &[f32], expected: [f32; 7], mean: f32) {
    for (column, expected) in COLUMNS.into_iter().zip(expected) {
        assert!(
            (row[column] - expected).abs() < 2e-3,
            "{column}: {} {expected}",
            row[column]
        );
    }
    let sum: f32 = row.iter().sum();
    assert!((sum / row.len() as f32 - mean).abs() < 1e-3);
}

#[test]
fn the_defaults_give_what_whispers_front_end_gives() {
    let rows = run(json!({}), 320);
    assert_eq!(rows.len(), 50);
    check(
        &rows[0].1,
        [0.0519, 0.1737, 1.3343, -0.9215, 0.7493, -2.4016, -2.8104],
        -1.3811,
    );
    check(
        &rows[1].1,
        [-1.7559, -2.1408, 1.2138, -2.1419, 0.8052, -2.6973, -2.4833],
        -2.1713,
    );
    check(
        &rows[25].1,
        [-3.3494, -2.5594, 1.1749, -3.0838, 0.8013, -2.3450, -2.4688],
        -2.3103,
    );
    check(
        &rows[49].1,
        [-1.9450, -1.7739, 1.1669, -2.7977, 0.8184, -2.3426, -2.6663],
        -2.1391,
    );
    for (index, (at, _)) in (0..).zip(&rows) {
        assert_eq!(
            *at,
            index * 10_000,
            "a row lies at the centre of its window"
        );
    }
}

#[test]
fn windows_that_start_on_their_sample_are_right_too() {
    let rows = run(json!({"center": false}), 320);
    assert_eq!(
        rows.len(),
        50,
        "the last two reach into the silence after the end"
    );
    check(
        &rows[10].1,
        [-2.5022, -2.7507, 1.1761, -2.2186, 0.7908, -2.5509, -2.3159],
        -2.2383,
    );
}

#[test]
fn the_length_of_frames_makes_no_difference() {
    let whole = run(json!({}), 8_000);
    for size in [1, 37, 160, 1_000] {
        assert_eq!(run(json!({}), size), whole, "frames of {size}");
    }
}

#[test]
fn silence_is_the_floor_and_an_utterance_ends_with_its_last_rows() {
    let mut bench = Bench::new("audio.log_mel", json!({"mels": 8}), &[pcm(RATE, 1)]);
    let mut frame = audio(0, RATE, 1, vec![0.0; 1_600]);
    frame.meta.is_final = true;
    let made = bench.frame(frame);
    assert!(made.last().expect("rows").meta.is_final);
    let rows = rows(&made);
    assert_eq!(rows.len(), 10);
    assert!(rows.iter().all(|(_, row)| *row == [-10.0; 8]));
}

#[test]
fn impossible_bands_are_refused() {
    let at = |params| error("audio.log_mel", params, &[pcm(RATE, 1)]).path;
    assert_eq!(at(json!({"hop": 500})), "hop");
    assert_eq!(at(json!({"f_max": 9_000})), "f_max");
    assert_eq!(at(json!({"mels": 0})), "mels");
}
