//! What was sent to a worker and may be needed again, in the order in which it was sent.
//!
//! A frame enters when the graph hands it over and leaves when the worker has acknowledged it, unless a replay would have to begin
//! before it: at the place that the worker named (`replay_from`), or at the start of the utterance where whole utterances are replayed.
//! Each port is a lane of its own, so that one that is held for long does not keep the others' frames; positions over all lanes
//! restore the common order.
//!
//! Kept true: frames of a lane are contiguous; what was never sent to anyone is never forgotten; what was forgotten is known
//! ([`Ring::gap`]). Absent: a refusal. Whoever pushes stays within [`Ring::room`], or shrinks the ring afterwards.

use tidegate_media::{Frame, Timestamp};

use super::lane::{Entry, Lane};
use super::tally::Tally;
use crate::exchange::Cause;

/// How much a ring keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Frames over all ports.
    pub frames: usize,
    /// Payload bytes over all ports.
    pub bytes: usize,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self {
            frames: 1_024,
            bytes: 8 << 20,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(super) lanes: Vec<Lane>,
    pub(super) limits: ReplayLimits,
    pub(super) frames: usize,
    pub(super) bytes: usize,
    pub(super) position: u64,
    /// Frames sent on all streams.
    pub(super) order: u64,
    /// The newest position that caused an output.
    pub(super) furthest: u64,
    /// Frames of an utterance stay until it is closed.
    pub(super) whole_utterances: bool,
}

/// What a stream has been sent so far: per port the number of the next frame, and whether its end was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor(Vec<(u64, bool)>);

/// What is to be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The frame of this port under its cursor.
    Frame(usize),
    /// The end of this port.
    End(usize),
}

impl Ring {
    pub(crate) fn new(ports: usize, limits: ReplayLimits) -> Self {
        Self {
            lanes: (0..ports).map(|_| Lane::default()).collect(),
            limits,
            frames: 0,
            bytes: 0,
            position: 0,
            order: 0,
            furthest: 0,
            whole_utterances: false,
        }
    }

    /// From now on frames of an utterance stay until it is closed, or again do not.
    pub(crate) fn keep_whole_utterances(&mut self, keep: bool) {
        self.whole_utterances = keep;
    }

    /// A frame of the graph, numbered by it.
    pub(crate) fn push(&mut self, port: usize, frame: Frame) {
        self.position += 1;
        let position = self.position;
        let Some(lane) = self.lanes.get_mut(port) else {
            return;
        };
        let seq = frame.meta.seq;
        if seq != lane.newest + 1 {
            // The graph counts by one; what went before cannot be numbered together with this.
            let old = std::mem::take(&mut lane.entries);
            self.frames -= old.len();
            self.bytes -= old.iter().map(Entry::size).sum::<usize>();
            lane.skip_to(seq.saturating_sub(1));
        }
        lane.newest = seq;
        self.frames += 1;
        self.bytes += frame.payload.size();
        lane.entries.push_back(Entry {
            position,
            frame,
            sent: Timestamp::ZERO,
            order: 0,
            tally: Tally::default(),
        });
    }

    /// The port has ended after what was pushed.
    pub(crate) fn end(&mut self, port: usize) {
        self.position += 1;
        let position = self.position;
        if let Some(lane) = self.lanes.get_mut(port) {
            lane.ended.get_or_insert(position);
        }
    }

    pub(crate) fn has_ended(&self, port: usize) -> bool {
        self.lanes
            .get(port)
            .is_some_and(|lane| lane.ended.is_some())
    }

    /// Whether every one of these ports has ended.
    pub(crate) fn all_ended(&self, mut ports: impl Iterator<Item = usize>) -> bool {
        ports.all(|port| self.has_ended(port))
    }

    /// The worker has consumed a port up to a number; whether that is news.
    pub(crate) fn acknowledge(&mut self, port: usize, seq: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(port) else {
            return false;
        };
        let seq = seq.min(lane.sent);
        let newer = seq > lane.acked;
        if newer {
            lane.acked = seq;
            lane.answered = lane.answered.max(seq);
            lane.place(seq);
            self.release(port);
        }
        newer
    }

    /// An output was caused by this frame; whether by a newer one than every output before.
    pub(crate) fn caused(&mut self, cause: Cause) -> bool {
        let position = self.position_of(cause).unwrap_or(0);
        let newer = position > self.furthest;
        self.furthest = self.furthest.max(position);
        newer
    }

    /// A worker that does not acknowledge has answered a frame: everything that it was sent before is consumed.
    pub(crate) fn answered(&mut self, cause: Cause) {
        let Some(order) = self.entry(cause.port, cause.seq).map(|entry| entry.order) else {
            return;
        };
        for port in 0..self.lanes.len() {
            let lane = &mut self.lanes[port];
            let seq = if port == cause.port {
                lane.answered = lane.answered.max(cause.seq);
                cause.seq - 1
            } else {
                let sent = |entry: &&Entry| (1..order).contains(&entry.order);
                let older = lane.entries.iter().take_while(sent);
                older.last().map_or(0, |entry| entry.frame.meta.seq)
            };
            self.acknowledge(port, seq);
        }
    }

    /// A replay of a port must begin at this number at the latest.
    pub(crate) fn replay_from(&mut self, port: usize, seq: u64) {
        if let Some(lane) = self.lanes.get_mut(port) {
            // What it was made of is needed until what made it superfluous is consumed.
            lane.coming = Some(seq);
            if seq <= lane.acked {
                lane.place(lane.acked);
            }
            self.release(port);
        }
    }

    /// Nothing that was pushed is needed any more. Gives how many frames the stream with this cursor, or any stream, was not sent.
    pub(crate) fn clear(&mut self, mut cursor: Option<&mut Cursor>) -> u64 {
        let mut unsent = 0;
        for (port, lane) in self.lanes.iter_mut().enumerate() {
            let next = match cursor.as_mut().and_then(|cursor| cursor.0.get_mut(port)) {
                Some((next, _)) => std::mem::replace(next, lane.newest + 1),
                None => lane.sent + 1,
            };
            unsent += (lane.newest + 1).saturating_sub(next.max(lane.first()));
            lane.entries.clear();
            lane.skip_to(lane.newest);
        }
        self.frames = 0;
        self.bytes = 0;
        unsent
    }

    fn release(&mut self, port: usize) {
        let whole = self.whole_utterances;
        let lane = &mut self.lanes[port];
        let mut up_to = lane.acked;
        if lane.from > 0 {
            up_to = up_to.min(lane.from - 1);
        }
        if whole {
            up_to = up_to.min(lane.closed_up_to());
        }
        lane.released = lane.released.max(up_to);
        while lane
            .entries
            .front()
            .is_some_and(|entry| entry.frame.meta.seq <= up_to)
        {
            let Some(entry) = lane.entries.pop_front() else {
                break;
            };
            self.frames -= 1;
            self.bytes -= entry.size();
        }
    }

    /// Frames that are needed for a replay and are no longer there.
    pub(crate) fn gap(&self) -> u64 {
        let missing = |lane: &Lane| (lane.first() - 1).saturating_sub(lane.released);
        self.lanes.iter().map(missing).sum()
    }

    /// What is missing was reported.
    pub(crate) fn gap_reported(&mut self) {
        for lane in &mut self.lanes {
            lane.released = lane.released.max(lane.first() - 1);
            lane.acked = lane.acked.max(lane.released);
        }
    }

    /// Whether a replay would find nothing to send.
    pub(crate) const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.frames
    }

    /// How many frames a new stream will be sent that another one was sent before.
    pub(crate) fn sent(&self) -> u64 {
        let again = |lane: &Lane| (lane.sent + 1).saturating_sub(lane.first());
        self.lanes.iter().map(again).sum()
    }

    /// When the frame was sent, if it is still there.
    pub(crate) fn sent_at(&self, cause: Cause) -> Option<Timestamp> {
        Some(self.entry(cause.port, cause.seq)?.sent)
    }

    /// The oldest frame in the common order, with its port.
    pub(crate) fn oldest(&self) -> Option<(usize, &Frame)> {
        let lanes = self.lanes.iter().enumerate();
        let fronts = lanes.filter_map(|(port, lane)| Some((port, lane.entries.front()?)));
        let oldest = fronts.min_by_key(|(_, entry)| entry.position)?;
        Some((oldest.0, &oldest.1.frame))
    }

    /// Frames and bytes that a port has here.
    pub(crate) fn queued(&self, port: usize) -> (u64, usize) {
        let entries = self.lanes.get(port).map(|lane| &lane.entries);
        entries.map_or((0, 0), |entries| {
            let bytes = entries.iter().map(Entry::size).sum();
            (entries.len() as u64, bytes)
        })
    }

    /// Whether everything that was pushed was acknowledged or answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.lanes.iter().all(|lane| lane.answered >= lane.newest)
    }

    /// Number of the oldest frame kept, or of the next one.
    pub(crate) fn first(&self, port: usize) -> u64 {
        self.lanes.get(port).map_or(1, Lane::first)
    }

    pub(crate) fn newest(&self, port: usize) -> u64 {
        self.lanes.get(port).map_or(0, |lane| lane.newest)
    }

    pub(crate) fn acked(&self, port: usize) -> u64 {
        self.lanes.get(port).map_or(0, |lane| lane.acked)
    }

    /// The frame that the graph gave this number, if it is still there.
    pub(crate) fn get(&self, port: usize, seq: u64) -> Option<&Frame> {
        self.entry(port, seq).map(|entry| &entry.frame)
    }

    fn entry(&self, port: usize, seq: u64) -> Option<&Entry> {
        let lane = self.lanes.get(port)?;
        lane.entries.get(lane.index(seq)?)
    }

    /// The outputs of a frame that is still there, or of the end, which has the number behind the last frame.
    pub(crate) fn tally(&mut self, cause: Cause) -> Option<&mut Tally> {
        let lane = self.lanes.get_mut(cause.port)?;
        if lane.ended_at(cause.seq).is_some() {
            return Some(&mut lane.end_tally);
        }
        let index = lane.index(cause.seq)?;
        lane.entries.get_mut(index).map(|entry| &mut entry.tally)
    }

    /// Place in the common order of a frame that is still there, or of the end.
    fn position_of(&self, cause: Cause) -> Option<u64> {
        let frame = self
            .entry(cause.port, cause.seq)
            .map(|entry| entry.position);
        frame.or_else(|| self.lanes.get(cause.port)?.ended_at(cause.seq))
    }

    /// The least `meta.since` of what was acknowledged and is kept all the same; `None`: nothing is.
    pub(crate) fn holds(&self) -> Option<u64> {
        let kept = self.lanes.iter().filter_map(|lane| {
            let meta = lane.entries.front()?.frame.meta;
            (meta.seq <= lane.acked && meta.since > 0).then_some(meta.since)
        });
        kept.min()
    }

    /// Where a stream that has been sent nothing begins.
    pub(crate) fn start(&self) -> Cursor {
        Cursor(
            self.lanes
                .iter()
                .map(|lane| (lane.first(), false))
                .collect(),
        )
    }

    /// A new stream begins: outputs that were given out count as such from now on.
    pub(crate) fn rewind(&mut self) {
        for lane in &mut self.lanes {
            lane.from_before = true;
            lane.coming = None;
            lane.end_tally.rewind();
            lane.entries.iter_mut().for_each(|entry| entry.rewind());
        }
    }

    /// The next thing for a stream in the common order, of those ports that `can` take a frame.
    pub(crate) fn next(&self, cursor: &Cursor, can: impl Fn(usize) -> bool) -> Option<Next> {
        let lanes = self.lanes.iter().enumerate();
        let next = lanes.filter_map(|(port, lane)| {
            let &(next, end_sent) = cursor.0.get(port)?;
            let at = next.max(lane.first());
            if at <= lane.newest {
                let entry = lane.entries.get(lane.index(at)?)?;
                return can(port).then_some((entry.position, Next::Frame(port)));
            }
            let ended = lane.ended.filter(|_| !end_sent)?;
            Some((ended, Next::End(port)))
        });
        next.min_by_key(|(position, _)| *position)
            .map(|(_, next)| next)
    }

    /// The frame under a port's cursor, which moves on; marked if a stream was sent it before.
    pub(crate) fn take(
        &mut self,
        cursor: &mut Cursor,
        port: usize,
        now: Timestamp,
    ) -> Option<Frame> {
        let lane = self.lanes.get_mut(port)?;
        let next = &mut cursor.0.get_mut(port)?.0;
        let at = (*next).max(lane.first());
        let index = lane.index(at)?;
        let entry = lane.entries.get_mut(index)?;
        *next = at + 1;
        entry.sent = now;
        self.order += 1;
        entry.order = self.order;
        let mut frame = entry.frame.clone();
        frame.meta.replayed |= at <= lane.sent;
        lane.sent = lane.sent.max(at);
        Some(frame)
    }

    /// Whether a stream has still to be sent what another one had been.
    pub(crate) fn is_replaying(&self, cursor: &Cursor) -> bool {
        let lanes = self.lanes.iter().zip(&cursor.0);
        lanes
            .into_iter()
            .any(|(lane, (next, _))| *next <= lane.sent)
    }

    /// Frames and bytes of a port that a stream has not been sent.
    pub(crate) fn unsent(&self, cursor: &Cursor, port: usize) -> (u64, usize) {
        let (Some(lane), Some(&(next, _))) = (self.lanes.get(port), cursor.0.get(port)) else {
            return (0, 0);
        };
        let at = next.max(lane.first());
        if at > lane.newest {
            return (0, 0);
        }
        let skip = lane.index(at).unwrap_or(0);
        let bytes = lane.entries.iter().skip(skip).map(Entry::size).sum();
        (lane.newest + 1 - at, bytes)
    }
}

impl Cursor {
    /// The number of the next frame of a port.
    pub(crate) fn next(&self, port: usize) -> u64 {
        self.0.get(port).map_or(0, |(next, _)| *next)
    }

    pub(crate) fn end_sent(&mut self, port: usize) {
        if let Some((_, sent)) = self.0.get_mut(port) {
            *sent = true;
        }
    }
}
