//! Measures what a frame costs in each built-in node; the figures of [`NodeType::cost`] come from here.
//!
//! `cargo run --release -p tidegate-nodes --example cost` prints the median and the 99th percentile over two thousand frames.
//!
//! [`NodeType::cost`]: tidegate_nodes::NodeType::cost
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::cast_possible_truncation, reason = "signals are f32")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_media::{Audio, AudioFormat, Frame, Json, MediaTime, Payload, Tensor, Timestamp};
use tidegate_nodes::node::Effects;
use tidegate_nodes::{Context, Registry, StreamFormat};

/// Frames measured, after as many to warm up as a fifth of them.
const FRAMES: u32 = 2_000;

fn main() {
    println!("{:<44}{:>10}{:>10}", "20 ms of", "median", "p99");
    let four = json!({"inputs": 4, "wait": "0ms"});
    let seats = json!({"inputs": 4, "minus_self": true, "wait": "0ms"});
    for (name, params, rate) in [
        ("identity", json!({}), 48_000),
        ("audio.gain", json!({"factor": 0.5}), 48_000),
        ("audio.pcm", json!({"codec": "pcm_s16"}), 48_000),
        ("audio.channels", json!({"channels": 2}), 48_000),
        ("audio.resample", json!({"sample_rate": 16_000}), 48_000),
        ("audio.encode", json!({"codec": "pcmu"}), 8_000),
        ("audio.encode", json!({"codec": "opus"}), 48_000),
        ("audio.denoise", json!({}), 48_000),
        ("audio.vad", json!({}), 48_000),
        ("audio.segment", json!({}), 48_000),
        ("audio.log_mel", json!({}), 16_000),
        ("audio.mix", four, 48_000),
        ("audio.mix", seats, 48_000),
    ] {
        let format = StreamFormat::audio(AudioFormat::pcm_f32(rate, 1));
        show(name, params, format, |number| sound(rate, number));
    }
    println!("one of");
    tensors();
    messages();
}

fn tensors() {
    let rows = |_| Payload::Tensor(tensor(10, 80));
    let image = |_| Payload::Tensor(tensor(512, 512));
    show(
        "tensor.window",
        json!({"size": 10}),
        StreamFormat::Tensor,
        rows,
    );
    show(
        "tensor.stack",
        json!({"count": 1}),
        StreamFormat::Tensor,
        image,
    );
    show(
        "tensor.cast",
        json!({"dtype": "f16"}),
        StreamFormat::Tensor,
        rows,
    );
    show(
        "tensor.cast",
        json!({"dtype": "f16"}),
        StreamFormat::Tensor,
        image,
    );
    show("tensor.summary", json!({}), StreamFormat::Tensor, rows);
    show("tensor.summary", json!({}), StreamFormat::Tensor, image);
}

fn messages() {
    let value = |_| Payload::Json(Json::from(&json!({"text": "hello", "words": [{"p": 0.5}]})));
    let text = |_| Payload::Text("hello world".into());
    show(
        "json.pick",
        json!({"pointer": "/words/0/p"}),
        StreamFormat::Json,
        value,
    );
    show(
        "text.template",
        json!({"template": "<{{/text}}>"}),
        StreamFormat::Json,
        value,
    );
    show(
        "text.constant",
        json!({"text": "hello"}),
        StreamFormat::Text,
        text,
    );
    show("filter", json!({"every": 2}), StreamFormat::Text, text);
    show(
        "filter",
        json!({"text": {"contains": "world"}}),
        StreamFormat::Text,
        text,
    );
    show(
        "filter",
        json!({"json": {"pointer": "/words/0/p"}}),
        StreamFormat::Json,
        value,
    );
}

/// Something with a pitch and a hiss, so that no node takes a short cut.
fn sound(rate: u32, number: u32) -> Payload {
    let count = rate / 50;
    let mut noise = u64::from(number) + 1;
    let samples = (0..count).map(|index| {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let hiss = f64::from((noise >> 33) as u32) / f64::from(u32::MAX) * 0.01;
        let time = f64::from(number * count + index) / f64::from(rate);
        let pitch = 120.0 + 20.0 * (time * 6.0).sin();
        let buzz: f64 = (1..20)
            .map(|k| (std::f64::consts::TAU * pitch * f64::from(k) * time).sin() / f64::from(k))
            .sum();
        (0.1 * buzz + hiss) as f32
    });
    Payload::Audio(Audio::from_f32(rate, 1, samples.collect()))
}

fn tensor(rows: u64, columns: u64) -> Tensor {
    let elements = vec![0.5_f32; usize::try_from(rows * columns).expect("small")];
    Tensor::from_vec(&[rows, columns], elements).expect("they fit")
}

#[expect(clippy::disallowed_methods, reason = "measuring is its purpose")]
fn show(name: &str, params: Value, input: StreamFormat, payload: impl Fn(u32) -> Payload) {
    let registry = Registry::builtin();
    let node_type = registry.get(name).expect("a known type");
    let ports = node_type
        .ports(&params)
        .expect("good parameters")
        .inputs
        .len();
    let inputs = vec![Some(input); ports];
    let mut node = node_type.build(&params, &inputs).expect("a node");
    let mut times = Vec::new();
    for number in 0..FRAMES + FRAMES / 5 {
        let at = MediaTime::from_micros(i64::from(number) * 20_000);
        let frame = Frame::new(at, payload(number));
        let mut spent = Duration::ZERO;
        for port in 0..ports {
            let mut effects = Effects::default();
            let now = Timestamp::from_nanos(u64::from(number) * 20_000_000);
            let mut cx = Context::new(now, &mut effects);
            let frame = frame.clone();
            let start = Instant::now();
            node.on_frame(&mut cx, port, frame).expect("it goes on");
            spent += start.elapsed();
        }
        if number >= FRAMES / 5 {
            times.push(spent);
        }
    }
    times.sort_unstable();
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let params: String = params.to_string().chars().take(26).collect();
    println!(
        "{:<44}{median:>10.1?}{p99:>10.1?}",
        format!("{name} {params}")
    );
}
