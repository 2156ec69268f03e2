//! What links have in common whose other side is in this process: nothing waits, and the ports are the hop's own.

use std::collections::VecDeque;
use std::task::Poll;

use tidegate_nodes::StreamFormat;
use tidegate_proto::message::{Direction, Opened, Port, feature};
use tidegate_proto::{PortName, ServerMessage};

use crate::compat;
use crate::config::HopPorts;
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace};
use crate::opening;

/// The hop's joined ports by the names that they have on the link.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    inputs: Vec<Option<(PortName, StreamFormat)>>,
    outputs: Vec<Option<(PortName, StreamFormat)>>,
}

impl Names {
    /// # Errors
    /// A port has a name that no port can have.
    pub(crate) fn of(ports: &HopPorts) -> Result<Self, RemoteError> {
        let side = |side: &[(String, Option<StreamFormat>)], otherwise: &str| {
            let one = |(name, format): &(String, Option<StreamFormat>)| {
                let name = if name.is_empty() { otherwise } else { name };
                format
                    .map(|format| Ok((opening::port(name)?, format)))
                    .transpose()
            };
            side.iter()
                .map(one)
                .collect::<Result<Vec<_>, RemoteError>>()
        };
        Ok(Self {
            inputs: side(&ports.inputs, "in")?,
            outputs: side(&ports.outputs, "out")?,
        })
    }

    /// What a worker with these ports would answer.
    pub(crate) fn opened(&self, pipeline: &str) -> Opened {
        let one = |direction| {
            move |(name, format): &(PortName, StreamFormat)| Port {
                name: name.clone(),
                direction,
                kind: format.kind(),
                format: compat::spec(format),
            }
        };
        let inputs = self.inputs.iter().flatten().map(one(Direction::Input));
        let outputs = self.outputs.iter().flatten().map(one(Direction::Output));
        Opened {
            ports: inputs.chain(outputs).collect(),
            features: vec![feature::ACKS.to_owned()],
            pipeline: pipeline.to_owned(),
            ..Opened::default()
        }
    }

    /// Joined inputs.
    pub(crate) fn joined(&self) -> usize {
        self.inputs.iter().flatten().count()
    }

    /// The hop's number of an input.
    pub(crate) fn input(&self, name: &PortName) -> Option<usize> {
        let mut inputs = self.inputs.iter();
        inputs.position(|port| port.as_ref().is_some_and(|(known, _)| known == name))
    }

    /// The name of an output.
    pub(crate) fn output(&self, port: usize) -> Option<&PortName> {
        self.outputs.get(port)?.as_ref().map(|(name, _)| name)
    }
}

/// What was said and not heard yet, and what was taken and not told yet.
#[derive(Debug, Default)]
pub(crate) struct Mouth {
    said: VecDeque<Result<ServerMessage, RemoteError>>,
    taken: Counts,
}

impl Mouth {
    pub(crate) fn say(&mut self, message: ServerMessage) {
        self.said.push_back(Ok(message));
    }

    pub(crate) fn fail(&mut self, error: RemoteError) {
        self.said.push_back(Err(error));
    }

    pub(crate) fn took(&mut self, place: Option<FramePlace>) {
        if let Some(place) = place {
            self.taken.add(place);
        }
    }

    pub(crate) fn taken(&mut self) -> Counts {
        std::mem::take(&mut self.taken)
    }

    pub(crate) fn poll(&mut self) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        match self.said.pop_front() {
            Some(said) => Poll::Ready(Some(said)),
            None => Poll::Pending,
        }
    }
}
