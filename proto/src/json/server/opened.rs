//! `opened`: the ports and limits of a session that has begun.

use serde::{Deserialize, Serialize};
use tidegate_media::Kind;

use crate::error::at_most;
use crate::json::shared::{Result, Spec, features, is_default};
use crate::limits::PORTS;
use crate::name::PortName;
use crate::{message, validate};

#[derive(Serialize, Deserialize)]
pub(in crate::json) struct Opened {
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    pipeline: String,
    #[serde(default)]
    gateway: String,
    #[serde(default, skip_serializing_if = "is_default")]
    deterministic: bool,
}

#[derive(Serialize, Deserialize)]
struct Port {
    name: String,
    direction: Direction,
    kind: Kind,
    #[serde(flatten)]
    format: Spec,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    Input,
    Output,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Limits {
    #[serde(skip_serializing_if = "is_default")]
    message_bytes: u64,
    #[serde(skip_serializing_if = "is_default")]
    session: u64,
    #[serde(skip_serializing_if = "is_default")]
    idle: u64,
}

impl Opened {
    pub(in crate::json) fn decode(self) -> Result<message::Opened> {
        at_most("opened.ports", self.ports.len(), PORTS, "ports")?;
        Ok(message::Opened {
            session_id: validate::short("opened.session_id", self.session_id)?,
            ports: self
                .ports
                .into_iter()
                .map(Port::decode)
                .collect::<Result<_>>()?,
            features: features("opened.features", self.features)?,
            limits: message::Limits {
                message_bytes: self.limits.message_bytes,
                session: validate::optional_micros(self.limits.session),
                idle: validate::optional_micros(self.limits.idle),
            },
            pipeline: validate::short("opened.pipeline", self.pipeline)?,
            gateway: validate::short("opened.gateway", self.gateway)?,
            deterministic: self.deterministic,
        })
    }
}

impl Port {
    pub(in crate::json) fn decode(self) -> Result<message::Port> {
        Ok(message::Port {
            name: PortName::at("opened.ports.name", self.name)?,
            direction: match self.direction {
                Direction::Input => message::Direction::Input,
                Direction::Output => message::Direction::Output,
            },
            kind: self.kind,
            format: self.format.decode("opened.ports")?,
        })
    }
}

impl From<&message::Opened> for Opened {
    fn from(opened: &message::Opened) -> Self {
        let port = |port: &message::Port| Port {
            name: port.name.as_str().to_owned(),
            direction: match port.direction {
                message::Direction::Input => Direction::Input,
                message::Direction::Output => Direction::Output,
            },
            kind: port.kind,
            format: port.format.into(),
        };
        Self {
            session_id: opened.session_id.clone(),
            ports: opened.ports.iter().map(port).collect(),
            features: opened.features.clone(),
            limits: Limits {
                message_bytes: opened.limits.message_bytes,
                session: validate::some_micros(opened.limits.session),
                idle: validate::some_micros(opened.limits.idle),
            },
            pipeline: opened.pipeline.clone(),
            gateway: opened.gateway.clone(),
            deterministic: opened.deterministic,
        }
    }
}
