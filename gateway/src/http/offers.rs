//! From an offer over HTTP to a session with its peer, whatever the path is called that it came on.

use std::sync::Arc;

use http::StatusCode;
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::{Open, Source};
use tidegate_signaling::whip::etag;
use tidegate_signaling::{Capabilities, Peer, Role};
use tokio::sync::mpsc;

use super::whip::{Resource, ended, parts, signaling};
use super::ws::JoinQuery;
use crate::auth::Caller;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::links::realtime::Realtime;
use crate::links::webrtc::{PeerCommand, WebrtcLink};
use crate::session::open::Request;
use crate::session::table::new_id;

/// Commands for one peer that wait: `PATCH`es of one client, each answered before it should send the next.
const COMMANDS: usize = 16;

/// What somebody offers.
pub(super) struct Offer<'a> {
    /// The description.
    pub(super) text: &'a str,
    pub(super) role: Role,
    pub(super) capabilities: Capabilities,
    pub(super) source: Source,
    /// What its channel speaks instead of the native stream.
    pub(super) realtime: Option<Realtime>,
}

/// What it is answered.
pub(super) struct Answer {
    pub(super) answer: String,
    pub(super) tag: String,
    /// The unguessable name of what was opened.
    pub(super) resource: String,
    /// The session's id.
    pub(super) session: String,
}

/// Answers an offer, and opens the session that it is for.
///
/// # Errors
/// The offer cannot be taken, or no session takes its client.
pub(super) async fn connect(
    (caller, gateway): (Caller, &Arc<Gateway>),
    offer: Offer<'_>,
    query: &JoinQuery,
) -> Result<Answer, HttpError> {
    let webrtc = parts(gateway)?;
    let at = gateway.clock.instant(gateway.clock.now());
    let role = offer.role;
    let accepted = Peer::accept(&webrtc.peers, offer.text, role, &offer.capabilities, at);
    let (peer, answer) = accepted.map_err(signaling)?;
    let route = webrtc.media.register(peer.local_ufrag()).ok_or_else(|| {
        Error::new(
            Code::Overloaded,
            "the media socket has all the sessions that it takes",
        )
    })?;
    let tag = etag(peer.local_ufrag());
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let open = Open {
        source: offer.source,
        parameters: query.parameters()?,
        mode: query.mode()?,
        features: query.features(),
        session: query.session.clone(),
        as_ports: query.ports()?,
        hop_count: query.hop_count,
        deadline: query.deadline(),
        ..Open::default()
    };
    let owner = Arc::clone(&caller.name);
    let (source, parameters) = (open.source.clone(), open.parameters.clone());
    let (key, deadline) = (open.session.clone(), open.deadline);
    let mut link = WebrtcLink::new(peer, route, gateway.clock, receiver, open);
    if let Some(realtime) = offer.realtime {
        link = link.speaking(realtime);
    }
    let request = Request {
        caller,
        source,
        parameters,
        key,
        hop_count: query.hop_count,
        deadline,
        link: Box::new(link),
    };
    let handle = gateway.open(request).await.map_err(|error| {
        // Tracks that the pipeline cannot serve (RFC 9725 §4.2).
        let misfit = error.code == Code::Incompatible && !error.retryable && role == Role::Whip;
        let status = misfit.then_some(StatusCode::NOT_ACCEPTABLE);
        HttpError { error, status }
    })?;
    let resource = new_id();
    let named = Resource { owner, commands };
    webrtc.resources.insert(resource.clone(), named);
    Ok(Answer {
        answer,
        tag,
        resource,
        session: handle.id,
    })
}

/// Ends what an offer opened.
///
/// # Errors
/// There is no such resource, or it is somebody else's.
pub(super) async fn hang_up(
    caller: &Caller,
    gateway: &Gateway,
    resource: &str,
) -> Result<(), HttpError> {
    let commands = parts(gateway)?.resources.get(caller, resource)?;
    let sent = commands.send(PeerCommand::Close).await;
    sent.map_err(|_| ended())?;
    Ok(())
}
