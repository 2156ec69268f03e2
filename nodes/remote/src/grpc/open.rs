//! Opening: the call, `open`, and the worker's answer.

use tidegate_proto::message::Opened;
use tidegate_proto::{PortFormats, ServerMessage, protobuf};
use tonic::client::Grpc;

use super::codec::WireCodec;
use super::stream::{GrpcLink, decode};
use super::{authorised, status};
use crate::config::{HopPorts, OpenContext, RemoteConfig};
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::link::Link;
use crate::opening;
use crate::outbox::outbox;
use crate::pool::Member;
use crate::trouble;

pub(crate) async fn open(
    connector: &Connector,
    member: &Member,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = opening::credential(connector, config, context)?;
    let lease = connector.lease(member, credential.tls())?;
    let (outbox, outflow) = outbox();
    let open = opening::message(config, ports, context)?;
    outbox.push(None, protobuf::encode_client(open, context.now))?;

    let limit = connector.config().message_bytes;
    let mut client = Grpc::new(lease.channel.clone()).max_decoding_message_size(limit);
    let encrypted = member.endpoint.starts_with("https");
    client.ready().await.map_err(|error| {
        let said = trouble::before_answer(&error, encrypted);
        RemoteError::Network(format!("worker cannot be reached: {said}"))
    })?;
    let request = authorised(outflow, &credential);
    let path = http::uri::PathAndQuery::from_static("/tidegate.v1.Gateway/Stream");
    let response = client.streaming(request, path, WireCodec).await;
    let mut incoming = response
        .map_err(|status| status::before_answer(&status, encrypted))?
        .into_inner();

    let opened = loop {
        let received = incoming.message().await.transpose().ok_or_else(|| {
            RemoteError::Network("worker closed the stream instead of opening it".into())
        })?;
        let message: Option<ServerMessage> =
            decode(received, context.now, &PortFormats::default())?;
        if let Some(opened) = opening::answer(message)? {
            break opened;
        }
    };
    tracing::debug!(endpoint = %member, session = %opened.session_id, "remote hop opened");
    let link = GrpcLink {
        outbox,
        incoming,
        formats: opening::formats(ports, &opened),
        credential,
        _lease: lease,
    };
    Ok((Box::new(link), *opened))
}
