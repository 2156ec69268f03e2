//! Opening: the upgrade, `open`, and the worker's answer.

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    USER_AGENT,
};
use http::{HeaderValue, Request};
use tidegate_proto::message::Opened;
use tidegate_proto::{PortFormats, protobuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::errors;
use super::link::{WebSocketLink, decode};
use crate::auth::Credential;
use crate::config::{HopPorts, OpenContext, RemoteConfig};
use crate::connector::{Connector, USER_AGENT as AGENT};
use crate::dial::{self, Place, Stream};
use crate::error::RemoteError;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;

/// The subprotocol: native messages as protobuf, each in one binary message.
const SUBPROTOCOL: &str = "tidegate.v1.proto";
/// Bytes that the kernel is handed at once; a larger message is handed over by itself.
const WRITE_BUFFER: usize = 64 << 10;

/// Opens a hop's pipeline at one endpoint. Cancel safe.
pub(crate) async fn open(
    connector: &Connector,
    member: &Member,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = opening::credential(connector, config, context)?;
    let place = Place::of(member)?;
    let open = opening::message(config, ports, context)?;
    let stream = dial::dial(connector, &place, credential.tls()).await?;
    let mut socket = upgrade(connector, &place, config, &credential, stream).await?;

    let open = Message::Binary(protobuf::encode_client_bytes(open, context.now));
    socket.send(open).await.map_err(errors::broken)?;
    let opened = loop {
        let message = socket.next().await.ok_or_else(|| {
            RemoteError::Network("worker closed the stream instead of opening it".into())
        })?;
        let message = message.map_err(errors::broken)?;
        if let Message::Close(reason) = &message {
            return Err(errors::closed(reason.as_ref()));
        }
        let message = decode(message, context.now, &PortFormats::default())?;
        if let Some(opened) = message
            .map(Some)
            .map(opening::answer)
            .transpose()?
            .flatten()
        {
            break opened;
        }
    };
    tracing::debug!(endpoint = %member, session = %opened.session_id, "remote hop opened");
    let formats = opening::formats(ports, &opened);
    let link = WebSocketLink::new(socket, formats, credential, connector.config());
    Ok((Box::new(link), *opened))
}

async fn upgrade(
    connector: &Connector,
    place: &Place,
    config: &RemoteConfig,
    credential: &Credential,
    stream: Stream,
) -> Result<WebSocketStream<Stream>, RemoteError> {
    let url = place.url(&config.target, "ws", "")?;
    let mut request = Request::get(url)
        .body(())
        .map_err(|error| RemoteError::Config(error.to_string()))?;
    let headers = request.headers_mut();
    headers.extend(credential.headers().clone());
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|error| RemoteError::Config(error.to_string()))
    };
    headers.insert(HOST, value(&place.authority)?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, value(&generate_key())?);
    headers.insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let limit = Some(connector.config().message_bytes);
    let limits = WebSocketConfig::default()
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(limit)
        .max_frame_size(limit);
    let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await;
    let (socket, _response) = upgraded.map_err(errors::refused)?;
    Ok(socket)
}
