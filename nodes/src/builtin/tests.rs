//! What every built-in type must survive: any parameters, and any frames that its ports accept.

use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_media::{
    Audio, AudioFormat, Codec, Frame, Json, Kind, MediaTime, Payload, Rtp, Tensor, Timestamp,
    Video, VideoCodec, VideoFormat,
};

use super::testing::{noise, pcm, s16};
use crate::node::{Context, Effects, Node, NodeError};
use crate::registry::{NodeType, Port, Registry};
use crate::stream::{Accepts, StreamFormat};

/// Parameters with which each type can be built.
fn usual(name: &str) -> Value {
    match name {
        "audio.gain" => json!({"gain_db": 6}),
        "audio.channels" => json!({"channels": 3}),
        "audio.encode" => json!({"codec": "opus", "packet": "5ms"}),
        "audio.pcm" => json!({"codec": "pcm_s16"}),
        "audio.resample" => json!({"sample_rate": 11_025}),
        "audio.segment" => json!({"max_length": "100ms"}),
        "audio.tone" => json!({"triggered": true}),
        "audio.vad" => json!({"probability": true, "pre_roll": "3s"}),
        "filter" => json!({"every": 2, "json": {"pointer": "/a", "above": 1}}),
        "json.pick" => json!({"pointer": "/a", "as": "text", "missing": "null"}),
        "tensor.cast" => json!({"dtype": "bool"}),
        "tensor.stack" => json!({"count": 3, "axis": 1}),
        "tensor.window" => json!({"size": 3, "step": 2, "pad": true}),
        "text.constant" => json!({"text": "x"}),
        "text.template" => json!({"template": "{{text}}{{utterance}}{{media_time}}"}),
        "tap" => json!({"file": "tap.ndjson"}),
        _ => json!({}),
    }
}

fn packets(codec: Codec) -> StreamFormat {
    let format = AudioFormat {
        codec,
        sample_rate: if codec == Codec::Opus { 48_000 } else { 8_000 },
        channels: if codec == Codec::Opus { 2 } else { 1 },
    };
    StreamFormat::Audio {
        format,
        packets: true,
    }
}

/// Formats of which every port accepts at least one.
fn formats() -> Vec<StreamFormat> {
    vec![
        pcm(48_000, 1),
        pcm(16_000, 1),
        s16(48_000, 2),
        packets(Codec::Opus),
        packets(Codec::Pcmu),
        StreamFormat::audio(AudioFormat::WEBRTC_OPUS),
        StreamFormat::Video(VideoFormat {
            codec: VideoCodec::Vp8,
        }),
        StreamFormat::Text,
        StreamFormat::Binary,
        StreamFormat::Tensor,
        StreamFormat::Json,
    ]
}

/// Payloads of a format that nobody would send who means well.
fn odd_payloads(format: &StreamFormat) -> Vec<Payload> {
    match format {
        StreamFormat::Audio { format, packets } => {
            let rtp = |sequence| {
                packets.then_some(Rtp {
                    sequence,
                    timestamp: u32::from(sequence).wrapping_mul(0x8000_0001),
                    marker: sequence % 2 == 0,
                })
            };
            let hiss: Vec<u8> = noise(2_000, 1.0, 7)
                .iter()
                .flat_map(|s| s.to_le_bytes())
                .collect();
            let nonsense = [f32::NAN, f32::INFINITY, -1e30, 1e-40]
                .map(f32::to_le_bytes)
                .concat();
            let datas = [
                Vec::new(),
                vec![0xFF],
                vec![0xFC; 3],
                vec![0; 8],
                nonsense,
                hiss,
            ];
            let audios = datas.into_iter().zip([0, 1, 0, 65_535, 30_000, 2]);
            audios
                .map(|(data, sequence)| {
                    let mut audio = Audio::encoded(*format, Bytes::from(data));
                    audio.rtp = rtp(sequence);
                    Payload::Audio(audio)
                })
                .collect()
        }
        StreamFormat::Video(format) => vec![Payload::Video(Video {
            format: *format,
            key: false,
            data: Bytes::new(),
        })],
        StreamFormat::Text => vec![Payload::Text("".into()), Payload::Text("{{text}}\0".into())],
        StreamFormat::Binary => vec![Payload::Binary(Bytes::from_static(&[0, 255]))],
        StreamFormat::Json => [json!(null), json!({"a": f64::MAX}), json!([[[]]])]
            .iter()
            .map(|value| Payload::Json(Json::from(value)))
            .collect(),
        StreamFormat::Tensor => [
            vec![],
            vec![0],
            vec![1, 0, 7],
            vec![2, 3],
            vec![4, 3],
            vec![1; 8],
        ]
        .into_iter()
        .map(|shape: Vec<u64>| {
            let count = usize::try_from(shape.iter().product::<u64>()).expect("small");
            Payload::Tensor(Tensor::from_vec(&shape, vec![f32::NAN; count]).expect("it fits"))
        })
        .collect(),
    }
}

/// Calls a node as the graph would, and lets its timer run a few times.
fn call(
    node: &mut dyn Node,
    now: &mut Timestamp,
    call: impl FnOnce(&mut dyn Node, &mut Context<'_>) -> Result<(), NodeError>,
) -> bool {
    let mut effects = Effects::default();
    let mut result = call(node, &mut Context::new(*now, &mut effects));
    for _ in 0..4 {
        let Some(Some(at)) = effects.timer.take() else {
            break;
        };
        *now = (*now).max(at);
        let timer = node.on_timer(&mut Context::new(*now, &mut effects));
        result = result.and(timer);
    }
    result.is_ok()
}

/// This format where the port takes it, else one that it takes.
fn fitting(port: &Port, format: StreamFormat) -> StreamFormat {
    let taken = |format: &StreamFormat| port.accepts.admits(format);
    let found = std::iter::once(format).chain(formats()).find(taken);
    found.unwrap_or_else(|| panic!("{} takes no format", port.name))
}

fn torment(node_type: &dyn NodeType, format: StreamFormat) {
    let params = usual(node_type.name());
    let ports = node_type.ports(&params).expect("usual parameters").inputs;
    let each: Vec<_> = ports.iter().map(|port| fitting(port, format)).collect();
    let inputs: Vec<_> = each.iter().copied().map(Some).collect();
    let odd: Vec<_> = each.iter().map(odd_payloads).collect();
    let most = odd.iter().map(Vec::len).max().unwrap_or(0);
    let Ok(mut node) = node_type.build(&params, &inputs) else {
        return;
    };
    let times = [
        0,
        20_000,
        i64::MAX,
        i64::MIN,
        -5,
        i64::MAX - 1,
        40_000,
        i64::MIN + 1,
    ];
    let mut now = Timestamp::from_nanos(1);
    for (round, &time) in times.iter().enumerate() {
        for index in 0..most {
            for (port, payloads) in odd.iter().enumerate() {
                let payload = payloads[index % payloads.len()].clone();
                let mut frame = Frame::new(MediaTime::from_micros(time), payload);
                frame.meta.utterance = [0, 1, u64::MAX][index % 3];
                frame.meta.is_final = index % 4 == 3;
                now += std::time::Duration::from_millis(7);
                if !call(node.as_mut(), &mut now, |node, cx| {
                    node.on_frame(cx, port, frame)
                }) {
                    return; // An error ends the session; a panic would be a fault.
                }
            }
        }
        if round == 5 {
            call(node.as_mut(), &mut now, |node, cx| {
                node.on_interrupt(cx);
                Ok(())
            });
        }
    }
    for port in 0..ports.len() {
        call(node.as_mut(), &mut now, |node, cx| node.on_end(cx, port));
    }
}

#[test]
fn no_type_panics_on_odd_frames_or_impossible_times() {
    for node_type in Registry::builtin().iter() {
        let params = usual(node_type.name());
        let ports = node_type.ports(&params).expect("usual parameters").inputs;
        let fitting = formats()
            .into_iter()
            .filter(|format| ports.iter().any(|port| port.accepts.admits(format)));
        let fitting: Vec<_> = fitting.collect();
        assert!(!fitting.is_empty(), "{}", node_type.name());
        for format in fitting {
            torment(node_type.as_ref(), format);
        }
    }
}

#[test]
fn no_type_panics_on_odd_parameters() {
    let values = [
        json!(null),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(1e308),
        json!(""),
        json!("99999999h"),
        json!([]),
        json!([[1e38]]),
        json!({"a": 1}),
        json!(true),
    ];
    for node_type in Registry::builtin().iter() {
        for value in &values {
            assert!(value.is_null() || value.is_object() || node_type.ports(value).is_err());
        }
        let schema = node_type.schema();
        let names = schema["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        for name in names.keys() {
            for value in &values {
                let mut params = usual(node_type.name());
                params[name.as_str()] = value.clone();
                let inputs = |count| vec![Some(pcm(48_000, 1)); count];
                if let Ok(ports) = node_type.ports(&params) {
                    let inputs = inputs(ports.inputs.len());
                    let outputs = node_type.outputs(&params, &inputs);
                    let built = node_type.build(&params, &inputs);
                    assert!(
                        outputs.is_ok() || built.is_err(),
                        "{} {params}",
                        node_type.name()
                    );
                    assert!(
                        outputs.is_err() || outputs.is_ok_and(|o| o.len() == ports.outputs.len())
                    );
                }
            }
        }
    }
}

#[test]
fn every_type_says_what_it_is() {
    for node_type in Registry::builtin().iter() {
        let name = node_type.name();
        assert!(node_type.summary().ends_with('.'), "{name}");
        assert!(!node_type.cost().is_empty(), "{name}");
        assert_eq!(node_type.schema()["type"], "object", "{name}");
        assert_eq!(node_type.schema()["additionalProperties"], false, "{name}");
        let ports = node_type.ports(&usual(name)).expect("usual parameters");
        for port in ports.inputs.iter().chain(&ports.outputs) {
            assert!(
                !port.doc.is_empty() && port.doc.ends_with(['.', '_', ')']),
                "{name}: {}",
                port.doc
            );
        }
        let kinds = ports.outputs.iter().map(|port| &port.accepts);
        let plain = |a: &Accepts| !matches!(a, Accepts::Kind(Kind::Video | Kind::Binary));
        assert!(kinds.into_iter().all(plain), "{name}");
    }
}
