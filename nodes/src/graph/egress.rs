//! Listeners: their queues, pacing and credit.

use std::time::Duration;

use tidegate_media::queue::Shed;
use tidegate_media::{Frame, Kind, Meta, Timestamp};

use super::io::Stage;
use super::state::Egress;
use super::{EgressId, Graph, Output};
use crate::error::{Code, Error};
use crate::node::DropReason;

impl Graph {
    /// Queues a frame for a listener.
    pub(super) fn offer_egress(&mut self, now: Timestamp, index: usize, mut frame: Frame) {
        let Some(egress) = &mut self.egresses[index] else {
            return;
        };
        if self.tracking.is_some() {
            frame.meta.since = egress.since_of_cause(&frame.meta);
        }
        let stat = self.outlets[egress.output].stat;
        self.stats[stat].arrived(frame.payload.size());
        let held_back = egress.gate.is_full();
        let due = match &mut egress.pacer {
            Some(pacer) if paces(&frame) => pacer.due(now, &frame, held_back),
            _ => now,
        };
        let timely = due <= now && frame.meta.deadline.is_none();
        if timely && egress.gate.is_open() && egress.credit != Some(0) {
            self.release(now, index, frame);
            return;
        }
        let head = egress.gate.next_due();
        let offered = egress.gate.offer(now, due, frame);
        if !offered.shed.is_empty() {
            egress.close_up(now, head, offered.refused.then_some(due));
        }
        let output = egress.output;
        if offered.overflows {
            self.overflow(stat);
            return;
        }
        if !offered.shed.is_empty() {
            self.shed(now, stat, self.topology.output_gate(output), &offered.shed);
        }
        self.pump_egress(now, index);
    }

    /// Lets a frame go.
    fn release(&mut self, now: Timestamp, index: usize, mut frame: Frame) {
        let Some(egress) = &mut self.egresses[index] else {
            return;
        };
        if let Some(credit) = &mut egress.credit {
            *credit -= 1;
        }
        egress.seq += 1;
        frame.meta.seq = egress.seq;
        if frame.meta.since != 0 {
            frame.meta.since = 0;
        }
        let (egress, output) = (egress.id, egress.output);
        self.stats[self.outlets[output].stat].left(frame.payload.size());
        // What is said a second time was measured when it was said first, or would be late by the length of a failure.
        if frame.meta.ingress != Timestamp::ZERO && !frame.meta.replayed {
            self.probe.session_latency(egress, frame.age(now));
        }
        self.outputs.push_back(Output::Frame { egress, frame });
    }

    /// Lets go what is due and may leave.
    pub(super) fn pump_egress(&mut self, now: Timestamp, index: usize) {
        let mut shed = Shed::default();
        let (output, stat) = loop {
            let Some(egress) = self.egresses.get_mut(index).and_then(Option::as_mut) else {
                return;
            };
            if egress.credit != Some(0) {
                let head = egress.gate.next_due();
                let pop = egress.gate.take(now);
                if pop.frame.is_none() && !pop.shed.is_empty() {
                    egress.close_up(now, head, None);
                }
                shed.merge(pop.shed);
                if let Some(frame) = pop.frame {
                    let stat = self.outlets[egress.output].stat;
                    self.probe.record(now, stat, Stage::Queue, pop.waited);
                    self.release(now, index, frame);
                    continue;
                }
            }
            if egress.gate.ending && egress.gate.is_empty() && !egress.ended {
                egress.ended = true;
                self.ends_changed = true;
                let egress = egress.id;
                self.outputs.push_back(Output::Ended { egress });
            }
            break (egress.output, self.outlets[egress.output].stat);
        };
        self.measure_output(output);
        if !shed.is_empty() {
            self.shed(now, stat, self.topology.output_gate(output), &shed);
        }
    }

    pub(super) fn credit_egress(&mut self, now: Timestamp, id: EgressId, frames: u32) {
        let Some(index) = self.egress_index(id) else {
            return;
        };
        if let Some(credit) = self.egresses[index]
            .as_mut()
            .and_then(|e| e.credit.as_mut())
        {
            *credit = credit.saturating_add(u64::from(frames));
        }
        self.pump_egress(now, index);
    }

    pub(super) fn egress_index(&self, id: EgressId) -> Option<usize> {
        let mut egresses = self.egresses.iter();
        egresses.position(|egress| egress.as_ref().is_some_and(|egress| egress.id == id))
    }

    /// Brings an output's gauges and its gate up to date.
    pub(super) fn measure_output(&mut self, output: usize) {
        let egresses = self.egresses.iter().flatten();
        let (mut frames, mut bytes, mut full) = (0, 0, false);
        for egress in egresses.filter(|egress| egress.output == output) {
            frames += egress.gate.frames();
            bytes += egress.gate.bytes();
            full |= egress.gate.is_full();
        }
        let stats = &mut self.stats[self.outlets[output].stat];
        stats.queue_frames = frames;
        stats.queue_bytes = bytes;
        self.full.set(self.topology.output_gate(output), full);
    }

    /// Counts what a queue lost, and asks for a key frame where video was cut.
    pub(super) fn shed(&mut self, now: Timestamp, stat: usize, gate: usize, shed: &Shed) {
        self.stats[stat].shed(shed);
        if shed.key_frame_wanted {
            self.want_key_frame(now, gate);
        }
    }

    /// Asks the senders of the video that reaches a gate for a key frame, each at most twice a second.
    pub(super) fn want_key_frame(&mut self, now: Timestamp, gate: usize) {
        for &input in &self.topology.gate_inputs[gate] {
            let ingress = &mut self.inputs[input];
            let recent = ingress
                .key_asked
                .is_some_and(|at| now.saturating_since(at) < KEY_FRAME_INTERVAL);
            if self.plan.inputs[input].kind == Kind::Video && !recent && !ingress.ended {
                ingress.key_asked = Some(now);
                self.outputs.push_back(Output::KeyFrameWanted { input });
            }
        }
    }

    /// A driver goes on sending to what is full.
    #[cold]
    pub(super) fn overflow(&mut self, stat: usize) {
        let id = self.stats[stat].id.to_string();
        let text = format!(
            "more than {} frames stand behind its full queue: what feeds it does not wait, so give its edge a queue that sheds",
            super::OVERRUN_MAX
        );
        self.stats[stat].drop_frames(DropReason::QueueFull, 1);
        self.fail(Error::new(Code::Overloaded, text).at_hop(id));
    }
}

/// How often a sender is asked for a key frame at most: one takes a round trip and several times a picture's bytes.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

impl Egress {
    /// The oldest input that a frame needs, or another before it with the same cause: who replays knows what came already by cause and
    /// count, so all of one cause must be made again where one is.
    fn since_of_cause(&mut self, meta: &Meta) -> u64 {
        let cause = (meta.caused_port, meta.caused_by);
        if self.newest != cause {
            self.newest = cause;
            self.since = u64::MAX;
        }
        self.since = self.since.min(meta.since);
        self.since
    }

    /// When its oldest frame may leave, if it has credit.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if self.credit == Some(0) {
            return None;
        }
        self.gate.next_due()
    }

    /// Frames were lost: the oldest, of which the first was due at `head`, or the newest, which was due at `refused`. What is left
    /// and what comes take their place, or the listener would wait in silence for as long as they would have played.
    fn close_up(&mut self, now: Timestamp, head: Option<Timestamp>, refused: Option<Timestamp>) {
        let Some(pacer) = &mut self.pacer else {
            return;
        };
        let head = head.unwrap_or(now).max(now);
        let mut by = Duration::ZERO;
        if let Some(due) = self.gate.next_due() {
            by = due.saturating_since(head);
            self.gate.bring_forward(by);
        }
        if let Some(due) = refused {
            by = due.saturating_since(self.gate.last_due().unwrap_or(head).max(now));
        }
        pacer.bring_forward(by);
    }
}

/// RTP packets pass as they come: their listener has a jitter buffer of its own.
const fn paces(frame: &Frame) -> bool {
    match &frame.payload {
        tidegate_media::Payload::Audio(audio) => audio.rtp.is_none(),
        tidegate_media::Payload::Video(_) => true,
        _ => false,
    }
}
