//! `inference.GRPCInferenceService`, the Open Inference Protocol: pipelines are its models (docs/kserve.md).
//!
//! `ModelInfer` and `ModelStreamInfer` stand beside the library's service, so that tensors are copied neither on their way in
//! ([`super::reader`]) nor on their way out ([`super::pieces`]); the other methods are the library's.

mod extensions;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use futures_util::stream::Pending;
use http::{HeaderMap, StatusCode, header};
use tidegate_nodes::Error;
use tidegate_proto::inference as pb;
use tidegate_proto::inference::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
use tidegate_proto::kserve::grpc::{error_pieces, response_pieces};
use tidegate_proto::message::Source;
use tonic::Status;

use super::pieces::{Messages, Once, answering};
use super::reader::{Reader, Unreadable};
use super::response::refusal;
use crate::auth::{self, Caller};
use crate::errors::status;
use crate::gateway::Gateway;
use crate::links::kserve::stream::{ROOM, StreamLink, Told, decode};
use crate::links::kserve::{answer, model, statistics};
use crate::links::outbox::{Delivery, outbox};
use crate::session::link::Transport;
use crate::session::open;

/// Gateways that a request has passed: what a hop that speaks the protocol says, which has no other place for it.
const HOP_COUNT: &str = "tidegate-hop-count";
/// What the server can do beside what every one can.
pub(crate) const EXTENSIONS: [&str; 5] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
];

/// The service.
pub(crate) struct Service {
    gateway: Arc<Gateway>,
}

/// The service for a gateway.
pub(super) fn server(gateway: &Arc<Gateway>) -> GrpcInferenceServiceServer<Service> {
    GrpcInferenceServiceServer::new(Service {
        gateway: Arc::clone(gateway),
    })
}

/// The methods that carry tensors.
pub(super) fn router(gateway: &Arc<Gateway>) -> Router {
    Router::new()
        .route("/inference.GRPCInferenceService/ModelInfer", post(infer))
        .route(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            post(stream),
        )
        .with_state(Arc::clone(gateway))
        .merge(extensions::unserved())
}

async fn infer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let Some((caller, headers, mut incoming)) = begin(&gateway, request) else {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    };
    let answered = async {
        let patience = gateway.bodies.patience();
        let message = first(&gateway, &mut incoming, patience).await?;
        let message = message.ok_or_else(|| bad("the call ended before its request"))?;
        let (caller, hops) = (caller?, hop_count(&headers));
        let (request, timeout) = (decode(message)?, super::timeout(&headers));
        let by = (caller, Transport::Grpc);
        answer::run(&gateway, by, request, hops, timeout).await
    };
    match answered.await {
        Ok(response) => {
            let pieces = response_pieces(response, false);
            answering(Once(Some(pieces)))
        }
        Err(error) => refusal(&status(&error)),
    }
}

async fn stream(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let Some((caller, headers, mut incoming)) = begin(&gateway, request) else {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    };
    let begun = async {
        let caller = caller?;
        // A client may open its stream long before it has something to ask: as long as a session may be silent.
        let patience = Some(gateway.config.limits.idle.0).filter(|idle| !idle.is_zero());
        let patience = patience.unwrap_or(Duration::MAX);
        let Some(message) = first(&gateway, &mut incoming, patience).await? else {
            return Ok(None);
        };
        let request = decode(message)?;
        let pipeline = gateway.named(&caller, &request.model)?;
        let (outgoing, delivery) = outbox(ROOM);
        let source = Source::Pipeline(request.model.clone());
        let statistics = Arc::clone(&gateway.inferences);
        let link = StreamLink::new(pipeline, request, incoming, outgoing, statistics)?;
        let request = open::Request {
            caller,
            source,
            parameters: link.parameters(),
            key: None,
            hop_count: hop_count(&headers),
            deadline: super::timeout(&headers),
            link: Box::new(link),
        };
        gateway.open(request).await?;
        Ok::<_, Error>(Some(delivery))
    };
    match begun.await {
        Ok(Some(delivery)) => answering(Responses {
            delivery,
            failed: None,
        }),
        // A client that asked nothing is answered nothing.
        Ok(None) => answering(Once(None)),
        Err(error) => refusal(&status(&error)),
    }
}

/// Who calls, with which headers, and what they send; `None` for what is no gRPC.
fn begin(
    gateway: &Gateway,
    request: Request,
) -> Option<(Result<Caller, Error>, HeaderMap, Reader)> {
    let kind = request.headers().get(header::CONTENT_TYPE)?;
    if !kind.as_bytes().starts_with(b"application/grpc") {
        return None;
    }
    let caller = auth::caller(request.extensions());
    let (head, body) = request.into_parts();
    let reader = Reader::new(body, gateway.config.limits.body.0);
    Some((caller, head.headers, reader))
}

/// The first message of a call; `None` if there is none. What is read before there is a session has the bounds of request bodies.
async fn first(
    gateway: &Gateway,
    incoming: &mut Reader,
    patience: Duration,
) -> Result<Option<Bytes>, Error> {
    let mut room = None;
    let read = poll_fn(|cx| {
        let polled = incoming.poll_next(cx);
        if polled.is_pending()
            && room.is_none()
            && let Some(length) = incoming.announced()
        {
            match gateway.bodies.reserve(length) {
                Ok(reserved) => room = Some(reserved),
                Err(error) => return Poll::Ready(Some(Err(Unreadable::Bad(error)))),
            }
        }
        polled
    });
    match tokio::time::timeout(patience, read).await {
        Err(_) => Err(bad("no request in time")),
        Ok(None) => Ok(None),
        Ok(Some(Ok(message))) => Ok(Some(message)),
        Ok(Some(Err(Unreadable::Bad(error)))) => Err(error),
        Ok(Some(Err(Unreadable::Gone))) => Err(bad("the call broke off before its request")),
    }
}

fn hop_count(headers: &HeaderMap) -> u32 {
    let count = headers.get(HOP_COUNT).and_then(|count| count.to_str().ok());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn bad(text: &str) -> Error {
    Error::new(tidegate_nodes::Code::BadRequest, text)
}

/// What a session gives a stream.
struct Responses {
    delivery: Delivery<Told>,
    /// What the session failed of.
    failed: Option<Error>,
}

impl Messages for Responses {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Bytes>, Status>> {
        loop {
            return Poll::Ready(match ready!(self.delivery.poll_next(cx)) {
                Some(Told::Response(response)) => Ok(response_pieces(response, true)),
                Some(Told::Wrong { id, error }) => Ok(error_pieces(id, error.message)),
                Some(Told::Failed(error)) => {
                    // The first says why; what follows is of it.
                    self.failed.get_or_insert(error);
                    continue;
                }
                Some(Told::Ended) => Err(self
                    .failed
                    .take()
                    .map_or_else(|| Status::ok(""), |error| status(&error))),
                None => {
                    let gone = || {
                        let text = "the session ended without a word";
                        Error::new(tidegate_nodes::Code::Internal, text)
                    };
                    Err(status(&self.failed.take().unwrap_or_else(gone)))
                }
            });
        }
    }
}

type Answered<T> = Result<tonic::Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    type ModelStreamInferStream = Pending<Result<pb::ModelStreamInferResponse, Status>>;

    async fn server_live(
        &self,
        _: tonic::Request<pb::ServerLiveRequest>,
    ) -> Answered<pb::ServerLiveResponse> {
        Ok(tonic::Response::new(pb::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: tonic::Request<pb::ServerReadyRequest>,
    ) -> Answered<pb::ServerReadyResponse> {
        let ready = self.gateway.sessions.ready();
        Ok(tonic::Response::new(pb::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: tonic::Request<pb::ModelReadyRequest>,
    ) -> Answered<pb::ModelReadyResponse> {
        let caller = caller(&request)?;
        let pb::ModelReadyRequest { name, version } = request.into_inner();
        let ready = model::is_ready(&self.gateway, &caller, &name, &version);
        let ready = ready.map_err(|error| status(&error))?;
        Ok(tonic::Response::new(pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        request: tonic::Request<pb::ServerMetadataRequest>,
    ) -> Answered<pb::ServerMetadataResponse> {
        caller(&request)?;
        Ok(tonic::Response::new(pb::ServerMetadataResponse {
            name: "tidegate".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: tonic::Request<pb::ModelMetadataRequest>,
    ) -> Answered<pb::ModelMetadataResponse> {
        let caller = caller(&request)?;
        let pb::ModelMetadataRequest { name, version } = request.into_inner();
        let model = model::named(&self.gateway, &caller, &name, &version);
        let model = model.map_err(|error| status(&error))?;
        let tensor = |tensor: model::Tensor| pb::model_metadata_response::TensorMetadata {
            name: tensor.name,
            datatype: tensor.datatype.to_owned(),
            shape: tensor.shape.to_vec(),
        };
        Ok(tonic::Response::new(pb::ModelMetadataResponse {
            name: model.name,
            versions: model.versions.map(str::to_owned).to_vec(),
            platform: model.platform.to_owned(),
            inputs: model.inputs.into_iter().map(tensor).collect(),
            outputs: model.outputs.into_iter().map(tensor).collect(),
        }))
    }

    async fn model_config(
        &self,
        request: tonic::Request<pb::ModelConfigRequest>,
    ) -> Answered<pb::ModelConfigResponse> {
        let caller = caller(&request)?;
        let pb::ModelConfigRequest { name, version } = request.into_inner();
        let model = model::named(&self.gateway, &caller, &name, &version);
        let model = model.map_err(|error| status(&error))?;
        let config = Some(extensions::config(model));
        Ok(tonic::Response::new(pb::ModelConfigResponse { config }))
    }

    async fn model_statistics(
        &self,
        request: tonic::Request<pb::ModelStatisticsRequest>,
    ) -> Answered<pb::ModelStatisticsResponse> {
        let caller = caller(&request)?;
        let pb::ModelStatisticsRequest { name, version } = request.into_inner();
        let figures = statistics::figures(&self.gateway, &caller, &name, &version);
        let figures = figures.map_err(|error| status(&error))?.into_iter();
        let model_stats = figures.map(extensions::figures).collect();
        let response = pb::ModelStatisticsResponse { model_stats };
        Ok(tonic::Response::new(response))
    }

    async fn repository_index(
        &self,
        request: tonic::Request<pb::RepositoryIndexRequest>,
    ) -> Answered<pb::RepositoryIndexResponse> {
        let caller = caller(&request)?;
        let wanted = request.into_inner();
        let models = model::index(&self.gateway, &caller).into_iter();
        let models = models.filter(|model| !wanted.ready || model.is_ready());
        let models = models.map(|model| pb::repository_index_response::ModelIndex {
            name: model.name,
            version: model.version.to_owned(),
            state: model.state.to_owned(),
            reason: model.reason,
        });
        let models = models.collect();
        Ok(tonic::Response::new(pb::RepositoryIndexResponse { models }))
    }

    async fn model_infer(
        &self,
        _: tonic::Request<pb::ModelInferRequest>,
    ) -> Answered<pb::ModelInferResponse> {
        // The route of `router` comes first; the trait asks for this all the same.
        Err(Status::unimplemented("served by its own route"))
    }

    async fn model_stream_infer(
        &self,
        _: tonic::Request<tonic::Streaming<pb::ModelInferRequest>>,
    ) -> Answered<Self::ModelStreamInferStream> {
        Err(Status::unimplemented("served by its own route"))
    }
}

fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    auth::caller(request.extensions()).map_err(|error| status(&error))
}
