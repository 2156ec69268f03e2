//! What a call is fed: frames as they come, until all came.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tidegate_media::{Frame, MediaTime};
use tidegate_proto::message::Execute;

/// Payload bytes that wait until the call takes them: two seconds of what speech recognition hears.
const BYTES_MAX: usize = 64 << 10;
/// Frames, likewise: words of a text hardly have bytes.
const FRAMES_MAX: usize = 256;

/// Shared by a call and whoever makes it.
#[derive(Clone, Default)]
pub(crate) struct Feed(Arc<Mutex<Fed>>);

#[derive(Default)]
struct Fed {
    frames: VecDeque<Frame>,
    bytes: usize,
    complete: bool,
    /// The server was told that it has all.
    told: bool,
    /// The call's number of the newest frame that the call took, and where that is in the stream.
    taken: (u64, MediaTime),
    waker: Option<Waker>,
}

impl Feed {
    /// What a call begins with.
    pub(super) fn of(execute: &Execute) -> Self {
        let this = Self::default();
        for frame in crate::spoken::frames(execute) {
            this.push(frame.clone());
        }
        this
    }

    fn lock(&self) -> MutexGuard<'_, Fed> {
        // A panic elsewhere leaves it as it is: each change is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, frame: Frame) {
        let mut fed = self.lock();
        fed.bytes += frame.payload.size();
        fed.frames.push_back(frame);
        fed.waker.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn complete(&self) {
        let mut fed = self.lock();
        fed.complete = true;
        fed.waker.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn has_room(&self) -> bool {
        let fed = self.lock();
        fed.bytes < BYTES_MAX && fed.frames.len() < FRAMES_MAX
    }

    /// The next frame; `None`: that was all. Cancel safe.
    pub(crate) async fn next(&self) -> Option<Frame> {
        poll_fn(|cx| {
            let mut fed = self.lock();
            if let Some(frame) = fed.frames.pop_front() {
                fed.bytes -= frame.payload.size();
                fed.taken = (frame.meta.seq, frame.meta.media_time);
                return Poll::Ready(Some(frame));
            }
            if fed.complete {
                return Poll::Ready(None);
            }
            fed.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The server was told that it has all.
    pub(crate) fn tell(&self) {
        self.lock().told = true;
    }

    /// Whether the server knows that it has all: what it says before that is not all that it has to say.
    pub(crate) fn is_told(&self) -> bool {
        self.lock().told
    }

    /// The call's number of the newest frame that it took, and where that is in the stream.
    pub(crate) fn taken(&self) -> (u64, MediaTime) {
        self.lock().taken
    }
}
