//! Which ports of a session a client gets.
//!
//! A client may name ports; otherwise it gets what is free. Where others may join, a client of a pipeline with seats (outputs meant
//! for the client of one input) gets one seat: the input and what belongs to it. In a session of its own it gets every port, unless
//! it has one track for each kind. An input has one client at a time, an output any number.

use tidegate_media::Kind;
use tidegate_nodes::{Accepts, Code, Error, Plan, StreamFormat};

use super::link::{Link, Wishes};

/// What matters of a port when clients are placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortFacts {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Outputs: the input whose client it is meant for.
    pub(crate) seat: Option<usize>,
    /// Inputs: a client feeds it now.
    pub(crate) taken: bool,
}

/// The ports of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionPorts {
    /// Other clients may join.
    pub(crate) shared: bool,
    /// Something can be heard although nobody feeds an input.
    pub(crate) generates: bool,
    pub(crate) inputs: Vec<PortFacts>,
    pub(crate) outputs: Vec<PortFacts>,
}

/// What one client gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placement {
    pub(crate) inputs: Vec<(usize, StreamFormat)>,
    pub(crate) outputs: Vec<(usize, Accepts)>,
}

impl SessionPorts {
    /// The ports of a plan; `taken` says of an input whether a client feeds it, `shared` whether others may join.
    pub(crate) fn of(plan: &Plan, shared: bool, taken: impl Fn(usize) -> bool) -> Self {
        let inputs = plan.inputs.iter().enumerate();
        let inputs = inputs.map(|(index, input)| PortFacts {
            name: input.name.clone(),
            kind: input.kind,
            seat: None,
            taken: taken(index),
        });
        let outputs = plan.outputs.iter().map(|output| PortFacts {
            name: output.name.clone(),
            kind: output.kind,
            seat: output.seat,
            taken: false,
        });
        Self {
            shared,
            generates: plan.generates(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        }
    }

    /// Places a client.
    ///
    /// # Errors
    /// A named port does not exist or is taken, no seat is free, the client fits none of the ports, or these do not suit it; or it
    /// only listens, and nobody is there to be heard.
    pub(crate) fn place(&self, link: &dyn Link) -> Result<Placement, Error> {
        let wishes = link.wishes();
        let (inputs, outputs) = self.select(wishes)?;
        let placement = Placement {
            inputs: inputs
                .into_iter()
                .filter_map(|i| Some((i, wishes.feeds(&self.inputs[i])?)))
                .collect(),
            outputs: outputs
                .into_iter()
                .filter_map(|o| Some((o, wishes.listens(&self.outputs[o])?)))
                .collect(),
        };
        if placement.inputs.is_empty() && placement.outputs.is_empty() {
            return Err(Error::new(Code::Incompatible, self.misfit(link)));
        }
        if wishes.only_listens() && !self.generates && !self.inputs.iter().any(|i| i.taken) {
            let text = "nobody feeds the session, so there is nothing to hear yet; try again once somebody does";
            let mut error = Error::new(Code::Incompatible, text);
            error.retryable = true;
            return Err(error);
        }
        let inputs = placement.inputs.iter().map(|(i, _)| &self.inputs[*i]);
        let outputs = placement.outputs.iter().map(|(o, _)| &self.outputs[*o]);
        wishes.fits(&inputs.collect::<Vec<_>>(), &outputs.collect::<Vec<_>>())?;
        Ok(placement)
    }

    fn select(&self, wishes: &dyn Wishes) -> Result<(Vec<usize>, Vec<usize>), Error> {
        if !wishes.wanted_ports().is_empty() {
            return self.named(wishes.wanted_ports());
        }
        let seats = self.outputs.iter().any(|output| output.seat.is_some());
        if !seats || !(self.shared || wishes.has_tracks()) {
            let free = (0..self.inputs.len())
                .filter(|&i| !self.inputs[i].taken)
                .collect();
            return Ok((free, (0..self.outputs.len()).collect()));
        }
        let seat = (0..self.inputs.len()).find(|&i| {
            let input = &self.inputs[i];
            !input.taken && self.seat_outputs(i).next().is_some() && wishes.feeds(input).is_some()
        });
        match seat {
            Some(seat) => Ok((vec![seat], self.with_common(seat))),
            // One that only listens hears what is meant for all.
            None if self
                .inputs
                .iter()
                .all(|input| wishes.feeds(input).is_none()) =>
            {
                Ok((Vec::new(), self.common_outputs().collect()))
            }
            None => Err(Error::new(
                Code::Overloaded,
                format!("all {} seats of the session are taken", self.seat_count()),
            )),
        }
    }

    fn named(&self, names: &[String]) -> Result<(Vec<usize>, Vec<usize>), Error> {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for name in names {
            if let Some(i) = self.inputs.iter().position(|input| input.name == *name) {
                if self.inputs[i].taken {
                    // Not the client's mistake: the same request succeeds once the other has left.
                    let text = format!(
                        "port '{name}' is taken by another client of the session; try again later, or name another"
                    );
                    return Err(Error::new(Code::Overloaded, text));
                }
                inputs.push(i);
                outputs.extend(self.with_common(i));
            } else if let Some(o) = self.outputs.iter().position(|output| output.name == *name) {
                outputs.push(o);
            } else {
                let text = format!("no port '{name}': the ports are {}", self.names());
                return Err(Error::new(Code::BadRequest, text));
            }
        }
        inputs.sort_unstable();
        inputs.dedup();
        outputs.sort_unstable();
        outputs.dedup();
        Ok((inputs, outputs))
    }

    fn seat_outputs(&self, input: usize) -> impl Iterator<Item = usize> {
        let of_seat = move |output: &PortFacts| output.seat == Some(input);
        (0..self.outputs.len()).filter(move |&o| of_seat(&self.outputs[o]))
    }

    fn common_outputs(&self) -> impl Iterator<Item = usize> {
        (0..self.outputs.len()).filter(|&o| self.outputs[o].seat.is_none())
    }

    fn with_common(&self, input: usize) -> Vec<usize> {
        self.seat_outputs(input)
            .chain(self.common_outputs())
            .collect()
    }

    fn seat_count(&self) -> usize {
        (0..self.inputs.len())
            .filter(|&i| self.seat_outputs(i).next().is_some())
            .count()
    }

    fn names(&self) -> String {
        let names: Vec<_> = self
            .inputs
            .iter()
            .chain(&self.outputs)
            .map(|port| port.name.as_str())
            .collect();
        names.join(", ")
    }

    fn misfit(&self, link: &dyn Link) -> String {
        let list = |ports: &[PortFacts]| {
            let texts: Vec<_> = ports
                .iter()
                .map(|port| format!("{} ({})", port.name, port.kind))
                .collect();
            if texts.is_empty() {
                "none".to_owned()
            } else {
                texts.join(", ")
            }
        };
        format!(
            "a {} client fits no free port of this pipeline; inputs: {}; outputs: {}",
            link.transport().as_str(),
            list(&self.inputs),
            list(&self.outputs)
        )
    }
}
