//! What a WebRTC client's network does: figures that the client's link keeps and the session reports.
//!
//! Counts only grow in what is reported, whatever the link says: a packet that was taken for lost may come after all.

use std::time::Duration;

/// Why frames of a WebRTC client are dropped (`tidegate_frames_dropped_total`): what was for the client and did not leave, pictures
/// that never became whole, and media of a track that feeds no input.
pub(crate) const FRAME_REASONS: [&str; 3] = ["webrtc_not_sent", "picture_lost", "no_port"];

/// Why datagrams of a WebRTC client are dropped (`tidegate_udp_dropped_datagrams_total`).
pub(crate) const DATAGRAM_REASONS: [&str; 11] = [
    "unknown_protocol",
    "unknown_address",
    "refused_check",
    "before_keys",
    "forged",
    "unknown_stream",
    "unread",
    "channel_refused",
    "incomplete_picture",
    "outdated",
    "not_sent",
];

/// Figures of one client, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct WebrtcStats {
    pub(crate) round_trip: Option<Duration>,
    /// Of the worst track.
    pub(crate) jitter: Duration,
    pub(crate) packets_received: u64,
    pub(crate) packets_lost: u64,
    /// Packets of pictures that came when their picture was given up.
    pub(crate) packets_late: u64,
    /// By [`FRAME_REASONS`].
    pub(crate) frames: [u64; FRAME_REASONS.len()],
    /// By [`DATAGRAM_REASONS`].
    pub(crate) datagrams: [u64; DATAGRAM_REASONS.len()],
}

impl WebrtcStats {
    /// Takes newer figures of the same client and gives what has come since: the counts that are kept are the largest seen.
    pub(crate) fn advance(&mut self, new: Self) -> Self {
        let mut more = new;
        let pairs = self.counts().into_iter().zip(more.counts());
        for (kept, count) in pairs {
            let now = *count;
            *count = now.saturating_sub(*kept);
            *kept = now.max(*kept);
        }
        (self.round_trip, self.jitter) = (new.round_trip, new.jitter);
        more
    }

    /// The figures of two clients: sums, and the worse of what cannot be added.
    pub(crate) fn with(mut self, mut other: Self) -> Self {
        for (sum, count) in self.counts().into_iter().zip(other.counts()) {
            *sum += *count;
        }
        self.round_trip = self.round_trip.max(other.round_trip);
        self.jitter = self.jitter.max(other.jitter);
        self
    }

    fn counts(&mut self) -> Vec<&mut u64> {
        let Self {
            packets_received,
            packets_lost,
            packets_late,
            frames,
            datagrams,
            ..
        } = self;
        let packets = [packets_received, packets_lost, packets_late];
        packets.into_iter().chain(frames).chain(datagrams).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(packets_lost: u64) -> WebrtcStats {
        WebrtcStats {
            packets_lost,
            ..WebrtcStats::default()
        }
    }

    #[test]
    fn a_packet_that_comes_late_is_not_lost_again_with_the_next() {
        let mut reported = WebrtcStats::default();
        let more: Vec<_> = [1, 0, 1, 0, 2]
            .map(|now| reported.advance(lost(now)).packets_lost)
            .to_vec();
        assert_eq!(more, [1, 0, 0, 0, 1]);
    }

    #[test]
    fn clients_of_one_session_add_up_and_the_worst_delay_counts() {
        let one = WebrtcStats {
            round_trip: Some(Duration::from_millis(10)),
            jitter: Duration::from_millis(3),
            frames: [1, 0, 2],
            ..lost(5)
        };
        let both = one.with(lost(2)).with(WebrtcStats {
            round_trip: Some(Duration::from_millis(40)),
            frames: [1, 1, 1],
            ..WebrtcStats::default()
        });
        assert_eq!((both.packets_lost, both.frames), (7, [2, 1, 3]));
        assert_eq!(both.round_trip, Some(Duration::from_millis(40)));
        assert_eq!(both.jitter, Duration::from_millis(3));
    }
}
