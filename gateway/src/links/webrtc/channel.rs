//! The data channel `events`: the native stream's messages of a peer, in the subprotocol that the channel names.

use bytes::Bytes;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tidegate_proto::{json, protobuf};
use tidegate_signaling::{ChannelId, ChannelMessage};

use super::WebrtcLink;
use crate::links::websocket::Subprotocol;
use crate::links::wire::malformed;
use crate::session::link::{LinkEvent, LinkMessage};

impl WebrtcLink {
    /// The client has opened the channel: it gets what was kept for it.
    pub(super) fn channel_opened(&mut self, now: Timestamp, id: ChannelId, protocol: &str) {
        let subprotocol = if protocol == Subprotocol::Proto.token() {
            Subprotocol::Proto
        } else {
            Subprotocol::Json
        };
        self.events = Some((id, subprotocol));
        if let Some(opened) = self.opened.take() {
            self.send_event(now, opened);
        }
    }

    pub(super) fn channel_closed(&mut self, id: ChannelId) {
        if self.events.is_some_and(|(events, _)| events == id) {
            self.events = None;
        }
    }

    pub(super) fn channel_message(
        &mut self,
        now: Timestamp,
        id: ChannelId,
        message: &ChannelMessage,
    ) -> Option<LinkEvent> {
        let (_, subprotocol) = self.events.filter(|(events, _)| *events == id)?;
        let bytes = message.payload().clone();
        let decoded = match subprotocol {
            Subprotocol::Json => match std::str::from_utf8(&bytes) {
                Ok(text) => json::decode_client(text, now, &self.formats),
                Err(_) => {
                    let text = "message on the channel 'events' is not UTF-8";
                    return Some(LinkEvent::Failed(Error::new(Code::BadRequest, text)));
                }
            },
            Subprotocol::Proto => protobuf::decode_client_bytes(bytes, now, &self.formats),
        };
        let event = decoded
            .map_err(|error| malformed(&error))
            .and_then(|message| self.native.decode(message));
        Some(event.unwrap_or_else(LinkEvent::Failed))
    }

    pub(super) fn send_event(&mut self, now: Timestamp, message: LinkMessage) {
        let Some((channel, subprotocol)) = self.events else {
            self.lost += u64::from(matches!(message, LinkMessage::Frame { .. }));
            return;
        };
        let Some(message) = self.native.encode(message) else {
            return;
        };
        let payload = match subprotocol {
            Subprotocol::Json => {
                ChannelMessage::Text(Bytes::from(json::encode_server(&message, now)))
            }
            Subprotocol::Proto => {
                ChannelMessage::Binary(protobuf::encode_server_bytes(message, now))
            }
        };
        let at = self.clock.instant(now);
        if self.peer.send_channel(at, channel, &payload).is_err() {
            self.lost += 1;
        }
    }
}
