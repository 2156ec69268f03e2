//! Arbitrary messages for the round-trip tests of both encodings: only such as the wire can carry exactly (durations of whole
//! microseconds, numbers that a double holds).

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tidegate_media::{
    Audio, AudioFormat, Codec, Dtype, Frame, Json, Kind, MediaTime, Meta, Payload, Tensor, Text,
    Timestamp, Video, VideoCodec, VideoFormat,
};

use crate::message::*;
use crate::name::PortName;

/// The instant at which the tests encode and decode.
pub(crate) const NOW: Timestamp = Timestamp::from_nanos(5_000_000_000);

pub(crate) fn port() -> impl Strategy<Value = PortName> {
    "[a-z][a-z0-9_-]{0,12}".prop_map(|name| PortName::new(name).expect("matches the grammar"))
}

fn text() -> impl Strategy<Value = String> {
    ".{0,24}"
}

fn micros() -> impl Strategy<Value = Duration> {
    (1..1u64 << 50).prop_map(Duration::from_micros)
}

fn audio_format() -> impl Strategy<Value = AudioFormat> {
    let formats = [
        AudioFormat::pcm_s16(16_000, 1),
        AudioFormat::pcm_f32(48_000, 2),
        AudioFormat::WEBRTC_OPUS,
        AudioFormat {
            codec: Codec::Pcmu,
            sample_rate: 8_000,
            channels: 1,
        },
        AudioFormat {
            codec: Codec::Pcma,
            sample_rate: 8_000,
            channels: 3,
        },
    ];
    proptest::sample::select(formats.to_vec())
}

fn video_format() -> impl Strategy<Value = VideoFormat> {
    proptest::sample::select(vec![VideoCodec::Vp8, VideoCodec::H264])
        .prop_map(|codec| VideoFormat { codec })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

fn payload() -> impl Strategy<Value = Payload> {
    let audio = (audio_format(), 0..20usize).prop_map(|(format, count)| {
        let step = format.codec.sample_bytes().unwrap_or(1) * usize::from(format.channels);
        let data = (0..=255u8).cycle().take(step * count).collect::<Vec<_>>();
        Payload::Audio(Audio::encoded(format, data.into()))
    });
    let video = (video_format(), any::<bool>(), bytes())
        .prop_map(|(format, key, data)| Payload::Video(Video { format, key, data }));
    let tensor = (
        proptest::sample::select(Dtype::ALL.to_vec()),
        vec(0..4u64, 0..=Tensor::MAX_RANK.min(4)),
    )
        .prop_map(|(dtype, shape)| {
            let length = usize::try_from(shape.iter().product::<u64>()).expect("small");
            let data = vec![7; length * dtype.size()];
            Payload::Tensor(Tensor::new(dtype, &shape, data.into()).expect("fits"))
        });
    prop_oneof![
        audio,
        video,
        text().prop_map(|text| Payload::Text(Text::from(text))),
        bytes().prop_map(Payload::Binary),
        tensor,
        value().prop_map(|value| Payload::Json(Json::from(&value))),
    ]
}

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    let numbers = (
        any::<u64>(),
        any::<i64>(),
        any::<u64>(),
        any::<u32>(),
        any::<u64>(),
    );
    let rest = (
        option::of(micros()),
        option::of(micros()),
        any::<[bool; 2]>(),
    );
    (numbers, rest, payload()).prop_map(|(numbers, rest, payload)| Frame {
        meta: Meta {
            seq: numbers.0,
            media_time: MediaTime::from_micros(numbers.1),
            ingress: NOW,
            utterance: numbers.2,
            revision: numbers.3,
            is_final: rest.2[0],
            caused_by: numbers.4,
            caused_port: 0,
            since: 0,
            deadline: rest.0.map(|left| NOW + left),
            service: rest.1,
            replayed: rest.2[1],
        },
        payload,
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1i64 << 53)..=1 << 53).prop_map(Value::from),
        (-1000i32..1000).prop_map(|n| json!(f64::from(n) + 0.5)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(text(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn parameters() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::hash_map(text(), value(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn specs() -> impl Strategy<Value = Vec<(PortName, StreamSpec)>> {
    vec((port(), spec()), 0..4)
}

fn spec() -> impl Strategy<Value = StreamSpec> {
    prop_oneof![
        audio_format().prop_map(StreamSpec::Audio),
        video_format().prop_map(StreamSpec::Video),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        "[a-z]{1,9}".prop_map(Source::Pipeline),
        text().prop_map(Source::Manifest)
    ]
}

fn open() -> impl Strategy<Value = Open> {
    let raw =
        (option::of(port()), option::of(port())).prop_map(|(input, output)| Raw { input, output });
    let first = (
        source(),
        parameters(),
        any::<bool>(),
        vec("[a-z]{1,9}", 0..4),
        option::of("[a-z]{1,9}"),
    );
    let second = (
        vec(port(), 0..4),
        specs(),
        specs(),
        option::of(raw),
        any::<u32>(),
        option::of(micros()),
    );
    (first, second).prop_map(|(first, second)| Open {
        source: first.0,
        parameters: first.1,
        mode: if first.2 { Mode::Live } else { Mode::Waits },
        features: first.3,
        session: first.4,
        as_ports: second.0,
        inputs: second.1,
        outputs: second.2,
        raw: second.3,
        hop_count: second.4,
        deadline: second.5,
    })
}

fn credit() -> impl Strategy<Value = Credit> {
    let bytes = prop_oneof![Just(Credit::UNCOUNTED), 1..1u64 << 40];
    (port(), 1..u32::MAX, bytes).prop_map(|(port, frames, bytes)| Credit {
        port,
        frames,
        bytes,
    })
}

fn ack() -> impl Strategy<Value = Ack> {
    (port(), any::<u64>()).prop_map(|(port, seq)| Ack { port, seq })
}

pub(crate) fn client() -> impl Strategy<Value = ClientMessage> {
    prop_oneof![
        open().prop_map(|open| ClientMessage::Open(Box::new(open))),
        (port(), frame()).prop_map(|(port, frame)| ClientMessage::Frame { port, frame }),
        Just(ClientMessage::Interrupt),
        option::of(port()).prop_map(|port| ClientMessage::End { port }),
        credit().prop_map(ClientMessage::Credit),
        ack().prop_map(ClientMessage::Ack),
    ]
}

fn opened() -> impl Strategy<Value = Opened> {
    let kind = proptest::sample::select(Kind::ALL.to_vec());
    let one = (port(), any::<bool>(), kind, option::of(spec())).prop_map(
        |(name, input, kind, format)| Port {
            name,
            direction: if input {
                Direction::Input
            } else {
                Direction::Output
            },
            kind,
            format,
        },
    );
    let limits = (any::<u64>(), option::of(micros()), option::of(micros())).prop_map(
        |(message_bytes, session, idle)| Limits {
            message_bytes,
            session,
            idle,
        },
    );
    (
        text(),
        vec(one, 0..4),
        vec("[a-z]{1,9}", 0..4),
        limits,
        text(),
        text(),
        any::<bool>(),
    )
        .prop_map(
            |(session_id, ports, features, limits, pipeline, gateway, deterministic)| Opened {
                session_id,
                ports,
                features,
                limits,
                pipeline,
                gateway,
                deterministic,
            },
        )
}

fn error() -> impl Strategy<Value = WireError> {
    let optional = || option::of("[a-z:/]{1,20}");
    (
        "[a-z_]{1,20}",
        text(),
        "[a-z]{1,8}",
        any::<bool>(),
        (optional(), optional(), optional()),
        (
            option::of(micros()),
            option::of(1..9u32),
            option::of(micros()),
        ),
    )
        .prop_map(
            |(code, message, fault, retryable, optional, (retry_after, attempt, elapsed))| {
                WireError {
                    code,
                    message,
                    fault,
                    retryable,
                    hop: optional.0,
                    endpoint: optional.1,
                    phase: optional.2,
                    retry_after,
                    attempt,
                    elapsed,
                }
            },
        )
}

fn stats() -> impl Strategy<Value = Stats> {
    let latency = || {
        option::of(
            (any::<u64>(), vec(micros(), 4)).prop_map(|(count, times)| Latency {
                count,
                p50: times[0],
                p90: times[1],
                p99: times[2],
                max: times[3],
            }),
        )
    };
    let hop = (
        text(),
        any::<[u64; 3]>(),
        any::<u32>(),
        (latency(), latency(), latency()),
    )
        .prop_map(|(hop, counts, queue_frames, times)| HopStats {
            hop,
            frames_in: counts[0],
            frames_out: counts[1],
            dropped: counts[2],
            queue_frames,
            queue: times.0,
            service: times.1,
            wire: times.2,
        });
    vec(hop, 0..4).prop_map(|hops| Stats { hops })
}

pub(crate) fn server() -> impl Strategy<Value = ServerMessage> {
    prop_oneof![
        opened().prop_map(|opened| ServerMessage::Opened(Box::new(opened))),
        (port(), option::of(port()), frame()).prop_map(|(port, caused_port, frame)| {
            ServerMessage::Frame {
                port,
                caused_port,
                frame,
            }
        }),
        (option::of(port()), text())
            .prop_map(|(port, reason)| ServerMessage::Interrupted { port, reason }),
        error().prop_map(|error| ServerMessage::Error(Box::new(error))),
        stats().prop_map(|stats| ServerMessage::Stats(Box::new(stats))),
        ack().prop_map(ServerMessage::ReplayFrom),
        micros().prop_map(|deadline| ServerMessage::Draining { deadline }),
        text().prop_map(|reason| ServerMessage::Ended { reason }),
        credit().prop_map(ServerMessage::Credit),
        ack().prop_map(ServerMessage::Ack),
        port().prop_map(|port| ServerMessage::End { port }),
    ]
}

pub(crate) fn execute() -> impl Strategy<Value = Execute> {
    let frames = vec(frame(), 0..3).prop_map(|mut frames| {
        for frame in &mut frames {
            frame.meta.seq = frame.meta.seq.max(1);
        }
        frames
    });
    let inputs = proptest::collection::btree_map(port(), frames, 0..3);
    let limits = (any::<u32>(), option::of(micros()));
    let parts = (source(), parameters(), inputs, specs(), limits);
    parts.prop_map(|(source, parameters, inputs, outputs, limits)| Execute {
        source,
        parameters,
        inputs: inputs.into_iter().collect(),
        outputs,
        hop_count: limits.0,
        deadline: limits.1,
    })
}
