//! Answers as events: `text/event-stream`, `data` only.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use http::header;
use serde_json::Value;

/// An answer of events.
pub(super) fn response<S>(events: S) -> Response
where
    S: Stream<Item = Value> + Send + 'static,
{
    use futures_util::StreamExt as _;
    let events = events.map(|event| Ok::<_, Infallible>(Bytes::from(format!("data: {event}\n\n"))));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}
