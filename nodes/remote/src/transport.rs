//! Which protocol carries a hop's stream, and opening one by it.
//!
//! Every transport opens in the same way: it gives a `Link` and the worker's `opened`. What becomes of the two is not its affair,
//! so a transport knows nothing of exchanges, pools or replay.

use tidegate_nodes::Phase;
use tidegate_nodes::compile::remote::HopMode;
pub use tidegate_nodes::compile::remote::Transport;
use tidegate_proto::message::Opened;

use crate::config::{HOP_COUNT_MAX, HopPorts, OpenContext, RemoteConfig};
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::foreign;
use crate::grpc;
use crate::http;
use crate::link::Link;
use crate::pool::Member;
use crate::webrtc;
use crate::websocket;

/// Opens a hop's pipeline at one endpoint, or at one address of its name. Waits at most `config.timeouts.connect`. Cancel safe.
///
/// # Errors
/// The endpoint cannot be reached or refuses, its answer is not `opened`, or the session passed too many gateways.
pub(crate) async fn open(
    connector: &Connector,
    member: impl Into<Member>,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    if context.hop_count >= HOP_COUNT_MAX {
        return Err(RemoteError::Circle(context.hop_count));
    }
    let member = member.into();
    let limit = config.timeouts.connect;
    let opening = async {
        if let Some(foreign) = &config.foreign {
            return foreign::open(connector, &member, (config, foreign), ports, context);
        }
        match config.transport {
            Transport::Http => http::open(connector, &member, config, ports, context),
            Transport::Grpc if config.mode == HopMode::Unary => {
                grpc::open_unary(connector, &member, config, ports, context)
            }
            Transport::Grpc => grpc::open(connector, &member, config, ports, context).await,
            Transport::Webrtc => webrtc::open(connector, &member, config, ports, context).await,
            Transport::Websocket => {
                websocket::open(connector, &member, config, ports, context).await
            }
        }
    };
    let phase = Phase::Connect;
    tokio::time::timeout(limit, opening)
        .await
        .unwrap_or(Err(RemoteError::Timeout { phase, limit }))
}
