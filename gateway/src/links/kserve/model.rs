//! A pipeline as a model: its tensors, and which version it has.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_media::{AudioFormat, Kind};
use tidegate_nodes::plan::Plan;
use tidegate_nodes::{Code, Error, StreamFormat};
use tidegate_proto::kserve::{SAMPLE_RATE, VERSION, frames};
use tidegate_proto::message::StreamSpec;

use crate::auth::Caller;
use crate::gateway::Gateway;

/// What a model is, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) versions: [&'static str; 1],
    pub(crate) platform: &'static str,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Tensor>,
    /// What its configuration says beside them: the rate that an input's sound is taken for, by `sample_rate.` and its name.
    #[serde(skip)]
    pub(crate) parameters: BTreeMap<String, String>,
}

/// One of its tensors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) datatype: &'static str,
    pub(crate) shape: &'static [i64],
}

/// Describes a pipeline.
///
/// # Errors
/// `incompatible`: an input is of video, which no tensor can be.
pub(crate) fn describe(plan: &Plan) -> Result<Model, Error> {
    let tensor = |name: &str, kind| {
        let (datatype, shape) = frames::listed(kind)?;
        Some(Tensor {
            name: name.to_owned(),
            datatype: datatype.as_str(),
            shape,
        })
    };
    let inputs = plan.inputs.iter().map(|input| {
        tensor(&input.name, input.kind).ok_or_else(|| {
            let text = format!(
                "pipeline '{}' takes video at '{}', which the Open Inference Protocol has no tensor for: use WebRTC or the native stream",
                plan.pipeline, input.name
            );
            Error::new(Code::Incompatible, text)
        })
    });
    let outputs = plan.outputs.iter();
    let sounds = plan.inputs.iter().enumerate();
    let sounds = sounds.filter(|(_, input)| input.kind == Kind::Audio);
    let rates = sounds.map(|(index, input)| {
        let rate = sound(plan, index).sample_rate.to_string();
        (format!("{SAMPLE_RATE}.{}", input.name), rate)
    });
    Ok(Model {
        parameters: rates.collect(),
        name: plan.pipeline.clone(),
        versions: [VERSION],
        platform: "tidegate",
        inputs: inputs.collect::<Result<_, _>>()?,
        outputs: outputs
            .filter_map(|output| tensor(&output.name, output.kind))
            .collect(),
    })
}

/// Refuses a version that no pipeline has.
///
/// # Errors
/// `unknown_pipeline`: it is another than the only one.
pub(crate) fn check_version(model: &str, version: &str) -> Result<(), Error> {
    if version.is_empty() || version == VERSION {
        return Ok(());
    }
    let version: String = version.chars().take(32).collect();
    let text = format!("pipeline '{model}' has no version '{version}': its only one is {VERSION}");
    Err(Error::new(Code::UnknownPipeline, text))
}

/// The format that sound has for an input unless a request says otherwise: what flows from it inside, where that is PCM.
pub(super) fn sound(plan: &Plan, input: usize) -> AudioFormat {
    let own = plan.inputs.get(input).map(|input| input.format);
    let own = own.as_ref().and_then(StreamFormat::audio_format);
    let rate = own.filter(|format| format.codec.is_pcm());
    let rate = rate.unwrap_or(StreamSpec::DEFAULT_AUDIO).sample_rate;
    AudioFormat::pcm_f32(rate, 1)
}

/// The format in which an input is fed that no tensor came for.
pub(super) fn unfed(plan: &Plan, input: usize, kind: Kind) -> Option<StreamFormat> {
    match kind {
        Kind::Audio => Some(StreamFormat::audio(sound(plan, input))),
        kind => crate::http::formats::untouched(kind),
    }
}

/// A model as the repository lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) version: &'static str,
    pub(crate) state: &'static str,
    pub(crate) reason: String,
}

impl Listed {
    /// Whether it can be asked.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == READY
    }
}

const READY: &str = "READY";
const UNAVAILABLE: &str = "UNAVAILABLE";

/// All pipelines that somebody may use, by name; those that can be no model with the reason.
pub(crate) fn index(gateway: &Gateway, caller: &Caller) -> Vec<Listed> {
    let all = gateway.pipelines.all();
    let granted = all.values().filter(|p| caller.grants.covers(p.name()));
    let listed = granted.map(|pipeline| {
        let unfit = describe(pipeline.outline()).err();
        Listed {
            name: pipeline.name().to_owned(),
            version: VERSION,
            state: if unfit.is_some() { UNAVAILABLE } else { READY },
            reason: unfit.map(|error| error.message).unwrap_or_default(),
        }
    });
    listed.collect()
}

/// A datatype as Triton's configuration names it.
pub(crate) fn config_type(datatype: &str) -> String {
    match datatype {
        "BYTES" => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{other}"),
    }
}

/// The model with a name, for somebody who may use it.
///
/// # Errors
/// It is not granted, there is none, or it cannot be one.
pub(crate) fn named(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    version: &str,
) -> Result<Model, Error> {
    let pipeline = gateway.named(caller, name)?;
    check_version(name, version)?;
    describe(pipeline.outline())
}

/// Whether a model takes requests now; one that there is not does not.
///
/// # Errors
/// It is not granted.
pub(crate) fn is_ready(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    version: &str,
) -> Result<bool, Error> {
    match named(gateway, caller, name, version) {
        Ok(_) => Ok(gateway.sessions.ready()),
        Err(error) if error.code == Code::PermissionDenied => Err(error),
        Err(_) => Ok(false),
    }
}
