//! `tidegate.v1.Gateway`.

use std::sync::Arc;

use futures_util::stream::Pending;
use tidegate_proto::{protobuf, v1};
use tidegate_remote::{Reference, Referent, Step};
use tonic::{Request, Response, Status, Streaming};

use crate::auth::{self, Caller};
use crate::errors::status;
use crate::gateway::Gateway;
use crate::http::execute::{Job, collect};
use crate::links::wire::malformed;
use crate::remote::targets;

/// The service.
pub(crate) struct Service {
    gateway: Arc<Gateway>,
}

impl Service {
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }

    fn summary(pipeline: &tidegate_nodes::compile::Pipeline) -> v1::PipelineSummary {
        let plan = pipeline.outline();
        let port = |name: &str, direction: v1::Direction, kind: tidegate_media::Kind| v1::Port {
            name: name.to_owned(),
            direction: direction.into(),
            kind: kind_number(kind).into(),
            audio: None,
            video: None,
        };
        let inputs = plan
            .inputs
            .iter()
            .map(|p| port(&p.name, v1::Direction::Input, p.kind));
        let outputs = plan
            .outputs
            .iter()
            .map(|p| port(&p.name, v1::Direction::Output, p.kind));
        v1::PipelineSummary {
            name: pipeline.name().to_owned(),
            description: pipeline.description().to_owned(),
            digest: pipeline.digest().to_owned(),
            ports: inputs.chain(outputs).collect(),
        }
    }
}

#[tonic::async_trait]
impl v1::gateway_server::Gateway for Service {
    type StreamStream = Pending<Result<v1::ServerMessage, Status>>;

    async fn stream(
        &self,
        _request: Request<Streaming<v1::ClientMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        // The route of `super::stream` comes first; the trait asks for this all the same.
        Err(Status::unimplemented("Stream is served by its own route"))
    }

    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::ExecuteResponse>, Status> {
        let gateway = &self.gateway;
        let caller = caller(&request)?;
        let now = gateway.clock.now();
        let timeout = super::timeout(request.metadata().as_ref());
        let mut execute = protobuf::decode_execute(request.into_inner(), now)
            .map_err(|error| status(&malformed(&error)))?;
        execute.deadline = super::sooner(timeout, execute.deadline);
        let run = async {
            let events = Job::new(caller, execute).start(gateway).await?;
            collect(events, gateway.config.limits.body.0).await
        };
        let outputs = run.await.map_err(|error| status(&error))?;
        Ok(Response::new(protobuf::encode_outputs(
            outputs,
            gateway.clock.now(),
        )))
    }

    async fn list_pipelines(
        &self,
        request: Request<v1::ListPipelinesRequest>,
    ) -> Result<Response<v1::ListPipelinesResponse>, Status> {
        let caller = caller(&request)?;
        let all = self.gateway.pipelines.all();
        let pipelines = all
            .values()
            .filter(|pipeline| caller.grants.covers(pipeline.name()))
            .map(|pipeline| Self::summary(pipeline))
            .collect();
        Ok(Response::new(v1::ListPipelinesResponse { pipelines }))
    }

    async fn describe_pipeline(
        &self,
        request: Request<v1::DescribePipelineRequest>,
    ) -> Result<Response<v1::DescribePipelineResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let source = targets::source(request.pipeline, request.manifest);
        let path = request.path.into_iter().take(PATH).map(step).collect();
        let described = self
            .gateway
            .describe(&caller, &source, path, request.endpoint);
        let described = described.await.map_err(|error| status(&error))?;
        let whole = crate::http::api::described(&self.gateway, &described);
        let types = self.gateway.pipelines.registry().iter();
        Ok(Response::new(v1::DescribePipelineResponse {
            summary: Some(v1::PipelineSummary {
                name: described.name,
                ..Self::summary(&described.pipeline)
            }),
            description: whole.to_string(),
            gateway_id: self.gateway.id.clone(),
            node_types: types.map(|node| node.name().to_owned()).collect(),
            references: references(described.references),
            gateway: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}

/// Who calls.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    auth::caller(request.extensions()).map_err(|error| status(&error))
}

/// Steps of a path that are read: one more than hops may nest, so that too deep is seen to be so.
const PATH: usize = tidegate_remote::config::HOP_COUNT_MAX as usize + 1;

fn step(step: v1::Step) -> Step {
    Step {
        gateway_id: step.gateway_id,
        pipeline: step.pipeline,
        endpoint: step.endpoint,
    }
}

fn references(references: Vec<Reference>) -> Vec<v1::Reference> {
    let found = |found: Referent| v1::Referent {
        endpoint: found.endpoint,
        gateway_id: found.gateway_id,
        pipeline: found.pipeline,
        digest: found.digest,
        references: self::references(found.references),
        problem: found.problem,
    };
    let one = |reference: Reference| v1::Reference {
        hop: reference.hop,
        tier: reference.tier,
        transport: reference.transport,
        endpoints: reference.endpoints,
        pipeline: reference.pipeline,
        digest: reference.digest,
        manifest_url: reference.manifest_url,
        found: reference.found.into_iter().map(found).collect(),
    };
    references.into_iter().map(one).collect()
}

fn kind_number(kind: tidegate_media::Kind) -> v1::Kind {
    use tidegate_media::Kind;
    match kind {
        Kind::Audio => v1::Kind::Audio,
        Kind::Video => v1::Kind::Video,
        Kind::Text => v1::Kind::Text,
        Kind::Binary => v1::Kind::Binary,
        Kind::Tensor => v1::Kind::Tensor,
        Kind::Json => v1::Kind::Json,
    }
}
