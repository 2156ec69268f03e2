//! A response from its beginning to its end, as events tell it.

use serde_json::{Map, Value, json};
use tidegate_nodes::Error;

use super::Realtime;
use super::refusal::Refusal;
use super::server::{
    ContentPart, Item, ItemPart, PartAt, ResponseBody, ServerEvent, StatusDetails, StatusError,
};

/// A response that is being given.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) id: String,
    pub(super) item: String,
    /// The item before it.
    pub(super) previous: Option<String>,
    pub(super) utterance: u64,
    pub(super) text_only: bool,
    /// The client of a track hears it.
    pub(super) playing: bool,
    pub(super) metadata: Option<Map<String, Value>>,
}

/// How a response ends.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) status: &'static str,
    reason: Option<&'static str>,
    error: Option<StatusError>,
}

impl Ending {
    pub(super) const COMPLETE: Self = Self::new("completed", None);
    /// The client wants no more of it.
    pub(super) const CLIENT: Self = Self::new("cancelled", Some("client_cancelled"));
    /// Somebody speaks.
    pub(super) const TURN: Self = Self::new("cancelled", Some("turn_detected"));
    /// The session is over before it is.
    pub(super) const CUT: Self = Self::new("incomplete", None);

    const fn new(status: &'static str, reason: Option<&'static str>) -> Self {
        Self {
            status,
            reason,
            error: None,
        }
    }

    /// The session failed.
    pub(super) fn failed(error: &Error) -> Self {
        Self::refused(Refusal::failed(error))
    }

    /// It cannot be given.
    fn refused(why: Refusal) -> Self {
        let error = StatusError {
            kind: why.kind,
            code: why.code,
            message: why.message,
        };
        Self {
            error: Some(error),
            ..Self::new("failed", None)
        }
    }
}

impl Response {
    pub(super) fn at(&self) -> PartAt<'_> {
        PartAt {
            response_id: &self.id,
            item_id: &self.item,
            output_index: 0,
            content_index: 0,
        }
    }

    fn part(&self, text: String) -> ContentPart {
        if self.text_only {
            ContentPart::Text { text }
        } else {
            ContentPart::Audio { transcript: text }
        }
    }

    /// Its item as it stands.
    fn item(&self, status: &'static str, content: Option<String>) -> Item {
        let part = |text| {
            if self.text_only {
                ItemPart::OutputText { text }
            } else {
                ItemPart::OutputAudio { transcript: text }
            }
        };
        let mut item = Item::message(
            self.item.clone(),
            "assistant",
            content.map(part).into_iter().collect(),
        );
        item.status = status;
        item
    }
}

impl Realtime {
    /// Begins with what an utterance says.
    pub(super) fn begin(&mut self, utterance: u64) {
        let response = self.create(utterance);
        let item = response.item("in_progress", None);
        let response_id = response.id.clone();
        self.out.say(&ServerEvent::OutputItemAdded {
            response_id: &response_id,
            output_index: 0,
            item: item.clone(),
        });
        let previous_item_id = self.items.add(item.clone());
        self.out.say(&ServerEvent::ItemAdded {
            previous_item_id,
            item,
            ignored: &[],
        });
        self.out.say(&ServerEvent::ContentPartAdded {
            at: response.at(),
            part: response.part(String::new()),
        });
        self.saying.active = Some(response);
    }

    /// Tells of a response that will not be given, so that nobody waits for it.
    pub(super) fn give_up(&mut self, why: Refusal) {
        let response = self.create(0);
        self.tell_done(&response, &Ending::refused(why), Vec::new());
    }

    fn create(&mut self, utterance: u64) -> Response {
        let saying = &mut self.saying;
        saying.count += 1;
        saying.unanswered = false;
        let ignored = std::mem::take(&mut saying.ignored);
        let response = Response {
            id: format!("resp_{}", saying.count),
            item: self.items.name(),
            previous: self.items.last().map(str::to_owned),
            utterance,
            text_only: self.settings.text_only,
            playing: false,
            metadata: saying.metadata.take(),
        };
        self.out.say(&ServerEvent::ResponseCreated {
            response: self.body(&response, "in_progress", None, Vec::new()),
            ignored: &ignored,
        });
        response
    }

    /// Ends what is being said, if anything is.
    pub(super) fn conclude(&mut self, ending: Ending) {
        let Some(response) = self.saying.active.take() else {
            return;
        };
        let text = self.saying.texts.remove(&response.utterance);
        let text = text.map(|words| words.text().to_owned());
        let text = text.unwrap_or_default();
        // Of those before it nothing will be said any more.
        self.saying
            .texts
            .retain(|utterance, _| *utterance > response.utterance);
        self.saying.claimed = false;
        if ending.status == "cancelled" {
            self.saying.cancelled = response.utterance;
            self.saying.texts.clear();
        }
        let at = response.at();
        if response.text_only {
            self.out.say(&ServerEvent::TextDone { at, text: &text });
        } else {
            self.out.say(&ServerEvent::AudioDone { at });
            self.out.say(&ServerEvent::TranscriptDone {
                at,
                transcript: &text,
            });
        }
        self.out.say(&ServerEvent::ContentPartDone {
            at,
            part: response.part(text.clone()),
        });
        self.conclude_item(&response, &ending, text);
    }

    fn conclude_item(&mut self, response: &Response, ending: &Ending, text: String) {
        let complete = ending.status == "completed";
        let status = if complete { "completed" } else { "incomplete" };
        let item = response.item(status, Some(text));
        self.items.change(&item.id, |kept| *kept = item.clone());
        self.out.say(&ServerEvent::OutputItemDone {
            response_id: &response.id,
            output_index: 0,
            item: item.clone(),
        });
        self.out.say(&ServerEvent::ItemDone {
            previous_item_id: response.previous.clone(),
            item: item.clone(),
        });
        self.tell_done(response, ending, vec![item]);
        if response.playing {
            let response_id = &response.id;
            self.out.say(&if ending.status == "cancelled" {
                ServerEvent::PlayingCleared { response_id }
            } else {
                ServerEvent::PlayingStopped { response_id }
            });
        }
    }

    fn tell_done(&mut self, response: &Response, ending: &Ending, output: Vec<Item>) {
        let details = StatusDetails {
            kind: ending.status,
            reason: ending.reason,
            error: ending.error.clone(),
        };
        self.out.say(&ServerEvent::ResponseDone {
            response: self.body(response, ending.status, Some(details), output),
        });
    }

    fn body(
        &self,
        response: &Response,
        status: &'static str,
        status_details: Option<StatusDetails>,
        output: Vec<Item>,
    ) -> ResponseBody {
        let format = self.settings.output.shown();
        ResponseBody {
            id: response.id.clone(),
            object: "realtime.response",
            status,
            status_details,
            output,
            conversation_id: "conv_1",
            output_modalities: [if response.text_only { "text" } else { "audio" }],
            audio: (!response.text_only).then(|| json!({"output": {"format": format}})),
            metadata: response.metadata.clone(),
            usage: None,
        }
    }
}
