//! Nodes with simple behaviour, plans built by hand, and a driver that keeps what comes out.

mod bench;
mod nodes;
mod sketch;

use std::time::Duration;

use tidegate_media::{
    Audio, AudioFormat, Codec, Frame, MediaTime, Payload, Rtp, Text, Timestamp, Video, VideoCodec,
    VideoFormat,
};
use tidegate_nodes::StreamFormat;

pub(crate) use self::bench::{Bench, TestProbe};
pub(crate) use self::nodes::registry;
pub(crate) use self::sketch::{Sketch, into, out, queue};

pub(crate) const TEXT: StreamFormat = StreamFormat::Text;
pub(crate) const SOUND: StreamFormat = StreamFormat::audio(PCM);
pub(crate) const OPUS: StreamFormat = StreamFormat::audio(AudioFormat {
    codec: Codec::Opus,
    sample_rate: 48_000,
    channels: 1,
});
pub(crate) const PICTURES: StreamFormat = StreamFormat::Video(VideoFormat {
    codec: VideoCodec::Vp8,
});

pub(crate) const PCM: AudioFormat = AudioFormat::pcm_s16(8_000, 1);

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms * 1_000_000)
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn text(value: &str) -> Frame {
    Frame::new(MediaTime::ZERO, Payload::Text(Text::from(value)))
}

/// 20 ms of PCM that starts at a media time.
pub(crate) fn audio(media_ms: u64) -> Frame {
    let media = MediaTime::from_micros(i64::try_from(media_ms * 1_000).unwrap());
    Frame::new(
        media,
        Payload::Audio(Audio::from_s16(8_000, 1, vec![0; 160])),
    )
}

pub(crate) fn video(key: bool) -> Frame {
    let format = VideoFormat {
        codec: VideoCodec::Vp8,
    };
    let data = bytes::Bytes::from_static(b"picture");
    Frame::new(MediaTime::ZERO, Payload::Video(Video { format, key, data }))
}

pub(crate) fn words(frame: &Frame) -> String {
    match &frame.payload {
        Payload::Text(text) => text.as_str().to_owned(),
        other => format!("{:?}", other.kind()),
    }
}

/// A packet of 20 ms as it comes from RTP.
pub(crate) fn packet(number: u16) -> Frame {
    let mut frame = audio(20 * u64::from(number));
    if let Payload::Audio(audio) = &mut frame.payload {
        audio.rtp = Some(Rtp {
            sequence: number,
            timestamp: 160 * u32::from(number),
            marker: false,
        });
    }
    frame
}
