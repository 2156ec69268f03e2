//! `POST /v1/realtime/calls`: OpenAI Realtime over WebRTC. The offer is the body, or a part of a form beside what the session is to be.
//!
//! The peer is WHIP's, and so is the session; its data channel `oai-events` carries the events.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::Source;
use tidegate_signaling::Role;

use super::super::Shared;
use super::super::offers::{self, Answer, Offer, connect};
use super::super::whip::{SDP, capabilities};
use super::super::ws::JoinQuery;
use super::realtime::{ModelQuery, codec, model};
use crate::auth::Caller;
use crate::errors::HttpError;

/// Parts of a form that are read: an offer and a session.
const PARTS: usize = 8;

/// What a request has.
#[derive(Debug, Default)]
struct Call {
    sdp: String,
    session: Map<String, Value>,
}

/// Answers an offer.
pub(crate) async fn call(
    caller: Caller,
    State(gateway): Shared,
    Query(named): Query<ModelQuery>,
    Query(query): Query<JoinQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, HttpError> {
    let call = read(&headers, body).await?;
    let model = model(&caller, named, &call.session)?;
    let realtime = codec(
        (&caller, &gateway),
        &model,
        &query,
        Some(&call.session),
        true,
    )?;
    let pipeline = gateway.named(&caller, &model)?;
    let mut capabilities = capabilities(&pipeline, Role::Whip);
    (capabilities.receive_video, capabilities.send_video) = (false, false);
    let offer = Offer {
        text: &call.sdp,
        role: Role::Whip,
        capabilities,
        source: Source::Pipeline(model),
        realtime: Some(realtime),
    };
    let answered = connect((caller, &gateway), offer, &query).await?;
    let Answer {
        answer, resource, ..
    } = answered;
    let mut response = (StatusCode::CREATED, answer).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    let location = format!("/v1/realtime/calls/{resource}");
    if let Ok(location) = HeaderValue::from_str(&location) {
        out.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `POST /v1/realtime/calls/{resource}/hangup`.
pub(crate) async fn hang_up(
    caller: Caller,
    State(gateway): Shared,
    Path(resource): Path<String>,
) -> Result<StatusCode, HttpError> {
    offers::hang_up(&caller, &gateway, &resource).await?;
    Ok(StatusCode::OK)
}

/// Reads the body: the offer alone, or a form.
async fn read(headers: &HeaderMap, body: Bytes) -> Result<Call, Error> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Ok(boundary) = multer::parse_boundary(kind) else {
        let sdp = super::super::whip::offer(headers, &body)?.to_owned();
        return Ok(Call {
            sdp,
            ..Call::default()
        });
    };
    let bad = |error: &dyn std::fmt::Display| {
        let text = format!("the form cannot be read: {error}: it has the fields sdp and session");
        Error::new(Code::BadRequest, text)
    };
    let body = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    let mut form = multer::Multipart::new(body, boundary);
    let mut call = Call::default();
    for _ in 0..PARTS {
        let Some(part) = form.next_field().await.map_err(|error| bad(&error))? else {
            break;
        };
        let name = part.name().unwrap_or_default().to_owned();
        let text = part.text().await.map_err(|error| bad(&error))?;
        match name.as_str() {
            "sdp" => call.sdp = text,
            "session" => call.session = serde_json::from_str(&text).map_err(|e| bad(&e))?,
            _ => return Err(bad(&"it has another field")),
        }
    }
    if call.sdp.is_empty() {
        return Err(bad(&"it has no sdp"));
    }
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn form(kind: &str, body: &str) -> Result<Call, Error> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_str(kind).expect("a value");
        headers.insert(header::CONTENT_TYPE, kind);
        read(&headers, Bytes::copy_from_slice(body.as_bytes())).await
    }

    #[tokio::test]
    async fn an_offer_comes_alone_or_in_a_form_with_the_session() {
        let call = form("application/sdp", "v=0").await.expect("an offer");
        assert_eq!((call.sdp.as_str(), call.session.len()), ("v=0", 0));
        let part = |name: &str, text: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let kind = "multipart/form-data; boundary=x";
        let both = part("sdp", "v=0") + &part("session", r#"{"model": "echo"}"#) + "--x--\r\n";
        let call = form(kind, &both).await.expect("a form");
        assert_eq!(
            (call.sdp.as_str(), &call.session["model"]),
            ("v=0", &"echo".into())
        );
        for broken in ["--x--\r\n", "", &part("session", "{")] {
            assert!(form(kind, broken).await.is_err(), "{broken}");
        }
        assert!(form("text/plain", "v=0").await.is_err());
    }
}
