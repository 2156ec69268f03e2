//! The transport `http`: each call is one `POST` to `/v1/pipelines/{name}/execute` of a Tidegate, or to the endpoint's own path.
//!
//! A call's frames travel as JSON. In mode `unary` the answer is `{outputs: {port: [frame]}}`, read whole; in mode `stream` a call is made
//! for each utterance, and its answer may be `application/x-ndjson`, whose lines go on as they come. Connections are shared by all
//! sessions and kept for a while between calls.

mod caller;
mod client;
mod lines;

pub(crate) use caller::{broken, failed};
pub(crate) use lines::Lines;

use tidegate_nodes::compile::remote::HopMode;
use tidegate_proto::message::Opened;

use self::caller::HttpCaller;
use crate::calls::{CallLink, Gather, opened};
use crate::config::{HopPorts, OpenContext, RemoteConfig};
use crate::connector::Connector;
use crate::dial::Place;
use crate::error::RemoteError;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;

pub(crate) use client::{Client, Clients, Responding};

/// Makes ready to call. Nothing is sent before there is something to call with, so an endpoint that is not there shows at the first
/// call.
pub(crate) fn open(
    connector: &Connector,
    member: &Member,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = opening::credential(connector, config, context)?;
    let url = Place::of(member)?.url(&config.target, "execute", "")?;
    let gather = Gather::new(ports, config.mode, connector.config().message_bytes)?;
    let terms = opening::terms(config, context);
    let client = connector.http(member, credential.tls(), config.timeouts.connect)?;
    let caller = HttpCaller::new(
        client,
        url,
        credential.headers().clone(),
        config.mode == HopMode::Stream,
        connector.config().message_bytes,
    );
    let opened = opened(&gather, &terms.source);
    let link = CallLink::new(caller, terms, gather, credential);
    Ok((Box::new(link), opened))
}
