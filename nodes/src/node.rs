//! The node trait: something that takes frames and makes frames.
//!
//! A node is called in place by the graph. It keeps its own state, reads no clock, blocks on nothing, and says what it makes
//! through its [`Context`]. A node that computes for more than 1 ms a frame is declared [`Placement::Offload`] and called the
//! same way on a thread.
//!
//! [`Placement::Offload`]: crate::plan::Placement::Offload

use smallvec::SmallVec;
use tidegate_media::{Frame, Timestamp};

use crate::emitted::Emitted;

/// Takes frames on its input ports and makes frames on its output ports.
///
/// Ports are numbered in the order in which its type declares them. A node never sees a frame that its port does not accept.
pub trait Node: Send {
    /// A frame arrived on an input port.
    ///
    /// # Errors
    /// Any error ends the session with `node_failed`. A single bad frame is better counted with [`Context::drop_frame`].
    fn on_frame(
        &mut self,
        cx: &mut Context<'_>,
        port: usize,
        frame: Frame,
    ) -> Result<(), NodeError>;

    /// The instant that was set by [`Context::set_timer`] has come. A node without joined inputs is also called once at the
    /// start: a generator begins there.
    ///
    /// # Errors
    /// As for [`Node::on_frame`].
    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        let _ = cx;
        Ok(())
    }

    /// No more frames will come on this input port; what is held back for it is to be emitted now. After the last port has
    /// ended the graph ends the node's outputs.
    ///
    /// # Errors
    /// As for [`Node::on_frame`].
    fn on_end(&mut self, cx: &mut Context<'_>, port: usize) -> Result<(), NodeError> {
        let _ = (cx, port);
        Ok(())
    }

    /// From where on it would have to be fed again so that a new node of this kind makes what this one will make, and before that at
    /// most what this one has made already. Asked after each call while somebody wants to know what may be forgotten.
    fn holds(&self) -> Hold {
        Hold::Nothing
    }

    /// The listener was interrupted and the manifest names this node: forget what was begun, emit nothing of it.
    fn on_interrupt(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }
}

/// What a node's state needs of its input, by `meta.since`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Whatever comes next is enough; also for a state that reaches so far back that no replay would restore it.
    #[default]
    Nothing,
    /// The frames from this place on: the least of those that the state was made of.
    From(u64),
    /// Nothing now, but it counts its frames: a replay that begins at or before `seen`, the newest place that it was fed from, must begin
    /// at `from`, so that the count comes out the same.
    Counts {
        /// Where it began to count.
        from: u64,
        /// The newest place that it was fed from.
        seen: u64,
    },
}

impl Hold {
    /// Where a replay begins that is to begin no later than at `place`.
    #[must_use]
    pub fn begin(self, place: u64) -> u64 {
        match self {
            Self::Counts { seen, .. } if place > seen => place,
            Self::Nothing => place,
            Self::From(from) | Self::Counts { from, .. } => place.min(from),
        }
    }
}

impl From<Option<u64>> for Hold {
    fn from(place: Option<u64>) -> Self {
        place.map_or(Self::Nothing, Self::From)
    }
}

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NodeError {
    /// What and how to mend it: lower case, no full stop.
    pub message: String,
}

impl NodeError {
    /// An error with this text.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// Why a frame did not go on; the `reason` label of `tidegate_hop_dropped_frames_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// The queue was full and sheds.
    QueueFull,
    /// It waited longer than the queue's age limit.
    Age,
    /// Its deadline passed.
    Deadline,
    /// An interrupt flushed it.
    Interrupted,
    /// No client listens to the output, or the input leads nowhere. What a node makes on a port that the manifest joins to
    /// nothing is not dropped: nobody asked for it.
    NoListener,
    /// It came after its place had been played.
    Late,
    /// It came twice.
    Duplicate,
    /// It could not be decoded.
    Undecodable,
    /// A node's condition says that it does not pass.
    Condition,
    /// The hop had failed or ended.
    HopEnded,
    /// The client that was to receive it is gone.
    Detached,
    /// A video frame that needs a key frame that was shed.
    AwaitingKeyFrame,
    /// It was to be sent to another worker after a failover and was no longer kept.
    Gap,
    /// It starts before what was already emitted, or too far ahead.
    OutOfWindow,
}

impl DropReason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 14] = [
        Self::QueueFull,
        Self::Age,
        Self::Deadline,
        Self::Interrupted,
        Self::NoListener,
        Self::Late,
        Self::Duplicate,
        Self::Undecodable,
        Self::Condition,
        Self::HopEnded,
        Self::Detached,
        Self::AwaitingKeyFrame,
        Self::Gap,
        Self::OutOfWindow,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Age => "age",
            Self::Deadline => "deadline",
            Self::Interrupted => "interrupted",
            Self::NoListener => "no_listener",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Undecodable => "undecodable",
            Self::Condition => "condition",
            Self::HopEnded => "hop_ended",
            Self::Detached => "detached",
            Self::AwaitingKeyFrame => "awaiting_key_frame",
            Self::Gap => "gap",
            Self::OutOfWindow => "out_of_window",
        }
    }
}

/// What one call of a node brought forth.
#[derive(Debug, Default)]
pub struct Effects {
    /// Frames made, with the output port of each, in order.
    pub frames: Emitted,
    /// Frames that did not go on.
    pub drops: SmallVec<[(DropReason, u32); 1]>,
    /// The timer's new setting, if the node changed it.
    pub timer: Option<Option<Timestamp>>,
    /// The node's reception figures, where it is a jitter buffer and they changed.
    pub reception: Option<Reception>,
    /// The node, a generator, makes no more.
    pub ended: bool,
}

impl Effects {
    /// How the call came out that had these effects, from what the node returned: making too much fails it as well.
    ///
    /// # Errors
    /// The node's own, or that it made more than [`CALL_BYTES_MAX`].
    ///
    /// [`CALL_BYTES_MAX`]: crate::CALL_BYTES_MAX
    pub fn outcome(&mut self, result: Result<(), NodeError>) -> Result<(), NodeError> {
        self.frames.outcome(result)
    }
}

/// What a jitter buffer says of the stream that it receives. Counters run from the start of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// Playing time now held back.
    pub delay: std::time::Duration,
    /// Samples of each channel that were made up.
    pub concealed_samples: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came too late to be played.
    pub late: u64,
}

/// A node's way to the graph during one call.
#[derive(Debug)]
pub struct Context<'a> {
    now: Timestamp,
    effects: &'a mut Effects,
}

impl<'a> Context<'a> {
    /// A context for one call at `now`. Drivers and tests make it; nodes receive it.
    #[must_use]
    pub const fn new(now: Timestamp, effects: &'a mut Effects) -> Self {
        Self { now, effects }
    }

    /// The instant of this call.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Sends a frame out of an output port. Its `ingress` and `caused_by` are set by the graph from the newest input that the
    /// node has handled, its `seq` from the port's count; the node sets media time, utterance, revision and `is_final`.
    ///
    /// A call that makes more than [`CALL_BYTES_MAX`] fails, and what is beyond that is not kept.
    ///
    /// [`CALL_BYTES_MAX`]: crate::CALL_BYTES_MAX
    #[inline]
    pub fn emit(&mut self, port: usize, frame: Frame) {
        self.effects.frames.make(port, frame);
    }

    /// Whether the call has made too much: it fails whatever it makes from now on.
    #[must_use]
    pub const fn exceeded(&self) -> bool {
        self.effects.frames.exceeded()
    }

    /// Counts one frame that does not go on.
    pub fn drop_frame(&mut self, reason: DropReason) {
        self.drop_frames(reason, 1);
    }

    /// Counts frames that do not go on.
    pub fn drop_frames(&mut self, reason: DropReason, count: u32) {
        if count > 0 {
            self.effects.drops.push((reason, count));
        }
    }

    /// Asks for [`Node::on_timer`] at an instant; replaces an earlier setting. An instant in the past is called at once.
    pub fn set_timer(&mut self, at: Timestamp) {
        self.effects.timer = Some(Some(at));
    }

    /// Takes the timer back.
    pub fn clear_timer(&mut self) {
        self.effects.timer = Some(None);
    }

    /// Of a node without joined inputs: it makes no more. After the frames of this call its outputs end and its timer is not
    /// called again. Of any other node the outputs end when its inputs have, and this does nothing.
    pub fn end_outputs(&mut self) {
        self.effects.ended = true;
    }

    /// Reports how reception stands.
    pub fn report_reception(&mut self, reception: Reception) {
        self.effects.reception = Some(reception);
    }
}
