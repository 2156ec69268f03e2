//! A peer's audio and video: what its tracks bring, and what goes out on them.

use tidegate_media::{Frame, Timestamp};
use tidegate_remote::webrtc::tracks::{Arrived, Outgoing};
use tidegate_signaling::MediaPacket;

use super::WebrtcLink;
use crate::session::link::LinkEvent;

impl WebrtcLink {
    pub(super) fn media(&mut self, now: Timestamp, packet: MediaPacket) -> Option<LinkEvent> {
        let at = self.clock.instant(now);
        let index = self
            .receives
            .iter()
            .position(|track| track.id == packet.track)?;
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
            Arrived::Frame(frame) => Some(LinkEvent::Frame {
                input: track.port?,
                frame,
            }),
            Arrived::PictureLost => {
                // At most one request in 200 ms goes out; an error means that the peer has ended.
                let asked = self
                    .peer
                    .request_key_frame(self.clock.instant(now), track.id);
                self.lost += u64::from(asked.is_err());
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
        let Some(packets) = track.packets(frame) else {
            self.lost += 1;
            return true;
        };
        for Outgoing {
            timestamp,
            marker,
            payload,
        } in packets
        {
            // Before the connection stands there is nobody to hear it.
            if self
                .peer
                .send_rtp(at, track.id, timestamp, marker, &payload)
                .is_err()
            {
                self.lost += 1;
            }
        }
        true
    }
}
