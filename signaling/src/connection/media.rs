//! Media of one peer: receiving, sending, reports and repair.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::track::{stream_of, track_of};
use super::{Core, State};
use crate::error::SignalingError;
use crate::event::{AudioLevel, Failure, MediaPacket, PeerEvent, TrackId, TrackInfo};
use crate::rtp::{self, Feedback, ReceiveStream, Report, RtpHeader, SendStream, Speaker};
use crate::srtp::Refusal;

/// Between two requests for a key frame: an encoder needs time to answer one.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(200);

impl Core {
    pub(crate) fn tracks(&self) -> impl Iterator<Item = &TrackInfo> {
        self.tracks.iter().map(|track| &track.info)
    }

    pub(super) fn handle_rtp(&mut self, now: Instant, packet: &[u8]) {
        let Some(srtp) = &mut self.srtp else {
            self.drops.early += 1;
            return;
        };
        let Some(header) = RtpHeader::parse(packet) else {
            self.drops.forged += 1;
            return;
        };
        let Some(index) = track_of(&self.tracks, &header, packet) else {
            self.drops.unknown_stream += 1;
            return;
        };
        let plain = match srtp.open_rtp(packet, &header) {
            Ok(plain) => plain,
            Err(refusal) => return self.refuse(refusal),
        };
        let Some(end) = header.payload_end(&plain) else {
            self.drops.forged += 1;
            return;
        };
        self.ice.heard(now);
        let track = &mut self.tracks[index];
        let payload = plain.freeze().slice(header.len..end);
        let sequence = stream_of(now, track, header.ssrc).on_packet(now, &header, payload.len());
        if payload.is_empty() {
            // Padding that probes for bandwidth: counted, nothing to hand on.
            return;
        }
        let level = track
            .level_extension
            .and_then(|id| header.extension(packet, id));
        let media = MediaPacket {
            track: track.info.id,
            codec: track.info.codec,
            ssrc: header.ssrc,
            sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            level: level
                .and_then(|level| level.first())
                .map(|level| AudioLevel {
                    voice: level & 0x80 != 0,
                    negative_dbov: level & 0x7F,
                }),
            payload,
        };
        if self.events.len() >= self.max_events {
            self.drops.overflow += 1;
            return;
        }
        self.events.push_back(PeerEvent::Media(media));
    }

    pub(super) fn handle_rtcp(&mut self, now: Instant, packet: &[u8]) {
        let Some(srtp) = &mut self.srtp else {
            self.drops.early += 1;
            return;
        };
        let plain = match srtp.open_rtcp(packet) {
            Ok(plain) => plain,
            Err(refusal) => return self.refuse(refusal),
        };
        self.ice.heard(now);
        for feedback in rtp::parse_feedback(&plain) {
            self.on_feedback(now, feedback);
        }
    }

    /// A packet that could not be opened. Whoever has the keys and uses them for ever more streams
    /// is at its end: the state of a stream can only be let go of with the keys.
    fn refuse(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Forged => self.drops.forged += 1,
            Refusal::TooManySources => {
                self.drops.unknown_stream += 1;
                self.fail(Failure::Sources);
            }
        }
    }

    fn on_feedback(&mut self, now: Instant, feedback: Feedback) {
        match feedback {
            Feedback::SenderReport { ssrc, ntp_middle } => {
                let mut streams = self.tracks.iter_mut().flat_map(|track| &mut track.receive);
                if let Some(stream) = streams.find(|stream| stream.ssrc == ssrc) {
                    stream.on_sender_report(now, ntp_middle);
                }
            }
            Feedback::Reception(block) => {
                let middle = ntp_middle(self.ntp(now));
                if let Some((_, stream)) = self.sending(block.ssrc) {
                    stream.remote = Some(block);
                    if block.last_report != 0 {
                        let units = middle
                            .wrapping_sub(block.last_report)
                            .wrapping_sub(block.delay);
                        // More than 32 s is a clock that lies, not a round trip.
                        if units < 32 << 16 {
                            let micros = u64::from(units) * 1_000_000 / 65_536;
                            self.round_trip = Some(Duration::from_micros(micros));
                        }
                    }
                }
            }
            Feedback::Nack { ssrc, sequences } => {
                let packets = match self.sending(ssrc) {
                    Some((_, stream)) => stream.resend(&sequences),
                    None => return,
                };
                if let Some(to) = self.ice.selected() {
                    for packet in packets {
                        self.push(to, packet);
                    }
                }
            }
            Feedback::KeyFrame { ssrc } => {
                if let Some((id, stream)) = self.sending(ssrc) {
                    stream.key_frame_requests += 1;
                    let event = PeerEvent::KeyFrameRequested(id);
                    if self.events.back() != Some(&event) && self.events.len() < self.max_events {
                        self.events.push_back(event);
                    }
                }
            }
        }
    }

    fn sending(&mut self, ssrc: u32) -> Option<(TrackId, &mut SendStream)> {
        self.tracks.iter_mut().find_map(|track| {
            let stream = track.send.as_mut().filter(|stream| stream.ssrc == ssrc)?;
            Some((track.info.id, stream))
        })
    }

    pub(crate) fn send_rtp(
        &mut self,
        now: Instant,
        id: TrackId,
        sequence: Option<u16>,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Result<(), SignalingError> {
        let (Some(srtp), Some(to)) = (&mut self.srtp, self.ice.selected()) else {
            return Err(SignalingError::NotConnected);
        };
        let track = self.tracks.get_mut(usize::from(id.0));
        let Some(stream) = track.and_then(|track| track.send.as_mut()) else {
            return Err(SignalingError::Unknown { what: "track" });
        };
        let header = match sequence {
            None => Some(stream.next(now, timestamp, marker, payload.len())),
            Some(number) => stream.forward(now, number, timestamp, marker, payload.len()),
        };
        let Some(header) = header else {
            self.drops.outdated += 1;
            return Ok(());
        };
        let mut packet = BytesMut::with_capacity(RtpHeader::FIXED + payload.len());
        packet.extend_from_slice(&header.to_bytes());
        packet.extend_from_slice(payload);
        let sealed = srtp
            .seal_rtp(&packet, &header)
            .ok_or_else(|| SignalingError::internal("encrypting media", "the key is used up"))?
            .freeze();
        stream.keep(header.sequence, &sealed);
        self.push(to, sealed);
        Ok(())
    }

    /// Asks the peer for a key frame in a way that it has agreed to, at most once in
    /// `KEY_FRAME_INTERVAL`.
    pub(crate) fn request_key_frame(
        &mut self,
        now: Instant,
        id: TrackId,
    ) -> Result<(), SignalingError> {
        let track = self.tracks.get_mut(usize::from(id.0));
        let Some(track) = track.filter(|track| track.info.receives) else {
            return Err(SignalingError::Unknown { what: "track" });
        };
        let asked = track.key_frame_asked;
        if asked.is_some_and(|at| now.saturating_duration_since(at) < KEY_FRAME_INTERVAL) {
            return Ok(());
        }
        let Some(stream) = track.receive.last() else {
            return Ok(());
        };
        let media = stream.ssrc;
        track.key_frame_asked = Some(now);
        let request = if track.pli {
            rtp::key_frame_request(self.speaker(), media)
        } else if track.fir {
            track.fir_requests = track.fir_requests.wrapping_add(1);
            let number = track.fir_requests;
            rtp::key_frame_command(self.speaker(), media, number)
        } else {
            None
        };
        self.send_rtcp(request);
        Ok(())
    }

    pub(super) fn handle_media_timeout(&mut self, now: Instant) {
        for index in 0..self.tracks.len() {
            let due: Vec<(u32, Vec<u16>)> = self.tracks[index]
                .receive
                .iter_mut()
                .filter(|stream| stream.next_ask().is_some_and(|at| at <= now))
                .map(|stream| (stream.ssrc, stream.take_asks(now)))
                .collect();
            for (ssrc, asks) in due {
                if !asks.is_empty() {
                    self.send_rtcp(rtp::nack(self.speaker(), ssrc, &asks));
                }
            }
        }
        if self.next_report.is_some_and(|at| at <= now) {
            self.next_report = Some(now + self.timing.report_interval);
            self.send_report(now);
        }
    }

    fn send_report(&mut self, now: Instant) {
        let streams = self.tracks.iter_mut().flat_map(|track| &mut track.receive);
        let blocks: Vec<_> = streams.filter_map(|stream| stream.report(now)).collect();
        let sending = self.tracks.iter().filter_map(|track| track.send.as_ref());
        let sent: Vec<_> = sending.filter_map(|stream| stream.sent(now)).collect();
        if blocks.is_empty() && sent.is_empty() {
            return;
        }
        let video = self.tracks.iter().filter(|track| track.tells_bandwidth);
        let video: Vec<u32> = video
            .flat_map(|track| &track.receive)
            .map(|s| s.ssrc)
            .collect();
        let report = Report {
            ntp: self.ntp(now),
            sent: &sent,
            blocks: &blocks,
            bandwidth: (!video.is_empty()).then_some((self.video_bitrate, &video)),
        };
        let report = rtp::report(self.speaker(), &report);
        self.send_rtcp(report);
    }

    fn speaker(&self) -> Speaker<'_> {
        Speaker {
            ssrc: self.report_ssrc,
            cname: &self.cname,
        }
    }

    fn send_rtcp(&mut self, compound: Option<BytesMut>) {
        let (Some(srtp), Some(to), Some(compound)) =
            (&mut self.srtp, self.ice.selected(), compound)
        else {
            return;
        };
        if let Some(sealed) = srtp.seal_rtcp(&compound) {
            self.push(to, sealed.freeze());
        }
    }

    pub(super) fn media_timeout(&self) -> Option<Instant> {
        if self.state != State::Connected {
            return None;
        }
        let asks = self
            .tracks
            .iter()
            .filter(|track| track.repairs)
            .flat_map(|track| &track.receive)
            .filter_map(ReceiveStream::next_ask);
        asks.chain(self.next_report).min()
    }

    /// Time since the start as NTP has it, 32.32 fixed point: RFC 3550 §4 allows any origin.
    fn ntp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started);
        ((since.as_secs() + 1) << 32) | ((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000)
    }
}

fn ntp_middle(ntp: u64) -> u32 {
    u32::try_from((ntp >> 16) & 0xFFFF_FFFF).unwrap_or(0)
}
