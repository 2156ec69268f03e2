//! The opening handshake of channels (RFC 8832): OPEN from either side, ACK back.

use std::time::Instant;

use bytes::BytesMut;
use rtc::datachannel::data_channel::DataChannel;
use rtc::datachannel::message::Message;
use rtc::datachannel::message::message_channel_ack::DataChannelAck;
use rtc::datachannel::message::message_channel_open::{
    CHANNEL_PRIORITY_NORMAL, ChannelType, DataChannelOpen,
};
use rtc::sctp::PayloadProtocolIdentifier as Ppi;
use rtc::shared::marshal::{Marshal as _, Unmarshal as _};

use super::{Channel, ChannelId, Data, DataEvent};
use crate::error::SignalingError;

/// Bytes of a label or subprotocol.
const MAX_LABEL: usize = 256;

impl Data {
    pub(super) fn on_control(&mut self, now: Instant, id: u16, mut payload: BytesMut) {
        match Message::unmarshal(&mut payload) {
            Ok(Message::DataChannelOpen(open)) => self.on_open(now, id, open),
            Ok(Message::DataChannelAck(_)) => {
                if let Some(channel) = self.channels.get_mut(&id)
                    && !channel.open
                {
                    channel.open = true;
                    self.events.push_back(DataEvent::Open {
                        id: ChannelId(id),
                        label: channel.label.clone(),
                        protocol: channel.protocol.clone(),
                    });
                }
            }
            _ => self.refused += 1,
        }
    }

    fn on_open(&mut self, now: Instant, id: u16, open: DataChannelOpen) {
        let fits = open.label.len() <= MAX_LABEL && open.protocol.len() <= MAX_LABEL;
        let (Ok(label), Ok(protocol)) = (
            String::from_utf8(open.label),
            String::from_utf8(open.protocol),
        ) else {
            self.refused += 1;
            return self.close_channel(now, ChannelId(id));
        };
        if !fits
            || self.channels.len() >= self.limits.max_channels
            || self.channels.contains_key(&id)
        {
            self.refused += 1;
            if !self.channels.contains_key(&id) {
                self.close_channel(now, ChannelId(id));
            }
            return;
        }
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(id)
        {
            let (unordered, reliability) = DataChannel::get_reliability_params(open.channel_type);
            let parameter = open.reliability_parameter;
            if stream
                .set_reliability_params(unordered, reliability, parameter)
                .is_err()
            {
                self.refused += 1;
                return;
            }
        }
        let ack = Message::DataChannelAck(DataChannelAck);
        if self.send_control(now, id, &ack).is_err() {
            self.refused += 1;
            return;
        }
        self.channels.insert(
            id,
            Channel {
                open: true,
                label: label.clone(),
                protocol: protocol.clone(),
            },
        );
        self.events.push_back(DataEvent::Open {
            id: ChannelId(id),
            label,
            protocol,
        });
    }

    pub(super) fn send_open(&mut self, now: Instant, id: u16) {
        let Some(channel) = self.channels.get(&id).filter(|channel| !channel.open) else {
            return;
        };
        let open = Message::DataChannelOpen(DataChannelOpen {
            channel_type: ChannelType::Reliable,
            priority: CHANNEL_PRIORITY_NORMAL,
            reliability_parameter: 0,
            label: channel.label.clone().into_bytes(),
            protocol: channel.protocol.clone().into_bytes(),
        });
        let opened = match &mut self.association {
            Some((_, association)) => association.open_stream(id, Ppi::Binary).is_ok(),
            None => false,
        };
        if !opened || self.send_control(now, id, &open).is_err() {
            self.forget(id);
        }
    }

    fn send_control(
        &mut self,
        now: Instant,
        id: u16,
        message: &Message,
    ) -> Result<(), SignalingError> {
        let bytes = message
            .marshal()
            .map_err(|e| SignalingError::internal("writing a channel's handshake", e))?;
        self.write(now, id, Ppi::Dcep, &bytes.freeze())
    }
}
