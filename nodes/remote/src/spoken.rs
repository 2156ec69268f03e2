//! What is said and heard by hops that speak or listen: the frames of a call's one input, texts of it, and sound as an answer.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tidegate_media::{Audio, AudioFormat, Codec, Frame, MediaTime, Payload};
use tidegate_proto::PortName;
use tidegate_proto::message::{Execute, StreamSpec};

use crate::calls::Answer;
use crate::error::RemoteError;

/// Sound is answered in frames of so many milliseconds, however the server parts it: so what is queued can be dropped in parts, and
/// when another server says the same again, what was heard of it is known by its count.
const FRAME_MS: u32 = 20;

/// The frames of a call's one input.
pub(crate) fn frames(execute: &Execute) -> &[Frame] {
    let input = execute.inputs.first();
    input.map_or(&[], |(_, frames)| frames.as_slice())
}

/// The place of a call's newest input in the stream.
pub(crate) fn media_time(execute: &Execute) -> MediaTime {
    let last = frames(execute).last();
    last.map_or(MediaTime::default(), |frame| frame.meta.media_time)
}

/// What the hop's output carries, if that is sound.
pub(crate) fn wanted(execute: &Execute) -> Option<AudioFormat> {
    match execute.outputs.first() {
        Some((_, StreamSpec::Audio(format))) => Some(*format),
        _ => None,
    }
}

/// What a text frame adds to what is said. A partial result counts for nothing, since a later one replaces it.
///
/// # Errors
/// It is no text.
pub(crate) fn piece(frame: &Frame) -> Result<&str, RemoteError> {
    let Payload::Text(piece) = &frame.payload else {
        return Err(RemoteError::Internal("a frame of a text input is no text"));
    };
    let passes = frame.meta.revision > 0 && !frame.meta.is_final;
    Ok(if passes { "" } else { piece.as_str() })
}

/// The 16-bit samples of a frame of sound.
///
/// # Errors
/// It has others, which the server would take for noise.
pub(crate) fn samples(frame: &Frame) -> Result<&Audio, RemoteError> {
    let Payload::Audio(audio) = &frame.payload else {
        return Err(RemoteError::Internal("a frame of an audio input is none"));
    };
    if audio.format.codec == Codec::PcmS16 {
        return Ok(audio);
    }
    Err(RemoteError::Config(format!(
        "the server hears 16-bit samples, and the hop's input is {}: declare it with 'format: pcm_s16/16000/1'",
        audio.format
    )))
}

/// What is spoken for a call, sentence after sentence, in the order of the stream.
pub(crate) struct Voice {
    port: PortName,
    /// What the samples are.
    pub(crate) format: AudioFormat,
    /// Where the next sample belongs: sound follows sound, over the calls of a stream.
    at: MediaTime,
    /// Came, and is not given yet: a frame at most, so that the last one of a call is known as such.
    rest: BytesMut,
    /// The call's number of the input that is being spoken.
    cause: u64,
    asked: bool,
}

impl Voice {
    pub(crate) fn new(port: PortName, format: AudioFormat) -> Self {
        Self {
            port,
            format,
            at: MediaTime::default(),
            rest: BytesMut::new(),
            cause: 0,
            asked: false,
        }
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, execute: &Execute) {
        self.format = wanted(execute).unwrap_or(self.format);
        self.at = self.at.max(media_time(execute));
        self.forget();
    }

    /// Something is asked to be spoken that this input of the call completed.
    pub(crate) fn asked(&mut self, cause: u64) {
        (self.cause, self.asked) = (cause, true);
    }

    /// Sound came.
    pub(crate) fn hear(&mut self, data: &[u8], answers: &mut VecDeque<Answer>) {
        self.rest.extend_from_slice(data);
        let samples = (self.format.sample_rate * FRAME_MS / 1_000).max(1);
        let most = samples as usize * self.sample_bytes();
        while self.rest.len() > most {
            let data = self.rest.split_to(most).freeze();
            answers.push_back(self.give(data, false));
        }
    }

    /// What was asked is spoken. It goes on, but for a last sample: so nothing that was said waits for what comes next.
    pub(crate) fn pause(&mut self, answers: &mut VecDeque<Answer>) {
        let whole = self.rest.len() - self.rest.len() % self.sample_bytes();
        self.rest.truncate(whole);
        if whole > self.sample_bytes() {
            let data = self.rest.split_to(whole - self.sample_bytes()).freeze();
            answers.push_back(self.give(data, false));
        }
    }

    /// All was spoken, of a call that has so many frames.
    pub(crate) fn finish(&mut self, count: u64, answers: &mut VecDeque<Answer>) {
        if std::mem::take(&mut self.asked) {
            self.cause = count;
            let rest = std::mem::take(&mut self.rest).freeze();
            answers.push_back(self.give(rest, true));
        }
    }

    /// Nobody wants the rest.
    pub(crate) fn forget(&mut self) {
        self.rest.clear();
        (self.cause, self.asked) = (0, false);
    }

    fn give(&mut self, data: Bytes, is_final: bool) -> Answer {
        let audio = Audio::encoded(self.format, data);
        let lasts = audio.duration();
        let mut frame = Frame::new(self.at, Payload::Audio(audio));
        (frame.meta.is_final, frame.meta.caused_by) = (is_final, self.cause);
        self.at += lasts;
        Answer::Output {
            port: self.port.clone(),
            caused_port: None,
            frame,
        }
    }

    const fn sample_bytes(&self) -> usize {
        2 * self.format.channels as usize
    }
}
