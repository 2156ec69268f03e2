//! A Wyoming client's TCP connection: events read and written, within bounds.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tidegate_nodes::{Code, Error};
use tidegate_proto::wyoming::{Event, Reader, WyomingError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::connections::Stream;

/// Bytes that are read at once.
const READ: usize = 16 << 10;
/// What a client may still send when it has been told the end.
const GOODBYE_BYTES: usize = 1 << 20;

/// Events that wait for the socket, each with whether it carries a frame.
pub(crate) type Outgoing = VecDeque<(bool, Bytes)>;

/// The connection. It outlives the sessions of its requests: a link has it for as long as one runs.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    reader: Reader,
    pub(super) outgoing: Outgoing,
    /// Bytes that the socket has taken.
    pub(super) written: u64,
    /// Nothing can be written any more.
    pub(super) broken: bool,
}

impl Wire {
    /// A connection that was accepted.
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            reader: Reader::default(),
            outgoing: Outgoing::new(),
            written: 0,
            broken: false,
        }
    }

    /// Whether it is of no more use.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The client's next event, `None` at its end.
    ///
    /// # Errors
    /// It is none, or beyond the bounds; nothing can be read after it.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Event>, WyomingError>> {
        loop {
            if let Some(event) = self.reader.next_event()? {
                return Poll::Ready(Ok(Some(event)));
            }
            let mut bytes = [0; READ];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(None));
            }
            self.reader.push(buffer.filled());
        }
    }

    /// As [`Wire::poll_next`]. Cancel safe.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, WyomingError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Moves what waits into the socket.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some((_, bytes)) = self.outgoing.front_mut().filter(|_| !self.broken) {
            if bytes.is_empty() {
                self.outgoing.pop_front();
                continue;
            }
            match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
                Ok(count) if count > 0 => {
                    bytes.advance(count);
                    self.written += count as u64;
                }
                _ => self.broken = true,
            }
        }
        if self.broken {
            self.outgoing.clear();
        }
        Poll::Ready(())
    }

    /// Says something outside of a session. Cancel safe, but what is cut off stays cut off.
    pub(crate) async fn say(&mut self, event: &Event) {
        self.outgoing.push_back((false, event.encode()));
        poll_fn(|cx| self.poll_flush(cx)).await;
    }

    /// Closes in good order: what the client still sends is thrown away, or it would take the last word back. So many bytes at most; how
    /// long is the caller's affair.
    pub(crate) async fn close(mut self) {
        poll_fn(|cx| self.poll_flush(cx)).await;
        if self.broken || self.stream.shutdown().await.is_err() {
            return;
        }
        let mut bytes = [0; READ];
        for _ in 0..GOODBYE_BYTES / READ {
            match self.stream.read(&mut bytes).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
    }
}

/// An error as the protocol says it.
pub(crate) fn error(code: Code, text: &str) -> Event {
    Event::new("error")
        .with("text", text)
        .with("code", code.as_str())
}

/// What cannot be read, as our error.
pub(crate) fn unreadable(error: &WyomingError) -> Error {
    let code = match error {
        WyomingError::TooLong { .. } => Code::TooLarge,
        _ => Code::BadRequest,
    };
    Error::new(code, error.to_string())
}
