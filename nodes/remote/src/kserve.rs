//! Servers of the Open Inference Protocol ("KServe v2") over gRPC: Triton, MLServer, another Tidegate.
//!
//! Each frame that belongs to no utterance, and each utterance of sound or text, is one request; a hop with several inputs takes a frame
//! of each for one. [`Asked`] is what requests and responses mean, without I/O; `caller` makes the calls: `ModelInfer`, or
//! `ModelStreamInfer` for each, whose responses go on as they come.

mod asked;
mod caller;
mod codec;

use tidegate_nodes::compile::remote::HopMode;

use self::asked::Asked;
use self::caller::KserveCaller;
use crate::error::RemoteError;
use crate::foreign::{Linked, Opening};

/// Makes ready to call.
pub(crate) fn open(opening: Opening<'_>) -> Result<Linked, RemoteError> {
    let (config, credential) = (opening.config, opening.credential.clone());
    let lease = opening.connector.lease(opening.member, credential.tls())?;
    // A request has a tensor of each input, in either mode.
    let gather = opening.gather()?.in_turns();
    let is_streamed = config.mode == HopMode::Stream;
    let asked = Asked::new(config, opening.options()?, opening.ports, is_streamed)?;
    let encrypted = opening.member.endpoint.starts_with("https");
    let bytes = opening.message_bytes();
    let caller = KserveCaller::new(lease, credential, bytes, encrypted, asked);
    Ok(opening.link(caller, gather, false))
}
