//! The driver's clients: what they send and are told, and how they leave. How they join is `join.rs`.

use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::graph::Input;
use tidegate_nodes::{Code, Error};

use super::{BURST, Driver, turn};
use crate::session::control::{Control, End, Snapshot};
use crate::session::link::{LinkEvent, LinkMessage};
use crate::session::network::WebrtcStats;
use crate::session::shape::shape;
use crate::session::slot::{LAST_WORDS, Slot, SlotInput};

/// How often `stats` are sent to clients that asked for them.
pub(super) const STATS: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut progress = false;
        for _ in 0..BURST {
            let Poll::Ready(Some(control)) = self.parts.control.poll_recv(cx) else {
                break;
            };
            progress = true;
            match control {
                // Whoever asked has gone; its link closes.
                Control::Join { reply, .. } if reply.is_closed() => {}
                Control::Join { link, reply } => drop(reply.send(self.join(now, link))),
                Control::Snapshot(reply) => drop(reply.send(self.snapshot(now))),
                Control::End(end) => self.finish(now, end),
                Control::EndIfEmpty if self.slots.is_empty() => self.finish(now, End::Left),
                Control::EndIfEmpty => {}
                Control::Drain { grace } => {
                    // Last words come out of the same time.
                    let grace = grace.saturating_sub(LAST_WORDS).max(grace / 2);
                    self.drain_until = Some(now + grace);
                    for (_, slot) in self.slots.iter_mut().filter(|(_, slot)| !slot.closing) {
                        slot.link
                            .send(now, LinkMessage::Draining { deadline: grace });
                    }
                }
            }
        }
        progress
    }

    pub(super) fn poll_links(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut progress = false;
        for key in 0..self.slots.capacity() {
            let mut looks = turn::Looks::new();
            for _ in 0..BURST {
                let Some(slot) = self.slots.get_mut(key) else {
                    break;
                };
                if slot.closing {
                    break;
                }
                let graph = &self.parts.graph;
                let room = |port: &SlotInput| port.ended || graph.input_ready(port.input);
                let read = slot.features.credits || slot.inputs.iter().all(room);
                let Poll::Ready(event) = slot.link.poll_event(cx, now, read) else {
                    break;
                };
                slot.last_seen = now;
                progress = true;
                let bytes = match &event {
                    LinkEvent::Frame { frame, .. } => frame.payload.size(),
                    _ => 0,
                };
                if let Err(error) = self.handle(now, key, event) {
                    self.reject(now, key, error);
                    break;
                }
                if looks.end(self.parts.clock, now, bytes) {
                    break;
                }
            }
        }
        progress
    }

    fn handle(&mut self, now: Timestamp, key: usize, event: LinkEvent) -> Result<(), Error> {
        let slot = &mut self.slots[key];
        match event {
            LinkEvent::Frame { input, mut frame } => {
                let credits = slot.features.credits;
                let Some(port) = slot.input(input).filter(|port| !port.ended) else {
                    let name = &self.parts.plan.inputs[input].name;
                    let text = format!("frame for input '{name}' after its end");
                    return Err(Error::new(Code::BadRequest, text));
                };
                if credits {
                    let bytes = frame.payload.size() as u64;
                    // One frame may overdraw the bytes, else one larger than all credit could never come.
                    if port.frames == 0 || port.bytes == 0 {
                        let name = &self.parts.plan.inputs[input].name;
                        let text = format!(
                            "frame of {bytes} bytes for input '{name}' exceeds the credit that was given"
                        );
                        return Err(Error::new(Code::BadRequest, text));
                    }
                    port.frames -= 1;
                    port.bytes = port.bytes.saturating_sub(bytes);
                }
                port.seq = frame.meta.seq;
                frame.meta.ingress = now;
                turn::feed(&mut self.parts.graph, now, Input::Frame { input, frame });
            }
            LinkEvent::End { input } => {
                for port in &mut slot.inputs {
                    if !port.ended && input.is_none_or(|input| input == port.input) {
                        port.ended = true;
                        self.parts
                            .graph
                            .handle_input(now, Input::End { input: port.input });
                    }
                }
            }
            LinkEvent::Interrupt => self.parts.graph.handle_input(now, Input::Interrupt),
            LinkEvent::Credit { output, frames } => {
                for port in slot.outputs.iter_mut().filter(|port| port.output == output) {
                    let left = port.client_frames.get_or_insert(0);
                    *left = left.saturating_add(frames);
                }
            }
            LinkEvent::Ack => {}
            LinkEvent::KeyFrameWanted { output } => self.ask_for_key_frame(now, output),
            LinkEvent::FeedsOtherwise { input, format } => {
                self.feed_otherwise(now, key, input, format)?;
            }
            LinkEvent::ListensOtherwise { output, accepts } => {
                self.listen_otherwise(now, key, output, accepts)?;
            }
            LinkEvent::Closed => self.leave(now, key),
            LinkEvent::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// A client broke the protocol or its connection broke: it is told why, and leaves.
    pub(super) fn reject(&mut self, now: Timestamp, key: usize, error: Error) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if self.parts.shared {
            slot.farewell(now, &End::Failed(error));
            self.detach(now, key);
        } else {
            self.finish(now, End::Failed(error));
        }
    }

    /// Frees a client's ports; its link stays until it has taken its last messages.
    fn detach(&mut self, now: Timestamp, key: usize) {
        self.report_webrtc();
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.closing = true;
        for port in slot.inputs.drain(..) {
            self.parts.graph.detach_input(now, port.input);
        }
        for port in slot.outputs.drain(..) {
            self.parts.graph.detach_output(now, port.egress);
            self.parts.figures.forget_egress(port.egress);
        }
        self.egresses.retain(|(_, owner)| *owner != key);
    }

    /// A client is gone. A session of its own ends with it; a shared one goes on for the others.
    pub(super) fn leave(&mut self, now: Timestamp, key: usize) {
        self.detach(now, key);
        if let Some(slot) = self.slots.try_remove(key) {
            self.lost(slot.link.unsent());
        }
        if self.slots.is_empty() {
            if self.parts.shared {
                self.vacant_since.get_or_insert(now);
            } else {
                self.finish(now, End::Left);
            }
        }
    }

    pub(super) fn send_stats(&mut self, now: Timestamp) {
        let due = |slot: &Slot| !slot.closing && slot.features.stats && slot.stats_at <= now;
        if !self.slots.iter().any(|(_, slot)| due(slot)) {
            return;
        }
        let figures = self.parts.figures.hop_figures(&self.parts.graph, now);
        for (_, slot) in self.slots.iter_mut().filter(|(_, slot)| due(slot)) {
            slot.stats_at = now + STATS;
            slot.link.send(now, LinkMessage::Stats(figures.clone()));
        }
    }

    /// The last figures, for clients that asked for them and still listen.
    pub(super) fn send_last_stats(&mut self, now: Timestamp) {
        for (_, slot) in &mut self.slots {
            if !slot.closing && slot.features.stats {
                slot.stats_at = now;
            }
        }
        self.send_stats(now);
    }

    fn ask_for_key_frame(&mut self, now: Timestamp, output: usize) {
        // Which inputs feed the output is the plan's affair; asking one too many costs one picture.
        if self.parts.plan.outputs.get(output).is_none() {
            return;
        }
        self.key_frame_wanted(now, None);
    }

    /// Asks whoever feeds an input, or every video input, for a key frame.
    pub(super) fn key_frame_wanted(&mut self, now: Timestamp, input: Option<usize>) {
        let plan = &self.parts.plan;
        for (_, slot) in &mut self.slots {
            for port in &slot.inputs {
                let video = plan.inputs[port.input].kind == tidegate_media::Kind::Video;
                if video && input.is_none_or(|input| input == port.input) {
                    slot.link
                        .send(now, LinkMessage::KeyFrameWanted { input: port.input });
                }
            }
        }
    }

    fn snapshot(&mut self, now: Timestamp) -> Snapshot {
        let mut transports: Vec<_> = self
            .slots
            .iter()
            .map(|(_, slot)| slot.link.transport().as_str())
            .collect();
        transports.sort_unstable();
        transports.dedup();
        let mut hops = self.parts.figures.report(&self.parts.graph, now);
        for (index, hop) in &self.parts.hops {
            let id = &self.parts.plan.hops[*index].id;
            if let Some(row) = hops.iter_mut().find(|row| row.id == *id) {
                row.remote = hop.remote(now);
            }
        }
        Snapshot {
            transports,
            clients: self.slots.len(),
            joined: self.joined,
            ending: self.end.is_some(),
            draining: self.drain_until.is_some(),
            age: now.saturating_since(self.opened_at),
            limit: self.parts.limits.session,
            hops,
            session_latency: self.parts.figures.session_latency(now),
            webrtc: self
                .slots
                .iter()
                .filter_map(|(_, slot)| slot.link.webrtc_stats())
                .reduce(WebrtcStats::with),
            reception: self.reception(),
            shape: shape(&self.parts.plan, self.parts.graph.hop_stats()),
        }
    }
}
