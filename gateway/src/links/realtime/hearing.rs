//! What the client says: sound and texts as frames, and the turns that the pipeline or the client makes of it.

mod transcripts;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use tidegate_media::{Audio, AudioFormat, Frame, MediaTime, Payload};

use super::Realtime;
use super::client::Append;
use super::refusal::{Ignored, Refusal};
use super::response::Ending;
use super::server::{Item, ItemPart, ServerEvent};
use super::words::{TEXT_BYTES, Words};
use crate::session::link::LinkEvent;

/// A frame holds a tenth of a second at most.
const FRAMES_PER_SECOND: usize = 10;
/// Turns whose words may still come.
const TURNS: usize = 64;

/// What was heard of the client so far.
#[derive(Debug)]
pub(super) struct Hearing {
    /// Numbers of the newest frames.
    audio_seq: u64,
    text_seq: u64,
    /// Number of the utterance that sound belongs to now, and of the newest text.
    utterance: u64,
    text_utterance: u64,
    /// Media time where the present format began, and samples since.
    base: MediaTime,
    samples: u64,
    /// Sound came since the last turn that the client ended.
    fed: bool,
    /// Texts that were written and not answered yet.
    written: String,
    turns: BTreeMap<u64, Turn>,
    /// The turn in which the pipeline hears speech now.
    speaking: Option<u64>,
    /// The item of a turn that the client ended before the pipeline told of its speech, and where it ended.
    early: Option<(String, MediaTime)>,
    /// The pipeline finds turns that the client did not end, and does not say when they begin and end.
    divides: bool,
    /// Up to where sound counts as that of some turn.
    counted: MediaTime,
}

impl Default for Hearing {
    fn default() -> Self {
        Self {
            audio_seq: 0,
            text_seq: 0,
            utterance: 1,
            text_utterance: 0,
            base: MediaTime::ZERO,
            samples: 0,
            fed: false,
            written: String::new(),
            turns: BTreeMap::new(),
            speaking: None,
            early: None,
            divides: false,
            counted: MediaTime::ZERO,
        }
    }
}

/// A turn of the client's.
#[derive(Debug, Default)]
struct Turn {
    item: String,
    began: MediaTime,
    lasted: f64,
    /// The client has its item.
    added: bool,
    committed: bool,
    words: Words,
    /// All of its words were told.
    told: bool,
}

impl Hearing {
    /// Sound comes in another format from now on.
    pub(super) fn reformat(&mut self, old: AudioFormat) {
        self.base = self.place(old);
        self.samples = 0;
    }

    /// Where the next frame begins.
    fn place(&self, format: AudioFormat) -> MediaTime {
        let since = MediaTime::from_samples(self.samples, format.sample_rate);
        MediaTime::from_micros(self.base.as_micros().saturating_add(since.as_micros()))
    }

    /// The seconds of sound up to here that no turn has counted; now one has.
    fn count(&mut self, until: MediaTime) -> f64 {
        let from = self.counted;
        self.counted = until.max(from);
        until.saturating_since(from).as_secs_f64()
    }

    /// The turn that a commit ends, where that is known: not one that has ended already.
    fn ends(&self, utterance: u64, has_events: bool) -> Option<u64> {
        let open = |utterance: &u64| self.turns.get(utterance).is_none_or(|turn| !turn.committed);
        if has_events {
            return self.speaking.filter(open);
        }
        if !self.divides {
            return Some(utterance).filter(open);
        }
        let mut heard = self.turns.iter().rev();
        let found = heard.find(|(_, turn)| !turn.told && !turn.committed);
        found.map(|(utterance, _)| *utterance)
    }

    /// Keeps a text until it is to be answered.
    pub(super) fn write(&mut self, text: &str) -> Result<(), Refusal> {
        fits(self.written.len() + text.len())?;
        if !self.written.is_empty() {
            self.written.push('\n');
        }
        self.written.push_str(text);
        Ok(())
    }

    /// The turn of an utterance; new ones get an item's name.
    fn turn(&mut self, utterance: u64, name: impl FnOnce() -> String) -> &mut Turn {
        if !self.turns.contains_key(&utterance) && self.turns.len() >= TURNS {
            self.turns.pop_first();
        }
        self.turns.entry(utterance).or_insert_with(|| Turn {
            item: name(),
            ..Turn::default()
        })
    }
}

/// Whether a message of so many bytes, along with what waits already, is short enough.
///
/// # Errors
/// It is not.
pub(super) fn fits(bytes: usize) -> Result<(), Refusal> {
    if bytes >= TEXT_BYTES {
        let text = format!("more than {TEXT_BYTES} bytes of text wait for response.create");
        return Err(Refusal::invalid(Some("item.content"), text));
    }
    Ok(())
}

impl Realtime {
    pub(super) fn append(&mut self, append: Append<'_>) -> Result<(), Refusal> {
        let Some(input) = self.at.audio_in else {
            let text = format!("pipeline '{}' has no audio input", self.ports.model);
            return Err(Refusal::unsupported(Some("audio"), text));
        };
        if self.tracks {
            let text = "sound comes by the track of the peer connection";
            return Err(Refusal::unsupported(Some("audio"), text));
        }
        let data = STANDARD.decode(append.audio.as_bytes()).map_err(|error| {
            Refusal::invalid(Some("audio"), format!("it is not base64: {error}"))
        })?;
        let format = self.settings.input.format();
        let sample = format.codec.sample_bytes().unwrap_or(1);
        if !data.len().is_multiple_of(sample) {
            let text = format!(
                "{} bytes are not whole samples of {sample} bytes",
                data.len()
            );
            return Err(Refusal::invalid(Some("audio"), text));
        }
        let whole = usize::try_from(format.sample_rate).unwrap_or(usize::MAX) / FRAMES_PER_SECOND;
        let mut data = Bytes::from(data);
        while !data.is_empty() {
            let part = data.split_to(data.len().min(whole * sample));
            self.hearing.fed = true;
            let frame = self.piece(part);
            self.events.push_back(LinkEvent::Frame { input, frame });
        }
        Ok(())
    }

    /// The next frame of sound.
    fn piece(&mut self, data: Bytes) -> Frame {
        let format = self.settings.input.format();
        let audio = Audio::encoded(format, data);
        let hearing = &mut self.hearing;
        let at = hearing.place(format);
        hearing.samples += u64::from(audio.samples);
        let mut frame = Frame::new(at, Payload::Audio(audio));
        hearing.audio_seq += 1;
        frame.meta.seq = hearing.audio_seq;
        frame.meta.utterance = hearing.utterance;
        frame
    }

    /// The client ends its turn: a frame without samples closes the utterance.
    pub(super) fn commit(&mut self) -> Result<(), Refusal> {
        let Some(input) = self.at.audio_in.filter(|_| !self.tracks) else {
            let text = "sound comes by the track of the peer connection, where the pipeline finds the turns";
            return Err(Refusal::unsupported(None, text));
        };
        if !std::mem::take(&mut self.hearing.fed) {
            let text = "no sound has come since the last turn";
            return Err(Refusal::now("input_audio_buffer_commit_empty", text));
        }
        let utterance = self.hearing.utterance;
        let mut frame = self.piece(Bytes::new());
        let at = frame.meta.media_time;
        frame.meta.is_final = true;
        self.hearing.utterance += 1;
        self.events.push_back(LinkEvent::Frame { input, frame });
        self.saying.unanswered();
        let has_events = self.ports.events.is_some();
        if let Some(utterance) = self.hearing.ends(utterance, has_events) {
            let lasted = self.hearing.count(at);
            self.end_turn(utterance);
            if !has_events && let Some(turn) = self.hearing.turns.get_mut(&utterance) {
                turn.lasted = lasted;
            }
        } else {
            // The pipeline may not have told yet that it hears something; it counts utterances by itself.
            let item = self.items.name();
            self.tell_commit(item.clone(), true);
            self.hearing.early = Some((item, at));
        }
        Ok(())
    }

    /// Forgets what the pipeline has not heard, which is nothing: sound goes on as it comes. A client that was refused this would not get
    /// on, and what it wants gone are the moments before somebody speaks.
    pub(super) fn clear(&mut self) {
        let heard = if self.ports.events.is_some() {
            self.hearing.speaking.is_some()
        } else {
            self.hearing.fed
        };
        let text = "the pipeline has heard it already: sound goes on as it comes";
        let ignored = heard.then(|| Ignored::new("input_audio_buffer", text));
        self.out.say(&ServerEvent::Cleared {
            ignored: ignored.as_slice(),
        });
    }

    /// Gives what was written to the pipeline as one utterance. False if nothing was.
    pub(super) fn submit(&mut self) -> bool {
        let Some(input) = self.at.text_in.filter(|_| !self.hearing.written.is_empty()) else {
            return false;
        };
        let at = self.hearing.place(self.settings.input.format());
        let hearing = &mut self.hearing;
        let text = std::mem::take(&mut hearing.written);
        let mut frame = Frame::new(at, Payload::Text(text.into()));
        hearing.text_seq += 1;
        hearing.text_utterance += 1;
        frame.meta.seq = hearing.text_seq;
        frame.meta.utterance = hearing.text_utterance;
        frame.meta.is_final = true;
        self.events.push_back(LinkEvent::Frame { input, frame });
        true
    }

    /// What the pipeline's voice detector says.
    pub(super) fn speech_event(&mut self, event: &Value) {
        let number = |name: &str| event.get(name).and_then(Value::as_u64);
        let (Some(utterance), Some(micros)) = (number("utterance"), number("media_time")) else {
            return;
        };
        let at = MediaTime::from_micros(i64::try_from(micros).unwrap_or(i64::MAX));
        match event.get("type").and_then(Value::as_str) {
            Some("speech_start") => self.speech_started(utterance, at),
            Some("speech_stop") => self.speech_stopped(utterance, at),
            _ => {}
        }
    }

    fn speech_started(&mut self, utterance: u64, at: MediaTime) {
        let early = self.hearing.early.take_if(|(_, ended)| at < *ended);
        let committed = early.is_some();
        let items = &mut self.items;
        let turn = self.hearing.turn(utterance, || match early {
            Some((item, _)) => item,
            None => items.name(),
        });
        turn.began = at;
        turn.committed |= committed;
        turn.added |= committed;
        let item_id = turn.item.clone();
        self.hearing.speaking = Some(utterance);
        self.out.say(&ServerEvent::SpeechStarted {
            audio_start_ms: millis(at),
            item_id,
        });
        if self.settings.interrupts && self.saying.is_active() {
            if !self.ports.interrupts {
                self.events.push_back(LinkEvent::Interrupt);
            }
            self.finish(Ending::TURN);
        }
    }

    fn speech_stopped(&mut self, utterance: u64, at: MediaTime) {
        let items = &mut self.items;
        let turn = self.hearing.turn(utterance, || items.name());
        turn.lasted = at.saturating_since(turn.began).as_secs_f64();
        let (item_id, committed) = (turn.item.clone(), turn.committed);
        self.hearing.speaking = None;
        self.out.say(&ServerEvent::SpeechStopped {
            audio_end_ms: millis(at),
            item_id,
        });
        if !committed {
            self.end_turn(utterance);
            self.saying.unanswered();
        }
    }

    /// A turn is over: it becomes an item.
    fn end_turn(&mut self, utterance: u64) {
        let items = &mut self.items;
        let turn = self.hearing.turn(utterance, || items.name());
        turn.committed = true;
        let added = std::mem::replace(&mut turn.added, true);
        let item = turn.item.clone();
        self.tell_commit(item, !added);
    }

    fn tell_commit(&mut self, item_id: String, add: bool) {
        let last = self.items.last().filter(|last| *last != item_id);
        self.out.say(&ServerEvent::Committed {
            previous_item_id: last.map(str::to_owned),
            item_id: item_id.clone(),
        });
        if add {
            self.add_item(spoken(item_id), &[]);
        }
    }
}

fn spoken(id: String) -> Item {
    let content = vec![ItemPart::InputAudio { transcript: None }];
    Item::message(id, "user", content)
}

fn millis(at: MediaTime) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(0) / 1_000
}
