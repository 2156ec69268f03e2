//! Packets into pictures: ordering, bounded waiting for lost packets, and whole pictures only.
//!
//! It keeps true: pictures leave in order; one with a packet missing never leaves, its loss does;
//! packets, bytes and waiting are bounded.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::h264::{self, Start, Unpacker};
use super::vp8;
use crate::codec::VideoCodec;
use crate::event::MediaPacket;

/// A sender this far back has started over; it is not late.
const STARTED_OVER: u64 = 3000;

/// Bounds of a depacketizer.
#[derive(Debug, Clone, Copy)]
pub struct VideoLimits {
    /// Bytes of one picture. A key frame in 4K has under 1 MiB.
    pub max_picture: usize,
    /// Packets held back for a lost one; at 5 Mbit/s these are 0.4 s.
    pub max_packets: usize,
    /// Waiting for a lost packet: two round trips within a continent, and a frame that comes later
    /// is not worth seeing.
    pub max_wait: Duration,
}

impl Default for VideoLimits {
    fn default() -> Self {
        Self {
            max_picture: 2 * 1024 * 1024,
            max_packets: 256,
            max_wait: Duration::from_millis(150),
        }
    }
}

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// The stream; a sender that starts over has a new one.
    pub ssrc: u32,
    /// The RTP timestamp, 90 kHz; it wraps.
    pub timestamp: u32,
    /// Decoding can start here.
    pub key: bool,
    /// A VP8 frame, or H.264 in Annex B.
    pub data: Bytes,
}

/// Why a picture is gone. A key frame is needed after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoLoss {
    /// Packets never came.
    Missing,
    /// The payloads do not make a picture.
    Malformed,
    /// Over [`VideoLimits::max_picture`].
    TooLarge,
}

/// What came out of the packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depacketized {
    /// A whole picture.
    Picture(AccessUnit),
    /// At least one picture is gone.
    Lost(VideoLoss),
}

/// Packets that did not become part of a picture. Each field only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VideoDrops {
    /// Never came.
    pub missing: u64,
    /// Came twice, or after they were given up.
    pub late: u64,
    /// Belonged to a picture that was given up.
    pub incomplete: u64,
}

struct Packet {
    arrived: Instant,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
}

enum Format {
    Vp8,
    H264(Unpacker),
}

/// A picture that is being put together.
struct Building {
    timestamp: u32,
    packets: u64,
    data: BytesMut,
}

/// Where the packet before has left us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// In the picture of this timestamp.
    Picture(u32),
    /// Nobody knows: packets are missing.
    Gap,
}

/// Puts the pictures of one stream together. See the module.
pub struct VideoDepacketizer {
    format: Format,
    limits: VideoLimits,
    ssrc: Option<u32>,
    /// The sequence number that comes next.
    next: Option<u64>,
    waiting: BTreeMap<u64, Packet>,
    building: Option<Building>,
    /// Skipping to the start of a picture.
    seeking: bool,
    /// Where the packet before has left us; `None`: the next one begins a picture.
    within: Option<Within>,
    ready: VecDeque<Depacketized>,
    drops: VideoDrops,
}

impl VideoDepacketizer {
    /// A depacketizer for a stream of `codec`.
    #[must_use]
    pub fn new(codec: VideoCodec, limits: VideoLimits) -> Self {
        let format = match codec {
            VideoCodec::Vp8 => Format::Vp8,
            VideoCodec::H264 => Format::H264(Unpacker::default()),
        };
        Self {
            format,
            limits,
            ssrc: None,
            next: None,
            waiting: BTreeMap::new(),
            building: None,
            seeking: true,
            within: None,
            ready: VecDeque::new(),
            drops: VideoDrops::default(),
        }
    }

    /// Takes a packet that came at `now`; [`Self::poll`] has what it led to.
    pub fn push(&mut self, now: Instant, packet: &MediaPacket) {
        if self
            .ssrc
            .replace(packet.ssrc)
            .is_some_and(|before| before != packet.ssrc)
        {
            self.start_over();
        }
        if self
            .next
            .is_some_and(|next| packet.sequence + STARTED_OVER < next)
        {
            self.start_over();
        }
        let next = *self.next.get_or_insert(packet.sequence);
        if packet.sequence < next || self.waiting.contains_key(&packet.sequence) {
            self.drops.late += 1;
            return;
        }
        self.waiting.insert(
            packet.sequence,
            Packet {
                arrived: now,
                timestamp: packet.timestamp,
                marker: packet.marker,
                payload: packet.payload.clone(),
            },
        );
        self.advance(now);
    }

    /// The next picture or loss as of `now`.
    pub fn poll(&mut self, now: Instant) -> Option<Depacketized> {
        if self.ready.is_empty() {
            self.advance(now);
        }
        self.ready.pop_front()
    }

    /// When a lost packet is given up: call [`Self::poll`] then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Only packets behind a gap stay, and the first of them came first as a rule.
        self.waiting
            .values()
            .next()
            .map(|packet| packet.arrived + self.limits.max_wait)
    }

    /// What did not become part of a picture.
    #[must_use]
    pub const fn drops(&self) -> VideoDrops {
        self.drops
    }

    fn start_over(&mut self) {
        self.drops.incomplete += self.waiting.len() as u64;
        self.waiting.clear();
        self.next = None;
        self.within = None;
        self.give_up(VideoLoss::Missing);
    }

    fn advance(&mut self, now: Instant) {
        loop {
            let Some((&sequence, first)) = self.waiting.first_key_value() else {
                return;
            };
            let next = self.next.unwrap_or(sequence);
            if sequence != next {
                let expired = first.arrived + self.limits.max_wait <= now;
                if !expired && self.waiting.len() < self.limits.max_packets {
                    return;
                }
                self.drops.missing += sequence - next;
                self.within = Some(Within::Gap);
                self.give_up(VideoLoss::Missing);
            }
            self.next = Some(sequence + 1);
            if let Some((_, packet)) = self.waiting.pop_first() {
                self.take(&packet);
            }
        }
    }

    /// Takes the packet that comes next in order.
    fn take(&mut self, packet: &Packet) {
        let starts = self.starts(packet);
        self.within = (!packet.marker).then_some(Within::Picture(packet.timestamp));
        let changed = self
            .building
            .as_ref()
            .is_some_and(|building| building.timestamp != packet.timestamp);
        if changed {
            // The marker of the picture before was left out; it is whole, or this would be a gap.
            self.finish();
        }
        if self.seeking {
            if !starts {
                self.drops.incomplete += 1;
                return;
            }
            self.seeking = false;
        }
        if self.building.is_none() && !starts {
            self.give_up(VideoLoss::Malformed);
            self.drops.incomplete += 1;
            return;
        }
        self.append(packet);
        if packet.marker {
            self.finish();
        }
    }

    /// Whether a picture begins with the packet that comes next in order.
    fn starts(&self, packet: &Packet) -> bool {
        match &self.format {
            Format::Vp8 => vp8::descriptor(&packet.payload).is_some_and(|d| d.start),
            Format::H264(_) => match h264::start(&packet.payload) {
                Start::Certain => true,
                Start::No => false,
                Start::Possible => match self.within {
                    None => true,
                    Some(Within::Picture(timestamp)) => timestamp != packet.timestamp,
                    Some(Within::Gap) => false,
                },
            },
        }
    }

    fn append(&mut self, packet: &Packet) {
        let piece = match &mut self.format {
            Format::Vp8 => vp8::descriptor(&packet.payload).map(|d| packet.payload.slice(d.len..)),
            Format::H264(unpacker) => unpacker.unpack(&packet.payload),
        };
        let building = self.building.get_or_insert_with(|| Building {
            timestamp: packet.timestamp,
            packets: 0,
            data: BytesMut::new(),
        });
        building.packets += 1;
        let Some(piece) = piece else {
            return self.give_up(VideoLoss::Malformed);
        };
        if building.data.len() + piece.len() > self.limits.max_picture {
            return self.give_up(VideoLoss::TooLarge);
        }
        building.data.extend_from_slice(&piece);
    }

    fn finish(&mut self) {
        let Some(building) = self.building.take() else {
            return;
        };
        let data = building.data.freeze();
        let key = match self.format {
            Format::Vp8 => vp8::is_key(&data),
            Format::H264(_) => h264::is_key(&data),
        };
        if data.is_empty() {
            self.ready
                .push_back(Depacketized::Lost(VideoLoss::Malformed));
            return;
        }
        let unit = AccessUnit {
            ssrc: self.ssrc.unwrap_or(0),
            timestamp: building.timestamp,
            key,
            data,
        };
        self.ready.push_back(Depacketized::Picture(unit));
    }

    /// Drops the picture in work and skips to the next start.
    fn give_up(&mut self, loss: VideoLoss) {
        if let Some(building) = self.building.take() {
            self.drops.incomplete += building.packets;
        }
        if let Format::H264(unpacker) = &mut self.format {
            *unpacker = Unpacker::default();
        }
        self.seeking = true;
        // One report is enough until something comes out again.
        if !matches!(self.ready.back(), Some(Depacketized::Lost(_))) {
            self.ready.push_back(Depacketized::Lost(loss));
        }
    }
}

impl std::fmt::Debug for VideoDepacketizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoDepacketizer")
            .field("drops", &self.drops)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
