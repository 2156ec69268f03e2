//! What `execute` made as a sound file, for who sends a recording and wants one back.

use std::io::Cursor;

use tidegate_media::file::{FileError, WavWriter};
use tidegate_media::{AudioFormat, Codec, Frame, Kind, Payload};
use tidegate_nodes::{Code, Error, Plan};
use tidegate_proto::PortName;

/// The type that is asked for, and answered.
pub(super) const WAV: &str = "audio/wav";

/// The one output that a sound file can hold.
///
/// # Errors
/// There are several outputs of sound, or none.
pub(super) fn output(plan: &Plan) -> Result<String, Error> {
    let sounds = plan.outputs.iter().filter(|port| port.kind == Kind::Audio);
    let sounds: Vec<_> = sounds.map(|port| port.name.as_str()).collect();
    match sounds[..] {
        [only] => Ok(only.to_owned()),
        _ => {
            let text = format!(
                "Accept: {WAV}, and the pipeline '{}' has {} outputs of sound: ask for application/json",
                plan.pipeline,
                sounds.len()
            );
            Err(Error::new(Code::UnsupportedMedia, text))
        }
    }
}

/// An output's frames as a WAV file of 16-bit PCM; without frames, an empty one.
///
/// # Errors
/// The frames are not all of one rate and channel count.
pub(super) fn wav(outputs: &[(PortName, Vec<Frame>)], name: &str) -> Result<Vec<u8>, Error> {
    let frames = outputs.iter().find(|(port, _)| port.as_str() == name);
    let frames = frames.map_or(&[][..], |(_, frames)| frames);
    write(frames).map_err(|error| {
        let text = format!("output '{name}' cannot be written as {WAV}: {error}");
        Error::new(Code::UnsupportedMedia, text)
    })
}

fn write(frames: &[Frame]) -> Result<Vec<u8>, FileError> {
    let sounds = || {
        frames.iter().filter_map(|frame| match &frame.payload {
            Payload::Audio(audio) => Some(audio),
            _ => None,
        })
    };
    let first = sounds().next().map(|audio| audio.format);
    let format = first.unwrap_or(AudioFormat {
        codec: Codec::PcmS16,
        sample_rate: 16_000,
        channels: 1,
    });
    let format = AudioFormat {
        codec: Codec::PcmS16,
        ..format
    };
    let mut writer = WavWriter::new(Cursor::new(Vec::new()), format)?;
    for audio in sounds() {
        writer.write(audio)?;
    }
    Ok(writer.finish_seekable()?.into_inner())
}
