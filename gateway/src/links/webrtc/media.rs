//! A peer's audio and video: what its tracks bring, and what goes out on them.

use tidegate_media::{Frame, Timestamp};
use tidegate_remote::webrtc::tracks::Arrived;
use tidegate_signaling::MediaPacket;

use super::WebrtcLink;
use crate::session::link::LinkEvent;

impl WebrtcLink {
    pub(super) fn media(&mut self, now: Timestamp, packet: MediaPacket) -> Option<LinkEvent> {
        let at = self.clock.instant(now);
        let mut receives = self.receives.iter();
        let Some(index) = receives.position(|track| track.id == packet.track) else {
            self.dropped.no_port += 1;
            return None;
        };
        let arrived = self.receives[index].push(at, packet)?;
        self.arrived(now, index, arrived)
    }

    /// Pictures that are whole now.
    pub(super) fn pictures(&mut self, now: Timestamp) -> Option<LinkEvent> {
        let at = self.clock.instant(now);
        for index in 0..self.receives.len() {
            while let Some(arrived) = self.receives[index].poll(at) {
                if let Some(event) = self.arrived(now, index, arrived) {
                    return Some(event);
                }
            }
        }
        None
    }

    fn arrived(&mut self, now: Timestamp, index: usize, arrived: Arrived) -> Option<LinkEvent> {
        let track = &self.receives[index];
        match arrived {
            Arrived::Frame(frame) => {
                let Some(input) = track.port else {
                    self.dropped.no_port += 1;
                    return None;
                };
                Some(LinkEvent::Frame { input, frame })
            }
            Arrived::PictureLost => {
                self.dropped.pictures += 1;
                // At most one request in 200 ms goes out; an error means that the peer has ended, which is an event.
                let at = self.clock.instant(now);
                drop(self.peer.request_key_frame(at, track.id));
                None
            }
        }
    }

    /// Sends a frame on the track of its output; false if no track carries that.
    pub(super) fn send_media(&mut self, now: Timestamp, output: usize, frame: &Frame) -> bool {
        let Some(track) = self
            .sends
            .iter_mut()
            .find(|track| track.port == Some(output))
        else {
            return false;
        };
        let at = self.clock.instant(now);
        // Before the connection stands there is nobody to hear it. A picture with a packet missing is none.
        let sent = track.packets(frame).is_some_and(|packets| {
            let mut packets = packets.iter();
            packets.all(|packet| packet.send(&mut self.peer, at, track.id).is_ok())
        });
        self.dropped.not_sent += u64::from(!sent);
        true
    }
}
