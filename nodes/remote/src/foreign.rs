//! Which foreign protocol is spoken: opening a hop at a server that knows nothing of Tidegate.
//!
//! Whatever opens gives a `Link` and what the server would have said on opening, as every transport does.

use tidegate_nodes::compile::remote::Protocol;
use tidegate_proto::message::Opened;

use crate::config::{Foreign, HopPorts, OpenContext, RemoteConfig};
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::kserve;
use crate::link::Link;
use crate::openai;
use crate::pool::Member;
use crate::{websocket, wyoming};

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
    context: OpenContext<'_>,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let speaking = (config, foreign);
    match foreign.protocol {
        Protocol::Tidegate => Err(RemoteError::Internal("Tidegate's protocol is not foreign")),
        Protocol::OpenaiTranscriptions | Protocol::OpenaiSpeech | Protocol::OpenaiChat => {
            openai::open(connector, member, speaking, ports, context)
        }
        Protocol::Kserve => kserve::open(connector, member, speaking, ports, context),
        Protocol::WyomingAsr | Protocol::WyomingTts => {
            wyoming::open(connector, member, speaking, ports, context)
        }
        Protocol::WebsocketStt => websocket::stt::open(connector, member, speaking, ports, context),
    }
}

/// The options of a protocol, which the manifest's reader has checked.
///
/// # Errors
/// They are not those of the protocol.
pub(crate) fn options<T: serde::de::DeserializeOwned>(foreign: &Foreign) -> Result<T, RemoteError> {
    let options = serde_json::Value::Object(foreign.options.clone());
    serde_json::from_value(options)
        .map_err(|error| RemoteError::Config(format!("'options' cannot be used: {error}")))
}
