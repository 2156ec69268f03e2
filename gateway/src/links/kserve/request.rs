//! What a request asks: frames for inputs, outputs that are wanted, parameters of the pipeline.

use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_media::{Frame, MediaTime, Payload};
use tidegate_nodes::Error;
use tidegate_nodes::plan::Plan;
use tidegate_proto::PortName;
use tidegate_proto::kserve::{EMPTY_FINAL_RESPONSE, InferRequest, Named, SAMPLE_RATE, frames};
use tidegate_proto::message::{Execute, Source};

use super::{bad, model};
use crate::links::wire::malformed;

/// Sound of one request is given to the pipeline in frames of this length, as that of a file is.
const FRAME: Duration = Duration::from_millis(20);

/// What a request says beside its tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) id: String,
    /// Names of the outputs that are wanted; empty: all.
    pub(crate) outputs: Vec<String>,
    /// Values of the pipeline's parameters.
    pub(crate) parameters: Map<String, Value>,
    /// Of the sound in it.
    sample_rate: Option<u32>,
    /// What it may take.
    pub(crate) timeout: Option<Duration>,
    /// The end of what it brings shall be said.
    pub(crate) wants_final: bool,
    /// It belongs to a run of requests (Triton's sequences): it begins one, and it ends one.
    pub(crate) sequence: Option<(bool, bool)>,
}

/// What one tensor gives an input, by its number.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) input: usize,
    pub(super) payloads: Vec<Payload>,
}

/// Reads a request to the pipeline of a plan.
///
/// # Errors
/// `bad_request`: it has no tensor or one of another port, kind or rate, or wants an output that there is not; `unknown_pipeline`:
/// it wants another version.
pub(super) fn read(plan: &Plan, request: InferRequest) -> Result<(Said, Vec<Given>), Error> {
    model::check_version(&request.model, &request.version)?;
    let outputs: Vec<_> = request
        .outputs
        .into_iter()
        .map(|wanted| wanted.name)
        .collect();
    if let Some(unknown) = outputs.iter().find(|name| {
        let mut known = plan.outputs.iter();
        !known.any(|output| output.name == **name && frames::listed(output.kind).is_some())
    }) {
        let names = plan.outputs.iter().map(|output| output.name.as_str());
        return Err(no_such("output", unknown, names));
    }
    let said = Said {
        outputs,
        id: request.id,
        ..said(request.parameters)?
    };
    if request.inputs.is_empty() {
        return Err(bad("the request has no inputs: send a tensor for a port"));
    }
    let mut given: Vec<Given> = Vec::new();
    for named in request.inputs {
        let one = tensor(plan, named, &said)?;
        if given.iter().any(|other| other.input == one.input) {
            let name = &plan.inputs[one.input].name;
            return Err(bad(format!("input '{name}' comes twice")));
        }
        given.push(one);
    }
    Ok((said, given))
}

fn tensor(plan: &Plan, named: Named, said: &Said) -> Result<Given, Error> {
    let input = plan.inputs.iter().position(|port| port.name == named.name);
    let Some(input) = input else {
        let names = plan.inputs.iter().map(|input| input.name.as_str());
        return Err(no_such("input", &named.name, names));
    };
    let own = sample_rate(&named.parameters)?.or(said.sample_rate);
    let rate = own.unwrap_or_else(|| model::sound(plan, input).sample_rate);
    let field = format!("inputs[{}]", named.name);
    let payloads = frames::payloads(&field, plan.inputs[input].kind, named.data, rate);
    let payloads = payloads.map_err(|error| malformed(&error))?;
    Ok(Given { input, payloads })
}

/// Takes the protocol's own parameters out; the rest is the pipeline's.
fn said(mut parameters: Map<String, Value>) -> Result<Said, Error> {
    let sample_rate = sample_rate(&parameters)?;
    parameters.remove(SAMPLE_RATE);
    let timeout = parameters.remove("timeout").and_then(|t| t.as_u64());
    let is_set = |value: Option<Value>| value.and_then(|v| v.as_bool()).unwrap_or(false);
    let wants_final = is_set(parameters.remove(EMPTY_FINAL_RESPONSE));
    let id = parameters.remove("sequence_id");
    let start = is_set(parameters.remove("sequence_start"));
    let end = is_set(parameters.remove("sequence_end"));
    let none = |id: &Value| id.as_u64() == Some(0) || id.as_str() == Some("");
    // Every request has the same urgency here.
    parameters.remove("priority");
    Ok(Said {
        parameters,
        sample_rate,
        // In microseconds; 0: none.
        timeout: timeout.filter(|t| *t > 0).map(Duration::from_micros),
        wants_final,
        sequence: id.filter(|id| !none(id)).map(|_| (start, end)),
        ..Said::default()
    })
}

fn sample_rate(parameters: &Map<String, Value>) -> Result<Option<u32>, Error> {
    let Some(value) = parameters.get(SAMPLE_RATE) else {
        return Ok(None);
    };
    let rate = value.as_u64().and_then(|rate| u32::try_from(rate).ok());
    let rate = rate.filter(|rate| tidegate_media::SAMPLE_RATES.contains(rate));
    rate.map(Some).ok_or_else(|| {
        let rates = tidegate_media::SAMPLE_RATES;
        bad(format!(
            "parameter {SAMPLE_RATE} is {value}: say samples a second, {} to {}",
            rates.start(),
            rates.end()
        ))
    })
}

fn no_such<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let name: String = name.chars().take(64).collect();
    let known: Vec<_> = known.collect();
    bad(format!(
        "no {what} '{name}': the pipeline's {what}s are [{}]",
        known.join(", ")
    ))
}

/// A request that is all of its session: what to run, and what was said beside. Sound comes in short frames of one utterance, so that
/// hops that are called once an utterance are called once.
///
/// # Errors
/// As [`read`].
pub(crate) fn whole(plan: &Plan, request: InferRequest) -> Result<(Execute, Said), Error> {
    let source = Source::Pipeline(request.model.clone());
    let (said, given) = read(plan, request)?;
    let mut inputs = Vec::new();
    for Given { input, payloads } in given {
        let name = PortName::new(plan.inputs[input].name.clone());
        let name = name.map_err(|error| malformed(&error))?;
        let frames = payloads.into_iter().flat_map(|payload| match payload {
            Payload::Audio(audio) => cut(&audio),
            other => vec![Frame::new(MediaTime::ZERO, other)],
        });
        inputs.push((name, frames.collect()));
    }
    let execute = Execute {
        source,
        parameters: said.parameters.clone(),
        inputs,
        outputs: Vec::new(),
        hop_count: 0,
        deadline: said.timeout,
    };
    Ok((execute, said))
}

/// Sound as frames of one utterance, which share its memory.
fn cut(audio: &tidegate_media::Audio) -> Vec<Frame> {
    let format = audio.format;
    let step = format.samples_in(FRAME).max(1);
    let sample = format.codec.sample_bytes().unwrap_or(1) * usize::from(format.channels);
    let bytes = usize::try_from(step).unwrap_or(usize::MAX) * sample;
    let mut rest = audio.data.clone();
    let mut frames = Vec::with_capacity(rest.len() / bytes + 1);
    let mut samples: u32 = 0;
    while !rest.is_empty() {
        let data = rest.split_to(bytes.min(rest.len()));
        let at = MediaTime::ZERO + format.duration_of(samples);
        let audio = tidegate_media::Audio::encoded(format, data);
        samples = samples.saturating_add(audio.samples);
        let mut frame = Frame::new(at, Payload::Audio(audio));
        frame.meta.utterance = 1;
        frame.meta.is_final = rest.is_empty();
        frames.push(frame);
    }
    frames
}
