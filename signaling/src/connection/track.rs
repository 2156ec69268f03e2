//! One media section in use, and which of them a packet belongs to.

use std::time::Instant;

use crate::event::{TrackId, TrackInfo};
use crate::rtp::{ReceiveStream, RtpHeader, SendStream};
use crate::sdp::MediaPlan;

/// Streams of one track that are remembered: the sender may start over a few times.
const MAX_STREAMS: usize = 4;

/// What came on a track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: i64,
}

impl Received {
    fn add(&mut self, stream: &ReceiveStream) {
        self.packets += stream.packets;
        self.bytes += stream.bytes;
        self.lost += stream.lost_ever();
    }
}

/// A media section in use.
pub(crate) struct Track {
    pub(crate) info: TrackInfo,
    announced: Vec<u32>,
    mid_extension: Option<u8>,
    pub(super) level_extension: Option<u8>,
    pub(super) repairs: bool,
    pub(super) tells_bandwidth: bool,
    /// How the peer may be asked for a key frame, best first.
    pub(super) pli: bool,
    pub(super) fir: bool,
    /// Requests by FIR so far, which are numbered (RFC 5104 §4.3.1.1).
    pub(super) fir_requests: u8,
    pub(super) receive: Vec<ReceiveStream>,
    /// Of streams that are not in `receive` any more.
    forgotten: Received,
    pub(super) send: Option<SendStream>,
    pub(super) key_frame_asked: Option<Instant>,
}

impl Track {
    pub(crate) fn new(
        id: TrackId,
        mid: Option<&str>,
        plan: &MediaPlan,
        resend_packets: usize,
    ) -> Self {
        let kept = if plan.nack { resend_packets } else { 0 };
        let send = plan.direction.send.then(|| {
            SendStream::new(
                plan.local_ssrc,
                plan.payload_type,
                plan.codec.clock_rate(),
                kept,
            )
        });
        Self {
            info: TrackInfo {
                id,
                mid: mid.unwrap_or_default().to_owned(),
                codec: plan.codec,
                payload_type: plan.payload_type,
                receives: plan.direction.receive,
                sends: plan.direction.send,
            },
            announced: plan.remote_ssrcs.clone(),
            mid_extension: plan.mid_extension,
            level_extension: plan.level_extension,
            repairs: plan.nack,
            tells_bandwidth: plan.remb,
            pli: plan.pli,
            fir: plan.fir,
            fir_requests: 0,
            receive: Vec::new(),
            forgotten: Received::default(),
            send,
            key_frame_asked: None,
        }
    }

    /// What came on the track, of all its streams.
    pub(super) fn received(&self) -> Received {
        let mut all = self.forgotten;
        for stream in &self.receive {
            all.add(stream);
        }
        all
    }

    fn names(&self, header: &RtpHeader, packet: &[u8]) -> bool {
        let mid = self
            .mid_extension
            .and_then(|id| header.extension(packet, id));
        mid.is_some_and(|mid| mid == self.info.mid.as_bytes())
    }
}

/// The track that `packet` belongs to (RFC 9143 §9.2: by SSRC, by name, and by payload type where
/// that is unique).
pub(super) fn track_of(tracks: &[Track], header: &RtpHeader, packet: &[u8]) -> Option<usize> {
    let receiving = || {
        tracks
            .iter()
            .enumerate()
            .filter(|(_, track)| track.info.receives)
    };
    let fits = |track: &Track| track.info.payload_type == header.payload_type;
    let is_of = |track: &Track| {
        let mut heard = track.receive.iter();
        heard.any(|stream| stream.ssrc == header.ssrc) || track.announced.contains(&header.ssrc)
    };
    let named = receiving()
        .find(|(_, track)| is_of(track))
        .or_else(|| receiving().find(|(_, track)| track.names(header, packet)));
    if let Some((index, track)) = named {
        return fits(track).then_some(index);
    }
    let mut candidates = receiving().filter(|(_, track)| fits(track));
    let (index, _) = candidates.next()?;
    candidates.next().is_none().then_some(index)
}

pub(super) fn stream_of(now: Instant, track: &mut Track, ssrc: u32) -> &mut ReceiveStream {
    if let Some(index) = track.receive.iter().position(|stream| stream.ssrc == ssrc) {
        return &mut track.receive[index];
    }
    if track.receive.len() == MAX_STREAMS {
        let oldest = track.receive.remove(0);
        track.forgotten.add(&oldest);
    }
    let clock_rate = track.info.codec.clock_rate();
    track
        .receive
        .push(ReceiveStream::new(now, ssrc, clock_rate, track.repairs));
    let last = track.receive.len() - 1;
    &mut track.receive[last]
}
