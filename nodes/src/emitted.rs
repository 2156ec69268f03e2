//! The frames that one call of a node made, with their ports.
//!
//! Ports and frames lie apart: so a frame is moved once on its way in and once on its way out, which is most of what an in-place
//! node costs.
//!
//! What one call may make is bounded: nodes that repeat, widen or overlap what comes in would else multiply a small message from
//! node to node until the memory is spent.

use smallvec::SmallVec;
use tidegate_media::Frame;

use crate::node::NodeError;

/// Most bytes that one call of a node may make, or as many as came in with the call where that is more: payloads, and for each frame
/// what it takes itself, so that frames of nothing are bounded as well. Sixteen times the largest message that a gateway takes by default.
pub const CALL_BYTES_MAX: usize = 64 << 20;

/// Whether a node may make so many bytes in one call: to be asked before they are computed where they may be many times what came in.
///
/// # Errors
/// They are more than [`CALL_BYTES_MAX`].
pub fn check_made(bytes: usize) -> Result<(), NodeError> {
    if bytes <= CALL_BYTES_MAX {
        return Ok(());
    }
    Err(excess())
}

#[cold]
fn excess() -> NodeError {
    NodeError::new(format!(
        "the node would make more than {} MiB of one frame: send smaller frames, or let its parameters ask for less",
        CALL_BYTES_MAX >> 20
    ))
}

/// Frames with the output port of each, in order.
#[derive(Debug, Default)]
pub struct Emitted {
    ports: SmallVec<[usize; 2]>,
    frames: SmallVec<[Frame; 2]>,
    /// Bytes made in this call.
    made: usize,
    /// Bytes that came in with this call.
    came: usize,
    /// More was made than a call may make; what came after was not kept.
    exceeded: bool,
}

impl Emitted {
    /// Adds a frame that leaves by this port.
    #[inline]
    pub fn push(&mut self, port: usize, frame: Frame) {
        self.frames.push(frame);
        self.ports.push(port);
    }

    /// Begins a call of a node with a frame of so many bytes.
    #[inline]
    pub(crate) fn begin(&mut self, came: usize) {
        self.came = came;
        self.made = 0;
    }

    /// As [`Self::push`], for what a node makes: no more than [`CALL_BYTES_MAX`] in one call.
    #[inline]
    pub(crate) fn make(&mut self, port: usize, frame: Frame) {
        let size = frame.payload.size() + size_of::<Frame>();
        self.made = self.made.saturating_add(size);
        if self.made > CALL_BYTES_MAX && self.made > self.came + size_of::<Frame>() {
            self.exceeded = true;
            return;
        }
        self.push(port, frame);
    }

    /// Whether the call was refused some of what it made.
    #[inline]
    pub(crate) const fn exceeded(&self) -> bool {
        self.exceeded
    }

    /// The outcome of the call: that of the node, unless it made too much.
    #[inline]
    pub(crate) fn outcome(&mut self, result: Result<(), NodeError>) -> Result<(), NodeError> {
        if std::mem::take(&mut self.exceeded) {
            return result.and(Err(excess()));
        }
        result
    }

    /// Frames held.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The newest frame and its port.
    #[inline]
    pub fn last_mut(&mut self) -> Option<(usize, &mut Frame)> {
        Some((*self.ports.last()?, self.frames.last_mut()?))
    }

    /// Takes the newest frame; its port is forgotten.
    #[inline]
    pub fn pop(&mut self) -> Option<Frame> {
        self.ports.pop();
        self.frames.pop()
    }

    /// Takes all, in order, and keeps the room.
    pub fn drain(&mut self) -> impl Iterator<Item = (usize, Frame)> + '_ {
        self.ports.drain(..).zip(self.frames.drain(..))
    }

    /// All, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<(usize, Frame)> {
        self.into_iter().collect()
    }
}

impl IntoIterator for Emitted {
    type Item = (usize, Frame);
    type IntoIter = std::iter::Zip<
        <SmallVec<[usize; 2]> as IntoIterator>::IntoIter,
        <SmallVec<[Frame; 2]> as IntoIterator>::IntoIter,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.ports.into_iter().zip(self.frames)
    }
}

impl<'a> IntoIterator for &'a Emitted {
    type Item = (&'a usize, &'a Frame);
    type IntoIter = std::iter::Zip<std::slice::Iter<'a, usize>, std::slice::Iter<'a, Frame>>;

    fn into_iter(self) -> Self::IntoIter {
        self.ports.iter().zip(&self.frames)
    }
}
