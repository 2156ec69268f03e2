//! Which foreign protocol is spoken: opening a hop at a server that knows nothing of Tidegate.
//!
//! Whatever opens gives a `Link` and what the server would have said on opening, as every transport does.

use tidegate_nodes::compile::remote::Protocol;
use tidegate_proto::message::Opened;

use crate::config::{Foreign, HopPorts, OpenContext, RemoteConfig};
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::link::Link;
use crate::openai;
use crate::pool::Member;

/// Opens a hop at one endpoint. Cancel safe.
///
/// # Errors
/// As of every transport.
#[expect(
    clippy::unused_async,
    reason = "protocols that connect first wait here"
)]
pub(crate) async fn open(
    connector: &Connector,
    member: &Member,
    (config, foreign): (&RemoteConfig, &Foreign),
    ports: &HopPorts,
    context: OpenContext,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let speaking = (config, foreign);
    match foreign.protocol {
        Protocol::Tidegate => Err(RemoteError::Internal("Tidegate's protocol is not foreign")),
        Protocol::OpenaiTranscriptions | Protocol::OpenaiSpeech | Protocol::OpenaiChat => {
            openai::open(connector, member, speaking, ports, context)
        }
    }
}
