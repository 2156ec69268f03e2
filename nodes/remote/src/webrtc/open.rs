//! Opening: the offer by WHIP, the worker's answer, the connection, and `opened` on the data channel.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::response::Parts;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use tidegate_media::{Codec, Kind, VideoCodec as MediaVideoCodec};
use tidegate_nodes::StreamFormat;
use tidegate_proto::message::{Mode, Opened, feature};
use tidegate_signaling::{
    AudioCodec, ClientPeer, Offer, PeerConfig, SignalingError, Timing, VideoCodec,
};
use tokio::net::UdpSocket;

use super::link::WebrtcLink;
use super::wire::Wire;
use crate::auth::Credential;
use crate::config::{HopPorts, OpenContext, RemoteConfig, Target};
use crate::connector::{Connector, USER_AGENT as AGENT};
use crate::dial::{Place, escaped};
use crate::error::{RemoteError, chain};
use crate::http::failed;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;
use crate::refusal;

/// Largest answer: a description has some KiB.
const ANSWER_MAX: usize = 64 << 10;
/// How long a worker may be silent, if the hop does not say what gap it bears. Peers ask each other each half a second.
const SILENCE: Duration = Duration::from_secs(5);

/// Opens a hop's pipeline at one endpoint. Cancel safe.
pub(crate) async fn open(
    connector: &Connector,
    member: &Member,
    config: &RemoteConfig,
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = opening::credential(connector, config, context)?;
    let offer = offer(ports)?;
    let media = offer.audio.is_some() || offer.video.is_some();
    if media && context.mode == Mode::Waits {
        return Err(RemoteError::Incompatible(
            "a session that waits (a file, 'execute') cannot send audio or video by WebRTC, which is live: use transport 'grpc'".into(),
        ));
    }
    let place = Place::of(member)?;
    let socket = bind(&place).await?;
    let local = socket.local_addr().map_err(|error| unusable(&error))?;
    let mut peers = PeerConfig::new(connector.webrtc().get()?, vec![local]);
    peers.timing = timing(config.timeouts.gap);
    let client = ClientPeer::offer(&peers, &offer);
    let answer = ask(connector, member, config, &credential, &client, context).await?;
    let peer = client
        .set_answer(Wire::now(), &answer)
        .map_err(|error| misunderstood(&error))?;
    let mut link = WebrtcLink::new(Wire::new(peer, socket), credential);
    let opened = poll_fn(|cx| match link.poll_opened(cx, context.now) {
        Ok(None) => Poll::Pending,
        Ok(Some(opened)) => Poll::Ready(Ok(opened)),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await?;
    tracing::debug!(endpoint = %member, session = %opened.session_id, "remote hop opened");
    link.settle(ports, &opened)?;
    Ok((Box::new(link), *opened))
}

/// A socket with the address by which this machine reaches the worker.
pub(super) async fn bind(place: &Place) -> Result<UdpSocket, RemoteError> {
    let to = place.resolve().await?;
    let any: IpAddr = if to.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let route = async {
        let probe = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        probe.connect(to).await?;
        let from = probe.local_addr()?.ip();
        UdpSocket::bind(SocketAddr::new(from, 0)).await
    };
    route.await.map_err(|error| unusable(&error))
}

fn unusable(error: &std::io::Error) -> RemoteError {
    RemoteError::Network(format!("no socket for media: {error}"))
}

/// Media sections for what is joined, and the data channel.
fn offer(ports: &HopPorts) -> Result<Offer, RemoteError> {
    let joined = |side: &[(String, Option<StreamFormat>)]| {
        let joined = side.iter().filter_map(|(_, format)| *format);
        let media = |f: &StreamFormat| matches!(f.kind(), Kind::Audio | Kind::Video);
        joined.filter(media).collect::<Vec<_>>()
    };
    let (inputs, outputs) = (joined(&ports.inputs), joined(&ports.outputs));
    for side in [&inputs, &outputs] {
        for kind in [Kind::Audio, Kind::Video] {
            if side.iter().filter(|format| format.kind() == kind).count() > 1 {
                return Err(RemoteError::Config(format!(
                    "transport 'webrtc' carries one {kind} each way: join one port of that kind, or use transport 'grpc'"
                )));
            }
        }
    }
    let mut offer = Offer {
        audio: None,
        video: None,
        sends: !inputs.is_empty(),
        receives: !outputs.is_empty(),
        data: true,
    };
    for format in inputs.into_iter().chain(outputs) {
        match format {
            StreamFormat::Audio { format, .. } if format.codec == Codec::Opus => {
                offer.audio = Some(AudioCodec::Opus);
            }
            StreamFormat::Video(format) => {
                let codec = match format.codec {
                    MediaVideoCodec::Vp8 => VideoCodec::Vp8,
                    MediaVideoCodec::H264 => VideoCodec::H264,
                };
                if offer.video.is_some_and(|known| known != codec) {
                    let text = "transport 'webrtc' carries one video codec in both directions";
                    return Err(RemoteError::Config(text.into()));
                }
                offer.video = Some(codec);
            }
            other => {
                return Err(RemoteError::Config(format!(
                    "transport 'webrtc' carries audio as opus/48000/2, and {other} flows here: leave the port's format out"
                )));
            }
        }
    }
    Ok(offer)
}

/// A worker that is silent for as long as the hop bears is gone.
fn timing(gap: Option<Duration>) -> Timing {
    let failed = gap
        .unwrap_or(SILENCE)
        .clamp(Duration::from_secs(1), Duration::from_secs(15));
    Timing {
        keepalive: failed / 8,
        disconnected: failed / 2,
        failed,
        ..Timing::default()
    }
}

/// Posts the offer; gives the answer.
async fn ask(
    connector: &Connector,
    member: &Member,
    config: &RemoteConfig,
    credential: &Credential,
    client: &ClientPeer,
    context: OpenContext<'_>,
) -> Result<String, RemoteError> {
    let url = Place::of(member)?.url(&config.target, "whip", &query(config, context))?;
    let connect = config.timeouts.connect;
    let (head, body) = post(connector, member, credential, url, client.sdp(), connect).await?;
    if head.status != StatusCode::CREATED {
        if head.status.is_success() {
            let text = format!("HTTP status {} where WHIP has 201", head.status);
            return Err(RemoteError::Protocol(text));
        }
        return Err(refusal::error(head.status, &head.headers, &body));
    }
    String::from_utf8(body.into())
        .map_err(|_| RemoteError::Protocol("an answer that is not UTF-8 text".into()))
}

/// Posts a description; gives what is answered, whatever that is.
pub(super) async fn post(
    connector: &Connector,
    member: &Member,
    credential: &Credential,
    url: Uri,
    sdp: &str,
    connect: Duration,
) -> Result<(Parts, Bytes), RemoteError> {
    let mut request = Request::post(url)
        .body(Full::new(Bytes::from(sdp.to_owned())))
        .map_err(|error| RemoteError::Config(error.to_string()))?;
    let headers = request.headers_mut();
    headers.extend(credential.headers().clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let http = connector.http(member, credential.tls(), connect)?;
    let response = http
        .request(request)
        .await
        .map_err(|error| failed(&error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await;
    let body = body.map_err(|error| {
        RemoteError::Network(format!("worker's answer broke off: {}", chain(&*error)))
    })?;
    Ok((head, body.to_bytes()))
}

/// What `open` would say; WHIP has no other place for it.
fn query(config: &RemoteConfig, context: OpenContext<'_>) -> String {
    let mut pairs = vec![
        ("features", feature::ACKS.to_owned()),
        ("hop_count", (context.hop_count + 1).to_string()),
    ];
    if !config.parameters.is_empty() {
        let parameters = serde_json::Value::Object(config.parameters.clone());
        pairs.push(("parameters", parameters.to_string()));
    }
    if let Target::Manifest(text) = &config.target {
        pairs.push(("manifest", text.clone()));
    }
    if context.mode == Mode::Waits {
        pairs.push(("mode", "waits".to_owned()));
    }
    if let Some(deadline) = context.deadline {
        let left = (deadline - context.now).as_micros().max(1);
        pairs.push(("deadline", left.to_string()));
    }
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", escaped(value)))
        .collect();
    format!("?{}", pairs.join("&"))
}

pub(super) fn misunderstood(error: &SignalingError) -> RemoteError {
    match error {
        SignalingError::NotAcceptable { .. } => RemoteError::Incompatible(format!(
            "the worker takes none of what the hop offers by WebRTC: {error}"
        )),
        SignalingError::Malformed { .. } => RemoteError::Protocol(format!(
            "what the worker answers to the offer is no SDP of a WebRTC peer ({error}): look whether 'endpoints' leads to a WHIP server"
        )),
        other => RemoteError::Protocol(other.to_string()),
    }
}
