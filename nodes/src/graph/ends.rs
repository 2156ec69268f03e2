//! How ends flow through the graph, and when it has finished.

use tidegate_media::Timestamp;

use super::state::{Dest, Newest, Place, Work};
use super::{Graph, Output, State};
use crate::hop::port_number;

impl Graph {
    /// A client says that it sends no more.
    pub(super) fn end_input(&mut self, now: Timestamp, input: usize) {
        let Some(ingress) = self.inputs.get_mut(input) else {
            return;
        };
        if ingress.ended || self.state != State::Running {
            return;
        }
        ingress.ended = true;
        self.ended = self.ended.max(Newest {
            ingress: ingress.heard,
            caused_by: ingress.seq,
            caused_port: port_number(input),
        });
        self.ends_changed = true;
        match ingress.chain.first() {
            Some(&node) => self.work.push(Work::End {
                to: Dest::Node { node, port: 0 },
            }),
            None => self.end_port(input),
        }
        self.run(now);
        if self.inputs.iter().all(|input| input.ended) {
            self.end_generators();
            self.run(now);
        }
    }

    /// Pushes the end of a port for everything that it is joined to, first edge on top.
    pub(super) fn end_port(&mut self, port: usize) {
        let port = &mut self.ports[port];
        if port.ended {
            return;
        }
        port.ended = true;
        for &to in port.dests.iter().rev() {
            self.work.push(Work::End { to });
        }
    }

    /// An end has come along an edge.
    pub(super) fn deliver_end(&mut self, now: Timestamp, to: Dest) {
        match to {
            Dest::Node { node, port } => self.end_node_port(now, node, port),
            Dest::Hop { hop, port } => {
                let input = &mut self.hops[hop].inputs[port];
                input.open_edges = input.open_edges.saturating_sub(1);
                input.gate.ending |= input.open_edges == 0;
                self.pump_hop(now, hop, port);
            }
            Dest::Output(output) => {
                let outlet = &mut self.outlets[output];
                outlet.open_edges = outlet.open_edges.saturating_sub(1);
                if outlet.open_edges == 0 {
                    outlet.ended = true;
                    self.ends_changed = true;
                    for &to in outlet.listeners.iter().rev() {
                        self.work.push(Work::End { to });
                    }
                }
            }
            Dest::Egress(egress) => {
                if let Some(egress) = &mut self.egresses[egress] {
                    egress.gate.ending = true;
                }
                self.pump_egress(now, egress);
            }
        }
    }

    fn end_node_port(&mut self, now: Timestamp, index: usize, port: usize) {
        let slot = &mut self.nodes[index];
        let open = &mut slot.open_edges[port];
        *open = open.saturating_sub(1);
        if *open > 0 || slot.ended {
            return;
        }
        slot.open_inputs = slot.open_inputs.saturating_sub(1);
        // The end came behind the input's last frame, whether that has come this far or not.
        slot.newest = slot.newest.max(self.ended);
        let last = slot.open_inputs == 0;
        if last {
            // Below what on_end emits, so that it comes after that.
            self.end_node(index);
        }
        self.call(now, index, |node, cx| node.on_end(cx, port));
        if last {
            self.timers[index] = Timestamp::MAX;
        }
    }

    /// Ends all outputs of an in-place node.
    pub(super) fn end_node(&mut self, index: usize) {
        let slot = &mut self.nodes[index];
        slot.ended = true;
        self.timers[index] = Timestamp::MAX;
        let ports = slot.ports..slot.ports + slot.port_count;
        for port in ports.rev() {
            self.end_port(port);
        }
    }

    /// Ends what has no inputs of its own.
    fn end_generators(&mut self) {
        for place in 0..self.places.len() {
            match self.places[place] {
                Place::InPlace(node) => {
                    if self.nodes[node].is_generating() {
                        self.end_node(node);
                    }
                }
                Place::Message(hop) => {
                    let inputs = &self.hops[hop].inputs;
                    if inputs.iter().all(|input| input.gate_index.is_none()) {
                        self.end_hop(hop);
                    }
                }
            }
        }
    }

    /// Says once that everything has ended, if it has.
    pub(super) fn finish(&mut self) {
        if !self.ends_changed || self.state != State::Running {
            return;
        }
        self.ends_changed = false;
        let outputs = self.outlets.iter().all(|outlet| outlet.ended);
        let listeners = self.egresses.iter().flatten().all(|egress| egress.ended);
        let hops = self.hops.iter().all(|hop| hop.ended);
        let fed = !self.outlets.is_empty() || self.inputs.iter().all(|input| input.ended);
        if outputs && listeners && hops && fed {
            self.state = State::Finished;
            self.outputs.push_back(Output::Finished);
        }
    }
}
