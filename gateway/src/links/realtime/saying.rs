//! What the pipeline answers: a response is an utterance of its sound, or of its text where only text is wanted.
//!
//! A response begins with the first sound or the first word of its utterance that holds, and ends with the last sound (in text, with
//! the last word), an interrupt, or the beginning of the next. Words of an utterance that is not being said yet wait for it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tidegate_media::{Audio, Meta};

use super::Realtime;
use super::client::{ResponseCancel, ResponseCreate};
use super::refusal::{Ignored, Refusal};
use super::response::{Ending, Response};
use super::server::ServerEvent;
use super::settings::Purpose;
use super::words::Words;
use crate::session::link::LinkEvent;

/// Most fields of a `response.create` that go unheeded; the interface has fewer.
pub(super) const NOTES: usize = 16;
/// Utterances whose words are kept.
const TEXTS: usize = 16;

/// What the pipeline says, and has said.
#[derive(Debug, Default)]
pub(super) struct Saying {
    pub(super) active: Option<Response>,
    pub(super) texts: BTreeMap<u64, Words>,
    /// The utterance that was interrupted last: what still comes of it is not wanted.
    pub(super) cancelled: u64,
    pub(super) count: u64,
    /// A turn has ended and no response has begun since.
    pub(super) unanswered: bool,
    /// `response.create` asked for the response that is active, or for the next.
    pub(super) claimed: bool,
    /// What `response.create` said of it.
    pub(super) metadata: Option<Map<String, Value>>,
    /// And what of that nobody heeds.
    pub(super) ignored: Vec<Ignored>,
}

impl Saying {
    /// A turn has ended: the pipeline will answer it.
    pub(super) const fn unanswered(&mut self) {
        self.unanswered = true;
    }

    /// Whether a response is being given.
    pub(super) const fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Whether this item is what is being said.
    pub(super) fn is_saying(&self, item: &str) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.item == item)
    }

    /// Whether what is being said is told in words only, or with sound.
    pub(super) fn speaks_by(&self, text: bool) -> bool {
        self.active.as_ref().is_some_and(|a| a.text_only == text)
    }

    /// The words of an utterance.
    fn words(&mut self, utterance: u64) -> &mut Words {
        if !self.texts.contains_key(&utterance) && self.texts.len() >= TEXTS {
            self.texts.pop_first();
        }
        self.texts.entry(utterance).or_default()
    }
}

impl Realtime {
    pub(super) fn create_response(&mut self, create: ResponseCreate) -> Result<(), Refusal> {
        let mut params = create.response.unwrap_or_default();
        let metadata = params.remove("metadata");
        if self.saying.claimed && self.saying.is_active() {
            let text = "a response is being given: wait for response.done, or cancel it";
            let code = "conversation_already_has_active_response";
            return Err(Refusal::now(code, text));
        }
        if self.settings.purpose == Purpose::Transcription {
            let text = "this session writes down what it hears, and answers nothing";
            return Err(Refusal::unsupported(None, text));
        }
        let ignored = self.unheeded(&params)?;
        let submitted = self.submit();
        let saying = &mut self.saying;
        saying.unanswered |= submitted;
        saying.claimed = saying.unanswered || saying.is_active();
        if !saying.is_active() {
            saying.ignored = ignored;
            saying.metadata = metadata.and_then(|value| match value {
                Value::Object(metadata) => Some(metadata),
                _ => None,
            });
        }
        if !saying.claimed {
            let text = "there is nothing to answer: a pipeline answers what its user says";
            self.give_up(Refusal::unsupported(None, text));
        }
        Ok(())
    }

    /// What of a wished response goes unheeded: the pipeline answers as its manifest and the session say.
    ///
    /// # Errors
    /// A response of which nothing could be as it is wished.
    fn unheeded(&self, params: &Map<String, Value>) -> Result<Vec<Ignored>, Refusal> {
        let mut ignored = Vec::new();
        let others = params
            .iter()
            .filter(|(name, value)| !self.is_as_it_is(name, value));
        for (name, _) in others {
            let text = "a response is as the session and the pipeline's manifest say";
            let short: String = name.chars().take(64).collect();
            let param = format!("response.{short}");
            match name.as_str() {
                "conversation" | "input" | "output_modalities" => {
                    return Err(Refusal::unsupported(Some(&param), text));
                }
                "modalities" => {
                    let text = format!("it is 'output_modalities' since the beta, and {text}");
                    return Err(Refusal::unsupported(Some(&param), text));
                }
                _ if ignored.len() >= NOTES => return Err(Refusal::too_many("response", NOTES)),
                _ => ignored.push(Ignored::new(&param, text)),
            }
        }
        Ok(ignored)
    }

    /// Whether a parameter of a response asks for what is given anyway.
    fn is_as_it_is(&self, name: &str, value: &Value) -> bool {
        value.is_null()
            || match name {
                "output_modalities" => *value == json!([self.settings.modality()]),
                // The beta's name; it said "text" of the words that go along with sound as well.
                "modalities" => {
                    let both = [json!(["audio", "text"]), json!(["text", "audio"])];
                    *value == json!([self.settings.modality()])
                        || !self.settings.text_only && both.contains(value)
                }
                "conversation" => *value == "auto",
                "tool_choice" => *value == "auto" || *value == "none",
                "tools" => *value == json!([]),
                "max_output_tokens" => *value == "inf",
                "instructions" => *value == "",
                _ => false,
            }
    }

    pub(super) fn cancel_response(&mut self, cancel: ResponseCancel) -> Result<(), Refusal> {
        let saying = &self.saying;
        let active = saying.active.as_ref();
        let other = cancel.response_id.as_deref();
        let other = other.filter(|named| active.is_none_or(|active| active.id != *named));
        if other.is_some() || active.is_none() && !saying.unanswered {
            let text = "there is no such response to be cancelled";
            return Err(Refusal::now("response_cancel_not_active", text));
        }
        if active.is_none() {
            // It is being thought of, and is to have an end that can be told.
            self.begin(0);
        }
        self.cancel(Ending::CLIENT);
        Ok(())
    }

    /// Silences the pipeline by the client's wish.
    pub(super) fn cancel(&mut self, ending: Ending) {
        self.events.push_back(LinkEvent::Interrupt);
        self.finish(ending);
    }

    /// Takes sound of the pipeline's answer.
    pub(super) fn sound(&mut self, meta: &Meta, audio: &Audio) {
        let unnumbered = meta.utterance == 0;
        // What goes by a track without being part of an utterance has neither beginning nor end.
        let endless = self.tracks && unnumbered;
        if self.settings.text_only || !self.is_wanted(meta) || endless {
            return;
        }
        if !unnumbered {
            self.turn_to(meta.utterance);
        }
        if !self.saying.is_active() {
            self.begin(meta.utterance);
            self.tell_words();
        }
        let (tracks, out) = (self.tracks, &mut self.out);
        if let Some(active) = &mut self.saying.active {
            if tracks && !std::mem::replace(&mut active.playing, true) {
                out.say(&ServerEvent::PlayingStarted {
                    response_id: &active.id,
                });
            }
            if !tracks && !audio.data.is_empty() {
                out.say(&ServerEvent::AudioDelta {
                    at: active.at(),
                    delta: STANDARD.encode(&audio.data),
                });
            }
        }
        if meta.is_final {
            self.finish(Ending::COMPLETE);
        }
    }

    /// What is being said is this utterance, or is over.
    fn turn_to(&mut self, utterance: u64) {
        let saying = &mut self.saying;
        match &mut saying.active {
            Some(active) if active.utterance == 0 => {
                // Its words came without a number.
                active.utterance = utterance;
                if let Some(words) = saying.texts.remove(&0) {
                    saying.texts.insert(utterance, words);
                }
            }
            Some(active) if active.utterance != utterance => self.conclude(Ending::COMPLETE),
            _ => {}
        }
    }

    /// Whether what belongs to an utterance is to be told.
    fn is_wanted(&self, meta: &Meta) -> bool {
        let late = meta.utterance != 0 && meta.utterance == self.saying.cancelled;
        self.settings.purpose == Purpose::Realtime && !late
    }

    /// Takes words of the pipeline's answer.
    pub(super) fn words(&mut self, meta: &Meta, text: &str) {
        if !self.is_wanted(meta) {
            return;
        }
        let text_only = self.settings.text_only;
        let active = self.saying.active.as_ref().map(|active| active.utterance);
        // Words of no utterance are of what is being said, and where there is no sound they are a whole.
        let (utterance, last) = match meta.utterance {
            0 if text_only => (0, true),
            0 => (active.unwrap_or(0), meta.is_final),
            utterance => (utterance, meta.is_final),
        };
        let words = self.saying.words(utterance);
        words.hear(meta.revision, last, text);
        let (news, complete) = (words.has_news(), words.is_complete());
        if text_only && active.is_some_and(|active| active != utterance) {
            self.conclude(Ending::COMPLETE);
        }
        if news && !self.saying.is_active() {
            self.begin(utterance);
        }
        self.tell_words();
        if text_only && complete && self.saying.is_active() {
            self.finish(Ending::COMPLETE);
        }
    }

    /// Tells what holds of the words of what is being said.
    fn tell_words(&mut self) {
        let saying = &mut self.saying;
        let Some(active) = &saying.active else {
            return;
        };
        let Some(words) = saying.texts.get_mut(&active.utterance) else {
            return;
        };
        let Some(delta) = words.delta() else {
            return;
        };
        let at = active.at();
        self.out.say(&if active.text_only {
            ServerEvent::TextDelta { at, delta }
        } else {
            ServerEvent::TranscriptDelta { at, delta }
        });
    }

    /// Ends what is being said, and begins with what waits to be said.
    pub(super) fn finish(&mut self, ending: Ending) {
        let goes_on = ending.status == "completed" && !self.settings.text_only;
        self.conclude(ending);
        let mut waiting = self.saying.texts.iter();
        let next = waiting.find(|(_, words)| words.has_news());
        if let Some(utterance) = next.map(|(utterance, _)| *utterance).filter(|_| goes_on) {
            self.begin(utterance);
            self.tell_words();
        }
    }
}
