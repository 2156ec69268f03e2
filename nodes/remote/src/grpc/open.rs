//! Opening: the call, `open`, and the worker's answer.

use tidegate_proto::message::{Open, Opened, Source, feature};
use tidegate_proto::{ClientMessage, PortFormats, PortName, ServerMessage, protobuf};
use tonic::client::Grpc;

use super::codec::WireCodec;
use super::stream::{GrpcLink, decode};
use super::{authorised, status};
use crate::compat;
use crate::config::{HopPorts, OpenContext, RemoteConfig, Target};
use crate::connector::Connector;
use crate::error::{RemoteError, chain};
use crate::link::Link;
use crate::outbox::outbox;

pub(crate) async fn open(
    connector: &Connector,
    endpoint: &str,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = config.auth.read(connector.files(), context.now)?;
    let lease = connector.lease(endpoint, credential.tls())?;
    let (outbox, outflow) = outbox();
    let open = ClientMessage::Open(Box::new(message(config, ports, context)?));
    outbox.push(None, protobuf::encode_client(open, context.now))?;

    let limit = connector.config().message_bytes;
    let mut client = Grpc::new(lease.channel.clone()).max_decoding_message_size(limit);
    client.ready().await.map_err(|error| {
        RemoteError::Network(format!("worker cannot be reached: {}", chain(&error)))
    })?;
    let request = authorised(outflow, &credential);
    let path = http::uri::PathAndQuery::from_static("/tidegate.v1.Gateway/Stream");
    let response = client.streaming(request, path, WireCodec).await;
    let mut incoming = response
        .map_err(|status| status::error(&status))?
        .into_inner();

    let opened = loop {
        let received = incoming.message().await.transpose().ok_or_else(|| {
            RemoteError::Network("worker closed the stream instead of opening it".into())
        })?;
        match decode(received, context.now, &PortFormats::default())? {
            Some(ServerMessage::Opened(opened)) => break opened,
            Some(ServerMessage::Error(error)) => return Err(RemoteError::Worker(error)),
            Some(_) => {
                return Err(RemoteError::Protocol(
                    "something else before 'opened'".into(),
                ));
            }
            None => {}
        }
    };
    tracing::debug!(endpoint, session = %opened.session_id, "remote hop opened");
    let link = GrpcLink {
        outbox,
        incoming,
        formats: formats(ports, &opened),
        credential,
        _lease: lease,
    };
    Ok((Box::new(link), *opened))
}

fn message(
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext,
) -> Result<Open, RemoteError> {
    let specs = |side: &[(String, Option<tidegate_nodes::StreamFormat>)]| {
        // A port that the manifest leaves unnamed has no name to be spoken of before the worker lists it.
        let known = side
            .iter()
            .filter(|(name, _)| !name.is_empty())
            .filter_map(|(name, format)| Some((name, compat::spec(format.as_ref()?)?)));
        known
            .map(|(name, spec)| Ok((port(name)?, spec)))
            .collect::<Result<Vec<_>, RemoteError>>()
    };
    Ok(Open {
        source: match &config.target {
            Target::Pipeline(name) => Source::Pipeline(name.clone()),
            Target::Manifest(text) => Source::Manifest(text.clone()),
        },
        parameters: config.parameters.clone(),
        mode: context.mode,
        features: vec![feature::CREDITS.to_owned()],
        session: None,
        as_ports: Vec::new(),
        inputs: specs(&ports.inputs)?,
        outputs: specs(&ports.outputs)?,
        raw: None,
        hop_count: context.hop_count + 1,
        deadline: context.deadline.map(|at| at - context.now),
    })
}

fn port(name: &str) -> Result<PortName, RemoteError> {
    PortName::new(name).map_err(|error| RemoteError::Config(error.to_string()))
}

/// Formats of outputs for frames that leave theirs out: what flows there, else what the worker listed.
fn formats(ports: &HopPorts, opened: &Opened) -> PortFormats {
    let mut formats = PortFormats::of_opened(opened);
    for (name, format) in &compat::resolve(ports.clone(), opened).outputs {
        if let (Ok(name), Some(spec)) = (port(name), format.as_ref().and_then(compat::spec)) {
            formats.set(name, spec);
        }
    }
    formats
}
