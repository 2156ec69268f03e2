//! Text to speech: `synthesize` or a stream of `synthesize-chunk` in, sound out.
//!
//! A client that streams also sends the whole text as an old `synthesize`, for servers that know no streams: inside of a stream that is
//! passed over, or all would be said twice.

use std::collections::VecDeque;

use tidegate_media::{AudioFormat, Codec as AudioCodec, Frame, MediaTime, Payload, Sentences};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};
use tidegate_proto::wyoming::Event;

use super::{MODE, Talk, first_input};
use crate::session::link::{LinkEvent, OpenedInfo, Wishes};
use crate::session::ports::PortFacts;

/// Bytes of sound in one event: a tenth of a second at 48 kHz.
const PIECE: usize = 9_600;
/// What an answer without sound is said to be in.
const SILENT: AudioFormat = AudioFormat {
    codec: AudioCodec::PcmS16,
    sample_rate: 22_050,
    channels: 1,
};

/// One synthesis.
pub(crate) struct Tts {
    wishes: Speak,
    input: Option<usize>,
    format: AudioFormat,
    streams: bool,
    sentences: Sentences,
    /// What can be said and has not been sent, until the session stands; and its bytes.
    ready: Vec<String>,
    waiting: usize,
    utterance: u64,
    complete: bool,
    begun: bool,
    /// Samples so far, of each channel.
    samples: u64,
}

struct Speak {
    input: String,
    output: String,
}

impl Tts {
    /// A request by these ports of a pipeline: for one text, or for a stream of them.
    pub(crate) fn new(input: &str, output: &str, text: Option<&str>) -> Self {
        Self {
            wishes: Speak {
                input: input.to_owned(),
                output: output.to_owned(),
            },
            input: None,
            format: SILENT,
            streams: text.is_none(),
            sentences: Sentences::default(),
            // A text that came as one is said as one.
            ready: text.into_iter().map(str::to_owned).collect(),
            waiting: text.map_or(0, str::len),
            utterance: 0,
            complete: text.is_some(),
            begun: false,
            samples: 0,
        }
    }

    /// More can be said.
    fn put(&mut self, sentences: Vec<String>) {
        self.waiting += sentences.iter().map(String::len).sum::<usize>();
        self.ready.extend(sentences);
    }

    /// Sends what can be said, and the end once nothing follows.
    fn send(&mut self, events: &mut VecDeque<LinkEvent>) {
        let Some(input) = self.input else { return };
        self.waiting = 0;
        for text in self.ready.drain(..) {
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            self.utterance += 1;
            let mut frame = Frame::new(MediaTime::default(), Payload::Text(text.into()));
            frame.meta.utterance = self.utterance;
            frame.meta.is_final = true;
            events.push_back(LinkEvent::Frame { input, frame });
        }
        if self.complete {
            events.push_back(LinkEvent::End { input: None });
        }
    }

    fn named(&self, kind: &str) -> Event {
        Event::new(kind)
            .with("rate", self.format.sample_rate)
            .with("width", 2)
            .with("channels", self.format.channels)
    }

    fn begin(&mut self, say: &mut dyn FnMut(bool, Event)) {
        if !std::mem::replace(&mut self.begun, true) {
            say(false, self.named("audio-start").with("timestamp", 0));
        }
    }
}

impl Talk for Tts {
    fn wishes(&self) -> &dyn Wishes {
        &self.wishes
    }

    fn hear(
        &mut self,
        event: Event,
        events: &mut VecDeque<LinkEvent>,
    ) -> Result<Option<&'static str>, Error> {
        match event.kind.as_str() {
            "synthesize-chunk" => {
                let text = event.text("text");
                if self.waiting + text.len() > tidegate_proto::wyoming::DATA {
                    let text = "more text than is read at once: wait for the sound";
                    return Err(Error::new(Code::TooLarge, text));
                }
                let whole = self.sentences.add(text);
                self.put(whole);
                self.send(events);
            }
            "synthesize-stop" => {
                self.complete = true;
                let rest = self.sentences.finish();
                self.put(rest);
                self.send(events);
            }
            // The old form, with all of the text.
            "synthesize" => return Ok(Some("repeated")),
            // What the protocol will have some day.
            _ => return Ok(Some("unknown")),
        }
        Ok(None)
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn opened(&mut self, info: &OpenedInfo, events: &mut VecDeque<LinkEvent>) {
        self.input = first_input(info);
        let mut formats = info.outputs.iter().map(|(_, _, format)| *format);
        let format = formats.find_map(|format| format.audio_format());
        self.format = format.unwrap_or(SILENT);
        self.send(events);
    }

    fn made(&mut self, frame: &Frame, say: &mut dyn FnMut(bool, Event)) {
        let Payload::Audio(audio) = &frame.payload else {
            return;
        };
        self.begin(say);
        let whole = 2 * usize::from(self.format.channels.max(1));
        let mut rest = audio.data.clone();
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE - PIECE % whole));
            let at = 1_000 * self.samples / u64::from(self.format.sample_rate.max(1));
            self.samples += (piece.len() / whole) as u64;
            let mut event = self.named("audio-chunk").with("timestamp", at);
            event.payload = piece;
            say(true, event);
        }
    }

    fn ended(&mut self, say: &mut dyn FnMut(bool, Event)) {
        self.begin(say);
        say(false, Event::new("audio-stop"));
        if self.streams {
            say(false, Event::new("synthesize-stopped"));
        }
    }
}

impl Wishes for Speak {
    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        (port.name == self.input).then_some(StreamFormat::Text)
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        (port.name == self.output).then(|| {
            Accepts::Audio(AudioPattern {
                codecs: vec![AudioCodec::PcmS16],
                ..AudioPattern::default()
            })
        })
    }

    fn mode(&self) -> Mode {
        MODE
    }
}
