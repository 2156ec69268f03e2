//! How frames move within one call: a stack of what remains to be done, emptied before the call returns.
//!
//! The frame just made goes on at once where there is one way to go; everything else is pushed in reverse order, so that the
//! first edge's whole subtree is done before the second edge's.

use tidegate_media::{Codec, Frame, Payload, Timestamp};

use super::state::{Dest, Work};
use super::{Graph, State};
use crate::hop::port_number;
use crate::node::DropReason;
use crate::stream::StreamFormat;

impl Graph {
    /// A client's frame.
    pub(super) fn accept(&mut self, now: Timestamp, input: usize, mut frame: Frame) {
        let Some(ingress) = self.inputs.get_mut(input) else {
            return;
        };
        let stats = &mut self.stats[ingress.stat];
        let size = frame.payload.size();
        stats.arrived(size);
        if ingress.ended || self.state != State::Running {
            stats.drop_frames(DropReason::HopEnded, 1);
            return;
        }
        let format = ingress.client.unwrap_or(self.plan.inputs[input].format);
        if !matches(&format, &frame.payload) {
            stats.drop_frames(DropReason::Undecodable, 1);
            return;
        }
        if frame.meta.seq == 0 {
            frame.meta.seq = ingress.seq + 1;
        }
        ingress.seq = ingress.seq.max(frame.meta.seq);
        frame.meta.caused_by = frame.meta.seq;
        frame.meta.caused_port = port_number(input);
        frame.meta.since = match &mut self.tracking {
            Some(tracking) => {
                let place = tracking.arrived(frame.meta.caused_port, frame.meta.seq);
                ingress.arrivals.note(place, frame.meta.seq);
                place
            }
            None => 0,
        };
        if frame.meta.ingress == Timestamp::ZERO {
            frame.meta.ingress = now;
        }
        ingress.heard = frame.meta.ingress;
        let port = &self.ports[input];
        let to = match (ingress.chain.first(), &port.dests[..]) {
            (Some(&node), _) => Some(Dest::Node { node, port: 0 }),
            (None, [to]) if port.interrupts.is_none() => Some(*to),
            _ => None,
        };
        if to.is_none() && port.is_loose() {
            stats.drop_frames(DropReason::NoListener, 1);
            return;
        }
        stats.left(size);
        match to {
            Some(to) => self.follow(now, to, frame),
            None => self.route(input, frame),
        }
    }

    /// Empties the stack.
    pub(super) fn run(&mut self, now: Timestamp) {
        while let Some(work) = self.work.pop() {
            match work {
                Work::Frame { to, frame } => self.follow(now, to, frame),
                Work::End { to } => self.deliver_end(now, to),
                Work::Interrupt => self.interrupt(now),
            }
        }
    }

    /// Brings a frame to a place, and on from there as long as one frame comes of it that has one way to go. Between two nodes that
    /// frame stays in `effects`, where the node put it, since moving frames costs more than all else here.
    fn follow(&mut self, now: Timestamp, to: Dest, frame: Frame) {
        let to = self.only_listener(to);
        let Dest::Node { .. } = to else {
            self.deliver(now, to, frame);
            return;
        };
        self.effects.frames.push(0, frame);
        let mut next = Some(to);
        while let Some(to) = next {
            next = match self.only_listener(to) {
                Dest::Node { node, port } => self.call_frame(now, node, port),
                to => {
                    if let Some(frame) = self.effects.frames.pop() {
                        self.deliver(now, to, frame);
                    }
                    None
                }
            };
        }
    }

    /// An output with one listener is a way to that one.
    #[inline]
    fn only_listener(&self, to: Dest) -> Dest {
        match to {
            Dest::Output(output) => match self.outlets[output].listeners[..] {
                [listener] => listener,
                _ => to,
            },
            to => to,
        }
    }

    /// Brings a frame to a place that is no node.
    fn deliver(&mut self, now: Timestamp, to: Dest, frame: Frame) {
        match to {
            Dest::Hop { hop, port } => self.offer_hop(now, hop, port, frame),
            Dest::Egress(egress) => self.offer_egress(now, egress, frame),
            Dest::Output(output) => self.reach_output(output, frame),
            Dest::Node { .. } => self.work.push(Work::Frame { to, frame }),
        }
    }

    /// Pushes a frame for everything that a port is joined to, first edge on top, and the interrupt that it stands for: above all but
    /// the outputs that say why. A frame of a port that is joined to nothing ends here: the manifest asks for no more, so it is no loss.
    pub(super) fn route(&mut self, port: usize, frame: Frame) {
        let top = self.work.len();
        self.route_later(port, frame);
        self.work[top..].reverse();
    }

    /// Pushes a frame for every listener of an output, the first on top.
    fn reach_output(&mut self, output: usize, frame: Frame) {
        let outlet = &self.outlets[output];
        let Some((first, rest)) = outlet.listeners.split_first() else {
            let stats = &mut self.stats[outlet.stat];
            stats.arrived(frame.payload.size());
            stats.drop_frames(DropReason::NoListener, 1);
            return;
        };
        for &to in rest.iter().rev() {
            let frame = frame.clone();
            self.work.push(Work::Frame { to, frame });
        }
        self.work.push(Work::Frame { to: *first, frame });
    }
}

/// Whether a client's frame is of the format that it said it would send. Opus packets say themselves how many channels they have.
pub(super) fn matches(format: &StreamFormat, payload: &Payload) -> bool {
    match (format, payload) {
        (StreamFormat::Audio { format, packets }, Payload::Audio(audio)) => {
            audio.format.codec == format.codec
                && (audio.format == *format || format.codec == Codec::Opus)
                && (*packets || audio.rtp.is_none())
        }
        (StreamFormat::Video(format), Payload::Video(video)) => video.format == *format,
        (StreamFormat::Audio { .. } | StreamFormat::Video(_), _) => false,
        (format, payload) => format.kind() == payload.kind(),
    }
}
