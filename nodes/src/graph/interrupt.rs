//! An interrupt: what the listener has not heard yet is forgotten, and it overtakes everything on the way.

use tidegate_media::Timestamp;

use super::state::Place;
use super::{Graph, Output};
use crate::hop::HopCommand;

impl Graph {
    /// Empties the queues before the hops that the manifest flushes and of the outputs behind them, and tells both.
    pub(super) fn interrupt(&mut self, now: Timestamp) {
        let plan = std::sync::Arc::clone(&self.plan);
        let flush = plan.interrupt.as_ref().map_or(&[][..], |i| &i.flush[..]);
        for &hop in flush {
            match self.places[hop] {
                Place::Message(hop) => self.flush_hop(now, hop),
                Place::InPlace(node) => self.interrupt_node(now, node),
            }
        }
        for index in 0..self.egresses.len() {
            let egress = self.egresses[index].as_ref();
            let wanted = egress.is_some_and(|e| self.topology.interrupted.contains(&e.output));
            if wanted {
                self.flush_egress(now, index);
            }
        }
    }

    fn flush_hop(&mut self, now: Timestamp, hop: usize) {
        let slot = &mut self.hops[hop];
        if slot.ended {
            return;
        }
        let index = slot.index;
        for port in 0..self.hops[hop].inputs.len() {
            let input = &mut self.hops[hop].inputs[port];
            input.flushed = input.ring.newest();
            let shed = input.gate.clear();
            if let Some(gate) = input.gate_index {
                self.shed(now, index, gate, &shed);
            }
        }
        let slot = &mut self.hops[hop];
        slot.silenced = slot.inputs.iter().any(|input| input.flushed > 0);
        // Once: a client may interrupt without end, and a hop that stands still would hear all of it.
        if !std::mem::replace(&mut slot.interrupted, true) {
            let command = HopCommand::Interrupt;
            self.outputs.push_back(Output::Hop {
                hop: index,
                command,
            });
        }
        for port in 0..self.hops[hop].inputs.len() {
            // The end that stood behind what was flushed.
            self.pump_hop(now, hop, port);
        }
    }

    fn flush_egress(&mut self, now: Timestamp, index: usize) {
        let Some(egress) = &mut self.egresses[index] else {
            return;
        };
        let id = egress.id;
        let shed = egress.gate.clear();
        if let Some(pacer) = &mut egress.pacer {
            pacer.reset();
        }
        let (ended, output, chain) = (egress.ended, egress.output, egress.chain.clone());
        let gate = self.topology.output_gate(output);
        self.shed(now, self.outlets[output].stat, gate, &shed);
        for node in chain {
            self.interrupt_node(now, node);
        }
        if !ended {
            self.outputs.push_back(Output::Interrupted { egress: id });
        }
        self.pump_egress(now, index);
    }

    fn interrupt_node(&mut self, now: Timestamp, node: usize) {
        if self.nodes[node].ended {
            return;
        }
        self.call(now, node, |node, cx| {
            node.on_interrupt(cx);
            Ok(())
        });
    }
}
