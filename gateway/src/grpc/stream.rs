//! `tidegate.v1.Gateway/Stream`, the method that carries media, from the request to a session.
//!
//! It stands beside the library's service because a large payload is then copied neither on its way in ([`super::reader`]) nor on its
//! way out ([`super::response`]); the other methods are the library's.

use std::future::poll_fn;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::{ClientMessage, Open, PortFormats};
use tidegate_proto::protobuf;

use super::reader::{Reader, Unreadable};
use super::response;
use crate::auth;
use crate::errors::status;
use crate::gateway::Gateway;
use crate::links::grpc::{GrpcLink, ROOM};
use crate::links::native::Native;
use crate::links::outbox::outbox;
use crate::links::wire::malformed;
use crate::session::open;

/// Answers one call.
pub(super) async fn stream(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        // As gRPC over HTTP2 asks: a caller that does not speak gRPC gets an HTTP status.
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let caller = auth::caller(request.extensions());
    let timeout = super::timeout(request.headers());
    let mut incoming = Reader::new(request.into_body(), gateway.config.limits.message.0);
    let begun = async {
        let caller = caller?;
        let open = opening(&gateway, &mut incoming).await?;
        let (outgoing, delivery) = outbox(ROOM);
        let request = open::Request {
            caller,
            source: open.source.clone(),
            parameters: open.parameters.clone(),
            key: open.session.clone(),
            hop_count: open.hop_count,
            deadline: super::sooner(timeout, open.deadline),
            link: Box::new(GrpcLink::new(Native::new(open), incoming, outgoing)),
        };
        gateway.open(request).await?;
        Ok(delivery)
    };
    match begun.await {
        Ok(delivery) => response::streaming(delivery),
        Err(error) => response::refusal(&status(&error)),
    }
}

/// The first message, which must come soon and be `open`.
async fn opening(gateway: &Gateway, incoming: &mut Reader) -> Result<Open, Error> {
    let patience = gateway.config.limits.open.0;
    let first = tokio::time::timeout(patience, poll_fn(|cx| incoming.poll_next(cx))).await;
    let first = match first {
        Err(_) => return Err(bad("no open message in time")),
        Ok(None | Some(Err(Unreadable::Gone))) => {
            return Err(bad("the stream ended before open"));
        }
        Ok(Some(Err(Unreadable::Bad(error)))) => return Err(error),
        Ok(Some(Ok(first))) => first,
    };
    let now = gateway.clock.now();
    let decoded = protobuf::decode_client_bytes(first, now, &PortFormats::default());
    match decoded.map_err(|error| malformed(&error))? {
        ClientMessage::Open(open) => Ok(*open),
        _ => Err(bad("the first message must be open")),
    }
}

fn bad(text: &str) -> Error {
    Error::new(Code::BadRequest, text)
}
