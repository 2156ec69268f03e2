//! Small node types to compile against: just enough ports, parameters and formats to be wrong about.

use serde_json::{Value, json};
use tidegate_media::{AudioFormat, Codec, Kind};
use tidegate_nodes::plan::Placement;
use tidegate_nodes::registry::Caps;
use tidegate_nodes::{Accepts, Node, NodeType, ParamError, Port, Ports, Registry, StreamFormat};

/// What a test type says of its outputs.
type Outputs = fn(&Value, &[Option<StreamFormat>]) -> Result<Vec<StreamFormat>, ParamError>;

/// A node type made of values.
struct TestType {
    name: &'static str,
    params: &'static [&'static str],
    required: &'static [&'static str],
    placement: Placement,
    files: bool,
    ports: fn() -> Ports,
    outputs: Outputs,
}

impl TestType {
    fn new(name: &'static str, ports: fn() -> Ports, outputs: Outputs) -> Self {
        Self {
            name,
            params: &[],
            required: &[],
            placement: Placement::InPlace,
            files: false,
            ports,
            outputs,
        }
    }

    fn params(mut self, params: &'static [&'static str]) -> Self {
        self.params = params;
        self
    }

    fn check(&self, params: &Value) -> Result<(), ParamError> {
        let map = params
            .as_object()
            .ok_or_else(|| ParamError::new("", "parameters are a map"))?;
        for (name, value) in map {
            if !self.params.contains(&name.as_str()) {
                return Err(ParamError::new(
                    name,
                    format!("is unknown: use {:?}", self.params),
                ));
            }
            if name == "db"
                && !value
                    .as_f64()
                    .is_some_and(|db| (-60.0..=40.0).contains(&db))
            {
                return Err(ParamError::new(
                    name,
                    format!("{value} does not do: give -60 to 40"),
                ));
            }
        }
        match self.required.iter().find(|name| !map.contains_key(**name)) {
            Some(name) => Err(ParamError::new("", format!("'{name}' is missing: add it"))),
            None => Ok(()),
        }
    }
}

impl NodeType for TestType {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        "a test type"
    }

    fn cost(&self) -> &'static str {
        "nothing"
    }

    fn schema(&self) -> Value {
        let properties: serde_json::Map<_, _> = self
            .params
            .iter()
            .map(|name| ((*name).to_owned(), json!({})))
            .collect();
        json!({"type": "object", "properties": properties, "additionalProperties": false})
    }

    fn placement(&self) -> Placement {
        self.placement
    }

    fn caps(&self) -> Caps {
        Caps { files: self.files }
    }

    fn ports(&self, params: &Value) -> Result<Ports, ParamError> {
        self.check(params)?;
        Ok((self.ports)())
    }

    fn outputs(
        &self,
        params: &Value,
        inputs: &[Option<StreamFormat>],
    ) -> Result<Vec<StreamFormat>, ParamError> {
        (self.outputs)(params, inputs)
    }

    fn build(
        &self,
        _params: &Value,
        _inputs: &[Option<StreamFormat>],
    ) -> Result<Box<dyn Node>, ParamError> {
        Err(ParamError::new("", "test types are not run"))
    }
}

fn one_to_one(accepts: Accepts, kind: Kind) -> Ports {
    Ports {
        inputs: vec![Port::input("in", accepts, "")],
        outputs: vec![Port::output("out", kind, "")],
    }
}

fn same(_: &Value, inputs: &[Option<StreamFormat>]) -> Result<Vec<StreamFormat>, ParamError> {
    inputs[0]
        .map(|format| vec![format])
        .ok_or_else(|| ParamError::new("", "no input"))
}

fn audio(inputs: &[Option<StreamFormat>]) -> Result<AudioFormat, ParamError> {
    inputs[0]
        .and_then(|format| format.audio_format())
        .ok_or_else(|| ParamError::new("", "no audio"))
}

fn number(params: &Value, name: &str) -> u32 {
    params[name]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(0)
}

fn decoded(params: &Value, _: &[Option<StreamFormat>]) -> Result<Vec<StreamFormat>, ParamError> {
    let channels = u8::try_from(number(params, "channels")).unwrap_or(1);
    let format = AudioFormat::pcm_f32(number(params, "sample_rate"), channels);
    Ok(vec![StreamFormat::audio(format)])
}

fn codec(params: &Value) -> Codec {
    params["codec"]
        .as_str()
        .and_then(|name| name.parse().ok())
        .unwrap_or(Codec::PcmF32)
}

fn text() -> Ports {
    one_to_one(Accepts::Kind(Kind::Text), Kind::Text)
}

fn pcm() -> Ports {
    one_to_one(Accepts::pcm_f32(), Kind::Audio)
}

fn any() -> Ports {
    let mut ports = one_to_one(Accepts::Anything, Kind::Audio);
    ports.outputs[0].accepts = Accepts::Anything;
    ports
}

fn conversions(registry: &mut Registry) {
    const RATE: &[&str] = &["sample_rate", "channels"];
    let all_audio = || one_to_one(Accepts::Anything, Kind::Audio);
    registry.add(TestType::new("audio.dejitter", all_audio, decoded).params(RATE));
    registry.add(TestType::new("audio.decode", all_audio, decoded).params(RATE));
    let resample = TestType::new("audio.resample", pcm, |params, inputs| {
        let mut format = audio(inputs)?;
        format.sample_rate = number(params, "sample_rate");
        Ok(vec![StreamFormat::audio(format)])
    });
    registry.add(resample.params(RATE));
    let channels = TestType::new("audio.channels", pcm, |params, inputs| {
        let mut format = audio(inputs)?;
        format.channels = u8::try_from(number(params, "channels")).unwrap_or(1);
        Ok(vec![StreamFormat::audio(format)])
    });
    registry.add(channels.params(RATE));
    let pcm_codec = TestType::new("audio.pcm", all_audio, |params, inputs| {
        let mut format = audio(inputs)?;
        format.codec = codec(params);
        Ok(vec![StreamFormat::audio(format)])
    });
    registry.add(pcm_codec.params(&["codec"]));
    let encode = TestType::new("audio.encode", pcm, |params, inputs| {
        let mut format = audio(inputs)?;
        format.codec = codec(params);
        if format.codec == Codec::Opus {
            format.sample_rate = 48_000;
        }
        Ok(vec![StreamFormat::audio(format)])
    });
    registry.add(encode.params(&["codec"]));
}

/// The registry that manifests in tests are compiled against.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::empty();
    conversions(&mut registry);
    registry.add(TestType::new("identity", any, same));
    registry.add(TestType::new("audio.gain", pcm, same).params(&["db"]));
    registry.add(TestType {
        placement: Placement::Offload,
        ..TestType::new("audio.slow", pcm, same)
    });
    registry.add(TestType::new("audio.mix", pcm, same));
    registry.add(TestType::new(
        "audio.vad",
        || Ports {
            inputs: vec![Port::input(
                "in",
                Accepts::exactly(AudioFormat::pcm_f32(16_000, 1)),
                "",
            )],
            outputs: vec![
                Port::output("speech", Kind::Audio, ""),
                Port::output("speech_start", Kind::Json, ""),
                Port::output("speech_end", Kind::Json, ""),
            ],
        },
        |_, inputs| {
            let format = StreamFormat::audio(audio(inputs)?);
            Ok(vec![format, StreamFormat::Json, StreamFormat::Json])
        },
    ));
    registry.add(TestType::new("text.upper", text, same));
    registry.add(TestType {
        required: &["text"],
        ..TestType::new("text.constant", text, same).params(&["text", "options"])
    });
    registry.add(TestType {
        files: true,
        ..TestType::new(
            "tap",
            || Ports {
                inputs: vec![Port::input("in", Accepts::Anything, "")],
                outputs: vec![],
            },
            |_, _| Ok(vec![]),
        )
        .params(&["path"])
    });
    registry
}
