//! Figures of a peer, put together on request.

use std::time::Duration;

use super::Core;
use crate::event::{PeerStats, TrackStats};

impl Core {
    pub(crate) fn stats(&self) -> PeerStats {
        let tracks = self
            .tracks
            .iter()
            .map(|track| {
                let received = track.received();
                let send = track.send.as_ref();
                let remote = send.and_then(|send| send.remote);
                let rate = u64::from(track.info.codec.clock_rate());
                TrackStats {
                    id: track.info.id,
                    packets_received: received.packets,
                    bytes_received: received.bytes,
                    packets_lost: received.lost,
                    jitter: track.receive.last().map_or(Duration::ZERO, |s| s.jitter()),
                    packets_sent: send.map_or(0, |send| send.packets),
                    bytes_sent: send.map_or(0, |send| send.bytes),
                    packets_resent: send.map_or(0, |send| send.resent),
                    remote_fraction_lost: remote.map_or(0, |block| block.fraction_lost),
                    remote_packets_lost: remote.map_or(0, |block| block.lost),
                    remote_jitter: remote.map_or(Duration::ZERO, |block| {
                        Duration::from_micros(u64::from(block.jitter) * 1_000_000 / rate)
                    }),
                    key_frame_requests: send.map_or(0, |send| send.key_frame_requests),
                }
            })
            .collect();
        let mut drops = self.drops;
        drops.refused_checks = self.ice.refused();
        drops.data += self.data.as_ref().map_or(0, |data| data.refused);
        PeerStats {
            tracks,
            round_trip: self.round_trip.or(self.ice.round_trip()),
            drops,
        }
    }
}
