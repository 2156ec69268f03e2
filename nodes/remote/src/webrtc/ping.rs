//! Whether WebRTC to an endpoint works, without a session: an offer to `/v1/whip/ping`, ICE, DTLS, a data channel, and a word that comes
//! back on it.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tidegate_media::Timestamp;
use tidegate_signaling::{ChannelMessage, ClientPeer, Offer, PeerConfig, PeerEvent};

use super::open::{bind, misunderstood, post};
use super::wire::Wire;
use crate::auth::Credential;
use crate::connector::Connector;
use crate::dial::Place;
use crate::error::RemoteError;
use crate::pool::Member;
use crate::refusal;

/// Where a Tidegate answers.
const PATH: &str = "/v1/whip/ping";
/// The channel, and what is said on it.
const CHANNEL: &str = "ping";
/// How long connecting to the signalling may take. A check has a limit of its own, which is shorter as a rule.
const CONNECT: Duration = Duration::from_secs(5);

/// The round trip on the data channel; `None` if the endpoint has nothing that answers pings, which says nothing of its WebRTC. Has no
/// limit of its own. Cancel safe.
///
/// # Errors
/// It cannot be reached, takes nothing at present, or WebRTC to it does not work.
pub(crate) async fn ping(
    connector: &Connector,
    member: &Member,
    credential: &Credential,
    clock: &(impl Fn() -> Timestamp + Sync),
) -> Result<Option<Duration>, RemoteError> {
    let place = Place::of(member)?;
    let socket = bind(&place).await?;
    let local = socket.local_addr();
    let local =
        local.map_err(|error| RemoteError::Network(format!("no socket for media: {error}")))?;
    let client = ClientPeer::offer(
        &PeerConfig::new(connector.webrtc().get()?, vec![local]),
        &Offer {
            audio: None,
            video: None,
            sends: false,
            receives: false,
            data: true,
        },
    );
    let url = place.at(PATH)?;
    let (head, body) = post(connector, member, credential, url, client.sdp(), CONNECT).await?;
    match head.status {
        StatusCode::CREATED => {}
        status if status.is_server_error() => {
            return Err(refusal::error(status, &head.headers, &body));
        }
        // An older worker, somebody else's, or one that keeps it to itself.
        _ => return Ok(None),
    }
    let answer = std::str::from_utf8(&body)
        .map_err(|_| RemoteError::Protocol("an answer that is not UTF-8 text".into()))?;
    let peer = client
        .set_answer(Wire::now(), answer)
        .map_err(|error| misunderstood(&error))?;
    let mut wire = Wire::new(peer, socket);
    wire.peer.open_channel(Wire::now(), CHANNEL, "");
    let mut said = None;
    let came = poll_fn(|cx| heard(cx, &mut wire, &mut said, clock)).await?;
    Ok(Some(came))
}

/// Says a word once the channel is open; ready when it has come back.
fn heard(
    cx: &mut Context<'_>,
    wire: &mut Wire,
    said: &mut Option<Timestamp>,
    clock: &impl Fn() -> Timestamp,
) -> Poll<Result<Duration, RemoteError>> {
    loop {
        wire.drive(cx, None)?;
        let mut spoke = false;
        while let Some(event) = wire.peer.poll_event() {
            match event {
                PeerEvent::PathChanged(to) => wire.tie(to),
                PeerEvent::ChannelOpen { id, .. } => {
                    let word = ChannelMessage::Binary(Bytes::from_static(CHANNEL.as_bytes()));
                    // An error means that the peer has ended, which is an event.
                    spoke |= wire.peer.send_channel(Wire::now(), id, &word).is_ok();
                    *said = Some(clock());
                }
                PeerEvent::ChannelMessage { .. } => {
                    let said = said.unwrap_or_else(clock);
                    return Poll::Ready(Ok(clock().saturating_since(said)));
                }
                PeerEvent::Failed(failure) => {
                    let text = format!("WebRTC to the worker does not work: {failure}");
                    return Poll::Ready(Err(RemoteError::Network(text)));
                }
                PeerEvent::Closed => {
                    let text = "worker closed the WebRTC connection instead of answering";
                    return Poll::Ready(Err(RemoteError::Network(text.into())));
                }
                _ => {}
            }
        }
        if !spoke {
            return Poll::Pending;
        }
    }
}
