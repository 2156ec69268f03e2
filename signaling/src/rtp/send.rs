//! One RTP stream that we send: numbering, counts for sender reports, and a cache for repair.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::RtpHeader;
use super::feedback::{Block, Sent};

/// Times that one packet is sent again.
const MAX_RESENDS: u8 = 4;

struct Cached {
    sequence: u16,
    resends: u8,
    packet: Bytes,
}

/// State of one SSRC that we send.
pub(crate) struct SendStream {
    pub(crate) ssrc: u32,
    payload_type: u8,
    clock_rate: u32,
    sequence: u16,
    timestamp_offset: u32,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    newest: Option<(Instant, u32)>,
    cache: VecDeque<Cached>,
    cache_limit: usize,
    /// The peer's newest report about this stream.
    pub(crate) remote: Option<Block>,
    pub(crate) nacks: u64,
    pub(crate) resent: u64,
    pub(crate) key_frame_requests: u64,
}

impl SendStream {
    /// `cache_limit` packets are kept to be sent again; 0 for audio.
    pub(crate) fn new(ssrc: u32, payload_type: u8, clock_rate: u32, cache_limit: usize) -> Self {
        Self {
            ssrc,
            payload_type,
            clock_rate,
            // Below half, so that a receiver never sees a wrap before it has settled.
            sequence: rand::random::<u16>() >> 1,
            timestamp_offset: rand::random(),
            packets: 0,
            bytes: 0,
            newest: None,
            cache: VecDeque::new(),
            cache_limit,
            remote: None,
            nacks: 0,
            resent: 0,
            key_frame_requests: 0,
        }
    }

    /// Numbers the next packet and counts it.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        timestamp: u32,
        marker: bool,
        payload: usize,
    ) -> RtpHeader {
        let timestamp = timestamp.wrapping_add(self.timestamp_offset);
        let header = RtpHeader::plain(
            marker,
            self.payload_type,
            self.sequence,
            timestamp,
            self.ssrc,
        );
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.bytes += payload as u64;
        self.newest = Some((now, timestamp));
        header
    }

    /// Keeps an encrypted packet so that it can be sent again as it is.
    pub(crate) fn keep(&mut self, sequence: u16, packet: &Bytes) {
        if self.cache_limit == 0 {
            return;
        }
        if self.cache.len() == self.cache_limit {
            self.cache.pop_front();
        }
        self.cache.push_back(Cached {
            sequence,
            resends: 0,
            packet: packet.clone(),
        });
    }

    /// The packets of `sequences` that may be sent again.
    pub(crate) fn resend(&mut self, sequences: &[u16]) -> Vec<Bytes> {
        self.nacks += 1;
        let Some(first) = self.cache.front().map(|cached| cached.sequence) else {
            return Vec::new();
        };
        let mut packets = Vec::new();
        for sequence in sequences {
            let index = usize::from(sequence.wrapping_sub(first));
            if let Some(cached) = self.cache.get_mut(index)
                && cached.sequence == *sequence
                && cached.resends < MAX_RESENDS
            {
                cached.resends += 1;
                packets.push(cached.packet.clone());
            }
        }
        self.resent += packets.len() as u64;
        packets
    }

    /// The sender's part of a report at `now`; `None` until something was sent.
    pub(crate) fn sent(&self, now: Instant) -> Option<Sent> {
        let (at, timestamp) = self.newest?;
        let since = now
            .saturating_duration_since(at)
            .min(Duration::from_secs(3600));
        let units = since.as_micros() * u128::from(self.clock_rate) / 1_000_000;
        let low = |count: u64| u32::try_from(count & 0xFFFF_FFFF).unwrap_or(0);
        Some(Sent {
            ssrc: self.ssrc,
            timestamp: timestamp.wrapping_add(u32::try_from(units).unwrap_or(0)),
            packets: low(self.packets),
            bytes: low(self.bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_numbered_one_by_one_and_media_time_keeps_its_steps() {
        let now = crate::clock::start();
        let mut stream = SendStream::new(1, 111, 48_000, 0);
        let one = stream.next(now, 960, false, 10);
        let two = stream.next(now, 1920, false, 10);
        assert_eq!(two.sequence, one.sequence.wrapping_add(1));
        assert_eq!(two.timestamp.wrapping_sub(one.timestamp), 960);
    }

    #[test]
    fn a_kept_packet_is_sent_again_a_bounded_number_of_times_and_old_ones_are_forgotten() {
        let now = crate::clock::start();
        let mut stream = SendStream::new(1, 96, 90_000, 4);
        let sequences: Vec<u16> = (0..6u8)
            .map(|index| {
                let header = stream.next(now, 0, false, 1);
                stream.keep(header.sequence, &Bytes::from(vec![index]));
                header.sequence
            })
            .collect();
        assert_eq!(stream.resend(&sequences[..2]), Vec::<Bytes>::new());
        for _ in 0..MAX_RESENDS {
            assert_eq!(stream.resend(&sequences[5..]), [Bytes::from_static(&[5])]);
        }
        assert_eq!(stream.resend(&sequences[5..]), Vec::<Bytes>::new());
    }
}
