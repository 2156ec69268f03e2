//! A WebRTC echo of the bare `webrtc` crate with its default settings, after its own `reflect`
//! example: packets go back as they came, under the sender's own SSRC. `POST /` takes an offer.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use tidegate_benches::net;
use tokio::sync::{Mutex, mpsc};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
};
use webrtc::runtime::{Runtime, default_runtime};

/// Every connection ever made, kept alive: the load ends by killing this process.
type Peers = Arc<Mutex<Vec<Arc<dyn PeerConnection>>>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = net::listen().await?;
    let router = Router::new()
        .route("/", post(offer))
        .with_state(Peers::default());
    axum::serve(listener, router).await
}

async fn offer(
    State(peers): State<Peers>,
    body: String,
) -> Result<(StatusCode, String), (StatusCode, String)> {
    match answer(body).await {
        Ok((peer, sdp)) => {
            peers.lock().await.push(peer);
            Ok((StatusCode::CREATED, sdp))
        }
        Err(e) => Err((StatusCode::BAD_REQUEST, e.to_string())),
    }
}

struct Echo {
    runtime: Arc<dyn Runtime>,
    gathered: mpsc::Sender<()>,
    back: Arc<dyn TrackLocal>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Echo {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.try_send(()).ok();
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let back = Arc::clone(&self.back);
        self.runtime.spawn(Box::pin(async move {
            let Some(ssrc) = back.ssrcs().await.first().copied() else {
                return;
            };
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(mut packet) = event else {
                    continue;
                };
                packet.header.ssrc = ssrc;
                if back.write_rtp(packet).await.is_err() {
                    return;
                }
            }
        }));
    }
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: vec![],
    }
}

async fn answer(
    offer: String,
) -> Result<(Arc<dyn PeerConnection>, String), Box<dyn std::error::Error + Send + Sync>> {
    let runtime = default_runtime().ok_or("webrtc was built without a runtime")?;
    let mut media = MediaEngine::default();
    let codec = RTCRtpCodecParameters {
        rtp_codec: opus(),
        payload_type: 111,
    };
    media.register_codec(codec, RtpCodecKind::Audio)?;
    let interceptors = register_default_interceptors(Registry::new(), &mut media)?;
    let coding = RTCRtpCodingParameters {
        ssrc: Some(0x7469_6465),
        ..Default::default()
    };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: coding,
        codec: opus(),
        ..Default::default()
    };
    let (stream, name) = ("echo".to_owned(), "audio".to_owned());
    let kind = RtpCodecKind::Audio;
    let track = MediaStreamTrack::new(stream, name.clone(), name, kind, vec![encoding]);
    let back: Arc<dyn TrackLocal> = Arc::new(TrackLocalStaticRTP::new(track));

    let (gathered, mut done) = mpsc::channel(1);
    let echo = Echo {
        runtime: Arc::clone(&runtime),
        gathered,
        back: Arc::clone(&back),
    };
    let peer = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_interceptor_registry(interceptors)
        .with_handler(Arc::new(echo))
        .with_runtime(runtime)
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await?;
    let peer: Arc<dyn PeerConnection> = Arc::new(peer);
    peer.add_track(back).await?;
    peer.set_remote_description(RTCSessionDescription::offer(offer)?)
        .await?;
    let answer = peer.create_answer(None).await?;
    peer.set_local_description(answer).await?;
    done.recv().await;
    let local = peer
        .local_description()
        .await
        .ok_or("no local description")?;
    Ok((peer, local.sdp))
}
