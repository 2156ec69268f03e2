//! What the graph gives out goes to clients and hops; what clients take is told to the graph.

use std::task::{Context, Poll};

use tidegate_media::Timestamp;
use tidegate_nodes::graph::{Input, Output};
use tidegate_nodes::{Code, DropReason, Error};

use super::Driver;
use crate::metrics::{label, seconds};
use crate::session::control::End;
use crate::session::link::{Features, LinkMessage};
use crate::session::network::{DATAGRAM_REASONS, FRAME_REASONS};
use tidegate_nodes::node::Reception;

/// Outputs handled in one round; the graph keeps the rest.
const BURST: usize = 256;

impl Driver {
    /// Carries the graph's outputs to where they belong.
    pub(super) fn dispatch(&mut self, now: Timestamp) -> bool {
        self.grant(now);
        let mut progress = false;
        let mut polled = false;
        for _ in 0..BURST {
            let Some(output) = self.parts.graph.poll_output() else {
                polled = true;
                break;
            };
            progress = true;
            match output {
                Output::Frame { egress, mut frame } => {
                    let Some((slot, at)) = self.listener(egress) else {
                        // It was on its way when its client left.
                        self.lost(1);
                        continue;
                    };
                    let slot = &mut self.slots[slot];
                    let port = &mut slot.outputs[at];
                    port.granted = port.granted.saturating_sub(1);
                    port.interrupted = false;
                    if let Some(left) = &mut port.client_frames {
                        *left = left.saturating_sub(1);
                    }
                    let output = port.output;
                    let ingress = frame.meta.ingress;
                    if ingress > Timestamp::ZERO && !frame.meta.replayed {
                        // What was done for it since `now` counts.
                        let left = self.parts.clock.now();
                        let latency = left.saturating_since(ingress);
                        frame.meta.service = Some(latency);
                        self.parts.figures.departed(left, egress, latency);
                        if let Some(traced) = &mut self.traced {
                            traced.departed(left, output, &frame.meta);
                        }
                    }
                    slot.last_progress = now;
                    slot.link.send(now, LinkMessage::Frame { output, frame });
                }
                Output::Ended { egress } => {
                    let Some((slot, at)) = self.listener(egress) else {
                        continue;
                    };
                    let slot = &mut self.slots[slot];
                    slot.outputs[at].ended = true;
                    let output = slot.outputs[at].output;
                    slot.link.send(now, LinkMessage::OutputEnded { output });
                }
                Output::Interrupted { egress } => {
                    let Some((slot, at)) = self.listener(egress) else {
                        continue;
                    };
                    self.slots[slot].interrupted(now, at);
                }
                Output::Hop { hop, command } => {
                    if let Some(traced) = &mut self.traced {
                        traced.commanded(now, hop, &command);
                    }
                    if let Some((_, target)) = self.parts.hops.iter_mut().find(|(i, _)| *i == hop) {
                        target.send(now, command);
                    }
                }
                Output::KeyFrameWanted { input } => self.key_frame_wanted(now, Some(input)),
                Output::Failed(error) => self.finish(now, End::Failed(error)),
                Output::Finished => self.finish(now, End::Finished),
            }
        }
        self.answer_inputs(now, polled);
        progress
    }

    /// Counts frames that had left the graph for a client that is gone.
    pub(super) fn lost(&self, frames: u64) {
        if frames > 0 {
            let labels = vec![label("reason", DropReason::Detached.as_str())];
            let dropped = "tidegate_frames_dropped_total";
            self.parts
                .metrics
                .counter(dropped, labels)
                .increment(frames);
        }
    }

    fn listener(&self, egress: tidegate_nodes::graph::EgressId) -> Option<(usize, usize)> {
        let (_, slot) = self.egresses.iter().find(|(id, _)| *id == egress)?;
        let outputs = &self.slots.get(*slot)?.outputs;
        Some((
            *slot,
            outputs.iter().position(|port| port.egress == egress)?,
        ))
    }

    /// Tells the graph what the clients' links take.
    fn grant(&mut self, now: Timestamp) {
        let graph = &mut self.parts.graph;
        for (_, slot) in self.slots.iter_mut().filter(|(_, slot)| !slot.closing) {
            if slot.link.window() == u32::MAX {
                continue;
            }
            for (egress, frames) in slot.grants() {
                graph.handle_input(now, Input::EgressCredit { egress, frames });
            }
        }
    }

    /// Tells clients how far their inputs are consumed, at most once a round each, and gives those that use credits new ones for
    /// inputs that have room. `polled`: the graph has given out all that it had, so that what is consumed has been sent.
    pub(super) fn answer_inputs(&mut self, now: Timestamp, polled: bool) {
        let graph = &mut self.parts.graph;
        for (_, slot) in &mut self.slots {
            let Features { acks, credits, .. } = slot.features;
            if !(acks || credits) || slot.closing {
                continue;
            }
            for at in 0..slot.inputs.len() {
                let port = &slot.inputs[at];
                let (input, unacknowledged) = (port.input, port.acknowledged < port.seq);
                let low = credits && port.is_low() && graph.input_ready(input);
                // Who does not ask to be told each time is told along with new credit.
                if polled
                    && (low || acks && (unacknowledged || port.replay_from.is_some()))
                    && let Some(consumed) = graph.consumed(input)
                {
                    slot.acknowledge(now, at, consumed);
                }
                if low {
                    slot.refill(now, at);
                }
            }
        }
    }

    /// Moves what was sent towards the network, and lets go of clients that have taken their last message. True if a link that
    /// had no room has some now: the graph holds what it has for it until it is told, and nothing else would wake the session.
    pub(super) fn flush_links(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut room = false;
        for key in 0..self.slots.capacity() {
            let Some(slot) = self.slots.get_mut(key) else {
                continue;
            };
            let starved = slot
                .outputs
                .iter()
                .any(|port| !port.ended && port.granted == 0);
            let window = slot.link.window();
            let flushed = slot.poll_flush(cx, now, self.parts.limits.stalled);
            // Acknowledgements wait for room as well.
            let waits = (starved || window == 0) && !slot.closing;
            room |= waits && slot.link.window() > window;
            match flushed {
                Poll::Ready(Some(still)) => {
                    let text = format!("the client took nothing for {} s", still.as_secs());
                    self.reject(now, key, Error::new(Code::SessionExpired, text));
                    // It will not take its last words either.
                    self.leave(now, key);
                }
                Poll::Ready(None) if slot.closing => self.leave(now, key),
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        room
    }

    /// What the session's jitter buffers say, added up.
    pub(super) fn reception(&self) -> Option<Reception> {
        let count = self.parts.graph.hop_stats().len();
        (0..count)
            .filter_map(|hop| self.parts.graph.reception(hop))
            .reduce(|a, b| Reception {
                delay: a.delay.max(b.delay),
                concealed_samples: a.concealed_samples + b.concealed_samples,
                lost: a.lost + b.lost,
                late: a.late + b.late,
            })
    }

    /// Brings `tidegate_webrtc_*` up to date.
    pub(super) fn report_webrtc(&mut self) {
        self.report_reception();
        let metrics = &self.parts.metrics;
        let pipeline = || vec![label("pipeline", self.parts.figures.pipeline().to_owned())];
        for (_, slot) in &mut self.slots {
            let Some(stats) = slot.link.webrtc_stats() else {
                continue;
            };
            let more = slot.reported.advance(stats);
            let packets = [
                (
                    "tidegate_webrtc_packets_received_total",
                    more.packets_received,
                ),
                ("tidegate_webrtc_packets_lost_total", more.packets_lost),
                ("tidegate_webrtc_packets_late_total", more.packets_late),
            ];
            for (name, count) in packets {
                metrics.counter(name, pipeline()).increment(count);
            }
            let frames = FRAME_REASONS.into_iter().zip(more.frames);
            let frames = frames.map(|why| ("tidegate_frames_dropped_total", why));
            let datagrams = DATAGRAM_REASONS.into_iter().zip(more.datagrams);
            let datagrams = datagrams.map(|why| ("tidegate_udp_dropped_datagrams_total", why));
            for (name, (reason, count)) in frames.chain(datagrams).filter(|(_, why)| why.1 > 0) {
                let labels = vec![label("reason", reason)];
                metrics.counter(name, labels).increment(count);
            }
            let jitter = metrics.histogram("tidegate_webrtc_jitter_seconds", pipeline());
            jitter.record(seconds(stats.jitter));
            if let Some(round_trip) = stats.round_trip {
                let histogram = metrics.histogram("tidegate_webrtc_round_trip_seconds", pipeline());
                histogram.record(seconds(round_trip));
            }
        }
    }

    /// What the jitter buffers have done since the last time.
    fn report_reception(&mut self) {
        let Some(now) = self.reception() else {
            return;
        };
        let old = std::mem::replace(&mut self.reported, now);
        let metrics = &self.parts.metrics;
        let pipeline = || vec![label("pipeline", self.parts.figures.pipeline().to_owned())];
        let counters = [
            (
                "tidegate_webrtc_packets_late_total",
                now.late.saturating_sub(old.late),
            ),
            (
                "tidegate_webrtc_concealed_samples_total",
                now.concealed_samples.saturating_sub(old.concealed_samples),
            ),
        ];
        for (name, more) in counters {
            metrics.counter(name, pipeline()).increment(more);
        }
        let held = metrics.histogram("tidegate_webrtc_jitter_buffer_seconds", pipeline());
        held.record(seconds(now.delay));
    }
}
