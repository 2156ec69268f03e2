//! Enums, formats and ports between generated types and those of `media`.

use tidegate_media::{AudioFormat, Codec, Dtype, Kind, VideoCodec, VideoFormat};

use crate::error::{WireMessageError, at_most};
use crate::limits::PORTS;
use crate::message::{Direction, Port, StreamSpec};
use crate::name::PortName;
use crate::{v1, validate};

type Result<T> = std::result::Result<T, WireMessageError>;

pub(super) fn codec_from(at: &str, number: i32) -> Result<Codec> {
    Ok(match v1::AudioCodec::try_from(number) {
        Ok(v1::AudioCodec::PcmS16) => Codec::PcmS16,
        Ok(v1::AudioCodec::PcmF32) => Codec::PcmF32,
        Ok(v1::AudioCodec::Opus) => Codec::Opus,
        Ok(v1::AudioCodec::Pcmu) => Codec::Pcmu,
        Ok(v1::AudioCodec::Pcma) => Codec::Pcma,
        Ok(v1::AudioCodec::Unspecified) | Err(_) => {
            return Err(unknown(
                at,
                "codec",
                number,
                "pcm_s16, pcm_f32, opus, pcmu or pcma",
            ));
        }
    })
}

const fn codec_to(codec: Codec) -> v1::AudioCodec {
    match codec {
        Codec::PcmS16 => v1::AudioCodec::PcmS16,
        Codec::PcmF32 => v1::AudioCodec::PcmF32,
        Codec::Opus => v1::AudioCodec::Opus,
        Codec::Pcmu => v1::AudioCodec::Pcmu,
        Codec::Pcma => v1::AudioCodec::Pcma,
    }
}

pub(super) fn audio_from(at: &str, format: v1::AudioFormat) -> Result<AudioFormat> {
    let codec = codec_from(at, format.codec)?;
    validate::audio_format(at, codec, format.sample_rate, format.channels)
}

pub(super) fn audio_to(format: AudioFormat) -> v1::AudioFormat {
    v1::AudioFormat {
        codec: codec_to(format.codec).into(),
        sample_rate: format.sample_rate,
        channels: u32::from(format.channels),
    }
}

pub(super) fn video_from(at: &str, format: v1::VideoFormat) -> Result<VideoFormat> {
    let codec = match v1::VideoCodec::try_from(format.codec) {
        Ok(v1::VideoCodec::Vp8) => VideoCodec::Vp8,
        Ok(v1::VideoCodec::H264) => VideoCodec::H264,
        Ok(v1::VideoCodec::Unspecified) | Err(_) => {
            return Err(unknown(at, "codec", format.codec, "vp8 or h264"));
        }
    };
    Ok(VideoFormat { codec })
}

pub(super) fn video_to(format: VideoFormat) -> v1::VideoFormat {
    let codec = match format.codec {
        VideoCodec::Vp8 => v1::VideoCodec::Vp8,
        VideoCodec::H264 => v1::VideoCodec::H264,
    };
    v1::VideoFormat {
        codec: codec.into(),
    }
}

pub(super) fn dtype_from(number: i32) -> Result<Dtype> {
    // The wire's numbers are the positions in `Dtype::ALL` plus one, which a test holds to.
    let known = usize::try_from(number)
        .ok()
        .and_then(|number| Dtype::ALL.get(number.checked_sub(1)?).copied());
    known.ok_or_else(|| {
        let names: Vec<_> = Dtype::ALL.iter().map(|dtype| dtype.as_str()).collect();
        unknown("frame.tensor", "dtype", number, &names.join(", "))
    })
}

pub(super) const fn dtype_to(dtype: Dtype) -> v1::Dtype {
    match dtype {
        Dtype::Bool => v1::Dtype::Bool,
        Dtype::U8 => v1::Dtype::U8,
        Dtype::I8 => v1::Dtype::I8,
        Dtype::U16 => v1::Dtype::U16,
        Dtype::I16 => v1::Dtype::I16,
        Dtype::U32 => v1::Dtype::U32,
        Dtype::I32 => v1::Dtype::I32,
        Dtype::U64 => v1::Dtype::U64,
        Dtype::I64 => v1::Dtype::I64,
        Dtype::F16 => v1::Dtype::F16,
        Dtype::Bf16 => v1::Dtype::Bf16,
        Dtype::F32 => v1::Dtype::F32,
        Dtype::F64 => v1::Dtype::F64,
    }
}

/// A port as a server describes it.
///
/// # Errors
/// Its name, direction, kind or format is missing or cannot be.
pub fn decode_port(port: v1::Port) -> Result<Port> {
    let direction = match v1::Direction::try_from(port.direction) {
        Ok(v1::Direction::Input) => Direction::Input,
        Ok(v1::Direction::Output) => Direction::Output,
        Ok(v1::Direction::Unspecified) | Err(_) => {
            return Err(unknown(
                "port",
                "direction",
                port.direction,
                "input or output",
            ));
        }
    };
    let kind = usize::try_from(port.kind)
        .ok()
        .and_then(|number| Kind::ALL.get(number.checked_sub(1)?).copied())
        .ok_or_else(|| {
            let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            unknown("port", "kind", port.kind, &names.join(", "))
        })?;
    let format = match (port.audio, port.video) {
        (Some(audio), _) => Some(StreamSpec::Audio(audio_from("port.audio", audio)?)),
        (None, Some(video)) => Some(StreamSpec::Video(video_from("port.video", video)?)),
        (None, None) => None,
    };
    Ok(Port {
        name: PortName::at("port.name", port.name)?,
        direction,
        kind,
        format,
    })
}

/// A port for a client to see.
#[must_use]
pub fn encode_port(port: Port) -> v1::Port {
    let direction = match port.direction {
        Direction::Input => v1::Direction::Input,
        Direction::Output => v1::Direction::Output,
    };
    let kind = match port.kind {
        Kind::Audio => v1::Kind::Audio,
        Kind::Video => v1::Kind::Video,
        Kind::Text => v1::Kind::Text,
        Kind::Binary => v1::Kind::Binary,
        Kind::Tensor => v1::Kind::Tensor,
        Kind::Json => v1::Kind::Json,
    };
    let (audio, video) = match port.format {
        Some(StreamSpec::Audio(format)) => (Some(audio_to(format)), None),
        Some(StreamSpec::Video(format)) => (None, Some(video_to(format))),
        None => (None, None),
    };
    v1::Port {
        name: port.name.into_string(),
        direction: direction.into(),
        kind: kind.into(),
        audio,
        video,
    }
}

pub(super) fn specs_from(
    field: &str,
    list: Vec<v1::PortFormat>,
) -> Result<Vec<(PortName, StreamSpec)>> {
    at_most(field, list.len(), PORTS, "ports")?;
    let one = |item: v1::PortFormat| {
        let spec = match item.format {
            Some(v1::port_format::Format::Audio(format)) => {
                StreamSpec::Audio(audio_from(&format!("{field}.audio"), format)?)
            }
            Some(v1::port_format::Format::Video(format)) => {
                StreamSpec::Video(video_from(&format!("{field}.video"), format)?)
            }
            None => {
                return Err(WireMessageError::missing(
                    format!("{field}.format"),
                    "name audio or video",
                ));
            }
        };
        Ok((PortName::at(&format!("{field}.port"), item.port)?, spec))
    };
    list.into_iter().map(one).collect()
}

pub(super) fn specs_to(list: Vec<(PortName, StreamSpec)>) -> Vec<v1::PortFormat> {
    let one = |(port, spec): (PortName, StreamSpec)| v1::PortFormat {
        port: port.into_string(),
        format: Some(match spec {
            StreamSpec::Audio(format) => v1::port_format::Format::Audio(audio_to(format)),
            StreamSpec::Video(format) => v1::port_format::Format::Video(video_to(format)),
        }),
    };
    list.into_iter().map(one).collect()
}

#[cold]
fn unknown(at: &str, field: &str, number: i32, names: &str) -> WireMessageError {
    let path = format!("{at}.{field}");
    if number == 0 {
        return WireMessageError::missing(path, format!("name one of {names}"));
    }
    WireMessageError::invalid(
        path,
        format!("has the unknown number {number}"),
        format!("name one of {names}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_keeps_its_number() {
        for dtype in Dtype::ALL {
            assert_eq!(dtype_from(dtype_to(dtype).into()), Ok(dtype));
        }
        assert!(dtype_from(0).is_err() && dtype_from(14).is_err() && dtype_from(-1).is_err());
    }
}
