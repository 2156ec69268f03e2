//! A client's place in a running session: its link, its ports, and what it may still send and take.

use metrics::Gauge;
use tidegate_media::Timestamp;
use tidegate_nodes::graph::{Consumed, EgressId};

use super::link::{Features, Link, LinkMessage, WebrtcStats};

/// Credit that an input gets at first and is filled up to (feature `credits`). Bytes: a 1 MiB tensor in flight while the
/// next is on its way, sixteen times over.
pub(super) const INPUT_FRAMES: u32 = 64;
pub(super) const INPUT_BYTES: u64 = 16 << 20;

/// A client's place.
pub(super) struct Slot {
    pub(super) link: Box<dyn Link>,
    pub(super) features: Features,
    pub(super) inputs: Vec<SlotInput>,
    pub(super) outputs: Vec<SlotOutput>,
    /// When the client was last heard of.
    pub(super) last_seen: Timestamp,
    /// When it last took something while something waited for it.
    pub(super) last_progress: Timestamp,
    pub(super) stats_at: Timestamp,
    pub(super) reported: WebrtcStats,
    /// It has been told `ended`; only flushing is left.
    pub(super) closing: bool,
    /// Counts it in `tidegate_sessions_active` for as long as it is there.
    pub(super) _active: Active,
}

/// Counts one up for as long as it lives, whatever ends it.
pub(super) struct Active(Gauge);

impl Active {
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// An input that the client feeds.
pub(super) struct SlotInput {
    pub(super) input: usize,
    pub(super) ended: bool,
    /// What the client may still send (feature `credits`).
    pub(super) frames: u32,
    pub(super) bytes: u64,
    /// Newest number taken from the client.
    pub(super) seq: u64,
    /// Newest number acknowledged.
    pub(super) acknowledged: u64,
    /// Where the client believes that a replay must begin, if that is not right behind what was acknowledged.
    pub(super) replay_from: Option<u64>,
}

/// An output that the client hears.
pub(super) struct SlotOutput {
    pub(super) output: usize,
    pub(super) egress: EgressId,
    pub(super) ended: bool,
    /// Frames that the graph may still give out.
    pub(super) granted: u32,
    /// What the client's own credit leaves, if it uses that feature.
    pub(super) client_frames: Option<u32>,
}

impl SlotInput {
    /// An input that a client begins to feed.
    pub(super) const fn new(input: usize) -> Self {
        Self {
            input,
            ended: false,
            frames: INPUT_FRAMES,
            bytes: INPUT_BYTES,
            seq: 0,
            acknowledged: 0,
            replay_from: None,
        }
    }

    /// Whether its client is to be given new credit: it has used half of it.
    pub(super) const fn is_low(&self) -> bool {
        !self.ended && (self.frames <= INPUT_FRAMES / 2 || self.bytes <= INPUT_BYTES / 2)
    }
}

impl Slot {
    /// The place of an input of this client.
    pub(super) fn input(&mut self, input: usize) -> Option<&mut SlotInput> {
        self.inputs.iter_mut().find(|slot| slot.input == input)
    }

    /// How much more each output may get from the graph now: its share of what the link takes, less what was granted before and
    /// has not come.
    pub(super) fn grants(&mut self) -> impl Iterator<Item = (EgressId, u32)> {
        let window = self.link.window();
        let open = || self.outputs.iter().filter(|output| !output.ended);
        let count = u32::try_from(open().count()).unwrap_or(u32::MAX).max(1);
        let granted = open().map(|output| output.granted).sum();
        let mut left = window.saturating_sub(granted);
        let share = window / count;
        if share == 0 && window > 0 {
            // Less than there are outputs: each may have one all the same, or the silent ones would keep it from the others.
            left = count;
        }
        self.outputs
            .iter_mut()
            .filter(|output| !output.ended)
            .filter_map(move |output| {
                let wanted = share.max(1).min(output.client_frames.unwrap_or(u32::MAX));
                let more = wanted.saturating_sub(output.granted).min(left);
                left -= more;
                output.granted += more;
                (more > 0).then_some((output.egress, more))
            })
    }

    /// Tells the client how far an input is consumed, if that is news. A client that does not read is told later: what it is told
    /// is counted by what its link takes.
    pub(super) fn acknowledge(&mut self, now: Timestamp, at: usize, consumed: Consumed) {
        if self.link.window() == 0 {
            return;
        }
        let slot = &mut self.inputs[at];
        let input = slot.input;
        // The numbers of a client that was here before are none of its own.
        let seq = consumed.acknowledged.min(slot.seq).max(slot.acknowledged);
        // What it was allowed to forget is not asked for again.
        let kept = slot.replay_from.unwrap_or(slot.acknowledged + 1);
        let from = consumed.replay_from.max(kept).min(seq + 1);
        let held = (from <= seq).then_some(from);
        if self.features.acks && held != slot.replay_from {
            // Before the acknowledgement, which would have the frames forgotten.
            slot.replay_from = held;
            self.link
                .send(now, LinkMessage::ReplayFrom { input, seq: from });
        }
        if seq > slot.acknowledged {
            slot.acknowledged = seq;
            self.link.send(now, LinkMessage::Ack { input, seq });
        }
    }

    /// Fills the client's credit of an input up.
    pub(super) fn refill(&mut self, now: Timestamp, at: usize) {
        let slot = &mut self.inputs[at];
        let input = slot.input;
        let (frames, bytes) = (INPUT_FRAMES - slot.frames, INPUT_BYTES - slot.bytes);
        slot.frames = INPUT_FRAMES;
        slot.bytes = INPUT_BYTES;
        self.link.send(
            now,
            LinkMessage::Credit {
                input,
                frames,
                bytes,
            },
        );
    }
}
