//! The queue between a hop and its transport's own task.
//!
//! Bounded: frames by the credit that the hop gives the graph ([`crate::credit`]), everything else by [`CONTROL_MAX`]. The
//! transport polls it as a stream and is woken by each push; the hop is woken by a take only if it asked.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::error::RemoteError;
use crate::link::{Counts, FramePlace};

/// Messages other than frames that may wait. Credit is sent at most once in 32 frames received, so a worker that reads at all
/// never lets it come to this.
const CONTROL_MAX: usize = 256;

/// The hop's end.
#[derive(Debug)]
pub(crate) struct Outbox<M>(Arc<Mutex<State<M>>>);

/// The transport's end. When it is dropped, what is pushed goes nowhere; the transport's receiving side says why.
#[derive(Debug)]
pub(crate) struct Outflow<M>(Arc<Mutex<State<M>>>);

#[derive(Debug)]
struct State<M> {
    queue: VecDeque<(Option<FramePlace>, M)>,
    control: usize,
    taken: Counts,
    closed: bool,
    abandoned: bool,
    transport: Option<Waker>,
    hop: Option<Waker>,
}

pub(crate) fn outbox<M>() -> (Outbox<M>, Outflow<M>) {
    let state = Arc::new(Mutex::new(State {
        queue: VecDeque::new(),
        control: 0,
        taken: Counts::default(),
        closed: false,
        abandoned: false,
        transport: None,
        hop: None,
    }));
    (Outbox(Arc::clone(&state)), Outflow(state))
}

/// Nothing is left half done while the lock is held, so a panic elsewhere does not spoil the state.
fn lock<M>(state: &Mutex<State<M>>) -> MutexGuard<'_, State<M>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M> Outbox<M> {
    pub(crate) fn push(&self, frame: Option<FramePlace>, message: M) -> Result<(), RemoteError> {
        let mut state = lock(&self.0);
        if state.abandoned || state.closed {
            return Ok(());
        }
        if frame.is_none() {
            state.control += 1;
            if state.control > CONTROL_MAX {
                let text = format!("worker reads nothing while {CONTROL_MAX} messages wait for it");
                return Err(RemoteError::Network(text));
            }
        }
        state.queue.push_back((frame, message));
        let waker = state.transport.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    pub(crate) fn discard_frames(&self) -> Counts {
        let mut discarded = Counts::default();
        lock(&self.0)
            .queue
            .retain(|(frame, _)| frame.map(|place| discarded.add(place)).is_none());
        discarded
    }

    pub(crate) fn take_sent(&self) -> Counts {
        std::mem::take(&mut lock(&self.0).taken)
    }

    /// Wakes at the next take; at once if something was taken that nobody has asked for.
    pub(crate) fn wake_when_taken(&self, waker: &Waker) {
        let mut state = lock(&self.0);
        if state.taken.iter().next().is_some() {
            drop(state);
            waker.wake_by_ref();
        } else {
            state.hop = Some(waker.clone());
        }
    }

    /// Lets the stream end after what is queued.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        let waker = state.transport.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<M> Drop for Outbox<M> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<M> Stream for Outflow<M> {
    type Item = M;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M>> {
        let mut state = lock(&self.0);
        let Some((frame, message)) = state.queue.pop_front() else {
            if state.closed {
                return Poll::Ready(None);
            }
            match &mut state.transport {
                Some(waker) => waker.clone_from(cx.waker()),
                empty => *empty = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        match frame {
            Some(place) => state.taken.add(place),
            None => state.control -= 1,
        }
        let waker = state.hop.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Poll::Ready(Some(message))
    }
}

impl<M> Drop for Outflow<M> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.abandoned = true;
        state.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    fn take(outflow: &mut Outflow<u32>) -> Poll<Option<u32>> {
        Pin::new(outflow).poll_next(&mut Context::from_waker(&noop_waker()))
    }

    const FRAME: Option<FramePlace> = Some(FramePlace { port: 1, bytes: 7 });

    #[test]
    fn messages_leave_in_order_and_frames_are_counted_when_taken() {
        let (outbox, mut outflow) = outbox();
        assert_eq!(take(&mut outflow), Poll::Pending);
        outbox.push(FRAME, 1).expect("room");
        outbox.push(None, 2).expect("room");
        assert_eq!(outbox.take_sent(), Counts::default());
        assert_eq!(take(&mut outflow), Poll::Ready(Some(1)));
        assert_eq!(take(&mut outflow), Poll::Ready(Some(2)));
        assert_eq!(outbox.take_sent().iter().collect::<Vec<_>>(), [(1, 1, 7)]);
        drop(outbox);
        assert_eq!(take(&mut outflow), Poll::Ready(None));
    }

    #[test]
    fn frames_can_be_taken_back_and_other_messages_not() {
        let (outbox, mut outflow) = outbox();
        outbox.push(FRAME, 1).expect("room");
        outbox.push(None, 2).expect("room");
        outbox.push(FRAME, 3).expect("room");
        assert_eq!(
            outbox.discard_frames().iter().collect::<Vec<_>>(),
            [(1, 2, 14)]
        );
        assert_eq!(take(&mut outflow), Poll::Ready(Some(2)));
        assert_eq!(take(&mut outflow), Poll::Pending);
    }

    #[test]
    fn a_worker_that_reads_nothing_is_an_error_before_memory_is() {
        let (outbox, _outflow) = outbox();
        let failed = (0..1_000).find(|_| outbox.push(None, 0_u32).is_err());
        assert_eq!(failed, Some(CONTROL_MAX));
    }

    #[test]
    fn nothing_is_kept_for_a_transport_that_is_gone() {
        let (outbox, outflow) = outbox();
        drop(outflow);
        outbox.push(FRAME, 1).expect("goes nowhere");
        assert!(lock(&outbox.0).queue.is_empty());
    }
}
