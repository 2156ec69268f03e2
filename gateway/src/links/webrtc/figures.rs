//! What a peer's network has done: the peer's own counts, the tracks' and the link's, put together.

use std::time::Duration;

use tidegate_remote::webrtc::tracks::Inbound;
use tidegate_signaling::PeerStats;

use crate::session::network::WebrtcStats;

/// What the link itself drops. Each field only grows.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Frames for the client that did not leave, or not whole.
    pub(super) not_sent: u64,
    /// Pictures that never became whole.
    pub(super) pictures: u64,
    /// Frames of a track that feeds no input, or none any more.
    pub(super) no_port: u64,
    /// Datagrams that the kernel had no room for.
    pub(super) datagrams: u64,
}

/// The figures of a client that sends on `receives`.
pub(super) fn figures(stats: &PeerStats, receives: &[Inbound], dropped: &Dropped) -> WebrtcStats {
    let PeerStats {
        tracks,
        round_trip,
        drops,
    } = stats;
    let tracks = || {
        let is_heard = |id| receives.iter().any(|track| track.id == id);
        tracks.iter().filter(move |track| is_heard(track.id))
    };
    let lost = |lost: i64| u64::try_from(lost).unwrap_or(0);
    let video = receives.iter().filter_map(Inbound::drops);
    let (late, incomplete) = video.fold((0, 0), |(late, incomplete), video| {
        (late + video.late, incomplete + video.incomplete)
    });
    WebrtcStats {
        round_trip: *round_trip,
        jitter: tracks()
            .map(|track| track.jitter)
            .max()
            .unwrap_or(Duration::ZERO),
        packets_received: tracks().map(|track| track.packets_received).sum(),
        packets_lost: tracks().map(|track| lost(track.packets_lost)).sum(),
        packets_late: late,
        frames: [dropped.not_sent, dropped.pictures, dropped.no_port],
        datagrams: [
            drops.unknown,
            drops.unknown_address,
            drops.refused_checks,
            drops.early,
            drops.forged,
            drops.unknown_stream,
            drops.overflow,
            drops.data,
            incomplete,
            drops.outdated,
            dropped.datagrams,
        ],
    }
}
