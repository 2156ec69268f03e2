//! What a client has yet to take: a bounded queue between its link, which a session polls, and whoever hands it on, which is the HTTP
//! connection that carries the response, or `tidegate run` itself.
//!
//! The link owns it: a client that takes nothing is left, and then nothing but why is kept for it, however long its connection
//! stays open. Frames come within the queue's room; other messages are a handful by the protocol. No lock is held while a task waits.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What can wait in an outbox.
pub(crate) trait Said {
    /// It carries a frame.
    fn is_frame(&self) -> bool;

    /// It says why nothing more comes, or that nothing does.
    fn is_last_word(&self) -> bool;
}

/// The two ends of a queue with room for so many messages: the link's, and the taker's.
pub(crate) fn outbox<T: Said>(room: usize) -> (Outbox<T>, Delivery<T>) {
    let shared = Arc::new(Mutex::new(Shared {
        messages: VecDeque::new(),
        refill: room / 2,
        taken: 0,
        closed: false,
        dropped: false,
        sender: None,
        receiver: None,
    }));
    let outbox = Outbox {
        shared: Arc::clone(&shared),
        capacity: room,
        room,
        taken: 0,
    };
    (outbox, Delivery { shared })
}

struct Shared<T> {
    messages: VecDeque<T>,
    /// Messages left at which a link that waits for room goes on, so that it is not woken for each.
    refill: usize,
    /// Messages that were taken.
    taken: u64,
    /// The link is gone: what is here is all.
    closed: bool,
    /// The taker is gone.
    dropped: bool,
    /// The link, which waits for room, for the last message to be taken, or for the taker to go.
    sender: Option<Waker>,
    /// The taker, which waits for a message.
    receiver: Option<Waker>,
}

/// The link's end.
pub(crate) struct Outbox<T: Said> {
    shared: Arc<Mutex<Shared<T>>>,
    capacity: usize,
    /// As of the last [`Outbox::poll_room`], less what was pushed since.
    room: usize,
    /// As of the last time that it was asked for room, or whether it is empty.
    taken: u64,
}

impl<T: Said> Outbox<T> {
    /// Puts a message at the end.
    pub(crate) fn push(&mut self, message: T) {
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

    /// Messages that were taken, as far as this end has looked.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Frames that were not taken.
    pub(super) fn frames(&self) -> u64 {
        let shared = lock(&self.shared);
        let frames = shared.messages.iter().filter(|message| message.is_frame());
        frames.count() as u64
    }

    /// Ready when there is room, or the taker is gone.
    pub(super) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.shared);
        self.taken = shared.taken;
        self.room = self.capacity.saturating_sub(shared.messages.len());
        if self.room > 0 || shared.dropped {
            return Poll::Ready(());
        }
        register(&mut shared.sender, cx);
        Poll::Pending
    }

    /// Ready when everything was taken, or the taker is gone.
    pub(crate) fn poll_empty(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.shared);
        self.taken = shared.taken;
        if shared.messages.is_empty() || shared.dropped {
            return Poll::Ready(());
        }
        register(&mut shared.sender, cx);
        Poll::Pending
    }

    /// Ready when the taker is gone.
    pub(super) fn poll_dropped(&self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.shared);
        if shared.dropped {
            return Poll::Ready(());
        }
        register(&mut shared.sender, cx);
        Poll::Pending
    }
}

impl<T: Said> Drop for Outbox<T> {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.closed = true;
        if shared.messages.iter().any(Said::is_frame) {
            // It was left because it took nothing: it may still learn why.
            shared.messages.retain(Said::is_last_word);
            shared.messages.shrink_to_fit();
        }
        wake(shared, |shared| shared.receiver.take());
    }
}

/// The taker's end.
pub(crate) struct Delivery<T> {
    shared: Arc<Mutex<Shared<T>>>,
}

impl<T> Delivery<T> {
    /// The next message; `None` when the link is gone and has left no more. Cancel safe.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut shared = lock(&self.shared);
        let Some(message) = shared.messages.pop_front() else {
            if shared.closed {
                return Poll::Ready(None);
            }
            register(&mut shared.receiver, cx);
            return Poll::Pending;
        };
        shared.taken += 1;
        if shared.messages.len() == shared.refill || shared.messages.is_empty() {
            wake(shared, |shared| shared.sender.take());
        }
        Poll::Ready(Some(message))
    }

    /// As [`Delivery::poll_next`]. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.shared).messages.is_empty()
    }
}

impl<T> Drop for Delivery<T> {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.dropped = true;
        shared.messages = VecDeque::new();
        wake(shared, |shared| shared.sender.take());
    }
}

fn lock<T>(shared: &Mutex<Shared<T>>) -> MutexGuard<'_, Shared<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

/// Wakes one of the two, after the lock is let go.
fn wake<T>(
    mut shared: MutexGuard<'_, Shared<T>>,
    which: impl FnOnce(&mut Shared<T>) -> Option<Waker>,
) {
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

    use tidegate_proto::v1;
    use tidegate_proto::v1::server_message::Message;

    use super::*;

    const ROOM: usize = 16;

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

    fn next(
        delivery: &mut Delivery<v1::ServerMessage>,
        cx: &Context<'_>,
    ) -> Option<v1::ServerMessage> {
        match delivery.poll_next(cx) {
            Poll::Ready(message) => message,
            Poll::Pending => panic!("nothing came"),
        }
    }

    #[test]
    fn a_link_without_room_waits_and_is_woken_once_when_half_is_taken() {
        let (wakes, (mut outbox, mut delivery)) = (Arc::new(Wakes::default()), outbox(ROOM));
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
        let (mut outbox, mut delivery) = outbox(ROOM);
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
    fn a_link_that_waits_for_the_last_message_to_be_taken_sees_each_that_is() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = Context::from_waker(&waker);
        let (mut outbox, mut delivery) = outbox(ROOM);
        (0..ROOM).for_each(|_| outbox.push(frame()));
        for taken in 0..ROOM as u64 {
            assert!(outbox.poll_empty(&cx).is_pending());
            assert_eq!(outbox.taken(), taken);
            assert_eq!(outbox.frames(), ROOM as u64 - taken);
            assert!(next(&mut delivery, &cx).is_some());
        }
        assert_eq!(
            wakes.0.load(Ordering::Relaxed),
            2,
            "at half, and at the end"
        );
        assert!(outbox.poll_empty(&cx).is_ready());
        drop(outbox);
        assert_eq!(next(&mut delivery, &cx), None);
    }

    #[test]
    fn a_link_learns_that_the_response_was_dropped_and_keeps_nothing_for_it() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = Context::from_waker(&waker);
        let (mut outbox, delivery) = outbox(ROOM);
        outbox.push(frame());
        assert!(outbox.poll_dropped(&cx).is_pending());
        drop(delivery);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(outbox.poll_dropped(&cx).is_ready());
        outbox.push(frame());
        assert!(lock(&outbox.shared).messages.is_empty());
    }
}
