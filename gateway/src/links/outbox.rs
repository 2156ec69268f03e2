//! What a gRPC client has yet to take: a bounded queue between its link and the HTTP/2 connection that carries the response.
//!
//! The link owns it: a client that takes nothing is left, and then nothing but why is kept for it, however long its connection
//! stays open. Frames come within [`ROOM`]; other messages are a handful by the protocol. No lock is held while a task waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tidegate_proto::v1;
use tidegate_proto::v1::server_message::Message;

/// Messages that wait before the link says that it has no room. Enough that a burst of outputs takes one wake-up, few enough that
/// a client that does not read is felt by the session's queues at once.
const ROOM: usize = 16;
/// Messages left at which a link that waits for room goes on, so that it is not woken for each.
const REFILL: usize = ROOM / 2;

/// The two ends of a queue: the link's, and the response's.
pub(crate) fn outbox() -> (Outbox, Delivery) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    let outbox = Outbox {
        shared: Arc::clone(&shared),
        room: ROOM,
    };
    (outbox, Delivery { shared })
}

#[derive(Default)]
struct Shared {
    messages: VecDeque<v1::ServerMessage>,
    /// The link is gone: what is here is all.
    closed: bool,
    /// The connection has dropped the response.
    dropped: bool,
    /// The link, which waits for room or for the connection to go.
    sender: Option<Waker>,
    /// The connection, which waits for a message.
    receiver: Option<Waker>,
}

/// The link's end.
pub(crate) struct Outbox {
    shared: Arc<Mutex<Shared>>,
    /// As of the last [`Outbox::poll_room`], less what was pushed since.
    room: usize,
}

impl Outbox {
    /// Puts a message at the end.
    pub(crate) fn push(&mut self, message: v1::ServerMessage) {
        self.room = self.room.saturating_sub(1);
        let mut shared = lock(&self.shared);
        if !shared.dropped {
            shared.messages.push_back(message);
        }
        wake(shared, |shared| shared.receiver.take());
    }

    /// Messages that there is room for. Grows only in [`Outbox::poll_room`], so that who asks before and after it misses nothing.
    pub(super) const fn room(&self) -> usize {
        self.room
    }

    /// Ready when there is room, or the connection is gone.
    pub(super) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.shared);
        self.room = ROOM.saturating_sub(shared.messages.len());
        if self.room > 0 || shared.dropped {
            return Poll::Ready(());
        }
        register(&mut shared.sender, cx);
        Poll::Pending
    }

    /// Ready when the connection has dropped the response.
    pub(super) fn poll_dropped(&self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.shared);
        if shared.dropped {
            return Poll::Ready(());
        }
        register(&mut shared.sender, cx);
        Poll::Pending
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.closed = true;
        if shared.messages.len() >= ROOM {
            // It was left because it took nothing: it may still learn why.
            shared.messages.retain(is_last_word);
            shared.messages.shrink_to_fit();
        }
        wake(shared, |shared| shared.receiver.take());
    }
}

/// The response's end: what waits, in order, and the end once the link is gone.
pub(crate) struct Delivery {
    shared: Arc<Mutex<Shared>>,
}

impl Delivery {
    /// The next message; `None` when the link is gone and has left no more. Cancel safe.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<v1::ServerMessage>> {
        let mut shared = lock(&self.shared);
        let Some(message) = shared.messages.pop_front() else {
            if shared.closed {
                return Poll::Ready(None);
            }
            register(&mut shared.receiver, cx);
            return Poll::Pending;
        };
        if shared.messages.len() == REFILL {
            wake(shared, |shared| shared.sender.take());
        }
        Poll::Ready(Some(message))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.dropped = true;
        shared.messages = VecDeque::new();
        wake(shared, |shared| shared.sender.take());
    }
}

const fn is_last_word(message: &v1::ServerMessage) -> bool {
    matches!(message.message, Some(Message::Error(_) | Message::Ended(_)))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

/// Wakes one of the two, after the lock is let go.
fn wake(mut shared: MutexGuard<'_, Shared>, which: impl FnOnce(&mut Shared) -> Option<Waker>) {
    let waker = which(&mut shared);
    drop(shared);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn message(message: Message) -> v1::ServerMessage {
        v1::ServerMessage {
            message: Some(message),
        }
    }

    fn frame() -> v1::ServerMessage {
        message(Message::Frame(v1::Frame::default()))
    }

    fn next(delivery: &mut Delivery, cx: &Context<'_>) -> Option<v1::ServerMessage> {
        match delivery.poll_next(cx) {
            Poll::Ready(message) => message,
            Poll::Pending => panic!("nothing came"),
        }
    }

    #[test]
    fn a_link_without_room_waits_and_is_woken_once_when_half_is_taken() {
        let (wakes, (mut outbox, mut delivery)) = (Arc::new(Wakes::default()), outbox());
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = Context::from_waker(&waker);
        for _ in 0..ROOM {
            assert!(outbox.room() > 0 && outbox.poll_room(&cx).is_ready());
            outbox.push(frame());
        }
        assert_eq!(outbox.room(), 0);
        assert!(outbox.poll_room(&cx).is_pending());
        for _ in 0..ROOM {
            assert_eq!(outbox.room(), 0, "it grows when it is asked for");
            next(&mut delivery, &cx);
        }
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(outbox.poll_room(&cx).is_ready());
        assert_eq!(outbox.room(), ROOM);
    }

    #[test]
    fn what_a_client_never_took_is_not_kept_but_why_it_was_left_is() {
        let cx = Context::from_waker(Waker::noop());
        let (mut outbox, mut delivery) = outbox();
        (0..ROOM).for_each(|_| outbox.push(frame()));
        outbox.push(message(Message::Error(v1::Error::default())));
        outbox.push(message(Message::Ended(v1::Ended::default())));
        drop(outbox);
        assert_eq!(lock(&delivery.shared).messages.len(), 2);
        let last = next(&mut delivery, &cx);
        assert!(matches!(
            last.and_then(|m| m.message),
            Some(Message::Error(_))
        ));
        assert!(next(&mut delivery, &cx).is_some());
        assert_eq!(next(&mut delivery, &cx), None);
    }

    #[test]
    fn a_client_that_is_only_slow_gets_everything_after_the_session_is_over() {
        let cx = Context::from_waker(Waker::noop());
        let (mut outbox, mut delivery) = outbox();
        (1..ROOM).for_each(|_| outbox.push(frame()));
        drop(outbox);
        for _ in 1..ROOM {
            assert!(next(&mut delivery, &cx).is_some());
        }
        assert_eq!(next(&mut delivery, &cx), None);
    }

    #[test]
    fn a_link_learns_that_the_response_was_dropped_and_keeps_nothing_for_it() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = Context::from_waker(&waker);
        let (mut outbox, delivery) = outbox();
        outbox.push(frame());
        assert!(outbox.poll_dropped(&cx).is_pending());
        drop(delivery);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(outbox.poll_dropped(&cx).is_ready());
        outbox.push(frame());
        assert!(lock(&outbox.shared).messages.is_empty());
    }
}
