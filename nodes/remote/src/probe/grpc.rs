//! The checks of gRPC servers: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>, and of those that speak the Open
//! Inference Protocol.

use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Code as Why;
use tidegate_proto::inference::ModelReadyRequest;
use tidegate_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::unmade;
use crate::auth::Credential;
use crate::connector::Connector;
use crate::pool::Member;

pub(super) async fn check(
    connector: &Connector,
    member: &Member,
    credential: &Credential,
    clock: &(impl Fn() -> Timestamp + Sync),
) -> Result<Duration, Why> {
    let lease = connector.lease(member, credential.tls());
    let lease = lease.map_err(|error| unmade(member, &error.to_string()))?;
    let mut request = Request::new(HealthCheckRequest::default());
    *request.metadata_mut() =
        tonic::metadata::MetadataMap::from_headers(credential.headers().clone());
    let began = clock();
    let answer = HealthClient::new(lease.channel.clone())
        .check(request)
        .await;
    let took = clock() - began;
    match answer {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(took),
        Ok(_) => Err(Why::Draining),
        Err(status) if answers(&status) => Ok(took),
        Err(_) => Err(Why::Network),
    }
}

/// Whether a server of the Open Inference Protocol has the hop's model ready.
pub(super) async fn check_model(
    connector: &Connector,
    member: &Member,
    credential: &Credential,
    model: &str,
    clock: &(impl Fn() -> Timestamp + Sync),
) -> Result<Duration, Why> {
    let lease = connector.lease(member, credential.tls());
    let lease = lease.map_err(|error| unmade(member, &error.to_string()))?;
    let name = model.to_owned();
    let mut request = Request::new(ModelReadyRequest {
        name,
        version: String::new(),
    });
    *request.metadata_mut() =
        tonic::metadata::MetadataMap::from_headers(credential.headers().clone());
    let began = clock();
    let answer = GrpcInferenceServiceClient::new(lease.channel.clone())
        .model_ready(request)
        .await;
    let took = clock() - began;
    match answer {
        Ok(answer) if answer.get_ref().ready => Ok(took),
        // Loading, or gone: the server is there, and has nothing to ask.
        Ok(_) => Err(Why::Draining),
        Err(status) if status.code() == Code::NotFound => Err(Why::Draining),
        Err(status) if answers(&status) => Ok(took),
        Err(_) => Err(Why::Network),
    }
}

/// Whether a refusal shows that the server is there: it has no health service, or none of that name, or keeps it to itself.
fn answers(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unimplemented | Code::NotFound | Code::Unauthenticated | Code::PermissionDenied
    )
}
