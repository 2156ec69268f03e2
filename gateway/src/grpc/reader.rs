//! Reads the messages of a gRPC request's body: length-prefixed, in whatever pieces HTTP/2 brings ("gRPC over HTTP2",
//! Length-Prefixed-Message).
//!
//! The library's decoder copies every message into a buffer of its own and a large one twice. Here a large message that lies in one
//! DATA frame is not copied at all: its payload is the memory that the connection read it into. One that lies in several is
//! gathered once. Small ones are copied, so that a short text that waits somewhere does not keep a megabyte alive.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use hyper::body::Body as _;
use tidegate_nodes::{Code, Error};

/// The flag of compression and the length, big-endian.
const PREFIX: usize = 5;
/// From here on a message is shared instead of copied.
const LARGE: usize = 64 << 10;

/// The messages of one request.
pub(crate) struct Reader {
    body: Body,
    /// What came and was not looked at yet.
    piece: Bytes,
    /// The prefix or message that is being gathered.
    gathered: BytesMut,
    /// The length of the message that is being gathered; `None` while its prefix is.
    length: Option<usize>,
    /// Largest message, in bytes.
    limit: usize,
}

/// Why no further message can be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The connection broke or the client cancelled the call.
    Gone,
    /// What came is no message.
    Bad(Error),
}

impl Reader {
    pub(super) fn new(body: Body, limit: usize) -> Self {
        Self {
            body,
            piece: Bytes::new(),
            gathered: BytesMut::new(),
            length: None,
            limit,
        }
    }

    /// The next message; `None` after the last. Cancel safe. After an error there is nothing more to read.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Unreadable>>> {
        loop {
            match self.take() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(error) => return Poll::Ready(Some(Err(Unreadable::Bad(error)))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // A request has no trailers in gRPC.
                    if let Ok(data) = frame.into_data() {
                        self.piece = data;
                    }
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(Unreadable::Gone))),
                None if self.gathered.is_empty() && self.length.is_none() => {
                    return Poll::Ready(None);
                }
                None => {
                    let error = bad("the stream ended within a message");
                    return Poll::Ready(Some(Err(Unreadable::Bad(error))));
                }
            }
        }
    }

    /// The length of the message that is being gathered, once its prefix is there.
    pub(super) const fn announced(&self) -> Option<usize> {
        self.length
    }

    /// A message out of the present piece, as far as it is there.
    fn take(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(length) = self.length else {
                self.gather(PREFIX);
                if self.gathered.len() < PREFIX {
                    return Ok(None);
                }
                let flag = self.gathered.get_u8();
                let length = self.gathered.get_u32();
                self.length = Some(self.check(flag, length)?);
                continue;
            };
            let large = length >= LARGE;
            if large && self.gathered.is_empty() && self.piece.len() >= length {
                self.length = None;
                return Ok(Some(self.piece.split_to(length)));
            }
            if large && self.gathered.is_empty() {
                // Its own, or the room of earlier messages would be kept with it.
                self.gathered = BytesMut::with_capacity(length);
            }
            self.gather(length);
            if self.gathered.len() < length {
                return Ok(None);
            }
            self.length = None;
            return Ok(Some(self.gathered.split().freeze()));
        }
    }

    /// Moves bytes from the piece until `length` are gathered.
    fn gather(&mut self, length: usize) {
        let missing = length - self.gathered.len();
        let more = self.piece.split_to(missing.min(self.piece.len()));
        self.gathered.extend_from_slice(&more);
    }

    fn check(&self, flag: u8, length: u32) -> Result<usize, Error> {
        if flag != 0 {
            let text = "a message is compressed, which this method does not take: send grpc-encoding identity";
            return Err(bad(text));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.limit {
            let text = format!(
                "message over the limit: {length} bytes, where limits.message is {}",
                self.limit
            );
            return Err(Error::new(Code::TooLarge, text));
        }
        Ok(length)
    }
}

fn bad(text: &str) -> Error {
    Error::new(Code::BadRequest, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend((0..length).map(|i| i.to_le_bytes()[0]));
        bytes
    }

    fn read(body: &[u8], piece: usize) -> Vec<Result<Bytes, Unreadable>> {
        let pieces: Vec<_> = body
            .chunks(piece)
            .map(|piece| Ok::<_, std::convert::Infallible>(Bytes::copy_from_slice(piece)))
            .collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let mut reader = Reader::new(body, 1 << 20);
        let mut messages = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(message)) = reader.poll_next(&mut cx) {
            let over = message.is_err();
            messages.push(message);
            if over {
                break;
            }
        }
        messages
    }

    #[test]
    fn messages_are_the_same_however_the_network_cuts_them() {
        let lengths = [70_000, 3, 65_536, 0, 65_535, 1];
        let body = lengths.map(message).concat();
        for piece in [1, 2, 3, 7, 1_000, 65_536, 70_004, 1 << 20] {
            let messages = read(&body, piece);
            assert_eq!(messages.len(), lengths.len(), "pieces of {piece}");
            for (got, length) in messages.into_iter().zip(lengths) {
                assert_eq!(
                    got.expect("a message"),
                    message(length)[PREFIX..],
                    "{piece}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_large_message_in_one_piece_is_not_copied_and_a_small_one_is() {
        let body = Bytes::from([message(100_000), message(100)].concat());
        let mut reader = Reader::new(Body::from(body.clone()), 1 << 20);
        let mut next = async || std::future::poll_fn(|cx| reader.poll_next(cx)).await;
        let large = next().await.expect("one").expect("good");
        assert_eq!(large.as_ptr(), body[PREFIX..].as_ptr());
        let small = next().await.expect("another").expect("good");
        assert!(!body.as_ptr_range().contains(&small.as_ptr()));
        assert!(next().await.is_none());
    }

    #[track_caller]
    fn refused(body: &[u8]) -> Error {
        match read(body, 4).pop() {
            Some(Err(Unreadable::Bad(error))) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_message_is_refused_before_it_is_gathered() {
        let large = refused(&[0, 0, 0x10, 0, 1]);
        assert_eq!(large.code, Code::TooLarge);
        assert_eq!(refused(&[1, 0, 0, 0, 1, 7]).code, Code::BadRequest);
        assert_eq!(refused(&[0, 0, 0, 0, 9, 7]).code, Code::BadRequest);
        assert_eq!(refused(&[0, 0, 0]).code, Code::BadRequest);
    }
}
