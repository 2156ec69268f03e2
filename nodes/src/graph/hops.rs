//! Offloaded and remote hops: what is sent within their credit, and what their answers mean.

use std::time::Duration;

use tidegate_media::queue::Shed;
use tidegate_media::{Frame, Timestamp};

use super::flow::matches;
use super::io::Stage;
use super::sent::Sent;
use super::state::{Hop, Newest};
use super::{Graph, Output};
use crate::error::{Code, Error};
use crate::hop::{HopCommand, HopEvent, port_number};
use crate::node::DropReason;

impl Graph {
    /// Queues a frame for a hop.
    pub(super) fn offer_hop(&mut self, now: Timestamp, hop: usize, port: usize, frame: Frame) {
        let slot = &mut self.hops[hop];
        let stat = slot.index;
        self.stats[stat].arrived(frame.payload.size());
        if slot.ended {
            self.stats[stat].drop_frames(DropReason::HopEnded, 1);
            return;
        }
        let input = &mut slot.inputs[port];
        let offered = input.gate.offer(now, now, frame);
        let gate = input.gate_index;
        if offered.overflows {
            self.overflow(stat);
            return;
        }
        if let (Some(gate), false) = (gate, offered.shed.is_empty()) {
            self.shed(now, stat, gate, &offered.shed);
        }
        self.pump_hop(now, hop, port);
    }

    /// Sends what a port has credit for, and its end after the last frame.
    pub(super) fn pump_hop(&mut self, now: Timestamp, hop: usize, port: usize) {
        let slot = &mut self.hops[hop];
        let (index, ended) = (slot.index, slot.ended);
        let input = &mut slot.inputs[port];
        let mut shed = Shed::default();
        while !ended && input.credit_frames > 0 && input.credit_bytes > 0 {
            let pop = input.gate.take(now);
            shed.merge(pop.shed);
            let Some(mut frame) = pop.frame else { break };
            input.credit_frames -= 1;
            input.credit_bytes -= frame.payload.size() as i128;
            frame.meta.seq = input.ring.push(Sent {
                ingress: frame.meta.ingress,
                caused_by: frame.meta.caused_by,
                caused_port: frame.meta.caused_port,
                since: frame.meta.since,
                replayed: frame.meta.replayed,
                enqueued: now.saturating_sub(pop.waited),
                sent: now,
            });
            frame.meta.caused_by = 0;
            frame.meta.caused_port = 0;
            slot.silenced = false;
            slot.interrupted = false;
            let command = HopCommand::Frame { port, frame };
            self.outputs.push_back(Output::Hop {
                hop: index,
                command,
            });
        }
        if input.gate.ending && input.gate.is_empty() && !input.end_sent && !ended {
            input.end_sent = true;
            let command = HopCommand::End { port };
            self.outputs.push_back(Output::Hop {
                hop: index,
                command,
            });
        }
        let gate = input.gate_index;
        self.measure_hop(hop);
        if let (Some(gate), false) = (gate, shed.is_empty()) {
            self.shed(now, index, gate, &shed);
        }
    }

    /// A hop says something.
    pub(super) fn hop_event(&mut self, now: Timestamp, hop: usize, event: HopEvent) {
        let Some(super::state::Place::Message(hop)) = self.places.get(hop).copied() else {
            return;
        };
        let slot = &mut self.hops[hop];
        match event {
            HopEvent::Frame { port, frame } => {
                slot.interrupted = false;
                self.hop_frame(now, hop, port, frame);
            }
            HopEvent::Credit {
                port,
                frames,
                bytes,
            } => {
                let Some(input) = slot.inputs.get_mut(port) else {
                    return;
                };
                input.credit_frames = input.credit_frames.saturating_add(u64::from(frames));
                input.credit_bytes = input.credit_bytes.saturating_add(i128::from(bytes));
                self.pump_hop(now, hop, port);
            }
            HopEvent::Acknowledged { port, seq } => {
                if let Some(input) = slot.inputs.get_mut(port) {
                    input.ring.acknowledged(seq);
                }
                self.measure_hop(hop);
            }
            HopEvent::Holds(hold) => slot.hold = hold,
            HopEvent::Dropped { reason, frames } => {
                self.stats[slot.index].drop_frames(reason, frames);
            }
            HopEvent::KeyFrameWanted { port } => {
                let input = slot.inputs.get(port);
                if let Some(gate) = input.and_then(|input| input.gate_index) {
                    self.want_key_frame(now, gate);
                }
            }
            HopEvent::Ended { port } => {
                if port < slot.outputs.len() {
                    let port = slot.ports + port;
                    self.end_port(port);
                }
                let ports = self.hops[hop].port_numbers();
                if self.ports[ports].iter().all(|port| port.ended) {
                    self.end_hop(hop);
                }
            }
            HopEvent::Note(_) => {}
            HopEvent::Failed(mut error) => {
                let id = &self.stats[slot.index].id;
                error.hop.get_or_insert_with(|| id.to_string());
                self.fail(error);
            }
        }
    }

    /// Nothing more comes from a hop: its outputs end, and what still waits for it has nowhere to go.
    pub(super) fn end_hop(&mut self, hop: usize) {
        let slot = &mut self.hops[hop];
        if slot.ended {
            return;
        }
        slot.ended = true;
        self.ends_changed = true;
        let (index, ports) = (slot.index, slot.port_numbers());
        for input in &mut slot.inputs {
            let shed = input.gate.clear();
            self.stats[index].shed_as(&shed, DropReason::HopEnded);
        }
        for port in ports.rev() {
            self.end_port(port);
        }
        self.measure_hop(hop);
    }

    fn hop_frame(&mut self, now: Timestamp, hop: usize, port: usize, mut frame: Frame) {
        let slot = &mut self.hops[hop];
        let stat = slot.index;
        if port >= slot.outputs.len() || !self.declared(hop, port, &frame) {
            self.bad_frame(hop, port, &frame);
            return;
        }
        let slot = &mut self.hops[hop];
        let number = slot.ports + port;
        if slot.ended || self.ports[number].ended {
            self.stats[stat].drop_frames(DropReason::HopEnded, 1);
            return;
        }
        let number_of_cause = frame.meta.caused_by;
        let cause = slot.cause(frame.meta.caused_port, number_of_cause);
        if slot.unwanted(cause.as_ref(), number_of_cause) {
            self.stats[stat].drop_frames(DropReason::Interrupted, 1);
            return;
        }
        let newest = match cause {
            Some(cause) if slot.is_of_end(&cause, number_of_cause) => self.ended,
            Some(cause) => cause.sent.newest(),
            None => Newest::default(),
        };
        // A hop that replays to another worker is no replay of ours.
        frame.meta.replayed = cause.is_some_and(|cause| cause.sent.replayed);
        frame.meta.ingress = newest.ingress;
        frame.meta.caused_by = newest.caused_by;
        frame.meta.caused_port = newest.caused_port;
        if self.tracking.is_some() {
            frame.meta.since = cause.map_or(u64::MAX, |cause| slot.since(&cause.sent));
        }
        let service = frame.meta.service.take();
        let utterance = &mut slot.outputs[port].utterance;
        let first = frame.meta.utterance > *utterance;
        *utterance = (*utterance).max(frame.meta.utterance);
        if let Some(cause) = cause {
            slot.inputs[cause.input].ring.answered(number_of_cause);
            if cause.exact {
                self.measure_answer(now, hop, &cause.sent, service, first);
            }
            self.measure_hop(hop);
        }
        let out = &mut self.ports[number];
        out.seq += 1;
        frame.meta.seq = out.seq;
        self.stats[stat].left(frame.payload.size());
        self.route(number, frame);
    }

    fn measure_answer(
        &mut self,
        now: Timestamp,
        hop: usize,
        sent: &Sent,
        service: Option<Duration>,
        first: bool,
    ) {
        let Hop { index, remote, .. } = self.hops[hop];
        let queue = sent.sent.saturating_since(sent.enqueued);
        let away = now.saturating_since(sent.sent);
        self.probe.record(now, index, Stage::Queue, queue);
        // A thread that does not say how long it worked did nothing else; a worker may have.
        let service = service.or(if remote { None } else { Some(away) });
        if let Some(service) = service {
            self.probe.record(now, index, Stage::Service, service);
        }
        let wire = away.saturating_sub(service.unwrap_or_default());
        self.probe.record(now, index, Stage::Wire, wire);
        if first {
            let value = now.saturating_since(sent.enqueued);
            self.probe.record(now, index, Stage::FirstOutput, value);
        }
    }

    /// Whether a frame is of the format that the plan has for this port. Offloaded nodes are our own and are trusted.
    fn declared(&self, hop: usize, port: usize, frame: &Frame) -> bool {
        let slot = &self.hops[hop];
        let declared = self.plan.hops[slot.index].outputs[port].format;
        !slot.remote || declared.is_none_or(|format| matches(&format, &frame.payload))
    }

    #[cold]
    fn bad_frame(&mut self, hop: usize, port: usize, frame: &Frame) {
        let index = self.hops[hop].index;
        let planned = &self.plan.hops[index];
        let text = match planned.outputs.get(port) {
            Some(port) => format!(
                "it sent a {} frame on output '{}' that is not the {} agreed when the session was opened",
                frame.kind(),
                port.name,
                port.format.map_or_else(String::new, |f| f.to_string()),
            ),
            None => format!("it sent a frame on output {port}, which it does not have"),
        };
        let error = Error::new(Code::InvalidRemoteData, text).at_hop(planned.id.clone());
        self.fail(error);
    }

    /// Brings a hop's gauges and gates up to date, and sees whether a hop without outputs is done.
    pub(super) fn measure_hop(&mut self, hop: usize) {
        let slot = &self.hops[hop];
        let stats = &mut self.stats[slot.index];
        stats.queue_frames = 0;
        stats.queue_bytes = 0;
        stats.in_flight = 0;
        for input in &slot.inputs {
            stats.queue_frames += input.gate.frames();
            stats.queue_bytes += input.gate.bytes();
            stats.in_flight += if slot.ended {
                0
            } else {
                input.ring.in_flight()
            };
            if let Some(gate) = input.gate_index {
                self.full.set(gate, input.gate.is_full());
            }
        }
        let idle = stats.in_flight == 0 && stats.queue_frames == 0;
        let mut joined = slot
            .inputs
            .iter()
            .filter(|input| input.gate_index.is_some());
        if slot.outputs.is_empty() && idle && !slot.ended && joined.all(|input| input.end_sent) {
            self.end_hop(hop);
        }
    }
}

impl Hop {
    /// Its output ports in the graph's list.
    pub(super) const fn port_numbers(&self) -> std::ops::Range<usize> {
        self.ports..self.ports + self.outputs.len()
    }

    /// What an answer to the frame of this number on this port was caused by. Ports are numbered each for itself: where an answer does
    /// not say which it means, of several that were sent this number it is taken to be the one with the newest input. For a number
    /// that was never sent the newest frame stands in.
    fn cause(&self, port: u16, number: u64) -> Option<Cause> {
        if number == 0 {
            return None;
        }
        let meant = |input: usize| port == 0 || port_number(input) == port;
        let causes = |sent_only: bool| {
            let inputs = self.inputs.iter().enumerate();
            let inputs = inputs.filter(|(input, _)| meant(*input));
            let inputs = inputs.filter(move |(_, i)| !sent_only || i.ring.was_sent(number));
            let causes = inputs.filter_map(|(input, slot)| {
                let exact = slot.ring.get(number);
                let near = if sent_only {
                    slot.ring.oldest()
                } else {
                    slot.ring.last()
                };
                let sent = *exact.or(near)?;
                Some(Cause {
                    input,
                    sent,
                    exact: exact.is_some(),
                })
            });
            causes.max_by_key(|cause| (cause.sent.ingress, cause.sent.caused_by))
        };
        causes(true).or_else(|| causes(false))
    }

    /// The oldest input that an answer needs: what caused it, what the hop keeps, and what it has not done with yet.
    fn since(&self, cause: &Sent) -> u64 {
        let waiting = self.inputs.iter();
        let waiting = waiting.flat_map(|input| input.ring.under_way(input.flushed));
        let oldest = waiting.map(|sent| sent.since);
        self.hold.begin(oldest.fold(cause.since, u64::min))
    }

    /// Whether an answer is one to the end of its input, which has the number behind the last frame.
    fn is_of_end(&self, cause: &Cause, number: u64) -> bool {
        let input = &self.inputs[cause.input];
        input.end_sent && number == input.ring.newest() + 1
    }

    /// Whether an output was caused by what an interrupt flushed.
    fn unwanted(&self, cause: Option<&Cause>, number: u64) -> bool {
        self.silenced || cause.is_some_and(|cause| number <= self.inputs[cause.input].flushed)
    }
}

/// The frame that caused an answer.
#[derive(Clone, Copy, Debug)]
struct Cause {
    /// The port that it was sent on.
    input: usize,
    sent: Sent,
    /// It is that frame, and not one that stands in for it.
    exact: bool,
}
