//! Speech to text: `audio-start`, `audio-chunk` and `audio-stop` in, a transcript out.
//!
//! The transcript is told in both ways that the protocol has: as pieces, as soon as they are final, for clients that show them, and as a
//! whole at the end. What is not final is not told, since pieces cannot be taken back.

use std::collections::VecDeque;

use tidegate_media::{
    Audio, AudioFormat, Codec as AudioCodec, Frame, Kind, MediaTime, Payload, SAMPLE_RATES,
};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};
use tidegate_proto::wyoming::Event;

use super::{MODE, Talk, first_input};
use crate::session::link::{LinkEvent, OpenedInfo, Wishes};
use crate::session::ports::PortFacts;

/// Longest transcript, in bytes: some hours of speech.
const TEXT: usize = 1 << 20;

/// One transcription.
pub(crate) struct Asr {
    wishes: Hear,
    /// The index of the input, once the session stands.
    input: Option<usize>,
    /// Samples so far.
    position: u64,
    complete: bool,
    language: String,
    /// What is final.
    text: String,
    /// The utterance that is being heard, and what it is so far.
    partial: Option<(u64, String)>,
    begun: bool,
}

struct Hear {
    format: AudioFormat,
    input: String,
    output: String,
}

impl Asr {
    /// A request for sound in this format, by these ports of a pipeline.
    pub(crate) fn new(format: AudioFormat, input: &str, output: &str, language: &str) -> Self {
        Self {
            wishes: Hear {
                format,
                input: input.to_owned(),
                output: output.to_owned(),
            },
            input: None,
            position: 0,
            complete: false,
            language: language.to_owned(),
            text: String::new(),
            partial: None,
            begun: false,
        }
    }

    fn chunk(&mut self, event: Event) -> Result<Option<LinkEvent>, Error> {
        let format = format_of(&event)?;
        if format != self.wishes.format {
            let text = format!(
                "audio-chunk in {format} where audio-start said {}",
                self.wishes.format
            );
            return Err(Error::new(Code::UnsupportedMedia, text));
        }
        let whole = 2 * usize::from(format.channels);
        if !event.payload.len().is_multiple_of(whole) {
            let text = format!(
                "audio-chunk of {} bytes is not whole samples of {whole} bytes",
                event.payload.len()
            );
            return Err(Error::new(Code::BadRequest, text));
        }
        let Some(input) = self.input.filter(|_| !event.payload.is_empty()) else {
            return Ok(None);
        };
        let audio = Audio::encoded(format, event.payload);
        let at = MediaTime::from_samples(self.position, format.sample_rate);
        self.position += u64::from(audio.samples);
        let frame = Frame::new(at, Payload::Audio(audio));
        Ok(Some(LinkEvent::Frame { input, frame }))
    }

    /// What was heard last is final.
    fn settle(&mut self, say: &mut dyn FnMut(bool, Event)) {
        let Some((_, text)) = self.partial.take() else {
            return;
        };
        let text = text.trim();
        if text.is_empty() || self.text.len() + text.len() > TEXT {
            return;
        }
        self.begin(say);
        let gap = if self.text.is_empty() { "" } else { " " };
        let piece = format!("{gap}{text}");
        self.text.push_str(&piece);
        say(true, Event::new("transcript-chunk").with("text", piece));
    }

    fn begin(&mut self, say: &mut dyn FnMut(bool, Event)) {
        if !std::mem::replace(&mut self.begun, true) {
            say(false, self.with_language(Event::new("transcript-start")));
        }
    }

    fn with_language(&self, event: Event) -> Event {
        if self.language.is_empty() {
            return event;
        }
        event.with("language", self.language.as_str())
    }
}

impl Talk for Asr {
    fn wishes(&self) -> &dyn Wishes {
        &self.wishes
    }

    fn hear(
        &mut self,
        event: Event,
        events: &mut VecDeque<LinkEvent>,
    ) -> Result<Option<&'static str>, Error> {
        match event.kind.as_str() {
            "audio-chunk" => events.extend(self.chunk(event)?),
            "audio-stop" => {
                self.complete = true;
                events.push_back(LinkEvent::End { input: None });
            }
            // What the protocol will have some day, or what belongs to no request.
            _ => return Ok(Some("unknown")),
        }
        Ok(None)
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn opened(&mut self, info: &OpenedInfo, _: &mut VecDeque<LinkEvent>) {
        self.input = first_input(info);
    }

    /// A text of the output: one that stands for itself, or what an utterance is so far.
    fn made(&mut self, frame: &Frame, say: &mut dyn FnMut(bool, Event)) {
        let Payload::Text(text) = &frame.payload else {
            return;
        };
        let utterance = frame.meta.utterance;
        if self
            .partial
            .as_ref()
            .is_some_and(|(of, _)| *of != utterance)
        {
            self.settle(say);
        }
        self.partial = Some((utterance, text.as_str().to_owned()));
        if utterance == 0 || frame.meta.is_final {
            self.settle(say);
        }
    }

    fn ended(&mut self, say: &mut dyn FnMut(bool, Event)) {
        self.settle(say);
        self.begin(say);
        let whole = Event::new("transcript").with("text", self.text.as_str());
        say(false, self.with_language(whole));
        say(false, Event::new("transcript-stop"));
    }
}

impl Wishes for Hear {
    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        (port.name == self.input).then(|| StreamFormat::audio(self.format))
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        (port.name == self.output).then_some(Accepts::Kind(Kind::Text))
    }

    fn mode(&self) -> Mode {
        MODE
    }
}

/// The format that an event of sound names.
///
/// # Errors
/// It is not 16-bit PCM, or beyond what there is.
pub(crate) fn format_of(event: &Event) -> Result<AudioFormat, Error> {
    let number = |name| event.number(name).unwrap_or(0);
    let rate = u32::try_from(number("rate")).ok();
    let rate = rate.filter(|rate| SAMPLE_RATES.contains(rate));
    let channels = u8::try_from(number("channels")).ok();
    let channels = channels.filter(|channels| (1..=8).contains(channels));
    match (rate, channels, number("width")) {
        (Some(sample_rate), Some(channels), 2) => Ok(AudioFormat {
            codec: AudioCodec::PcmS16,
            sample_rate,
            channels,
        }),
        (rate, channels, width) => {
            let text = format!(
                "{} in rate {rate:?}, width {width}, channels {channels:?}: send 16-bit samples (width 2), 1 to 8 channels",
                event.kind
            );
            Err(Error::new(Code::UnsupportedMedia, text))
        }
    }
}
