//! The frames that one call of a node made, with their ports.
//!
//! Ports and frames lie apart: so a frame is moved once on its way in and once on its way out, which is most of what an in-place
//! node costs.

use smallvec::SmallVec;
use tidegate_media::Frame;

/// Frames with the output port of each, in order.
#[derive(Debug, Default)]
pub struct Emitted {
    ports: SmallVec<[usize; 2]>,
    frames: SmallVec<[Frame; 2]>,
}

impl Emitted {
    /// Adds a frame that leaves by this port.
    #[inline]
    pub fn push(&mut self, port: usize, frame: Frame) {
        self.frames.push(frame);
        self.ports.push(port);
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
