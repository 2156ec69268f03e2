//! Messages of the server as JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use tidegate_media::Timestamp;

use super::frame::WireFrame;
use super::shared::{Credit, Place, PortOnly, Result, is_default, micros, name, optional_port};
use crate::message::{PortFormats, ServerMessage};
use crate::name::PortName;
use crate::validate;

mod error;
mod opened;
mod stats;

use error::ErrorBody;
use opened::Opened;
use stats::Stats;

/// What a server sends. Frames are written by [`super::frame`].
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Server<'a> {
    Opened(Opened),
    #[serde(skip)]
    Frame(Box<WireFrame<'a>>),
    Interrupted(Interrupted<'a>),
    Error(ErrorBody<'a>),
    Stats(Stats),
    ReplayFrom(Place<'a>),
    Draining(Draining),
    Ended(Ended<'a>),
    Credit(Credit<'a>),
    Ack(Place<'a>),
    End(PortOnly<'a>),
}

/// The kind of a message; a newer server may have more.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Opened,
    Frame,
    Interrupted,
    Error,
    Stats,
    ReplayFrom,
    Draining,
    Ended,
    Credit,
    Ack,
    End,
    #[serde(other)]
    Unknown,
}

/// A server's message, if its kind is known.
pub(super) struct Known<'a>(Option<Server<'a>>);

impl<'de> Deserialize<'de> for Known<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(KnownVisitor)
    }
}

struct KnownVisitor;

impl<'de> Visitor<'de> for KnownVisitor {
    type Value = Known<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose one key is the message's kind")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let key = map
            .next_key()?
            .ok_or_else(|| A::Error::custom("the object is empty: name the message's kind"))?;
        let message = match key {
            Key::Frame => Some(Server::Frame(map.next_value()?)),
            Key::Opened => Some(Server::Opened(map.next_value()?)),
            Key::Interrupted => Some(Server::Interrupted(map.next_value()?)),
            Key::Error => Some(Server::Error(map.next_value()?)),
            Key::Stats => Some(Server::Stats(map.next_value()?)),
            Key::ReplayFrom => Some(Server::ReplayFrom(map.next_value()?)),
            Key::Draining => Some(Server::Draining(map.next_value()?)),
            Key::Ended => Some(Server::Ended(map.next_value()?)),
            Key::Credit => Some(Server::Credit(map.next_value()?)),
            Key::Ack => Some(Server::Ack(map.next_value()?)),
            Key::End => Some(Server::End(map.next_value()?)),
            Key::Unknown => {
                map.next_value::<IgnoredAny>()?;
                None
            }
        };
        match map.next_key::<IgnoredAny>()? {
            Some(_) => Err(A::Error::custom("the object has more than one key")),
            None => Ok(Known(message)),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Interrupted<'a> {
    #[serde(borrow, default, skip_serializing_if = "is_default")]
    port: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Draining {
    #[serde(default)]
    deadline: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Ended<'a> {
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

pub(super) fn decode(
    known: Known<'_>,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<Option<ServerMessage>> {
    let Some(message) = known.0 else {
        return Ok(None);
    };
    Ok(Some(match message {
        Server::Frame(frame) => {
            let mut frame = frame;
            let cause = std::mem::take(&mut frame.caused_port);
            let caused_port = optional_port("frame.caused_port", cause)?;
            let (port, frame) = frame.decode(now, formats)?;
            ServerMessage::Frame {
                port,
                caused_port,
                frame,
            }
        }
        Server::Opened(opened) => ServerMessage::Opened(Box::new(opened.decode()?)),
        Server::Interrupted(interrupted) => ServerMessage::Interrupted {
            port: optional_port("interrupted.port", interrupted.port)?,
            reason: validate::for_people(interrupted.reason.into_owned()),
        },
        Server::Error(error) => ServerMessage::Error(Box::new(error.decode()?)),
        Server::Stats(stats) => ServerMessage::Stats(Box::new(stats.decode()?)),
        Server::ReplayFrom(place) => ServerMessage::ReplayFrom(place.decode("replay_from.port")?),
        Server::Draining(draining) => ServerMessage::Draining {
            deadline: micros(draining.deadline),
        },
        Server::Ended(ended) => ServerMessage::Ended {
            reason: validate::for_people(ended.reason.into_owned()),
        },
        Server::Credit(credit) => ServerMessage::Credit(credit.decode()?),
        Server::Ack(place) => ServerMessage::Ack(place.decode("ack.port")?),
        Server::End(end) => ServerMessage::End {
            port: PortName::at("end.port", end.port.into_owned())?,
        },
    }))
}

impl<'a> From<&'a ServerMessage> for Server<'a> {
    fn from(message: &'a ServerMessage) -> Self {
        match message {
            ServerMessage::Opened(opened) => Server::Opened(Opened::from(&**opened)),
            ServerMessage::Interrupted { port, reason } => Server::Interrupted(Interrupted {
                port: name(port.as_ref()),
                reason: reason.into(),
            }),
            ServerMessage::Error(error) => Server::Error(ErrorBody::from(&**error)),
            ServerMessage::Stats(stats) => Server::Stats(Stats::from(&**stats)),
            ServerMessage::ReplayFrom(place) => Server::ReplayFrom(place.into()),
            ServerMessage::Draining { deadline } => Server::Draining(Draining {
                deadline: validate::micros(*deadline),
            }),
            ServerMessage::Ended { reason } => Server::Ended(Ended {
                reason: reason.into(),
            }),
            ServerMessage::Credit(credit) => Server::Credit(credit.into()),
            ServerMessage::Ack(ack) => Server::Ack(ack.into()),
            // Frames have a writer of their own.
            ServerMessage::Frame { port, .. } | ServerMessage::End { port } => {
                Server::End(PortOnly {
                    port: name(Some(port)),
                })
            }
        }
    }
}
