//! A client's place in a running session: its link, its ports, and what it may still send and take.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use metrics::Gauge;
use tidegate_media::Timestamp;
use tidegate_nodes::graph::{Consumed, EgressId};

use super::link::{Features, Link, LinkMessage};
use super::network::WebrtcStats;

/// Credit that an input gets at first and is filled up to (feature `credits`). Bytes: a 1 MiB tensor in flight while the
/// next is on its way, sixteen times over.
pub(super) const INPUT_FRAMES: u32 = 64;
pub(super) const INPUT_BYTES: u64 = 16 << 20;
/// How long a client may take nothing of its last words when the gateway cannot wait for it.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// A client's place.
pub(super) struct Slot {
    pub(super) link: Box<dyn Link>,
    pub(super) features: Features,
    pub(super) inputs: Vec<SlotInput>,
    pub(super) outputs: Vec<SlotOutput>,
    /// When the client was last heard of.
    pub(super) last_seen: Timestamp,
    /// When it last took something, or nothing waited for it.
    pub(super) last_progress: Timestamp,
    /// How much it has taken, as its link says.
    pub(super) taken: u64,
    /// Something waits for it.
    pub(super) blocked: bool,
    pub(super) stats_at: Timestamp,
    pub(super) reported: WebrtcStats,
    /// It has been told `ended`; only flushing is left.
    pub(super) closing: bool,
    /// There is no time for it to take more than its last words.
    pub(super) hurried: bool,
    /// Counts its session in `tidegate_sessions_active` for as long as a client of its transport is there.
    pub(super) active: Arc<Active>,
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
    /// It was told of an interrupt, and has got no frame since.
    pub(super) interrupted: bool,
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

impl SlotOutput {
    /// An output that a client begins to hear.
    pub(super) const fn new(output: usize, egress: EgressId, client_frames: Option<u32>) -> Self {
        Self {
            output,
            egress,
            ended: false,
            granted: 0,
            client_frames,
            interrupted: false,
        }
    }
}

impl Slot {
    /// The place of a client that has come, without ports yet.
    pub(super) fn new(now: Timestamp, link: Box<dyn Link>, active: Arc<Active>) -> Self {
        Self {
            features: link.wishes().features(),
            link,
            inputs: Vec::new(),
            outputs: Vec::new(),
            last_seen: now,
            last_progress: now,
            taken: 0,
            blocked: false,
            stats_at: now,
            reported: WebrtcStats::default(),
            closing: false,
            hurried: false,
            active,
        }
    }

    /// How long it may take nothing while something waits for it.
    pub(super) fn patience(&self, stalled: Duration) -> Duration {
        if self.hurried {
            stalled.min(LAST_WORDS)
        } else {
            stalled
        }
    }

    /// When it is left if it takes nothing more, or its link has something to do on its way out; `None` while nothing waits.
    pub(super) fn leaves_at(&self, now: Timestamp, stalled: Duration) -> Option<Timestamp> {
        let stall = self.blocked || self.closing;
        let stall = stall.then(|| self.last_progress + self.patience(stalled));
        // A link that is on its way out does only what flushing does: what else was due stays so.
        let link = self.link.timeout().filter(|at| self.closing && *at > now);
        [stall, link].into_iter().flatten().min()
    }

    /// Moves what was sent towards the network. Ready as [`Link::poll_flush`], or if the client is to be left because it took nothing
    /// for too long: then with that time.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
        stalled: Duration,
    ) -> Poll<Option<Duration>> {
        let flushed = self.link.poll_flush(cx, now);
        let taken = self.link.taken();
        if flushed.is_ready() || taken != self.taken {
            self.last_progress = now;
        }
        self.taken = taken;
        self.blocked = flushed.is_pending();
        let still = now.saturating_since(self.last_progress);
        match flushed {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending if still >= self.patience(stalled) => Poll::Ready(Some(still)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The place of an input of this client.
    pub(super) fn input(&mut self, input: usize) -> Option<&mut SlotInput> {
        self.inputs.iter_mut().find(|slot| slot.input == input)
    }

    /// Tells the client that an output was interrupted. One that takes nothing, and was told so and got no frame since, is not told
    /// again: a client that interrupts without end and never reads would fill the gateway's memory.
    pub(super) fn interrupted(&mut self, now: Timestamp, at: usize) {
        let port = &mut self.outputs[at];
        if port.interrupted && self.link.window() == 0 {
            return;
        }
        port.interrupted = true;
        let output = port.output;
        self.link.send(now, LinkMessage::Interrupted { output });
    }

    /// How much more each output may get from the graph now: its share of what the link takes, less what was granted before and
    /// has not come. What another output was granted and does not use is not kept for it: a link that tells of room only once it has
    /// much would leave the one that has something to send waiting for ever.
    pub(super) fn grants(&mut self) -> impl Iterator<Item = (EgressId, u32)> {
        let window = self.link.window();
        let open = self.outputs.iter().filter(|output| !output.ended).count();
        let share = window / u32::try_from(open).unwrap_or(u32::MAX).max(1);
        // Less than there are outputs: each may have one all the same, or the silent ones would keep it from the others.
        let share = share.max(u32::from(window > 0));
        self.outputs
            .iter_mut()
            .filter(|output| !output.ended)
            .filter_map(move |output| {
                let wanted = share.min(output.client_frames.unwrap_or(u32::MAX));
                let more = wanted.saturating_sub(output.granted);
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

#[cfg(test)]
mod tests {
    use tidegate_proto::message::{Mode, Open, Source};

    use super::*;
    use crate::links::native::Native;
    use crate::session::link::{LinkEvent, Transport, Wishes};

    /// A link that takes so many frames.
    struct Takes(u32, Native);

    impl Link for Takes {
        fn transport(&self) -> Transport {
            Transport::Grpc
        }
        fn wishes(&self) -> &dyn Wishes {
            &self.1
        }
        fn poll_event(&mut self, _: &mut Context<'_>, _: Timestamp, _: bool) -> Poll<LinkEvent> {
            Poll::Pending
        }
        fn send(&mut self, _: Timestamp, _: LinkMessage) {
            self.0 -= 1;
        }
        fn window(&self) -> u32 {
            self.0
        }
        fn poll_flush(&mut self, _: &mut Context<'_>, _: Timestamp) -> Poll<()> {
            Poll::Ready(())
        }
        fn taken(&self) -> u64 {
            0
        }
        fn unsent(&self) -> u64 {
            0
        }
    }

    fn slot(window: u32, outputs: usize) -> Slot {
        let open = Open {
            source: Source::Pipeline("p".to_owned()),
            mode: Mode::Waits,
            ..Open::default()
        };
        let link = Box::new(Takes(window, Native::new(open)));
        let mut slot = Slot::new(Timestamp::ZERO, link, Arc::new(Active::new(Gauge::noop())));
        let output = |output| SlotOutput::new(output, EgressId::default(), None);
        slot.outputs = (0..outputs).map(output).collect();
        slot
    }

    /// Uses up what the first output was granted.
    fn speak(slot: &mut Slot) -> u32 {
        let frames = std::mem::take(&mut slot.outputs[0].granted);
        for _ in 0..frames {
            slot.link
                .send(Timestamp::ZERO, LinkMessage::OutputEnded { output: 0 });
        }
        frames
    }

    #[test]
    fn while_the_link_has_room_an_output_gets_some_of_it_whatever_silent_ones_were_granted() {
        for outputs in [1, 2, 3, 16, 40] {
            let mut slot = slot(16, outputs);
            while slot.link.window() > 0 {
                assert!(slot.grants().count() <= outputs);
                assert!(speak(&mut slot) > 0, "{outputs} outputs");
            }
            assert_eq!(slot.grants().count(), 0, "no room, no grants");
            // The silent ones may still use what they have: no more than the link takes once more.
            let held: u32 = slot.outputs.iter().map(|output| output.granted).sum();
            assert!(
                held <= 16.max(u32::try_from(outputs).unwrap_or(0)),
                "{held}"
            );
        }
    }

    #[test]
    fn a_client_that_reads_nothing_is_told_of_an_interrupt_once() {
        let mut slot = slot(2, 1);
        slot.interrupted(Timestamp::ZERO, 0);
        slot.interrupted(Timestamp::ZERO, 0);
        assert_eq!(slot.link.window(), 0, "while it reads, each is told");
        // A third would underflow.
        slot.interrupted(Timestamp::ZERO, 0);
    }
}
