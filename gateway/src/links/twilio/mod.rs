//! Twilio Media Streams as what is said on a WebSocket: a telephone call as a client of a session.
//!
//! One audio input hears the caller, one audio output is what the caller hears, both μ-law at 8 kHz. A JSON input is told of the call,
//! of keys and of what was played; a text input, where there is no JSON input, gets the keys. Absent: sockets, and who may come in
//! ([`crate::http::twilio`]).

mod marks;
pub(crate) mod messages;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Message;
use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_media::{
    Audio, AudioFormat, Codec as AudioCodec, Frame, Json, Kind, MediaTime, Payload, Timestamp,
};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};

use self::marks::{Full, Marks, Played};
use self::messages::{Incoming, Media, Start};
use super::websocket::{Codec, Outgoing};
use crate::metrics::{Metrics, label};
use crate::session::link::{LinkEvent, LinkMessage, Wishes};
use crate::session::ports::PortFacts;

/// The one format that Twilio knows.
pub(crate) const FORMAT: AudioFormat = AudioFormat {
    codec: AudioCodec::Pcmu,
    sample_rate: 8_000,
    channels: 1,
};
/// Sound that begins so much later than the sound before it ended, in samples, leaves a hole in the time line; less is jitter of
/// Twilio's time stamps.
const HOLE: u64 = 8 * 100;
/// Events that the session has not taken: interrupts tell of themselves, even while nothing is read.
const PENDING: usize = 64;

/// What a call wants of a session.
#[derive(Debug)]
pub(crate) struct Call {
    /// Ports that the call's parameters name.
    pub(crate) ports: Vec<String>,
    /// Keys go to a text input, since there is no JSON input.
    pub(crate) keys_as_text: bool,
}

impl Wishes for Call {
    fn wanted_ports(&self) -> &[String] {
        &self.ports
    }

    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        match port.kind {
            Kind::Audio => Some(StreamFormat::audio(FORMAT)),
            Kind::Json => Some(StreamFormat::Json),
            Kind::Text if self.keys_as_text => Some(StreamFormat::Text),
            _ => None,
        }
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        (port.kind == Kind::Audio).then(|| {
            Accepts::Audio(AudioPattern {
                codecs: vec![FORMAT.codec],
                sample_rates: vec![FORMAT.sample_rate],
                channels: vec![FORMAT.channels],
                packets: false,
            })
        })
    }

    fn mode(&self) -> Mode {
        Mode::Live
    }

    fn has_tracks(&self) -> bool {
        true
    }

    fn fits(&self, inputs: &[&PortFacts], outputs: &[&PortFacts]) -> Result<(), Error> {
        let voices = |ports: &[&PortFacts]| {
            let audio = ports.iter().filter(|port| port.kind == Kind::Audio);
            audio.map(|port| port.name.clone()).collect::<Vec<_>>()
        };
        for (what, names) in [("inputs", voices(inputs)), ("outputs", voices(outputs))] {
            if names.len() > 1 {
                let text = format!(
                    "a call has one voice each way, and the pipeline has the audio {what} {}: name one in the stream's parameter tidegate_as",
                    names.join(", ")
                );
                return Err(Error::new(Code::Incompatible, text));
            }
        }
        if voices(inputs).is_empty() && voices(outputs).is_empty() {
            let text = "the pipeline has no audio input and no audio output for a call";
            return Err(Error::new(Code::Incompatible, text));
        }
        Ok(())
    }
}

/// One call's side of the stream.
pub(crate) struct TwilioCodec {
    call: Call,
    stream: String,
    /// What `start` said, for the input that is told of it.
    start: Start,
    metrics: Arc<Metrics>,
    /// Number of the newest message.
    sequence: u64,
    stopped: bool,
    voice: Option<usize>,
    events: Option<(usize, Kind)>,
    /// Where the next sound belongs, in samples.
    position: u64,
    marks: Marks,
    pending: VecDeque<LinkEvent>,
}

impl TwilioCodec {
    /// The side of a call whose `start` has been read.
    pub(crate) fn new(
        call: Call,
        stream: String,
        sequence: u64,
        start: Start,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            call,
            stream,
            start,
            metrics,
            sequence,
            stopped: false,
            voice: None,
            events: None,
            position: 0,
            marks: Marks::default(),
            pending: VecDeque::new(),
        }
    }

    /// Every message counts one up; one that goes back is no continuation of this stream. A number that is left out is noted only:
    /// TCP loses nothing, so Twilio itself dropped something, and the call goes on.
    fn check(&mut self, sequence: u64, stream: &str) -> Result<(), Error> {
        if stream != self.stream {
            let text = format!(
                "message of stream '{}' on the socket of stream '{}'",
                clip(stream),
                clip(&self.stream)
            );
            return Err(Error::new(Code::BadRequest, text));
        }
        let due = self.sequence + 1;
        if sequence < due {
            let text = format!("sequenceNumber {sequence} where {due} was due");
            return Err(Error::new(Code::BadRequest, text));
        }
        if sequence > due {
            self.ignored("gap", sequence - due);
        }
        self.sequence = sequence;
        Ok(())
    }

    /// Counts what comes to nothing.
    fn ignored(&self, reason: &'static str, messages: u64) {
        let labels = vec![label("interface", "twilio"), label("reason", reason)];
        let counter = self
            .metrics
            .counter("tidegate_ignored_messages_total", labels);
        counter.increment(messages);
    }

    fn media(&mut self, media: &Media) -> Result<(), Error> {
        let Some(input) = self.voice.filter(|_| media.track != "outbound") else {
            // What the caller hears, or a pipeline that hears nobody.
            self.ignored("track", 1);
            return Ok(());
        };
        let samples = media.samples()?;
        if samples.is_empty() {
            return Ok(());
        }
        let stamped = media.timestamp.0.saturating_mul(8);
        if stamped > self.position.saturating_add(HOLE) {
            self.position = stamped;
        }
        let at = MediaTime::from_samples(self.position, FORMAT.sample_rate);
        self.position = self.position.saturating_add(samples.len() as u64);
        let audio = Audio::encoded(FORMAT, Bytes::from(samples));
        let frame = Frame::new(at, Payload::Audio(audio));
        self.pending.push_back(LinkEvent::Frame { input, frame });
        Ok(())
    }

    fn key(&mut self, digit: &str) {
        match self.events {
            Some((_, Kind::Json)) => self.tell(&json!({"type": "dtmf", "digit": clip(digit)})),
            Some((input, _)) => {
                let at = MediaTime::from_samples(self.position, FORMAT.sample_rate);
                let frame = Frame::new(at, Payload::Text(clip(digit).as_str().into()));
                self.pending.push_back(LinkEvent::Frame { input, frame });
            }
            None => self.ignored("dtmf", 1),
        }
    }

    /// Tells the JSON input, if there is one.
    fn tell(&mut self, event: &Value) {
        let Some((input, Kind::Json)) = self.events else {
            return;
        };
        if self.pending.len() >= PENDING {
            self.ignored("events", 1);
            return;
        }
        let at = MediaTime::from_samples(self.position, FORMAT.sample_rate);
        let frame = Frame::new(at, Payload::Json(Json::from(event)));
        self.pending.push_back(LinkEvent::Frame { input, frame });
    }

    fn opened(&mut self, inputs: &[(usize, String, StreamFormat)]) {
        let of = |kind: Kind| {
            let found = inputs.iter().find(|(_, _, format)| format.kind() == kind);
            found.map(|(index, _, _)| *index)
        };
        self.voice = of(Kind::Audio);
        self.events = of(Kind::Json)
            .map(|input| (input, Kind::Json))
            .or_else(|| of(Kind::Text).map(|input| (input, Kind::Text)));
        let start = std::mem::take(&mut self.start);
        self.tell(&json!({
            "type": "call",
            "stream_sid": self.stream,
            "call_sid": start.call_sid,
            "account_sid": start.account_sid,
            "parameters": start.custom_parameters,
        }));
    }

    fn speak(&mut self, frame: &Frame, out: &mut Outgoing) {
        // Other outputs are not listened to.
        let Payload::Audio(audio) = &frame.payload else {
            return;
        };
        let utterance = frame.meta.utterance;
        let before = self.marks.begins(utterance);
        self.mark(before, out);
        if !audio.data.is_empty() {
            out.frame(messages::media(&self.stream, &audio.data));
        }
        let behind = self.marks.sent(audio.duration(), frame.meta.is_final);
        self.mark(behind, out);
    }

    fn mark(&mut self, mark: Option<Result<String, Full>>, out: &mut Outgoing) {
        match mark {
            None => {}
            Some(Ok(name)) => out.word(messages::mark(&self.stream, &name)),
            Some(Err(Full)) => self.ignored("marks", 1),
        }
    }

    fn came_back(&mut self, name: &str) {
        match self.marks.came_back(name) {
            Ok(Some(played)) => self.tell(&told("played", played)),
            Ok(None) => {}
            Err(marks::Unknown) => self.ignored("mark", 1),
        }
    }
}

fn told(what: &str, played: Played) -> Value {
    let Played {
        utterance,
        position,
    } = played;
    json!({"type": what, "utterance": utterance, "position": position.as_secs_f64()})
}

impl Codec for TwilioCodec {
    fn wishes(&self) -> &dyn Wishes {
        &self.call
    }

    fn decode(&mut self, message: Message, _: Timestamp, _: &mut Outgoing) -> Result<(), Error> {
        match messages::read(&message)? {
            Incoming::Start { .. } | Incoming::Connected {} => {
                let text = "a second start: one socket carries one stream";
                return Err(Error::new(Code::BadRequest, text));
            }
            Incoming::Unknown => {
                self.ignored("unknown", 1);
                if let Some(number) = messages::number(&message) {
                    self.sequence = self.sequence.max(number);
                }
            }
            Incoming::Media {
                sequence_number,
                stream_sid,
                media,
            } => {
                self.check(sequence_number.0, &stream_sid)?;
                if self.stopped {
                    self.ignored("track", 1);
                } else {
                    self.media(&media)?;
                }
            }
            Incoming::Dtmf {
                sequence_number,
                stream_sid,
                dtmf,
            } => {
                self.check(sequence_number.0, &stream_sid)?;
                if !self.stopped {
                    self.key(&dtmf.digit);
                }
            }
            Incoming::Mark {
                sequence_number,
                stream_sid,
                mark,
            } => {
                self.check(sequence_number.0, &stream_sid)?;
                if !self.stopped {
                    self.came_back(&mark.name);
                }
            }
            Incoming::Stop {
                sequence_number,
                stream_sid,
            } => {
                self.check(sequence_number.0, &stream_sid)?;
                self.stopped = true;
                self.pending.push_back(LinkEvent::End { input: None });
            }
        }
        Ok(())
    }

    fn event(&mut self) -> Option<LinkEvent> {
        self.pending.pop_front()
    }

    fn unplayed(&self) -> Option<Duration> {
        // After `stop` nobody listens.
        self.marks.unplayed().filter(|_| !self.stopped)
    }

    fn encode(&mut self, message: LinkMessage, _: Timestamp, out: &mut Outgoing) {
        match message {
            LinkMessage::Opened(info) => self.opened(&info.inputs),
            LinkMessage::Frame { frame, .. } => self.speak(&frame, out),
            LinkMessage::Interrupted { .. } => {
                out.word(messages::clear(&self.stream));
                let played = self.marks.clear();
                if !self.stopped {
                    self.tell(&told("interrupted", played));
                }
            }
            LinkMessage::OutputEnded { .. } => {
                let last = self.marks.ends();
                self.mark(last, out);
            }
            // Twilio has no words for the rest; the socket's close says why the stream ends.
            _ => {}
        }
    }
}

/// What a stranger named, short enough to be repeated.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
