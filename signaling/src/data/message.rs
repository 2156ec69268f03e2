//! What goes through channels, and how channels are named.

use bytes::Bytes;

/// A data channel of one peer: its SCTP stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(crate) u16);

/// One message of a data channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelMessage {
    /// UTF-8 by the protocol; not checked here.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl ChannelMessage {
    /// The payload, whatever its type.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

/// What happened on the channels.
#[derive(Debug)]
pub(crate) enum DataEvent {
    Open {
        id: ChannelId,
        label: String,
        protocol: String,
    },
    Message {
        id: ChannelId,
        message: ChannelMessage,
    },
    Closed {
        id: ChannelId,
    },
}
