//! An open `Gateway.Stream` as a link.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream as _;
use tidegate_media::Timestamp;
use tidegate_proto::{ClientMessage, PortFormats, ServerMessage, protobuf};
use tonic::Streaming;

use super::codec::Received;
use super::{ToWorker, status};
use crate::auth::Credential;
use crate::connector::Lease;
use crate::error::RemoteError;
use crate::link::{Counts, FramePlace, Link};
use crate::outbox::Outbox;

/// Both directions of an open stream, and the connection that it counts on.
pub(super) struct GrpcLink {
    pub(super) outbox: Outbox<ToWorker>,
    pub(super) incoming: Streaming<Received>,
    pub(super) formats: PortFormats,
    pub(super) credential: Credential,
    pub(super) _lease: Lease,
}

impl Link for GrpcLink {
    fn send(
        &mut self,
        message: ClientMessage,
        frame: Option<FramePlace>,
        now: Timestamp,
    ) -> Result<(), RemoteError> {
        self.outbox
            .push(frame, protobuf::encode_client(message, now))
    }

    fn discard_frames(&mut self) -> Counts {
        self.outbox.discard_frames()
    }

    fn take_sent(&mut self) -> Counts {
        self.outbox.take_sent()
    }

    fn wake_when_taken(&mut self, cx: &Context<'_>) {
        self.outbox.wake_when_taken(cx.waker());
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
    ) -> Poll<Option<Result<ServerMessage, RemoteError>>> {
        loop {
            let received = std::task::ready!(Pin::new(&mut self.incoming).poll_next(cx));
            match received.map(|received| decode(received, now, &self.formats)) {
                Some(Ok(Some(message))) => return Poll::Ready(Some(Ok(message))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
                // Of a newer version.
                Some(Ok(None)) => {}
            }
        }
    }

    fn credential(&mut self) -> Option<&mut Credential> {
        Some(&mut self.credential)
    }
}

/// What came off the stream as a message of the program's own.
pub(super) fn decode(
    received: Result<Received, tonic::Status>,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<Option<ServerMessage>, RemoteError> {
    let message = received
        .map_err(|status| status::error(&status))?
        .map_err(|error| RemoteError::Protocol(format!("bytes that are no message: {error}")))?;
    Ok(protobuf::decode_server(message, now, formats)?)
}
