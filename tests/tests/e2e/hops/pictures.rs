//! A worker by WebRTC that needs a key frame gets one: its request goes back to whoever makes the pictures.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_signaling::{
    Certificate, ClientPeer, Offer, Peer, PeerConfig, PeerEvent, TrackId, VideoCodec,
};
use tidegate_tests::{Deadline, clock};
use tokio::net::UdpSocket;

use super::Server;
use crate::clients::webrtc::post;

/// The time between two pictures.
const BEAT: Duration = Duration::from_millis(40);

/// A WHIP client that sends VP8 and takes nothing.
struct Camera {
    peer: Peer,
    socket: UdpSocket,
    track: TrackId,
    pictures: u32,
    asked: u32,
}

impl Camera {
    async fn start(front: &Server, pipeline: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("it is bound");
        let certificate = Certificate::generate().expect("a certificate");
        let config = PeerConfig::new(certificate, vec![address]);
        let offer = Offer {
            audio: None,
            video: Some(VideoCodec::Vp8),
            sends: true,
            receives: false,
            data: false,
        };
        let client = ClientPeer::offer(&config, &offer);
        let answer = post(&front.gateway, pipeline, client.sdp().to_owned()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let peer = client.set_answer(clock::now(), &answer.text());
        let peer = peer.expect("an answer that fits");
        let track = peer.tracks().next().expect("video was negotiated").id;
        Self {
            peer,
            socket,
            track,
            pictures: 0,
            asked: 0,
        }
    }

    /// Sends pictures of which none is a key frame, so many or until it is asked for one.
    async fn film(&mut self, pictures: u32) {
        let by = Deadline::secs(30);
        let mut buffer = vec![0; 2_048];
        let mut next = clock::now();
        while self.pictures < pictures && self.asked == 0 {
            assert!(!by.left().is_zero(), "{} pictures in time", self.pictures);
            let now = clock::now();
            if self.peer.is_connected() && now >= next {
                next = now + BEAT;
                // A descriptor that begins a partition (RFC 7741 §4.2), and a frame whose first bit says that it is no key frame.
                let payload = [&[0x10, 0x01][..], &[7; 200]].concat();
                let at = self.pictures * 3_600;
                let sent = self.peer.send_rtp(now, self.track, at, true, &payload);
                sent.expect("connected");
                self.pictures += 1;
            }
            if self.peer.poll_timeout().is_some_and(|at| at <= now) {
                self.peer.handle_timeout(now);
            }
            while let Some(event) = self.peer.poll_event() {
                match event {
                    PeerEvent::KeyFrameRequested(track) if track == self.track => self.asked += 1,
                    PeerEvent::Failed(failure) => panic!("{failure}"),
                    _ => {}
                }
            }
            while let Some(transmit) = self.peer.poll_transmit() {
                drop(self.socket.send_to(&transmit.data, transmit.to).await);
            }
            let due = self.peer.poll_timeout().unwrap_or(now + BEAT);
            let wake = due.min(now + BEAT);
            let got =
                tokio::time::timeout_at(wake.into(), self.socket.recv_from(&mut buffer)).await;
            if let Ok(Ok((length, from))) = got {
                self.peer
                    .handle_datagram(clock::now(), from, &buffer[..length]);
            }
        }
    }
}

/// Video in and video out.
fn video(name: &str, node: Option<Value>, edges: Value) -> Value {
    let port = |name: &str| json!([{"name": name, "kind": "video", "format": "vp8"}]);
    json!({
        "version": "tidegate/v1", "name": name, "inputs": port("in"), "outputs": port("out"),
        "nodes": node.into_iter().collect::<Vec<_>>(), "edges": edges,
    })
}

#[tokio::test]
async fn a_worker_by_webrtc_that_needs_a_key_frame_gets_it_asked_of_the_camera() {
    let far = video("far", None, json!(["in -> out"]));
    let worker = Server::start(&[far]).await;
    let params = json!({"transport": "webrtc", "endpoints": [worker.url()], "pipeline": "far"});
    let hop = json!({"id": "hop", "type": "remote", "params": params});
    let shed = json!({"from": "in", "to": "hop", "queue": {"when_full": "drop_oldest"}});
    let near = video("near", Some(hop), json!([shed, "hop -> out"]));
    let alone = video("alone", None, json!(["in -> out"]));
    let front = Server::start(&[near, alone]).await;
    // The gateway itself wants none: nobody looks at its own output.
    let mut camera = Camera::start(&front, "alone").await;
    camera.film(40).await;
    assert_eq!(camera.asked, 0, "{}", front.gateway.logs.text());
    let mut camera = Camera::start(&front, "near").await;
    camera.film(400).await;
    let logs = || {
        let logs = [&front, &worker].map(|server| server.gateway.logs.text());
        logs.join("\n")
    };
    assert!(camera.asked > 0, "{} pictures\n{}", camera.pictures, logs());
}
