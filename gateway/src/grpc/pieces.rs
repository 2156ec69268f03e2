//! A gRPC response whose messages come as pieces of memory: large ones leave as DATA frames of their own and are not copied, small ones
//! leave together. The status is in the trailers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// From here on a piece leaves by itself.
const LARGE: usize = 16 << 10;

/// Where a response's messages come from.
pub(super) trait Messages: Send + Unpin + 'static {
    /// The next message's encoding; then how the call ends.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Bytes>, Status>>;
}

/// A call that is answered with these.
pub(super) fn answering(messages: impl Messages) -> Response {
    let answer = Answer {
        messages,
        pieces: VecDeque::new(),
        status: None,
        over: false,
    };
    let mut response = Response::new(Body::new(answer));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// One message, and that is all.
pub(super) struct Once(pub(super) Option<Vec<Bytes>>);

impl Messages for Once {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Vec<Bytes>, Status>> {
        Poll::Ready(self.0.take().ok_or_else(|| Status::ok("")))
    }
}

struct Answer<M> {
    messages: M,
    pieces: VecDeque<Bytes>,
    status: Option<Status>,
    over: bool,
}

impl<M: Messages> Answer<M> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.pieces.is_empty() && self.status.is_none() {
            match ready!(self.messages.poll_next(cx)) {
                Ok(message) => {
                    let length: usize = message.iter().map(Bytes::len).sum();
                    let mut prefix = BytesMut::with_capacity(5);
                    prefix.put_u8(0);
                    // A message is far below 4 GiB: the limits of what makes frames see to it.
                    prefix.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
                    self.pieces.push_back(prefix.freeze());
                    self.pieces.extend(message);
                }
                Err(status) => self.status = Some(status),
            }
        }
        Poll::Ready(())
    }

    /// The small pieces that come next as one, or the large one.
    fn take(&mut self) -> Option<Bytes> {
        if self.pieces.front()?.len() >= LARGE {
            return self.pieces.pop_front();
        }
        let mut together = BytesMut::new();
        while let Some(piece) = self.pieces.front().filter(|piece| piece.len() < LARGE) {
            together.put_slice(piece);
            self.pieces.pop_front();
        }
        Some(together.freeze())
    }
}

impl<M: Messages> HttpBody for Answer<M> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        ready!(this.poll_fill(cx));
        if let Some(piece) = this.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        this.over = true;
        let mut trailers = HeaderMap::new();
        let status = this.status.take().unwrap_or_else(|| Status::ok(""));
        let _added = status.add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
