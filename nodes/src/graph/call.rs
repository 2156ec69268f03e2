//! Calling in-place nodes, and what becomes of what they make.

use tidegate_media::{Frame, Timestamp};

use super::Graph;
use super::io::Stage;
use super::state::{Dest, InPlace, Newest, Port, Work};
use super::stats::HopStats;
use crate::error::{Code, Error};
use crate::node::{Context, Node, NodeError};

impl Graph {
    /// Gives the frame that lies in `effects` to an in-place node. If one frame comes of it that has one way to go, gives that, and
    /// leaves the frame in `effects`.
    #[inline]
    pub(super) fn call_frame(&mut self, now: Timestamp, index: usize, port: usize) -> Option<Dest> {
        let slot = &mut self.nodes[index];
        let stats = &mut self.stats[slot.stat];
        // Looked at before it is moved: what was just written can be read only after a wait.
        let (_, frame) = self.effects.frames.last_mut()?;
        let size = frame.payload.size();
        stats.arrived(size);
        slot.newest = slot.newest.max(Newest {
            ingress: frame.meta.ingress,
            caused_by: frame.meta.caused_by,
            caused_port: frame.meta.caused_port,
        });
        slot.since = slot.hold.begin(frame.meta.since);
        let frame = self.effects.frames.pop()?;
        self.effects.frames.begin(size);
        let before = if stats.sample() {
            Some(self.probe.now())
        } else {
            None
        };
        let mut cx = Context::new(now, &mut self.effects);
        let result = slot.node.on_frame(&mut cx, port, frame);
        if let Some(before) = before {
            let took = self.probe.now().saturating_since(before);
            self.probe.record(now, slot.stat, Stage::Service, took);
        }
        if self.tracking.is_some() {
            slot.hold = slot.node.holds();
        }
        if result.is_ok() && self.is_plain() {
            return self.settle_one(index);
        }
        self.settle(index, result);
        None
    }

    /// Calls an in-place node for another reason than a frame.
    pub(super) fn call(
        &mut self,
        now: Timestamp,
        index: usize,
        work: impl FnOnce(&mut dyn Node, &mut Context<'_>) -> Result<(), NodeError>,
    ) {
        let slot = &mut self.nodes[index];
        slot.since = slot.hold.begin(u64::MAX);
        let timed = self.stats[slot.stat].sample();
        self.effects.frames.begin(0);
        let mut cx = Context::new(now, &mut self.effects);
        let before = if timed { Some(self.probe.now()) } else { None };
        let result = work(slot.node.as_mut(), &mut cx);
        if let Some(before) = before {
            let took = self.probe.now().saturating_since(before);
            self.probe.record(now, slot.stat, Stage::Service, took);
        }
        if self.tracking.is_some() {
            slot.hold = slot.node.holds();
        }
        self.settle(index, result);
    }

    /// The call made one frame and nothing else.
    #[inline]
    fn is_plain(&self) -> bool {
        let effects = &self.effects;
        effects.frames.len() == 1
            && effects.drops.is_empty()
            && effects.timer.is_none()
            && effects.reception.is_none()
            && !effects.ended
            && !effects.frames.exceeded()
    }

    /// The steady path: one frame, in most cases for one edge.
    #[inline]
    fn settle_one(&mut self, index: usize) -> Option<Dest> {
        let slot = &self.nodes[index];
        let (port, frame) = self.effects.frames.last_mut()?;
        if port < slot.port_count {
            let port = slot.ports + port;
            let (stats, port) = (&mut self.stats[slot.stat], &mut self.ports[port]);
            if let ([to], None) = (&port.dests[..], port.interrupts) {
                let to = *to;
                stamp(slot, stats, port, frame);
                return Some(to);
            }
        }
        self.settle(index, Ok(()));
        None
    }

    /// Carries out whatever a call brought forth.
    fn settle(&mut self, index: usize, result: Result<(), NodeError>) {
        let stat = self.nodes[index].stat;
        let result = self.effects.outcome(result);
        for (reason, frames) in self.effects.drops.drain(..) {
            self.stats[stat].drop_frames(reason, frames);
        }
        if let Some(timer) = self.effects.timer.take() {
            self.timers[index] = timer.unwrap_or(Timestamp::MAX);
        }
        if let Some(reception) = self.effects.reception.take() {
            self.stats[stat].reception = Some(reception);
        }
        if std::mem::take(&mut self.effects.ended) && self.nodes[index].is_generating() {
            // Below the frames of this call, so that it comes after them.
            self.end_node(index);
        }
        let mut frames = std::mem::take(&mut self.effects.frames);
        let top = self.work.len();
        for (port, mut frame) in frames.drain() {
            let slot = &self.nodes[index];
            if port >= slot.port_count {
                self.no_such_port(index, port);
                break;
            }
            let number = slot.ports + port;
            let (stats, port) = (&mut self.stats[stat], &mut self.ports[number]);
            stamp(slot, stats, port, &mut frame);
            self.route_later(number, frame);
        }
        let top = top.min(self.work.len());
        self.work[top..].reverse();
        self.effects.frames = frames;
        if let Err(error) = result {
            let id = self.stats[stat].id.to_string();
            self.fail(Error::new(Code::NodeFailed, error.message).at_hop(id));
        }
    }

    /// As [`Graph::route`], in the order in which it is to be done: the caller turns the pushed part of the stack around.
    pub(super) fn route_later(&mut self, port: usize, frame: Frame) {
        let port = &self.ports[port];
        let top = self.work.len();
        if let Some((last, rest)) = port.dests.split_last() {
            for &to in rest {
                let frame = frame.clone();
                self.work.push(Work::Frame { to, frame });
            }
            self.work.push(Work::Frame { to: *last, frame });
        }
        if let Some(told) = port.interrupts {
            self.work.insert(top + told, Work::Interrupt);
        }
    }

    #[cold]
    fn no_such_port(&mut self, index: usize, port: usize) {
        let id = self.stats[self.nodes[index].stat].id.to_string();
        let text = format!("the node sent a frame out of port {port}, which it does not have");
        self.fail(Error::new(Code::Internal, text).at_hop(id));
    }
}

/// Numbers and counts a frame that a node made. What already stands in it is not written again: the next move reads it in one
/// piece, and would have to wait for the stores.
#[inline]
fn stamp(slot: &InPlace, stats: &mut HopStats, port: &mut Port, frame: &mut Frame) {
    let newest = slot.newest;
    port.seq += 1;
    let meta = &mut frame.meta;
    if meta.seq != port.seq {
        meta.seq = port.seq;
    }
    if meta.ingress != newest.ingress {
        meta.ingress = newest.ingress;
    }
    if meta.caused_by != newest.caused_by {
        meta.caused_by = newest.caused_by;
    }
    if meta.caused_port != newest.caused_port {
        meta.caused_port = newest.caused_port;
    }
    if meta.since != slot.since {
        meta.since = slot.since;
    }
    stats.left(frame.payload.size());
}
