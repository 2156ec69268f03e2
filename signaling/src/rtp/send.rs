//! One RTP stream that we send: numbering, counts for sender reports, and a cache for repair.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::RtpHeader;
use super::feedback::{Block, Sent};

/// Times that one packet is sent again.
const MAX_RESENDS: u8 = 4;
/// How far back a forwarded packet may be: 128 packets of voice are 2.5 s, of video 0.2 s. None
/// behind this is sent, since what was sent there is not remembered.
const MAX_MISORDER: u64 = 128;
/// A jump of more than this is a sender that started over, not loss (RFC 3550 A.1).
const MAX_DROPOUT: u64 = 3000;

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
    /// The number after the newest packet; its low 16 bits go out.
    sequence: u64,
    /// Which of the numbers before that were used: bit 0 is the newest.
    used: u128,
    /// The newest packet's number at the sender that it was forwarded from.
    source: Option<u16>,
    /// The number that would show that the sender has started over.
    stray: Option<u16>,
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
            // Below half, so that a receiver never sees a wrap before it has settled, and with room
            // for packets from before the first.
            sequence: u64::from((rand::random::<u16>() >> 1) | 0x400),
            used: 0,
            source: None,
            stray: None,
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
        self.source = None;
        let number = self.advance(1);
        self.write(now, number, timestamp, marker, payload)
    }

    /// Numbers a packet as its sender did, at an offset (RFC 7667 §3.9), so that what was lost or
    /// overtaken on the way here shows. `None`: it must not be sent, since it comes twice or too late.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        payload: usize,
    ) -> Option<RtpHeader> {
        let number = self.place(sequence)?;
        Some(self.write(now, number, timestamp, marker, payload))
    }

    /// Moves on by `steps` numbers; gives the last of them.
    fn advance(&mut self, steps: u64) -> u64 {
        let shift = u32::try_from(steps).unwrap_or(u32::MAX);
        self.used = self.used.checked_shl(shift).unwrap_or(0) | 1;
        self.sequence += steps;
        self.sequence - 1
    }

    /// The number of a packet that is `sequence` at its sender. None is given twice: with one key that
    /// would give both packets away (RFC 3711 §9.1).
    fn place(&mut self, sequence: u16) -> Option<u64> {
        let Some(newest) = self.source else {
            self.source = Some(sequence);
            return Some(self.advance(1));
        };
        let ahead = u64::from(sequence.wrapping_sub(newest));
        if (1..=MAX_DROPOUT).contains(&ahead) {
            (self.source, self.stray) = (Some(sequence), None);
            return Some(self.advance(ahead));
        }
        let behind = u64::from(newest.wrapping_sub(sequence));
        if behind < MAX_MISORDER {
            let bit = 1u128 << behind;
            let free = self.used & bit == 0 && behind < self.sequence;
            self.used |= bit;
            return free.then(|| self.sequence - 1 - behind);
        }
        // Two packets in a row from elsewhere are a sender that started over (RFC 3550 A.1).
        if self.stray.replace(sequence.wrapping_add(1)) != Some(sequence) {
            return None;
        }
        (self.source, self.stray) = (Some(sequence), None);
        Some(self.advance(1))
    }

    fn write(
        &mut self,
        now: Instant,
        number: u64,
        timestamp: u32,
        marker: bool,
        payload: usize,
    ) -> RtpHeader {
        let timestamp = timestamp.wrapping_add(self.timestamp_offset);
        let sequence = u16::try_from(number & 0xFFFF).unwrap_or(0);
        self.packets += 1;
        self.bytes += payload as u64;
        if number + 1 == self.sequence {
            self.newest = Some((now, timestamp));
        }
        RtpHeader::plain(marker, self.payload_type, sequence, timestamp, self.ssrc)
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

    /// What goes out for packets that come in this order, relative to the first.
    fn forwarded(sequences: &[u16]) -> Vec<Option<u16>> {
        let now = crate::clock::start();
        let mut stream = SendStream::new(1, 111, 48_000, 0);
        let first = u16::try_from(stream.sequence).unwrap();
        let mut place = |sequence| {
            let header = stream.forward(now, sequence, 0, false, 1)?;
            Some(header.sequence.wrapping_sub(first))
        };
        sequences.iter().map(|sequence| place(*sequence)).collect()
    }

    #[test]
    fn a_forwarded_stream_keeps_its_order_and_its_gaps_over_a_wrap() {
        assert_eq!(
            forwarded(&[65_534, 0, 65_535, 3, 1]),
            [Some(0), Some(2), Some(1), Some(5), Some(3)]
        );
    }

    #[test]
    fn a_number_is_never_used_twice_even_if_the_sender_does() {
        let back = Some(65_535);
        assert_eq!(
            forwarded(&[5, 5, 4, 4, 6]),
            [Some(0), None, back, None, Some(1)]
        );
        assert_eq!(forwarded(&[500, 501, 300]), [Some(0), Some(1), None]);
    }

    #[test]
    fn a_sender_that_starts_over_goes_on_where_it_was_left() {
        assert_eq!(
            forwarded(&[500, 501, 40_000, 40_001, 40_000, 40_002]),
            [Some(0), Some(1), None, Some(2), None, Some(3)]
        );
        // One packet from elsewhere is not a new beginning.
        assert_eq!(
            forwarded(&[500, 40_000, 501, 20_000]),
            [Some(0), None, Some(1), None]
        );
    }

    #[test]
    fn a_stream_of_ours_goes_on_after_one_that_was_forwarded() {
        let now = crate::clock::start();
        let mut stream = SendStream::new(1, 111, 48_000, 0);
        let forwarded = stream.forward(now, 9, 0, false, 1).unwrap();
        let own = stream.next(now, 0, false, 1);
        let again = stream.forward(now, 7, 0, false, 1).unwrap();
        assert_eq!(own.sequence, forwarded.sequence + 1);
        assert_eq!(again.sequence, own.sequence + 1);
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
