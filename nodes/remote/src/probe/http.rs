//! The check of everything that is spoken to over HTTP: HTTP itself, WebSocket, and WebRTC where a path is configured or nothing answers pings.

use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tidegate_media::Timestamp;
use tidegate_nodes::Code;

use super::unmade;
use crate::auth::Credential;
use crate::connector::{Connector, USER_AGENT};
use crate::dial::{Place, dial};
use crate::error::RemoteError;
use crate::pool::Member;

/// Where Tidegate and much of what runs in clusters says whether it takes work.
const PATH: &str = "/readyz";

/// One request on a connection of its own, which is what a new session will need as well.
pub(super) async fn check(
    connector: &Connector,
    member: &Member,
    (path, usual): (Option<&str>, Option<&str>),
    credential: &Credential,
    clock: &(impl Fn() -> Timestamp + Sync),
) -> Result<Duration, Code> {
    let config = |error: &dyn std::fmt::Display| unmade(member, &error.to_string());
    let place = Place::of(member).map_err(|error| config(&error))?;
    let mut request = Request::get(path.or(usual).unwrap_or(PATH))
        .header(header::HOST, &place.authority)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| config(&error))?;
    for (name, value) in credential.headers() {
        request.headers_mut().append(name, value.clone());
    }
    let stream = match dial(connector, &place, credential.tls()).await {
        Err(RemoteError::Config(error)) => return Err(config(&error)),
        other => other.map_err(|_| Code::Network)?,
    };
    let network = |_: hyper::Error| Code::Network;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(network)?;
    let began = clock();
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // It does its work when it is polled. When it is over, so is the request.
        _ = connection => answer.await,
    };
    let answer = answer.map_err(network)?;
    let took = clock() - began;
    if is_well(answer.status(), path.is_some()) {
        Ok(took)
    } else {
        Err(Code::Overloaded)
    }
}

/// A page that somebody configured must succeed; that a server lacks the usual one, or does not show it, says only that it is there.
fn is_well(status: StatusCode, configured: bool) -> bool {
    status.is_success() || !configured && (status.is_redirection() || status.is_client_error())
}
