//! How a client leaves: it plays what it was sent, where it says when it has; then comes the last word, and its own goodbye.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use tidegate_media::Timestamp;

use super::{Codec, GOODBYE_BYTES, Socket, WebSocketLink, over_limit, size};

/// Messages taken or thrown away in one call, so that other sessions get their turn.
pub(super) const DISCARDS: usize = 64;
/// How much longer than its sound lasts a client may take to say that it has played it.
const LATE: Duration = Duration::from_secs(2);
/// Longest time that a client is waited for, whatever it has to play: paced sound is never so far ahead.
const PLAYS: Duration = Duration::from_secs(10);

/// The last word to a client that still plays.
pub(super) struct Parting {
    close: Message,
    /// When it is said, played or not.
    pub(super) until: Timestamp,
}

/// What a client that has been told the end may still do.
pub(super) struct Goodbye {
    /// When it is left, whatever it does: set once it has taken its last word.
    pub(super) until: Option<Timestamp>,
    /// Bytes that are still thrown away.
    bytes: usize,
}

impl<C: Codec, S: Socket> WebSocketLink<C, S> {
    /// The session has ended: the last word, at once or once the client has played what was said in good order.
    pub(super) fn part(&mut self, now: Timestamp, reason: &'static str) {
        let close = Message::Close(Some(CloseFrame {
            code: crate::errors::close_code(reason),
            reason: Utf8Bytes::from_static(reason),
        }));
        self.goodbye = Some(Goodbye {
            until: None,
            bytes: GOODBYE_BYTES,
        });
        let left = self.codec.unplayed().filter(|_| reason == "finished");
        match left {
            None => self.outgoing.word(close),
            Some(left) => {
                let until = now + (left + LATE).min(PLAYS);
                self.parting = Some(Parting { close, until });
            }
        }
    }

    /// Hears how far the client has played. Ready once that is all of it, or its time is over; the last word waits for the socket then.
    pub(super) fn poll_played(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        for _ in 0..DISCARDS {
            let until = self.parting.as_ref().map(|parting| parting.until);
            let plays = until.is_some_and(|until| until > now) && self.codec.unplayed().is_some();
            let Some(socket) = self.socket.as_mut().filter(|_| plays && !self.gone) else {
                let parting = self.parting.take();
                if let Some(parting) = parting.filter(|_| !self.gone) {
                    self.outgoing.word(parting.close);
                }
                return Poll::Ready(());
            };
            match Pin::new(socket).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Poll::Ready(Some(Ok(Message::Close(_)) | Err(_)) | None) => self.gone = true,
                Poll::Ready(Some(Ok(message))) => {
                    let heard = self.codec.decode(message, now, &mut self.outgoing);
                    // Nobody is there any more for whom its events would mean something.
                    while self.codec.event().is_some() {}
                    if heard.is_err() {
                        self.parting = self.parting.take().map(|parting| Parting {
                            until: now,
                            ..parting
                        });
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// After the last word: throws away what still comes. Ready once the client has said goodbye, is gone, or has had its time.
    pub(super) fn poll_goodbye(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        let (Some(goodbye), Some(socket)) = (&mut self.goodbye, &mut self.socket) else {
            return Poll::Ready(());
        };
        if goodbye.until.is_some_and(|until| until <= now) {
            self.gone = true;
            return Poll::Ready(());
        }
        if self.deaf {
            return Poll::Pending;
        }
        for _ in 0..DISCARDS {
            match Pin::new(&mut *socket).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(Message::Close(_))) | None) => {
                    self.gone = true;
                    return Poll::Ready(());
                }
                Poll::Ready(Some(Ok(message))) => {
                    let left = goodbye.bytes.checked_sub(size(&message));
                    self.gone = left.is_none();
                    let Some(left) = left else {
                        return Poll::Ready(());
                    };
                    goodbye.bytes = left;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.deaf = over_limit(&error).is_some();
                    self.gone = !self.deaf;
                    return if self.gone {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    };
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
