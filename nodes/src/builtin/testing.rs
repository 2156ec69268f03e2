//! What the tests of nodes share: a bench that calls a node as the graph does, and signals whose outcome is known.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "test signals are short"
)]

use serde_json::Value;
use tidegate_media::{Audio, AudioFormat, Frame, MediaTime, Payload, Timestamp};

use crate::node::{Context, DropReason, Effects, Node, NodeError, Reception};
use crate::registry::{ParamError, Registry};
use crate::stream::StreamFormat;

/// One node of the registry, with what it made kept by port.
pub(super) struct Bench {
    node: Box<dyn Node>,
    /// Its outputs' formats.
    pub(super) formats: Vec<StreamFormat>,
    /// The instant of the next call.
    pub(super) now: Timestamp,
    pub(super) timer: Option<Timestamp>,
    pub(super) drops: Vec<(DropReason, u32)>,
    pub(super) reception: Option<Reception>,
    /// It said that it makes no more.
    pub(super) ended: bool,
}

impl Bench {
    pub(super) fn new(name: &str, params: Value, inputs: &[StreamFormat]) -> Self {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        Self::open(&Registry::builtin(), name, params, &inputs)
    }

    pub(super) fn open(
        registry: &Registry,
        name: &str,
        params: Value,
        inputs: &[Option<StreamFormat>],
    ) -> Self {
        let node_type = registry.get(name).expect("a known type");
        let ports = node_type.ports(&params).expect("good parameters");
        assert_eq!(ports.inputs.len(), inputs.len(), "one format for each port");
        for (port, format) in ports.inputs.iter().zip(inputs) {
            let fits = format.is_none_or(|format| port.accepts.admits(&format));
            assert!(fits, "{} does not take {format:?}", port.name);
        }
        let formats = node_type.outputs(&params, inputs).expect("formats fit");
        assert_eq!(ports.outputs.len(), formats.len());
        for (port, format) in ports.outputs.iter().zip(&formats) {
            assert!(port.accepts.kind().is_none_or(|kind| kind == format.kind()));
        }
        Self {
            node: node_type.build(&params, inputs).expect("a node"),
            formats,
            now: Timestamp::from_nanos(1_000_000_000),
            timer: None,
            drops: Vec::new(),
            reception: None,
            ended: false,
        }
    }

    fn call(
        &mut self,
        call: impl FnOnce(&mut dyn Node, &mut Context<'_>) -> Result<(), NodeError>,
    ) -> Vec<(usize, Frame)> {
        let mut effects = Effects::default();
        let mut cx = Context::new(self.now, &mut effects);
        let result = call(self.node.as_mut(), &mut cx);
        effects.outcome(result).expect("the node goes on");
        if let Some(timer) = effects.timer {
            self.timer = timer;
        }
        self.drops.extend(effects.drops);
        self.ended |= effects.ended;
        self.reception = effects.reception.or(self.reception);
        for (port, frame) in &effects.frames {
            assert_eq!(frame.kind(), self.formats[*port].kind());
            if let (Payload::Audio(audio), Some(format)) =
                (&frame.payload, self.formats[*port].audio_format())
            {
                assert_eq!(audio.format, format, "what it said is what comes");
            }
        }
        effects.frames.into_vec()
    }

    /// A frame on a port; gives frames with their ports.
    pub(super) fn on(&mut self, port: usize, frame: Frame) -> Vec<(usize, Frame)> {
        self.call(|node, cx| node.on_frame(cx, port, frame))
    }

    /// A frame on port 0; gives the frames of all ports.
    pub(super) fn frame(&mut self, frame: Frame) -> Vec<Frame> {
        self.on(0, frame)
            .into_iter()
            .map(|(_, frame)| frame)
            .collect()
    }

    /// A frame on port 0 that the node cannot go on after.
    pub(super) fn fails(&mut self, frame: Frame) -> String {
        let mut effects = Effects::default();
        let mut cx = Context::new(self.now, &mut effects);
        let result = self.node.on_frame(&mut cx, 0, frame);
        let failed = effects.outcome(result).expect_err("the node fails");
        failed.message
    }

    pub(super) fn frames(&mut self, frames: Vec<Frame>) -> Vec<Frame> {
        frames
            .into_iter()
            .flat_map(|frame| self.frame(frame))
            .collect()
    }

    pub(super) fn end_port(&mut self, port: usize) -> Vec<(usize, Frame)> {
        self.call(|node, cx| node.on_end(cx, port))
    }

    pub(super) fn end(&mut self) -> Vec<Frame> {
        self.end_port(0)
            .into_iter()
            .map(|(_, frame)| frame)
            .collect()
    }

    pub(super) fn interrupt(&mut self) {
        let made = self.call(|node, cx| {
            node.on_interrupt(cx);
            Ok(())
        });
        assert!(made.is_empty(), "an interrupt emits nothing");
    }

    /// Lets time pass until `until`, calling the timer whenever it is due.
    pub(super) fn run_until(&mut self, until: Timestamp) -> Vec<(usize, Frame)> {
        let mut made = Vec::new();
        while let Some(at) = self.timer.filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.timer = None;
            made.extend(self.call(|node, cx| node.on_timer(cx)));
        }
        self.now = until;
        made
    }
}

/// The error of a node type for parameters and formats that do not do.
pub(super) fn error(name: &str, params: Value, inputs: &[StreamFormat]) -> ParamError {
    let registry = Registry::builtin();
    let node_type = registry.get(name).expect("a known type");
    let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
    let first = match node_type.ports(&params) {
        Err(error) => error,
        Ok(_) => node_type.outputs(&params, &inputs).expect_err("refused"),
    };
    assert!(
        node_type.build(&params, &inputs).is_err(),
        "build refuses too"
    );
    first
}

pub(super) fn pcm(rate: u32, channels: u8) -> StreamFormat {
    StreamFormat::audio(AudioFormat::pcm_f32(rate, channels))
}

pub(super) fn s16(rate: u32, channels: u8) -> StreamFormat {
    StreamFormat::audio(AudioFormat::pcm_s16(rate, channels))
}

/// A frame of interleaved float samples at a time in milliseconds.
pub(super) fn audio(ms: i64, rate: u32, channels: u8, samples: Vec<f32>) -> Frame {
    let audio = Audio::from_f32(rate, channels, samples);
    Frame::new(MediaTime::from_micros(ms * 1_000), Payload::Audio(audio))
}

/// Interleaved samples cut into frames of `size` samples of each channel, from media time 0.
pub(super) fn stream(rate: u32, channels: u8, size: usize, samples: &[f32]) -> Vec<Frame> {
    let frames = samples.chunks(size * usize::from(channels));
    frames
        .enumerate()
        .map(|(index, chunk)| {
            let at = MediaTime::from_samples((index * size) as u64, rate);
            let audio = Audio::from_f32(rate, channels, chunk.to_vec());
            Frame::new(at, Payload::Audio(audio))
        })
        .collect()
}

pub(super) fn f32_of(frame: &Frame) -> Vec<f32> {
    match &frame.payload {
        Payload::Audio(audio) => audio.to_f32().into_owned(),
        other => panic!("not audio but {}", other.kind()),
    }
}

pub(super) fn micros(frame: &Frame) -> i64 {
    frame.meta.media_time.as_micros()
}

/// A sine.
pub(super) fn tone(hz: f64, rate: u32, count: usize, amplitude: f64) -> Vec<f32> {
    (0..count)
        .map(|i| {
            (amplitude * (std::f64::consts::TAU * hz * i as f64 / f64::from(rate)).sin()) as f32
        })
        .collect()
}

/// White noise in −amplitude..amplitude from a fixed seed.
pub(super) fn noise(count: usize, amplitude: f32, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            amplitude * ((state >> 40) as f32 / 8_388_608.0 - 1.0)
        })
        .collect()
}

/// Noise whose highs fade, as that of rooms does, at about the level of white noise of that amplitude.
pub(super) fn room_noise(count: usize, amplitude: f32, seed: u64) -> Vec<f32> {
    let mut level = 0.0;
    let hiss = noise(count, amplitude, seed);
    let fade = hiss.into_iter().map(|sample| {
        level = 0.9 * level + 0.3 * sample;
        level
    });
    fade.collect()
}

/// Mean power of samples.
pub(super) fn power(samples: &[f32]) -> f64 {
    let sum: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    sum / samples.len().max(1) as f64
}

/// Mean power of what lies at one frequency: half of the squared amplitude of a sine there.
pub(super) fn power_at(hz: f64, rate: u32, samples: &[f32]) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (i, &sample) in samples.iter().enumerate() {
        let phase = std::f64::consts::TAU * hz * i as f64 / f64::from(rate);
        re += f64::from(sample) * phase.cos();
        im += f64::from(sample) * phase.sin();
    }
    let n = samples.len().max(1) as f64;
    2.0 * (re * re + im * im) / (n * n)
}

/// Something like voiced speech: a buzz whose pitch glides around 130 Hz through the formants of vowels, which change from
/// syllable to syllable, four a second with short pauses between them.
pub(super) fn speech_like(rate: u32, count: usize) -> Vec<f32> {
    const VOWELS: [[f64; 3]; 4] = [
        [730.0, 1_090.0, 2_440.0],
        [270.0, 2_290.0, 3_010.0],
        [570.0, 840.0, 2_410.0],
        [530.0, 1_840.0, 2_480.0],
    ];
    let mut phase = 0.0_f64;
    (0..count)
        .map(|i| {
            let time = i as f64 / f64::from(rate);
            let pitch = 130.0 + 25.0 * (std::f64::consts::TAU * 1.3 * time).sin();
            phase += std::f64::consts::TAU * pitch / f64::from(rate);
            let syllable = time * 4.0;
            let formants = VOWELS[syllable as usize % VOWELS.len()];
            let sum: f64 = (1..=28_u8)
                .map(|k| {
                    let hz = pitch * f64::from(k);
                    let near = |centre: f64| 1.0 / (1.0 + ((hz - centre) / 90.0).powi(2));
                    let level =
                        near(formants[0]) + 0.5 * near(formants[1]) + 0.25 * near(formants[2]);
                    (0.01 + level) * (phase * f64::from(k)).sin()
                })
                .sum();
            let swell = (std::f64::consts::PI * syllable.fract())
                .sin()
                .max(0.0)
                .sqrt();
            (0.2 * swell * sum) as f32
        })
        .collect()
}
