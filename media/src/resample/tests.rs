//! Tests of the resampler with tones whose result is known.
#![expect(clippy::cast_possible_truncation, reason = "test signals are short")]

use super::*;
use crate::testing::{Rng, energy, fit, tone};

/// Pushes `input` in chunks of random sizes up to `longest`; gives the output and checks its times.
fn convert(from: u32, to: u32, input: &[f32], longest: u64, start: i64) -> Vec<f32> {
    let mut rng = Rng::new(u64::from(from) * 7 + u64::from(to));
    let mut resampler = Resampler::new(from, to, 1).expect("valid rates");
    let mut output: Vec<f32> = Vec::new();
    let mut done = 0;
    let mut check = |at: MediaTime, chunk: Vec<f32>| {
        let expected = start + (output.len() as i128 * 1_000_000 / i128::from(to)) as i64;
        assert!(
            (at.as_micros() - expected).abs() <= 1,
            "{at} for {expected}"
        );
        output.extend(chunk);
    };
    while done < input.len() {
        let count = (1 + rng.below(longest) as usize).min(input.len() - done);
        let at = start + (done as i128 * 1_000_000 / i128::from(from)) as i64;
        resampler.push(
            MediaTime::from_micros(at),
            &input[done..done + count],
            &mut check,
        );
        done += count;
    }
    resampler.flush(&mut check);
    output
}

#[test]
fn tones_keep_shape_place_and_length() {
    let pairs = [
        (48_000, 16_000),
        (16_000, 48_000),
        (48_000, 8_000),
        (8_000, 16_000),
        (44_100, 48_000),
        (44_100, 16_000),
        (24_000, 16_000),
        (11_025, 16_000),
        (44_101, 48_000),
    ];
    for (from, to) in pairs {
        let input = tone(440.0, from, 0, from as usize / 5);
        let output = convert(from, to, &input, u64::from(from) / 30, -70_000);
        assert_eq!(
            output.len() as u64,
            input.len() as u64 * u64::from(to) / u64::from(from),
            "{from} to {to}"
        );
        let edge = to as usize / 50;
        let (snr, late) = fit(440.0, to, edge, &output[edge..output.len() - edge]);
        assert!(snr > 60.0, "{from} to {to}: {snr:.1} dB");
        assert!(late.abs() < 15e-6, "{from} to {to}: off by {late} s");
    }
}

#[test]
fn what_the_lower_rate_cannot_carry_is_removed_not_aliased() {
    for (from, to) in [
        (48_000, 16_000),
        (48_000, 8_000),
        (44_100, 16_000),
        (44_101, 16_000),
    ] {
        let input = tone(f64::from(to) * 0.62, from, 0, from as usize / 5);
        let output = convert(from, to, &input, 960, 0);
        let inner = &output[to as usize / 50..output.len() - to as usize / 50];
        let left = 10.0 * (energy(inner) / energy(&input)).log10();
        assert!(left < -60.0, "{from} to {to}: {left:.1} dB");
    }
}

#[test]
fn the_usual_pairs_have_low_delay() {
    for (from, to, most) in [
        (48_000, 16_000, 2.6),
        (16_000, 48_000, 2.6),
        (24_000, 16_000, 2.6),
        (48_000, 8_000, 5.1),
        (44_100, 48_000, 3.4),
        (44_101, 48_000, 2.0),
        (11_025, 48_000, 7.0),
    ] {
        let resampler = Resampler::new(from, to, 1).expect("valid rates");
        let delay = resampler.delay().as_secs_f64() * 1e3;
        assert!(delay <= most, "{from} to {to}: {delay} ms");
        assert!(resampler.block() <= Duration::from_millis(15));
    }
}

#[test]
fn a_hole_emits_the_tail_and_restarts() {
    let mut resampler = Resampler::new(48_000, 16_000, 2).expect("valid rates");
    let mut runs = Vec::new();
    let mut keep = |at: MediaTime, chunk: Vec<f32>| runs.push((at.as_micros(), chunk.len()));
    resampler.push(MediaTime::ZERO, &[0.1; 2 * 960], &mut keep);
    resampler.push(MediaTime::from_micros(500_000), &[0.1; 2 * 960], &mut keep);
    let first: usize = runs.iter().filter(|r| r.0 < 500_000).map(|r| r.1).sum();
    assert_eq!(first, 2 * 320);
    assert_eq!(runs.last().map(|r| r.0), Some(500_000));
}

#[test]
fn equal_rates_pass_samples_unchanged() {
    let input = tone(1_000.0, 16_000, 0, 3_200);
    assert_eq!(convert(16_000, 16_000, &input, 400, 5), input);
    let resampler = Resampler::new(16_000, 16_000, 1).expect("valid rates");
    assert!(resampler.delay().is_zero());
}

#[test]
fn absurd_rates_are_refused() {
    assert!(matches!(
        Resampler::new(0, 48_000, 1),
        Err(ResampleError::Rate { .. })
    ));
    assert!(matches!(
        Resampler::new(48_000, u32::MAX, 1),
        Err(ResampleError::Rate { .. })
    ));
    assert!(matches!(
        Resampler::new(8_000, 48_000, 0),
        Err(ResampleError::Channels)
    ));
}

#[test]
fn what_is_not_a_number_is_silence_and_does_not_panic() {
    for bad in [f32::NAN, f32::INFINITY, -1e38] {
        let mut resampler = Resampler::new(48_000, 16_000, 1).expect("usual rates");
        let mut output = Vec::new();
        let mut emit = |_, samples: Vec<f32>| output.extend(samples);
        resampler.push(MediaTime::ZERO, &[bad; 4_800], &mut emit);
        resampler.push(MediaTime::from_micros(100_000), &[0.0; 9_600], &mut emit);
        assert!(output.iter().all(|sample| sample.is_finite()));
    }
}
