//! Formats as manifests write them: `pcm_s16/16000/1` or `{codec, sample_rate, channels}` for audio, the codec for video.

use std::str::FromStr;

use tidegate_media::{AudioFormat, Codec, Kind, SAMPLE_RATES, VideoCodec, VideoFormat};

use super::diagnostic::{Report, nearest};
use super::read::{Fields, brief, read_choice, read_integer};
use super::tree::{Data, Tree};
use crate::stream::StreamFormat;

/// Keys of a format written as a map.
pub(super) const FORMAT_KEYS: &[&str] = &["codec", "sample_rate", "channels"];

/// The codecs' names.
const CODECS: [(&str, Codec); 5] = [
    ("pcm_s16", Codec::PcmS16),
    ("pcm_f32", Codec::PcmF32),
    ("opus", Codec::Opus),
    ("pcmu", Codec::Pcmu),
    ("pcma", Codec::Pcma),
];

const VIDEO_CODECS: [(&str, VideoCodec); 2] =
    [("vp8", VideoCodec::Vp8), ("h264", VideoCodec::H264)];

/// Most channels.
const CHANNELS_MAX: u8 = 16;

/// Reads the `format` of a port of this kind.
pub(super) fn read(
    tree: Option<&Tree>,
    kind: Option<Kind>,
    report: &mut Report,
) -> Option<StreamFormat> {
    let tree = tree?;
    match kind? {
        Kind::Audio => read_audio(tree, report).map(StreamFormat::audio),
        Kind::Video => read_choice(tree, "'format'", &VIDEO_CODECS, report)
            .map(|codec| StreamFormat::Video(VideoFormat { codec })),
        other => {
            report.error(
                tree.at,
                "format",
                format!("{other} has no formats"),
                "leave 'format' out",
            );
            None
        }
    }
}

fn read_audio(tree: &Tree, report: &mut Report) -> Option<AudioFormat> {
    match &tree.data {
        Data::Text(text) => match parse_audio(text) {
            Ok(format) => Some(format),
            Err((message, mend)) => {
                report.error(tree.at, "format", message, mend);
                None
            }
        },
        Data::Map(_) => {
            let fields = Fields::read(tree, "a format", FORMAT_KEYS, report)?;
            let codec = fields
                .require("codec", "say which, such as 'codec: pcm_s16'", report)
                .and_then(|tree| read_choice(tree, "'codec'", &CODECS, report));
            let (least, most) = (
                u64::from(*SAMPLE_RATES.start()),
                u64::from(*SAMPLE_RATES.end()),
            );
            let rate = fields
                .require("sample_rate", "say it in Hz, such as 16000", report)
                .and_then(|tree| read_integer(tree, "'sample_rate'", least, most, report));
            let channels = match fields.get("channels") {
                Some(tree) => read_integer(tree, "'channels'", 1, u64::from(CHANNELS_MAX), report),
                None => Some(1),
            };
            let format = AudioFormat {
                codec: codec?,
                sample_rate: u32::try_from(rate?).ok()?,
                channels: u8::try_from(channels?).ok()?,
            };
            match admissible(format) {
                Ok(()) => Some(format),
                Err((message, mend)) => {
                    report.error(tree.at, "format", message, mend);
                    None
                }
            }
        }
        _ => {
            let message = format!("'format' is {}", brief(tree));
            report.error(tree.at, "format", message, EXAMPLE);
            None
        }
    }
}

const EXAMPLE: &str = "write codec/rate/channels, such as pcm_s16/16000/1";

/// Reads `codec/rate/channels`.
///
/// # Errors
/// What is wrong, and the mend.
pub(crate) fn parse_audio(text: &str) -> Result<AudioFormat, (String, String)> {
    let wrong = |what: String| Err((what, EXAMPLE.to_owned()));
    let mut parts = text.split('/');
    let (codec, rate, channels) = (parts.next(), parts.next(), parts.next().unwrap_or("1"));
    let (Some(codec), Some(rate), None) = (codec, rate, parts.next()) else {
        return wrong(format!(
            "'{}' is not a format",
            super::diagnostic::shown(text)
        ));
    };
    let Ok(codec) = Codec::from_str(codec) else {
        return Err((
            format!("codec '{}' is not known", super::diagnostic::shown(codec)),
            nearest(codec, CODECS.iter().map(|(name, _)| *name)),
        ));
    };
    let Some(sample_rate) = rate.parse().ok().filter(|rate| SAMPLE_RATES.contains(rate)) else {
        return wrong(format!(
            "rate '{}' is not from {} to {} Hz",
            super::diagnostic::shown(rate),
            SAMPLE_RATES.start(),
            SAMPLE_RATES.end()
        ));
    };
    let Some(channels) = channels
        .parse()
        .ok()
        .filter(|n| (1..=CHANNELS_MAX).contains(n))
    else {
        return wrong(format!(
            "'{}' channels are not from 1 to {CHANNELS_MAX}",
            super::diagnostic::shown(channels)
        ));
    };
    let format = AudioFormat {
        codec,
        sample_rate,
        channels,
    };
    admissible(format).map(|()| format)
}

/// Opus has one clock and at most two channels here.
fn admissible(format: AudioFormat) -> Result<(), (String, String)> {
    if format.codec == Codec::Opus && (format.sample_rate != 48_000 || format.channels > 2) {
        return Err((
            format!("{format} does not exist"),
            "write opus/48000/1 or opus/48000/2: its clock is always 48 kHz".to_owned(),
        ));
    }
    Ok(())
}

/// Reads the format of a port whose kind is known, given as one text.
///
/// # Errors
/// What is wrong, and the mend.
pub(crate) fn parse(text: &str, kind: Kind) -> Result<StreamFormat, (String, String)> {
    match kind {
        Kind::Audio => parse_audio(text).map(StreamFormat::audio),
        Kind::Video => VIDEO_CODECS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, codec)| StreamFormat::Video(VideoFormat { codec: *codec }))
            .ok_or_else(|| {
                (
                    format!(
                        "video codec '{}' is not known",
                        super::diagnostic::shown(text)
                    ),
                    nearest(text, VIDEO_CODECS.iter().map(|(name, _)| *name)),
                )
            }),
        other => Err((
            format!("{other} has no formats"),
            "leave 'format' out".to_owned(),
        )),
    }
}
