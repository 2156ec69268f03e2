//! Clients come and go: each brings the conversions that it needs and takes them away with it.

use std::sync::Arc;

use tidegate_media::{Codec, Kind, Timestamp};

use super::build::make;
use super::consumed::Arrivals;
use super::gate::Gate;
use super::pacer::Pacer;
use super::state::{Dest, Egress, InPlace, Newest, Port, Vacant, Work};
use super::stats::{HopStats, Role};
use super::topology::Gates;
use super::{EgressId, Graph, Listener, Mode};
use crate::compile::{Conversion, conversions};
use crate::deterministic::repeats;
use crate::error::{Code, Error};
use crate::node::{DropReason, Hold, Node};
use crate::stream::{Accepts, AudioPattern, StreamFormat};

/// Nodes of a client's conversions, not yet in the graph, each with its row in the stats.
type Chain = Vec<(usize, Box<dyn Node>)>;

impl Graph {
    /// A client begins to send to an input, in this format. Its conversions get rows `<input>:<conversion>` in the stats.
    ///
    /// # Errors
    /// `incompatible` if the format cannot be converted to the input's; `bad_request` if another client sends to it or the input
    /// has ended or does not exist; `node_failed` if a conversion cannot be built. Nothing has changed then.
    pub fn attach_input(
        &mut self,
        now: Timestamp,
        input: usize,
        format: StreamFormat,
        mode: Mode,
    ) -> Result<(), Error> {
        let now = self.advance(now);
        let Some(ingress) = self.inputs.get(input) else {
            return Err(no_such("input", input));
        };
        let planned = &self.plan.inputs[input];
        let name = planned.name.clone();
        if ingress.ended {
            let text = format!("input '{name}' has ended");
            return Err(Error::new(Code::BadRequest, text));
        }
        if ingress.client.is_some() {
            let text = format!("input '{name}' already has a client");
            return Err(Error::new(Code::BadRequest, text));
        }
        let chain = conversions(format, &admitted(planned.format))?;
        let repeats = self.repeats(format, &chain);
        let chain = self.build_chain(&name, format, &chain)?;
        let gates = Arc::clone(&self.topology.input_gates[input]);
        let chain = self.add_chain(chain, &gates, ChainEnd::Input(input));
        let ingress = &mut self.inputs[input];
        ingress.client = Some(format);
        ingress.mode = Some(mode);
        ingress.chain = chain;
        ingress.repeats = repeats;
        // Another client counts anew.
        ingress.arrivals = Arrivals::default();
        self.apply_modes(now);
        Ok(())
    }

    /// The client at an input has gone without ending it: what its conversions hold goes on, and another client may come.
    pub fn detach_input(&mut self, now: Timestamp, input: usize) {
        let now = self.advance(now);
        let Some(ingress) = self.inputs.get_mut(input) else {
            return;
        };
        ingress.client = None;
        let ended = ingress.ended;
        let chain = std::mem::take(&mut ingress.chain);
        for &node in &chain {
            if !ended {
                self.call(now, node, |node, cx| node.on_end(cx, 0));
                self.run(now);
            }
        }
        self.remove_chain(chain);
        self.finish();
    }

    /// A client begins to listen to an output. Gives its number and the format that it will get. Conversions get rows
    /// `<output>:<conversion>`. A listener to video gets nothing before the next key frame, which is asked for.
    ///
    /// # Errors
    /// `incompatible` if nothing leads to what it accepts; `bad_request` if there is no such output; `node_failed` if a conversion
    /// cannot be built. Nothing has changed then.
    pub fn attach_output(
        &mut self,
        now: Timestamp,
        output: usize,
        listener: Listener,
    ) -> Result<(EgressId, StreamFormat), Error> {
        let now = self.advance(now);
        let Some(planned) = self.plan.outputs.get(output) else {
            return Err(no_such("output", output));
        };
        let (name, format, queue) = (planned.name.clone(), planned.format, planned.queue);
        let steps = conversions(format, &listener.accepts)?;
        let heard = steps.last().map_or(format, |step| step.output);
        let repeats = self.repeats(format, &steps);
        let chain = self.build_chain(&name, format, &steps)?;
        let id = EgressId(self.next_egress);
        self.next_egress += 1;
        let index = self.egresses.iter().position(Option::is_none);
        let index = index.unwrap_or_else(|| {
            self.egresses.push(None);
            self.egresses.len() - 1
        });
        let gates: Gates = [self.topology.output_gate(output)].into();
        let chain = self.add_chain(chain, &gates, ChainEnd::Egress(index));
        let head = match chain.first() {
            Some(&node) => Dest::Node { node, port: 0 },
            None => Dest::Egress(index),
        };
        let outlet = &mut self.outlets[output];
        let paced = outlet.paced && listener.plays && listener.mode == Mode::Live;
        outlet.listeners.push(head);
        let ended = outlet.ended;
        self.egresses[index] = Some(Egress {
            id,
            output,
            mode: listener.mode,
            credit: listener.metered.then_some(0),
            chain,
            repeats,
            head,
            gate: Gate::new(&queue),
            pacer: paced.then(Pacer::default),
            seq: 0,
            newest: (0, 0),
            since: u64::MAX,
            ended: false,
        });
        self.apply_modes(now);
        if ended {
            self.work.push(Work::End { to: head });
            self.run(now);
        } else if format.kind() == Kind::Video {
            if let Some(egress) = &mut self.egresses[index] {
                egress.gate.await_key_frame();
            }
            self.want_key_frame(now, self.topology.output_gate(output));
        }
        Ok((id, heard))
    }

    /// A listener has gone. What was queued for it is dropped.
    pub fn detach_output(&mut self, now: Timestamp, egress: EgressId) {
        let now = self.advance(now);
        let Some(index) = self.egress_index(egress) else {
            return;
        };
        let Some(mut egress) = self.egresses[index].take() else {
            return;
        };
        let outlet = &mut self.outlets[egress.output];
        outlet.listeners.retain(|head| *head != egress.head);
        let shed = egress.gate.clear();
        self.stats[outlet.stat].shed_as(&shed, DropReason::Detached);
        self.remove_chain(egress.chain);
        self.measure_output(egress.output);
        self.ends_changed = true;
        self.apply_modes(now);
        self.finish();
    }

    /// Lets every queue wait or shed as the modes of those who are here ask for; see the module's words on waiting.
    fn apply_modes(&mut self, now: Timestamp) {
        for hop in 0..self.hops.len() {
            for port in 0..self.hops[hop].inputs.len() {
                let Some(gate) = self.hops[hop].inputs[port].gate_index else {
                    continue;
                };
                let waiting = self.waits(gate, None);
                let shed = self.hops[hop].inputs[port].gate.set_waiting(waiting);
                if !shed.is_empty() {
                    self.shed(now, self.hops[hop].index, gate, &shed);
                }
            }
            self.measure_hop(hop);
        }
        for index in 0..self.egresses.len() {
            let Some(egress) = &self.egresses[index] else {
                continue;
            };
            let output = egress.output;
            let gate = self.topology.output_gate(output);
            let waiting = self.waits(gate, Some(egress.mode));
            let Some(egress) = &mut self.egresses[index] else {
                continue;
            };
            let shed = egress.gate.set_waiting(waiting);
            if !shed.is_empty() {
                self.shed(now, self.outlets[output].stat, gate, &shed);
            }
            self.measure_output(output);
        }
    }

    /// Whether a gate waits; `listener` is the mode of the one whose own queue it is.
    fn waits(&self, gate: usize, listener: Option<Mode>) -> bool {
        let inputs = &self.topology.gate_inputs[gate];
        let has = |mode| inputs.iter().any(|i| self.inputs[*i].mode == Some(mode));
        if has(Mode::Waits) || has(Mode::Live) {
            return has(Mode::Waits);
        }
        let outputs = &self.topology.gate_outputs[gate];
        let mut egresses = self.egresses.iter().flatten();
        match listener {
            Some(mode) => mode == Mode::Waits,
            None => egresses.any(|e| e.mode == Mode::Waits && outputs.contains(&e.output)),
        }
    }

    fn build_chain(
        &mut self,
        owner: &str,
        format: StreamFormat,
        steps: &[Conversion],
    ) -> Result<Chain, Error> {
        let mut chain = Chain::new();
        let mut format = format;
        for step in steps {
            let id = format!("{owner}:{}", step.name);
            let node = make(
                &self.conversions,
                step.node_type,
                &step.params,
                &[Some(format)],
            );
            let node = node.map_err(|error| error.at_hop(id.clone()))?;
            chain.push((self.conversion_row(&id, step.node_type), node));
            format = step.output;
        }
        Ok(chain)
    }

    /// Whether conversions make the same again of the same.
    fn repeats(&self, mut format: StreamFormat, steps: &[Conversion]) -> bool {
        steps.iter().all(|step| {
            let input = std::mem::replace(&mut format, step.output);
            repeats(
                &self.conversions,
                step.node_type,
                &step.params,
                &[Some(input)],
                false,
            )
        })
    }

    /// The row of a conversion, which clients at the same place share.
    fn conversion_row(&mut self, id: &str, node_type: &str) -> usize {
        let mut rows = self.stats.iter();
        let row = rows.position(|row| row.role == Role::Conversion && &*row.id == id);
        row.unwrap_or_else(|| {
            self.stats
                .push(HopStats::new(id, node_type, Role::Conversion));
            self.stats.len() - 1
        })
    }

    /// Puts conversions into the graph, each joined to the next.
    fn add_chain(&mut self, chain: Chain, gates: &Gates, end: ChainEnd) -> Vec<usize> {
        let mut added: Vec<usize> = Vec::with_capacity(chain.len());
        for (stat, node) in chain {
            let index = self.add_conversion(stat, node, Arc::clone(gates));
            if let Some(&before) = added.last() {
                let port = self.nodes[before].ports;
                self.ports[port].dests = vec![Dest::Node {
                    node: index,
                    port: 0,
                }];
            }
            added.push(index);
        }
        if let Some(&last) = added.last() {
            match end {
                ChainEnd::Egress(egress) => {
                    let port = self.nodes[last].ports;
                    self.ports[port].dests = vec![Dest::Egress(egress)];
                }
                // It speaks for the input itself.
                ChainEnd::Input(input) => self.nodes[last].ports = input,
            }
        }
        added
    }

    fn add_conversion(&mut self, stat: usize, node: Box<dyn Node>, gates: Gates) -> usize {
        let made = |ports| InPlace {
            node,
            stat,
            newest: Newest::default(),
            hold: Hold::Nothing,
            since: u64::MAX,
            ports,
            port_count: 1,
            open_edges: vec![1],
            open_inputs: 1,
            ended: false,
            timer_calls: 0,
            gates,
        };
        // Plan ports, then one port of its own for each place of a conversion.
        let base = self.plan_ports();
        if let Some(index) = self.vacant.pop() {
            let port = base + index - self.plan_nodes();
            self.ports[port] = Port::default();
            self.nodes[index] = made(port);
            return index;
        }
        self.ports.push(Port::default());
        self.nodes.push(made(self.ports.len() - 1));
        self.timers.push(Timestamp::MAX);
        self.nodes.len() - 1
    }

    fn remove_chain(&mut self, chain: Vec<usize>) {
        for node in chain {
            self.nodes[node].node = Box::new(Vacant);
            self.nodes[node].ended = true;
            self.nodes[node].hold = Hold::Nothing;
            self.timers[node] = Timestamp::MAX;
            self.vacant.push(node);
        }
    }

    fn plan_nodes(&self) -> usize {
        self.places.len() - self.hops.len()
    }

    fn plan_ports(&self) -> usize {
        let hops = self.plan.hops.iter();
        self.plan.inputs.len() + hops.map(|hop| hop.outputs.len()).sum::<usize>()
    }
}

/// Where a chain of conversions leads.
#[derive(Clone, Copy)]
enum ChainEnd {
    Input(usize),
    Egress(usize),
}

/// What may enter where this format flows. What takes RTP packets takes a steady time line as well, and Opus packets say
/// themselves how many channels they have.
fn admitted(format: StreamFormat) -> Accepts {
    match format {
        StreamFormat::Audio { format, packets } => Accepts::Audio(AudioPattern {
            codecs: vec![format.codec],
            sample_rates: vec![format.sample_rate],
            channels: match format.codec {
                Codec::Opus => Vec::new(),
                _ => vec![format.channels],
            },
            packets,
        }),
        other => Accepts::Kind(other.kind()),
    }
}

fn no_such(what: &str, index: usize) -> Error {
    Error::new(Code::BadRequest, format!("there is no {what} {index}"))
}
