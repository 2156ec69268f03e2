//! What a pipeline gave, as the one response to one request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use tidegate_media::{Audio, Frame, Payload};
use tidegate_nodes::Error;
use tidegate_nodes::plan::Plan;
use tidegate_proto::PortName;
use tidegate_proto::kserve::{InferRequest, InferResponse, Named, SAMPLE_RATE, VERSION, frames};

use super::{heard, request};
use crate::auth::Caller;
use crate::gateway::Gateway;
use crate::http::execute::{Job, collect};
use crate::links::wire::malformed;
use crate::session::link::Transport;
use crate::session::ports::PortFacts;

/// Runs a request as a session of its own.
///
/// # Errors
/// As for any session, or the request or what came of it is none that the protocol has.
pub(crate) async fn run(
    gateway: &Arc<Gateway>,
    (caller, transport): (Caller, Transport),
    request: InferRequest,
    hop_count: u32,
    timeout: Option<Duration>,
) -> Result<InferResponse, Error> {
    let pipeline = gateway.named(&caller, &request.model)?;
    let began = gateway.clock.now();
    let by = (caller, transport);
    let answered = one(
        gateway,
        by,
        pipeline.outline(),
        request,
        (hop_count, timeout),
    )
    .await;
    let took = gateway.clock.now().saturating_since(began);
    let statistics = &gateway.inferences;
    statistics.answered(pipeline.name(), took, answered.is_ok());
    answered
}

async fn one(
    gateway: &Arc<Gateway>,
    (caller, transport): (Caller, Transport),
    plan: &Plan,
    request: InferRequest,
    (hop_count, timeout): (u32, Option<Duration>),
) -> Result<InferResponse, Error> {
    super::model::describe(plan)?;
    let (mut execute, said) = request::whole(plan, request)?;
    execute.hop_count = hop_count;
    execute.deadline = timeout.into_iter().chain(execute.deadline).min();
    let wanted = said.outputs.clone();
    let listens = Box::new(move |port: &PortFacts| heard(port, &wanted));
    let job = Job::new(caller, execute).heard_as(transport, listens);
    let events = job.start(gateway).await?;
    let outputs = collect(events, gateway.config.limits.body.0).await?;
    response(plan, said.id, &said.outputs, outputs)
}

/// All frames of all outputs, as a response with the outputs in the order in which they are wanted.
fn response(
    plan: &Plan,
    id: String,
    wanted: &[String],
    outputs: Vec<(PortName, Vec<Frame>)>,
) -> Result<InferResponse, Error> {
    let mut tensors = Vec::new();
    for (name, all) in outputs {
        let name = name.into_string();
        let output = plan.outputs.iter().find(|output| output.name == name);
        let Some(output) = output else { continue };
        let all = newest(all);
        let parameters = all.first().map(|frame| parameters(&frame.payload));
        let data = frames::gathered(output.kind, all).map_err(|error| {
            let mut error = malformed(&error);
            error.message = format!("output '{name}': {}", error.message);
            error
        })?;
        if let Some(data) = data {
            let parameters = parameters.unwrap_or_default();
            tensors.push(Named {
                name,
                data,
                parameters,
            });
        }
    }
    let place = |tensor: &Named| wanted.iter().position(|name| *name == tensor.name);
    tensors.sort_by_key(place);
    Ok(InferResponse {
        model: plan.pipeline.clone(),
        version: VERSION.to_owned(),
        id,
        parameters: Map::new(),
        outputs: tensors,
    })
}

/// Without the partial results that a later one of the same utterance has superseded.
fn newest(mut all: Vec<Frame>) -> Vec<Frame> {
    let mut highest = HashMap::new();
    for Frame { meta, .. } in &all {
        let revision = highest.entry(meta.utterance).or_insert(meta.revision);
        *revision = meta.revision.max(*revision);
    }
    all.retain(|Frame { meta, .. }| {
        meta.utterance == 0 || highest.get(&meta.utterance) == Some(&meta.revision)
    });
    all
}

/// What is said beside a tensor: of sound its rate.
pub(super) fn parameters(payload: &Payload) -> Map<String, serde_json::Value> {
    let mut parameters = Map::new();
    if let Payload::Audio(Audio { format, .. }) = payload {
        parameters.insert(SAMPLE_RATE.to_owned(), format.sample_rate.into());
    }
    parameters
}
