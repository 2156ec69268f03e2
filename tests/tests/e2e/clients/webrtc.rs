//! A WebRTC client on a UDP socket of its own that offers by WHIP.

use std::time::{Duration, Instant};

use tidegate_signaling::{Certificate, ClientPeer, Offer, Peer, PeerConfig, PeerEvent, TrackId};
use tidegate_tests::http::Response;
use tidegate_tests::{Deadline, Gateway, clock};
use tokio::net::UdpSocket;

use super::ANSWER_SECONDS;

const PACKET: Duration = Duration::from_millis(20);
/// Largest datagram.
const MTU: usize = 2048;

/// A client whose offer was answered.
pub(crate) struct Rtc {
    peer: Peer,
    socket: UdpSocket,
    /// The resource, for `PATCH` and `DELETE`.
    pub(crate) location: String,
    sent: u32,
}

/// An offer of voice both ways, with the socket that it is for.
pub(crate) async fn offer() -> (ClientPeer, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("it is bound");
    let certificate = Certificate::generate().expect("a certificate");
    let config = PeerConfig::new(certificate, vec![address]);
    (ClientPeer::offer(&config, &Offer::voice()), socket)
}

/// Posts a body to a pipeline's WHIP path.
pub(crate) async fn post(
    gateway: &Gateway,
    pipeline: &str,
    sdp: impl Into<bytes::Bytes>,
) -> Response {
    let path = format!("/v1/pipelines/{pipeline}/whip");
    let kind = [("content-type", "application/sdp")];
    gateway.request("POST", &path, &kind, sdp.into()).await
}

impl Rtc {
    /// Opens a session of a pipeline and waits until media can flow.
    pub(crate) async fn open(gateway: &Gateway, pipeline: &str) -> Self {
        let mut rtc = Self::answered(gateway, pipeline).await;
        rtc.until("connected", |event| matches!(event, PeerEvent::Connected))
            .await;
        rtc
    }

    /// Opens a session and sends nothing yet.
    pub(crate) async fn answered(gateway: &Gateway, pipeline: &str) -> Self {
        let (client, socket) = offer().await;
        let answer = post(gateway, pipeline, client.sdp().to_owned()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let location = answer.header("location").to_owned();
        let peer = client.set_answer(clock::now(), &answer.text());
        Self {
            peer: peer.expect("an answer that fits"),
            socket,
            location,
            sent: 0,
        }
    }

    /// Sends packets of 20 ms until one comes back.
    pub(crate) async fn echo(&mut self) {
        self.until("an echo", |event| matches!(event, PeerEvent::Media(_)))
            .await;
    }

    /// Says goodbye by `DELETE`.
    pub(crate) async fn leave(self, gateway: &Gateway) {
        let answer = gateway.request("DELETE", &self.location, &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Drives the peer, with a packet each 20 ms once connected, to an event.
    async fn until(&mut self, what: &str, wanted: impl Fn(&PeerEvent) -> bool) {
        let by = Deadline::secs(ANSWER_SECONDS);
        let mut buffer = vec![0; MTU];
        let mut next_packet = clock::now();
        loop {
            let now = clock::now();
            if self.peer.is_connected() && now >= next_packet {
                next_packet = now + PACKET;
                self.send_packet(now);
            }
            if self.peer.poll_timeout().is_some_and(|at| at <= now) {
                self.peer.handle_timeout(now);
            }
            while let Some(event) = self.peer.poll_event() {
                if let PeerEvent::Failed(failure) = &event {
                    panic!("{failure} before {what}");
                }
                if wanted(&event) {
                    return self.flush().await;
                }
            }
            self.flush().await;
            assert!(!by.left().is_zero(), "no {what} in time");
            let due = self.peer.poll_timeout().unwrap_or(now + PACKET);
            let packet = if self.peer.is_connected() {
                next_packet
            } else {
                due
            };
            let wake = due.min(packet).min(now + by.left());
            let got =
                tokio::time::timeout_at(wake.into(), self.socket.recv_from(&mut buffer)).await;
            if let Ok(Ok((length, from))) = got {
                let data = &buffer[..length];
                self.peer.handle_datagram(clock::now(), from, data);
            }
        }
    }

    fn send_packet(&mut self, now: Instant) {
        let track: Option<TrackId> = self.peer.tracks().next().map(|track| track.id);
        let track = track.expect("audio was negotiated");
        let sent = self
            .peer
            .send_rtp(now, track, self.sent * 960, false, &[7; 80]);
        sent.expect("connected");
        self.sent += 1;
    }

    async fn flush(&mut self) {
        while let Some(transmit) = self.peer.poll_transmit() {
            // A datagram may be lost; a closed port is seen by silence.
            drop(self.socket.send_to(&transmit.data, transmit.to).await);
        }
    }
}
