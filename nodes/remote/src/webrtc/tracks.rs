//! A peer's tracks as ports: audio packets pass as they are, video is put together into pictures and cut up again.
//!
//! A gateway's clients and its hops by WebRTC share this.

use std::time::Instant;

use bytes::Bytes;
use tidegate_media::{
    Audio, AudioFormat, Codec as MediaCodec, Frame, Kind, MediaTime, Payload, Rtp, Video,
    VideoCodec as MediaVideoCodec, VideoFormat,
};
use tidegate_nodes::StreamFormat;
use tidegate_signaling::video::{
    Depacketized, VideoDepacketizer, VideoDrops, VideoLimits, VideoPacketizer,
};
use tidegate_signaling::{
    AudioCodec, Codec, MediaPacket, Peer, SignalingError, TrackId, TrackInfo, VideoCodec,
};

use super::source::Source;

/// The clock of RTP video (RFC 6184 §8.2.1, RFC 7741 §6.1).
const VIDEO_CLOCK: u32 = 90_000;

/// What the peer sends on a track.
#[derive(Debug)]
pub struct Inbound {
    /// The track.
    pub id: TrackId,
    /// The port that it feeds.
    pub port: Option<usize>,
    /// The first packet is media time zero.
    source: Source,
    form: InForm,
}

#[derive(Debug)]
enum InForm {
    Audio(AudioFormat),
    Video {
        format: VideoFormat,
        pictures: Box<VideoDepacketizer>,
    },
}

/// What came of a track's packets.
#[derive(Debug)]
pub enum Arrived {
    /// A frame for the track's port.
    Frame(Frame),
    /// A picture is gone; the next key frame mends it.
    PictureLost,
}

/// What we send on a track.
#[derive(Debug)]
pub struct Outbound {
    /// The track.
    pub id: TrackId,
    /// The port whose frames it carries.
    pub port: Option<usize>,
    /// RTP time of media time zero.
    base: u32,
    form: OutForm,
}

#[derive(Debug)]
enum OutForm {
    Audio(AudioFormat),
    Video {
        format: VideoFormat,
        packets: Box<VideoPacketizer>,
    },
}

/// One RTP packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its number at the sender that it is passed on from; `None` for a packet of ours.
    pub sequence: Option<u16>,
    /// RTP time (RFC 3550 §5.1).
    pub timestamp: u32,
    /// The last packet of a picture, or the first of a talk spurt.
    pub marker: bool,
    /// What is in it.
    pub payload: Bytes,
}

impl Outgoing {
    /// Sends it on `track`.
    ///
    /// # Errors
    /// The peer is not connected, or has no such track.
    pub fn send(
        &self,
        peer: &mut Peer,
        now: Instant,
        track: TrackId,
    ) -> Result<(), SignalingError> {
        let (timestamp, marker) = (self.timestamp, self.marker);
        match self.sequence {
            Some(sequence) => {
                peer.forward_rtp(now, track, sequence, timestamp, marker, &self.payload)
            }
            None => peer.send_rtp(now, track, timestamp, marker, &self.payload),
        }
    }
}

impl Inbound {
    /// The receiving side of a track.
    #[must_use]
    pub fn new(track: &TrackInfo) -> Self {
        let form = match track.codec {
            Codec::Audio(codec) => InForm::Audio(audio_format(codec)),
            Codec::Video(codec) => InForm::Video {
                format: video_format(codec),
                pictures: Box::new(VideoDepacketizer::new(codec, VideoLimits::default())),
            },
        };
        Self {
            id: track.id,
            port: None,
            source: Source::default(),
            form,
        }
    }

    /// What flows from it into the pipeline.
    #[must_use]
    pub const fn format(&self) -> StreamFormat {
        match &self.form {
            InForm::Audio(format) => StreamFormat::Audio {
                format: *format,
                packets: true,
            },
            InForm::Video { format, .. } => StreamFormat::Video(*format),
        }
    }

    /// Audio or video.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.format().kind()
    }

    /// Takes a packet. Audio is a frame at once; pictures come by [`Inbound::poll`].
    pub fn push(&mut self, now: Instant, packet: MediaPacket) -> Option<Arrived> {
        match &mut self.form {
            InForm::Video { pictures, .. } => {
                pictures.push(now, &packet);
                None
            }
            InForm::Audio(format) => {
                let format = *format;
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "RTP's own number is its low 16 bits"
                )]
                let own = (packet.sequence as u16, packet.timestamp);
                let rate = format.sample_rate;
                let place = self.source.place(now, packet.ssrc, own, rate);
                let audio = Audio {
                    format,
                    samples: 0,
                    data: packet.payload,
                    rtp: Some(Rtp {
                        sequence: place.sequence,
                        timestamp: place.timestamp,
                        marker: packet.marker,
                    }),
                };
                let at = MediaTime::from_samples(place.ticks, rate);
                Some(Arrived::Frame(Frame::new(at, Payload::Audio(audio))))
            }
        }
    }

    /// The next picture or loss of a video track.
    pub fn poll(&mut self, now: Instant) -> Option<Arrived> {
        let InForm::Video { format, pictures } = &mut self.form else {
            return None;
        };
        let format = *format;
        match pictures.poll(now)? {
            Depacketized::Lost(_) => Some(Arrived::PictureLost),
            Depacketized::Picture(picture) => {
                let own = (0, picture.timestamp);
                let place = self.source.place(now, picture.ssrc, own, VIDEO_CLOCK);
                let at = MediaTime::from_samples(place.ticks, VIDEO_CLOCK);
                let video = Video {
                    format,
                    key: picture.key,
                    data: picture.data,
                };
                Some(Arrived::Frame(Frame::new(at, Payload::Video(video))))
            }
        }
    }

    /// Packets of a video track that became part of no picture.
    #[must_use]
    pub const fn drops(&self) -> Option<VideoDrops> {
        match &self.form {
            InForm::Audio(_) => None,
            InForm::Video { pictures, .. } => Some(pictures.drops()),
        }
    }

    /// When [`Inbound::poll`] must be called again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.form {
            InForm::Audio(_) => None,
            InForm::Video { pictures, .. } => pictures.poll_timeout(),
        }
    }
}

impl Outbound {
    /// The sending side of a track.
    #[must_use]
    pub fn new(track: &TrackInfo) -> Self {
        let form = match track.codec {
            Codec::Audio(codec) => OutForm::Audio(audio_format(codec)),
            Codec::Video(codec) => OutForm::Video {
                format: video_format(codec),
                packets: Box::new(VideoPacketizer::new(codec)),
            },
        };
        Self {
            id: track.id,
            port: None,
            base: rand::random(),
            form,
        }
    }

    /// Audio or video.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match &self.form {
            OutForm::Audio(_) => Kind::Audio,
            OutForm::Video { .. } => Kind::Video,
        }
    }

    /// The audio format that it carries, if it is audio.
    #[must_use]
    pub const fn audio_format(&self) -> Option<AudioFormat> {
        match &self.form {
            OutForm::Audio(format) => Some(*format),
            OutForm::Video { .. } => None,
        }
    }

    /// The packets of a frame; `None` for a frame that the track cannot carry.
    pub fn packets(&mut self, frame: &Frame) -> Option<Vec<Outgoing>> {
        match (&mut self.form, &frame.payload) {
            (OutForm::Audio(format), Payload::Audio(audio)) => {
                let rate = format.sample_rate;
                let (sequence, timestamp, marker) = match audio.rtp {
                    // Passed through unopened: the sender's own clock and numbers, so that loss and order show.
                    Some(rtp) => (Some(rtp.sequence), rtp.timestamp, rtp.marker),
                    None => (None, self.rtp_time(frame.meta.media_time, rate), false),
                };
                Some(vec![Outgoing {
                    sequence,
                    timestamp,
                    marker,
                    payload: audio.data.clone(),
                }])
            }
            (OutForm::Video { format, packets }, Payload::Video(video))
                if *format == video.format =>
            {
                let payloads = packets.packetize(&video.data).ok()?;
                let timestamp = self.rtp_time(frame.meta.media_time, VIDEO_CLOCK);
                let last = payloads.len().saturating_sub(1);
                let packets = payloads.into_iter().enumerate();
                let packet = |(i, payload)| Outgoing {
                    sequence: None,
                    timestamp,
                    marker: i == last,
                    payload,
                };
                Some(packets.map(packet).collect())
            }
            _ => None,
        }
    }

    /// Media time on the track's RTP clock.
    fn rtp_time(&self, at: MediaTime, rate: u32) -> u32 {
        let ticks = i128::from(at.as_micros()) * i128::from(rate) / 1_000_000;
        let wrapped = ticks.rem_euclid(1 << 32);
        self.base.wrapping_add(u32::try_from(wrapped).unwrap_or(0))
    }
}

/// The format that an audio codec's packets have in the graph.
fn audio_format(codec: AudioCodec) -> AudioFormat {
    let g711 = |codec| AudioFormat {
        codec,
        sample_rate: 8_000,
        channels: 1,
    };
    match codec {
        AudioCodec::Opus => AudioFormat::WEBRTC_OPUS,
        AudioCodec::Pcmu => g711(MediaCodec::Pcmu),
        AudioCodec::Pcma => g711(MediaCodec::Pcma),
    }
}

fn video_format(codec: VideoCodec) -> VideoFormat {
    let codec = match codec {
        VideoCodec::Vp8 => MediaVideoCodec::Vp8,
        VideoCodec::H264 => MediaVideoCodec::H264,
    };
    VideoFormat { codec }
}
