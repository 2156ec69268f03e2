//! Opening by the native stream, whatever carries it: what is asked, and what is answered.

use tidegate_nodes::StreamFormat;
use tidegate_proto::message::{Open, Opened, Source, StreamSpec, feature};
use tidegate_proto::{ClientMessage, PortFormats, PortName, ServerMessage};

use crate::auth::Credential;
use crate::calls::Terms;
use crate::compat;
use crate::config::{HopPorts, OpenContext, RemoteConfig, Target};
use crate::connector::Connector;
use crate::error::RemoteError;

/// The first message to a worker.
pub(crate) fn message(
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<ClientMessage, RemoteError> {
    Ok(ClientMessage::Open(Box::new(Open {
        source: source(&config.target),
        parameters: config.parameters.clone(),
        mode: context.mode,
        features: vec![feature::CREDITS.to_owned(), feature::ACKS.to_owned()],
        inputs: specs(&ports.inputs)?,
        outputs: specs(&ports.outputs)?,
        hop_count: context.hop_count + 1,
        deadline: context.deadline.map(|at| at.saturating_since(context.now)),
        ..Open::default()
    })))
}

fn source(target: &Target) -> Source {
    match target {
        Target::Pipeline(name) => Source::Pipeline(name.clone()),
        Target::Manifest(text) => Source::Manifest(text.clone()),
        // The path has said it, where there is one.
        Target::Endpoint => Source::Pipeline(String::new()),
    }
}

/// What every request of a hop carries: its credentials, and the trace that it belongs to.
pub(crate) fn credential(
    connector: &Connector,
    config: &RemoteConfig,
    context: OpenContext<'_>,
) -> Result<Credential, RemoteError> {
    let credential = config.auth.read(connector.files(), context.now)?;
    Ok(credential.traced(context.trace))
}

/// What every call of a hop has in common.
pub(crate) fn terms(config: &RemoteConfig, context: OpenContext<'_>) -> Terms {
    Terms {
        source: source(&config.target),
        parameters: config.parameters.clone(),
        hop_count: context.hop_count + 1,
        deadline: context.deadline,
    }
}

/// The formats to name for the ports of one side. A port that the manifest leaves unnamed has no name to be spoken of before the
/// worker lists it.
pub(crate) fn specs(
    side: &[(String, Option<StreamFormat>)],
) -> Result<Vec<(PortName, StreamSpec)>, RemoteError> {
    let known = side
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .filter_map(|(name, format)| Some((name, compat::spec(format.as_ref()?)?)));
    known.map(|(name, spec)| Ok((port(name)?, spec))).collect()
}

/// The worker's answer, if a message is it.
pub(crate) fn answer(message: Option<ServerMessage>) -> Result<Option<Box<Opened>>, RemoteError> {
    match message {
        Some(ServerMessage::Opened(opened)) => Ok(Some(opened)),
        Some(ServerMessage::Error(error)) => Err(RemoteError::Worker(error)),
        Some(_) => Err(RemoteError::Protocol(
            "something else before 'opened'".into(),
        )),
        // Of a newer version.
        None => Ok(None),
    }
}

/// A port by its name.
pub(crate) fn port(name: &str) -> Result<PortName, RemoteError> {
    PortName::new(name).map_err(|error| RemoteError::Config(error.to_string()))
}

/// Formats of outputs for frames that leave theirs out: what flows there, else what the worker listed.
pub(crate) fn formats(ports: &HopPorts, opened: &Opened) -> PortFormats {
    let mut formats = PortFormats::of_opened(opened);
    for (name, format) in &compat::resolve(ports.clone(), opened).outputs {
        if let (Ok(name), Some(spec)) = (port(name), format.as_ref().and_then(compat::spec)) {
            formats.set(name, spec);
        }
    }
    formats
}
