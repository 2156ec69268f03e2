//! Servers of the Open Inference Protocol ("KServe v2") over gRPC: Triton, MLServer, another Tidegate.
//!
//! Each frame that belongs to no utterance, and each utterance of sound or text, is one request; a hop with several inputs takes a frame
//! of each for one. [`Asked`] is what requests and responses mean, without I/O; `caller` makes the calls: `ModelInfer`, or
//! `ModelStreamInfer` for each, whose responses go on as they come.

mod asked;
mod caller;
mod codec;

use tidegate_nodes::compile::remote::{HopMode, KserveOptions};
use tidegate_proto::message::Opened;

use self::asked::Asked;
use self::caller::KserveCaller;
use crate::calls::{CallLink, Gather, opened};
use crate::config::{Foreign, HopPorts, OpenContext, RemoteConfig};
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::foreign;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;

/// Makes ready to call. Nothing is sent before there is something to call with, so an endpoint that is not there shows at the first
/// call.
pub(crate) fn open(
    connector: &Connector,
    member: &Member,
    (config, foreign): (&RemoteConfig, &Foreign),
    ports: &HopPorts,
    context: OpenContext,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let options: KserveOptions = foreign::options(foreign)?;
    let credential = opening::credential(connector, config, context)?;
    let lease = connector.lease(member, credential.tls())?;
    let message_bytes = connector.config().message_bytes;
    // A request has a tensor of each input, in either mode.
    let gather = Gather::new(ports, HopMode::Stream, message_bytes)?.in_turns();
    let is_streamed = config.mode == HopMode::Stream;
    let asked = Asked::new(config, options, ports, is_streamed)?;
    let encrypted = member.endpoint.starts_with("https");
    let caller = KserveCaller::new(lease, credential.clone(), message_bytes, encrypted, asked);
    let terms = opening::terms(config, context);
    let opened = opened(&gather, &terms.source);
    let link = CallLink::new(caller, terms, gather, credential);
    Ok((Box::new(link), opened))
}
