//! WHIP (RFC 9725) and its mirror WHEP: a session is opened by a `POST` of an offer and lives at the resource in `Location`.
//!
//! All server candidates are in the answer. The resource takes `PATCH` for trickled candidates and ICE restarts, `DELETE` for the
//! end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tidegate_media::Kind;
use tidegate_nodes::compile::Pipeline;
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::Source;
use tidegate_signaling::whip::{FRAGMENT_TYPE, Fragment, PatchRefusal};
use tidegate_signaling::{Capabilities, Role, SignalingError};
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::offers::{Answer, Offer, connect, hang_up};
use super::ws::JoinQuery;
use crate::auth::Caller;
use crate::errors::HttpError;
use crate::gateway::{Gateway, WebrtcParts};
use crate::links::webrtc::PeerCommand;

pub(super) const SDP: &str = "application/sdp";
const SESSION: HeaderName = HeaderName::from_static("tidegate-session");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// The resources that `Location` names, by their unguessable names.
#[derive(Default)]
pub(crate) struct Resources {
    peers: Mutex<HashMap<String, Resource>>,
}

/// A peer, and whose it is.
pub(super) struct Resource {
    pub(super) owner: Arc<str>,
    pub(super) commands: mpsc::Sender<PeerCommand>,
}

impl Resources {
    pub(super) fn insert(&self, name: String, resource: Resource) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        // Peers that ended took their receivers along; their number is bounded by that of the sessions between two openings.
        peers.retain(|_, resource| !resource.commands.is_closed());
        peers.insert(name, resource);
    }

    /// The peer, for the caller that opened it and for who administers sessions.
    pub(super) fn get(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<mpsc::Sender<PeerCommand>, Error> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = peers
            .get(name)
            .filter(|resource| !resource.commands.is_closed());
        let found = found.ok_or_else(|| {
            Error::new(Code::UnknownSession, "no such resource; it may have ended")
        })?;
        if found.owner != caller.name {
            caller.grants.may_administer()?;
        }
        Ok(found.commands.clone())
    }
}

/// `POST …/whip` and `POST …/whep`, by the role of whom they answer.
pub(crate) async fn named(
    role: Role,
    (caller, State(gateway)): (Caller, Shared),
    Path(name): Path<String>,
    Query(query): Query<JoinQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, HttpError> {
    open(
        (caller, &gateway),
        Some(name),
        &query,
        &headers,
        &body,
        role,
    )
    .await
}

/// `POST /v1/whip?manifest=`.
pub(crate) async fn whip_any(
    caller: Caller,
    State(gateway): Shared,
    Query(query): Query<JoinQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, HttpError> {
    open(
        (caller, &gateway),
        None,
        &query,
        &headers,
        &body,
        Role::Whip,
    )
    .await
}

async fn open(
    (caller, gateway): (Caller, &Arc<Gateway>),
    name: Option<String>,
    query: &JoinQuery,
    headers: &HeaderMap,
    body: &Bytes,
    role: Role,
) -> Result<Response, HttpError> {
    let webrtc = parts(gateway)?;
    let offer = self::offer(headers, body)?;
    let source = source(&name, query)?;
    let (pipeline, _) = gateway.pipeline(&caller, &source)?;
    let offer = Offer {
        text: offer,
        role,
        capabilities: capabilities(&pipeline, role),
        source,
        realtime: None,
    };
    let Answer {
        answer,
        tag,
        resource,
        session,
    } = connect((caller, gateway), offer, query).await?;
    let kind = if role == Role::Whip { "whip" } else { "whep" };
    // The resource's name says all; what stands before it is for people.
    let name = name.as_deref().unwrap_or("inline");
    let location = format!("/v1/pipelines/{name}/{kind}/{resource}");
    let mut response = (StatusCode::CREATED, answer).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    out.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT_TYPE));
    for (name, value) in [
        (header::LOCATION, location),
        (header::ETAG, tag),
        (SESSION, session),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            out.insert(name, value);
        }
    }
    add_links(webrtc, out);
    Ok(response)
}

/// The description that a request has.
pub(super) fn offer<'a>(headers: &HeaderMap, body: &'a Bytes) -> Result<&'a str, Error> {
    require_type(headers, SDP)?;
    std::str::from_utf8(body)
        .map_err(|_| Error::new(Code::BadRequest, "the offer is not UTF-8 text"))
}

/// What runs: what the path names, or the manifest in the query.
fn source(name: &Option<String>, query: &JoinQuery) -> Result<Source, Error> {
    match (name, &query.manifest) {
        (Some(name), None) => Ok(Source::Pipeline(name.clone())),
        (None, Some(manifest)) => Ok(Source::Manifest(manifest.clone())),
        (Some(name), Some(_)) => {
            let text = format!("?manifest= on the path of '{name}': post it to /v1/whip");
            Err(Error::new(Code::BadRequest, text))
        }
        (None, None) => {
            let text =
                "it is not said what to run: add ?manifest=, or post to /v1/pipelines/<name>/whip";
            Err(Error::new(Code::BadRequest, text))
        }
    }
}

/// What the pipeline can take from this client and give it.
pub(super) fn capabilities(pipeline: &Pipeline, role: Role) -> Capabilities {
    let plan = pipeline.outline();
    let takes = |kind: Kind| plan.inputs.iter().any(|input| input.kind == kind);
    let gives = |kind: Kind| plan.outputs.iter().any(|output| output.kind == kind);
    let whip = role == Role::Whip;
    Capabilities {
        receive_audio: whip && takes(Kind::Audio),
        send_audio: gives(Kind::Audio),
        receive_video: whip && takes(Kind::Video),
        send_video: gives(Kind::Video),
        ..Capabilities::everything()
    }
}

/// `OPTIONS` tells what may be posted, and carries the ICE servers before there is a session (RFC 9725 §4.6).
pub(crate) async fn options(caller: Caller, State(gateway): Shared) -> Result<Response, HttpError> {
    // Credentials of a relay are for who may open something.
    caller.grants.may_open()?;
    let webrtc = parts(&gateway)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let out = response.headers_mut();
    out.insert(ACCEPT_POST, HeaderValue::from_static(SDP));
    out.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT_TYPE));
    add_links(webrtc, out);
    Ok(response)
}

/// `GET` on the resource: it is there, and that is all there is to say.
pub(crate) async fn resource_get(
    caller: Caller,
    State(gateway): Shared,
    Path((_, resource)): Path<(String, String)>,
) -> Result<StatusCode, HttpError> {
    parts(&gateway)?.resources.get(&caller, &resource)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PATCH` on the resource: candidates, or an ICE restart.
pub(crate) async fn resource_patch(
    caller: Caller,
    State(gateway): Shared,
    Path((_, resource)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, HttpError> {
    let webrtc = parts(&gateway)?;
    let commands = webrtc.resources.get(&caller, &resource)?;
    require_type(&headers, FRAGMENT_TYPE)?;
    let text = std::str::from_utf8(&body)
        .map_err(|_| Error::new(Code::BadRequest, "the fragment is not UTF-8 text"))?;
    let fragment = Fragment::parse(text, webrtc.peers.limits.max_sdp).map_err(signaling)?;
    let if_match = headers
        .get(header::IF_MATCH)
        .and_then(|value| value.to_str().ok());
    let (reply, answer) = oneshot::channel();
    let command = PeerCommand::Patch {
        if_match: if_match.map(str::to_owned),
        fragment,
        reply,
    };
    commands.send(command).await.map_err(|_| ended())?;
    match answer.await.map_err(|_| ended())? {
        Ok(None) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Some((parameters, tag))) => {
            let mut response = (StatusCode::OK, parameters.to_fragment()).into_response();
            let out = response.headers_mut();
            out.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(FRAGMENT_TYPE),
            );
            if let Ok(tag) = HeaderValue::from_str(&tag) {
                out.insert(header::ETAG, tag);
            }
            Ok(response)
        }
        Err(refusal) => Err(refused(refusal)),
    }
}

/// `DELETE` on the resource: exactly 200 (RFC 9725 §4.2).
pub(crate) async fn resource_delete(
    caller: Caller,
    State(gateway): Shared,
    Path((_, resource)): Path<(String, String)>,
) -> Result<StatusCode, HttpError> {
    hang_up(&caller, &gateway, &resource).await?;
    Ok(StatusCode::OK)
}

fn refused(refusal: PatchRefusal) -> HttpError {
    let (status, text) = match refusal {
        PatchRefusal::PreconditionRequired => (
            StatusCode::PRECONDITION_REQUIRED,
            "PATCH needs If-Match: the ETag of the answer, or '*' for an ICE restart",
        ),
        PatchRefusal::PreconditionFailed => (
            StatusCode::PRECONDITION_FAILED,
            "If-Match names another ICE generation than the session has now",
        ),
    };
    HttpError::with_status(Error::new(Code::BadRequest, text), status)
}

pub(super) fn signaling(error: SignalingError) -> HttpError {
    let status = StatusCode::from_u16(error.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let code = match status {
        StatusCode::NOT_ACCEPTABLE => Code::UnsupportedMedia,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        status if status.is_client_error() => Code::BadRequest,
        _ => Code::Internal,
    };
    HttpError::with_status(Error::new(code, error.to_string()), status)
}

pub(super) fn parts(gateway: &Gateway) -> Result<&WebrtcParts, Error> {
    gateway.webrtc.as_ref().ok_or_else(|| {
        Error::new(
            Code::UnsupportedMedia,
            "this gateway was started without WebRTC",
        )
    })
}

fn require_type(headers: &HeaderMap, wanted: &str) -> Result<(), Error> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim();
    if kind.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let shown: String = kind.chars().take(64).collect();
    let text = format!("content type '{shown}' where '{wanted}' is needed");
    Err(Error::new(Code::UnsupportedMedia, text))
}

fn add_links(webrtc: &WebrtcParts, headers: &mut HeaderMap) {
    let now = crate::clock::unix_seconds();
    for server in &webrtc.ice_servers {
        let grant = match server.grant("tidegate", now) {
            Ok(grant) => grant,
            Err(error) => {
                tracing::error!(%error, "no credentials for an ICE server");
                continue;
            }
        };
        let values = grant
            .link_values()
            .into_iter()
            .filter_map(|v| HeaderValue::from_str(&v).ok());
        for value in values {
            headers.append(header::LINK, value);
        }
    }
}

pub(super) fn ended() -> Error {
    Error::new(Code::UnknownSession, "the session has just ended")
}
