//! What a transport must do for a hop: carry native messages to one worker and back.

use std::task::{Context, Poll};

use tidegate_media::Timestamp;
use tidegate_proto::{ClientMessage, ServerMessage};

use crate::auth::Credential;
use crate::error::RemoteError;

/// An open stream to one worker. Dropping it tells the worker that nobody listens any more.
pub(crate) trait Link: Send {
    /// Queues a message; wakes the transport. A frame's place says which input port it is for and how many payload bytes it has.
    ///
    /// # Errors
    /// The worker reads nothing and too much is queued already.
    fn send(
        &mut self,
        message: ClientMessage,
        frame: Option<FramePlace>,
        now: Timestamp,
    ) -> Result<(), RemoteError>;

    /// Takes frames back that the transport has not taken yet; other messages stay.
    fn discard_frames(&mut self) -> Counts;

    /// Frames that the transport has taken since this was last asked.
    fn take_sent(&mut self) -> Counts;

    /// Wakes the hop's task when the transport takes the next message.
    fn wake_when_taken(&mut self, cx: &Context<'_>);

    /// The next message; `None`: the worker closed the stream in order. Cancel safe.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>>;

    /// When it must be polled again even if nothing comes.
    fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The input on which the worker waits for a key frame, each time that it says so.
    fn take_key_frame_wanted(&mut self) -> Option<usize> {
        None
    }

    /// What the stream was opened with, if that can run out: it says when another stream is to take over.
    fn credential(&mut self) -> Option<&mut Credential> {
        None
    }
}

/// Where a frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePlace {
    /// Input port, in the graph's numbering.
    pub(crate) port: usize,
    /// Payload bytes.
    pub(crate) bytes: usize,
}

/// Frames and payload bytes of each input port, in the graph's numbering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(pub(crate) smallvec::SmallVec<[(u64, u64); 2]>);

impl Counts {
    pub(crate) fn add(&mut self, place: FramePlace) {
        if self.0.len() <= place.port {
            self.0.resize(place.port + 1, (0, 0));
        }
        let (frames, bytes) = &mut self.0[place.port];
        *frames += 1;
        *bytes += place.bytes as u64;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds others.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), (0, 0));
        }
        for ((frames, bytes), (more, larger)) in self.0.iter_mut().zip(&other.0) {
            *frames += more;
            *bytes += larger;
        }
    }

    /// Ports that have any, with their frames and bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, u64, u64)> {
        let all = self.0.iter().enumerate();
        all.filter(|(_, (frames, _))| *frames > 0)
            .map(|(port, &(frames, bytes))| (port, frames, bytes))
    }
}
