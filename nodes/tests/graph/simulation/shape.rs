//! A random pipeline, and the frames that flow in it.

use bytes::Bytes;
use serde_json::json;
use tidegate_media::{
    Audio, AudioFormat, Frame, Kind, MediaTime, Payload, Timestamp, Video, VideoCodec, VideoFormat,
};
use tidegate_nodes::plan::{Queue, Source, Target, WhenFull};
use tidegate_nodes::{Placement, StreamFormat};

use super::Rng;
use crate::toolkit::{PCM, Sketch, ms};

const PICTURES: VideoFormat = VideoFormat {
    codec: VideoCodec::Vp8,
};

/// Where a frame comes from and which way it took; travels as its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Tag {
    pub(super) origin: u64,
    pub(super) path: u64,
    pub(super) n: u64,
}

impl Tag {
    pub(super) fn of(frame: &Frame) -> Self {
        let data = match &frame.payload {
            Payload::Binary(data) => data,
            Payload::Audio(audio) => &audio.data,
            Payload::Video(video) => &video.data,
            other => panic!("{:?} is not simulated", other.kind()),
        };
        let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
        Self {
            origin: word(0),
            path: word(8),
            n: word(16),
        }
    }

    /// The same frame after another step on its way.
    pub(super) fn step(frame: &Frame, step: u64) -> Frame {
        let mut tag = Self::of(frame);
        tag.path = (tag.path ^ step)
            .wrapping_mul(0x0100_0000_01B3)
            .rotate_left(17);
        let mut payload = frame.payload.clone();
        match &mut payload {
            Payload::Binary(data) => *data = tag.bytes(),
            Payload::Audio(audio) => audio.data = tag.bytes(),
            Payload::Video(video) => video.data = tag.bytes(),
            _ => {}
        }
        frame.with_payload(payload)
    }

    /// Sizes differ, so that one frame may fit where the one before did not.
    fn bytes(self) -> Bytes {
        let mut bytes = [self.origin, self.path, self.n]
            .map(u64::to_le_bytes)
            .concat();
        let padding = usize::try_from(self.n * 7 % 5).unwrap() * 8;
        bytes.resize(bytes.len() + padding, 0);
        Bytes::from(bytes)
    }

    pub(super) fn frame(self, kind: Kind, format: AudioFormat) -> Frame {
        let data = self.bytes();
        let payload = match kind {
            Kind::Audio => Payload::Audio(Audio {
                format,
                samples: 160,
                data,
                rtp: None,
            }),
            Kind::Video => {
                let key = self.n % 7 == 1;
                Payload::Video(Video {
                    format: PICTURES,
                    key,
                    data,
                })
            }
            _ => Payload::Binary(data),
        };
        let media = i64::try_from(self.n).unwrap() * 20_000;
        Frame::new(MediaTime::from_micros(media), payload)
    }
}

/// A random pipeline.
pub(super) struct Shape {
    pub(super) sketch: Sketch,
    pub(super) kind: Kind,
}

impl Shape {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let kind = [Kind::Binary, Kind::Audio, Kind::Video][rng.index(3)];
        let format = match kind {
            Kind::Audio => StreamFormat::audio(PCM),
            Kind::Video => StreamFormat::Video(PICTURES),
            _ => StreamFormat::Binary,
        };
        let paced = kind == Kind::Audio && rng.one_in(2);
        let mut sketch = Sketch::new();
        let mut sources: Vec<Source> = Vec::new();
        for input in 0..1 + rng.index(3) {
            sources.push(sketch.input(&format!("in{input}"), format));
        }
        let mut unheard = sources.clone();
        for hop in 0..1 + rng.index(6) {
            let (inputs, outputs) = add_hop(&mut sketch, rng, hop, kind);
            for port in 0..inputs {
                let from = pick(rng, &sources, &mut unheard);
                join(&mut sketch, rng, from, Target::Hop { hop, port });
                if rng.one_in(4) {
                    let from = pick(rng, &sources, &mut unheard);
                    join(&mut sketch, rng, from, Target::Hop { hop, port });
                }
            }
            let ports = (0..outputs).map(|port| Source::Hop { hop, port });
            unheard.extend(ports.clone());
            sources.extend(ports);
        }
        for output in 0..1 + rng.index(3) {
            let to = sketch.output(&format!("out{output}"), format);
            let queue = random_queue(rng);
            let planned = sketch.plan.outputs.last_mut().unwrap();
            planned.queue = queue;
            planned.paced = paced;
            for _ in 0..1 + rng.index(2) {
                let from = pick(rng, &sources, &mut unheard);
                join(&mut sketch, rng, from, to);
            }
        }
        interrupt(&mut sketch, rng, &sources);
        Self { sketch, kind }
    }
}

fn add_hop(sketch: &mut Sketch, rng: &mut Rng, hop: usize, kind: Kind) -> (usize, usize) {
    let (act, ports) = match rng.index(10) {
        0..3 => ("pass", (1, 1)),
        3 => ("twice", (1, 1)),
        4 => ("delay", (1, 1)),
        5 => ("thin", (1, 1)),
        6 => ("cross", (2, 2)),
        7 => ("source", (0, 1)),
        8 => ("pass", (2, 1)),
        _ => ("pass", (1, 0)),
    };
    let placement = match rng.index(5) {
        _ if act == "source" || ports.1 == 2 => Placement::InPlace,
        0 => Placement::Offload,
        1 => Placement::Remote,
        _ => Placement::InPlace,
    };
    let act = if placement == Placement::InPlace {
        act
    } else {
        "pass"
    };
    let id = format!("{act}{hop}");
    let params = json!({"id": hop, "outputs": ports.1, "every_ms": 3 + rng.below(20), "kind": kind.as_str()});
    sketch.add(&id, &format!("sim.{act}"), placement, ports, params);
    ports
}

/// A source, one that nobody hears yet for choice.
fn pick(rng: &mut Rng, sources: &[Source], unheard: &mut Vec<Source>) -> Source {
    if !unheard.is_empty() && !rng.one_in(3) {
        let at = rng.index(unheard.len());
        return unheard.swap_remove(at);
    }
    sources[rng.index(sources.len())]
}

fn join(sketch: &mut Sketch, rng: &mut Rng, from: Source, to: Target) {
    let there = |edge: &tidegate_nodes::plan::PlanEdge| edge.from == from && edge.to == to;
    if !sketch.plan.edges.iter().any(there) {
        sketch.join(from, to).queue = random_queue(rng);
    }
}

fn random_queue(rng: &mut Rng) -> Queue {
    Queue {
        frames: 1 + u32::try_from(rng.below(8)).unwrap(),
        bytes: if rng.one_in(3) { 60 } else { 1 << 20 },
        age: rng.one_in(4).then(|| ms(5 + rng.below(100))),
        when_full: [WhenFull::Block, WhenFull::DropOldest, WhenFull::DropNewest][rng.index(3)],
    }
}

fn interrupt(sketch: &mut Sketch, rng: &mut Rng, sources: &[Source]) {
    if rng.one_in(2) {
        return;
    }
    // A port that interrupts with every frame would leave nothing to see: only rare ones do.
    let flush: Vec<_> = (0..sketch.plan.hops.len())
        .filter(|_| rng.one_in(3))
        .collect();
    let on = sources[rng.index(sources.len())];
    sketch.interrupt(rng.one_in(8).then_some(on), &flush);
}

/// Milliseconds as an instant; the session begins at 1 s.
pub(super) fn start() -> Timestamp {
    Timestamp::from_nanos(1_000_000_000)
}
