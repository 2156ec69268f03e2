//! The answer of `Gateway.Stream`: what waits in a link's outbox as the body of an HTTP/2 response, with the status in its trailers.
//!
//! Small messages that wait together leave as one DATA frame. A large payload leaves as a frame of its own, which is the memory that
//! the pipeline gave out: it is not copied.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tidegate_nodes::{Code, Error, Fault, Phase};
use tidegate_proto::v1::server_message::Message;
use tidegate_proto::{protobuf, v1};
use tonic::Status;

use crate::errors::status;
use crate::links::outbox::Delivery;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// Bytes of small messages that leave together.
const TOGETHER: usize = 16 << 10;
/// The flag of compression and the length, big-endian.
const PREFIX: usize = 5;

/// A call that was refused before it began: its status is all that it gets.
pub(super) fn refusal(status: &Status) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC);
    // What cannot be a header's value is left out by the library; the code always can.
    let _added = status.add_header(headers);
    response
}

/// A call that goes on until the delivery ends.
pub(super) fn streaming(delivery: Delivery<v1::ServerMessage>) -> Response {
    let messages = Messages {
        delivery,
        buffer: BytesMut::new(),
        payload: Bytes::new(),
        error: None,
        status: None,
        over: false,
    };
    let mut response = Response::new(Body::new(messages));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

struct Messages {
    delivery: Delivery<v1::ServerMessage>,
    buffer: BytesMut,
    /// A large payload, which follows what is in the buffer.
    payload: Bytes,
    /// What the session told its client of its end.
    error: Option<Status>,
    /// How the call ends, once nothing more comes.
    status: Option<Status>,
    over: bool,
}

impl Messages {
    /// Takes what waits into the buffer, up to the next large payload.
    fn poll_fill(&mut self, cx: &mut Context<'_>) {
        while self.buffer.len() < TOGETHER && self.payload.is_empty() && self.status.is_none() {
            match self.delivery.poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(message)) => self.encode(message),
                Poll::Ready(None) => {
                    let error = self.error.take();
                    self.status = Some(error.unwrap_or_else(|| Status::ok("")));
                }
            }
        }
    }

    fn encode(&mut self, message: v1::ServerMessage) {
        if let Some(Message::Error(error)) = &message.message {
            self.error = Some(status(&said(error)));
        }
        let start = self.buffer.len();
        self.buffer.put_bytes(0, PREFIX);
        self.payload = protobuf::encode_server_split(message, &mut self.buffer);
        let length = self.buffer.len() - start - PREFIX + self.payload.len();
        // A message is far below 4 GiB: the limits of what makes frames see to it.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.buffer[start + 1..start + PREFIX].copy_from_slice(&length.to_be_bytes());
    }
}

/// An error message as the error that it was made from.
fn said(error: &v1::Error) -> Error {
    let code = Code::from_name(&error.code).unwrap_or(Code::Internal);
    let faults = [Fault::Client, Fault::Gateway, Fault::Worker];
    let phases = [Phase::Connect, Phase::FirstOutput, Phase::Gap, Phase::Call];
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Error {
        fault: faults
            .into_iter()
            .find(|fault| fault.as_str() == error.fault)
            .unwrap_or_else(|| code.fault()),
        retryable: error.retryable,
        hop: known(&error.hop),
        endpoint: known(&error.endpoint),
        phase: phases
            .into_iter()
            .find(|phase| phase.as_str() == error.phase),
        ..Error::new(code, error.message.clone())
    }
}

impl HttpBody for Messages {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        this.poll_fill(cx);
        if !this.buffer.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(this.buffer.split().freeze()))));
        }
        if !this.payload.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.payload)))));
        }
        if this.over {
            return Poll::Ready(None);
        }
        let Some(status) = this.status.take() else {
            return Poll::Pending;
        };
        this.over = true;
        let mut trailers = HeaderMap::new();
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::BodyExt as _;
    use tidegate_media::Timestamp;
    use tidegate_proto::message::PortFormats;
    use tidegate_proto::v1::frame::Payload;

    use super::*;
    use crate::links::outbox::outbox;

    fn frame(length: usize) -> v1::ServerMessage {
        let data = vec![7; length].into();
        v1::ServerMessage {
            message: Some(Message::Frame(v1::Frame {
                port: "out".to_owned(),
                payload: Some(Payload::Binary(v1::Binary { data })),
                ..v1::Frame::default()
            })),
        }
    }

    async fn collect(messages: Vec<v1::ServerMessage>) -> (Vec<Bytes>, HeaderMap) {
        let (mut outbox, delivery) = outbox(16);
        for message in messages {
            outbox.push(message);
        }
        let mut body = streaming(delivery).into_body();
        let (mut pieces, mut trailers) = (Vec::new(), HeaderMap::new());
        let read = async {
            while let Some(frame) = body.frame().await {
                match frame.expect("no error").into_data() {
                    Ok(data) => pieces.push(data),
                    Err(frame) => trailers = frame.into_trailers().expect("trailers"),
                }
            }
        };
        // As the session does: its link stays until everything is taken.
        let link = async {
            poll_fn(|cx| outbox.poll_empty(cx)).await;
            drop(outbox);
        };
        tokio::join!(read, link);
        (pieces, trailers)
    }

    #[tokio::test]
    async fn small_messages_leave_together_and_a_large_payload_by_itself() {
        let messages = vec![frame(10), frame(20), frame(1 << 20), frame(30)];
        let (pieces, trailers) = collect(messages.clone()).await;
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1].len(), 1 << 20);
        let mut all = Bytes::from(pieces.concat());
        for message in messages {
            let prefix = all.split_to(PREFIX);
            let length = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes"));
            let bytes = all.split_to(usize::try_from(length).expect("small"));
            let (now, formats) = (Timestamp::ZERO, PortFormats::default());
            let got = protobuf::decode_server_bytes(bytes, now, &formats);
            let sent = protobuf::decode_server(message, now, &formats);
            assert_eq!(got.expect("whole"), sent.expect("whole"));
        }
        assert_eq!(trailers["grpc-status"], "0");
    }

    #[tokio::test]
    async fn a_session_that_failed_ends_its_call_with_the_errors_status() {
        let error = Message::Error(v1::Error {
            code: "bad_request".to_owned(),
            message: "frame 7 where 6 was due".to_owned(),
            fault: "client".to_owned(),
            ..v1::Error::default()
        });
        let message = v1::ServerMessage {
            message: Some(error),
        };
        let (pieces, trailers) = collect(vec![message]).await;
        assert_eq!(pieces.len(), 1);
        assert_eq!(trailers["grpc-status"], "3");
        assert!(trailers.contains_key("grpc-status-details-bin"));
    }
}
