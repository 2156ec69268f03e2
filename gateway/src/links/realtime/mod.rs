//! The OpenAI Realtime interface (its GA shape) as a session's events: JSON events on a WebSocket or on a data channel.
//!
//! [`Realtime`] is a state machine without I/O: a client's event in, [`LinkEvent`]s and answers out; the session's words in, server
//! events out. It holds little: the newest items of the conversation, the texts of the newest utterances, and the frames of one event of
//! the client's. What the pipeline cannot do is answered with an `error` event and the session goes on; what it means that a pipeline
//! answers by itself is in `docs/openai.md`.

mod agent;
mod client;
mod hearing;
mod items;
mod ports;
mod refusal;
mod response;
mod saying;
mod server;
mod settings;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_media::{Frame, Kind, Payload};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};

pub(crate) use self::agent::survives;
use self::client::{Head, ItemCreate, ItemNamed, ItemTruncate, SessionUpdate, read};
use self::hearing::Hearing;
use self::items::Items;
pub(crate) use self::ports::Ports;
use self::refusal::{Ignored, Refusal};
use self::response::Ending;
use self::saying::Saying;
pub(crate) use self::server::Said;
use self::server::{Item, ItemPart, Out, ServerEvent};
use self::settings::{Settings, Unheeded};
use crate::metrics::{Metrics, label};
use crate::session::link::{LinkEvent, LinkMessage, OpenedInfo, Wishes};
use crate::session::ports::PortFacts;

/// Most bytes of a name that a client gives to an item.
const NAME_BYTES: usize = 64;
/// Whose messages there are.
const ROLES: [&str; 3] = ["user", "assistant", "system"];

/// One client's side of the interface.
#[derive(Debug)]
pub(crate) struct Realtime {
    ports: Ports,
    wanted: Vec<String>,
    settings: Settings,
    /// Sound goes by the tracks of a peer, and not in events.
    tracks: bool,
    mode: Mode,
    at: Places,
    session: String,
    events: VecDeque<LinkEvent>,
    out: Out,
    items: Items,
    hearing: Hearing,
    saying: Saying,
    /// What went unheeded before the session stood.
    untold: Unheeded,
    /// Where events are counted that came to nothing.
    metrics: Option<Arc<Metrics>>,
}

/// The ports by number, as the session has them.
#[derive(Debug, Default)]
struct Places {
    audio_in: Option<usize>,
    text_in: Option<usize>,
    audio_out: Option<usize>,
    text_out: Option<usize>,
    heard: Option<usize>,
    events: Option<usize>,
}

impl Realtime {
    /// The side of a client of these ports; `tracks`: its sound goes by tracks.
    pub(crate) fn new(ports: Ports, mode: Mode, tracks: bool) -> Self {
        Self {
            wanted: ports.names(),
            settings: Settings::new(&ports),
            ports,
            tracks,
            mode,
            at: Places::default(),
            session: String::new(),
            events: VecDeque::new(),
            out: Out::default(),
            items: Items::default(),
            hearing: Hearing::default(),
            saying: Saying::default(),
            untold: Unheeded::default(),
            metrics: None,
        }
    }

    /// The same, whose refused events are counted.
    pub(crate) fn counted(mut self, metrics: &Arc<Metrics>) -> Self {
        self.metrics = Some(Arc::clone(metrics));
        self
    }

    /// Takes what is said of the session before it is opened: by the key that opens it, or beside the offer. What cannot be honoured is
    /// told once it stands.
    ///
    /// # Errors
    /// It is no session that anybody could have.
    pub(crate) fn configure(&mut self, session: &Map<String, Value>) -> Result<(), Error> {
        if session.is_empty() {
            return Ok(());
        }
        let mut session = session.clone();
        let purpose = self.settings.purpose.name();
        session.entry("type").or_insert_with(|| purpose.into());
        let bad = |text| Error::new(Code::BadRequest, text);
        let patch = serde_json::from_value(Value::Object(session))
            .map_err(|error| bad(format!("the session does not have its shape: {error}")))?;
        let unheeded = self.settings.update(patch, &self.ports, self.tracks);
        let unheeded = unheeded.map_err(|refusal| bad(refusal.message))?;
        self.untold.refused.extend(unheeded.refused);
        self.untold.ignored.extend(unheeded.ignored);
        Ok(())
    }

    /// Takes a client's event.
    pub(crate) fn handle(&mut self, text: &str) {
        let mut event_id = None;
        let done = match read::<Head<'_>>(text) {
            Ok(Head {
                kind: Some(kind),
                event_id: named,
            }) => {
                event_id = named.map(|name| name.chars().take(512).collect());
                self.event_of(&kind, text)
            }
            Ok(_) => {
                let text = "the event has no type";
                Err(Refusal::invalid(Some("type"), text))
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = done {
            if let Some(metrics) = &self.metrics {
                let labels = vec![
                    label("interface", "realtime"),
                    label("reason", refusal.code.clone()),
                ];
                let name = "tidegate_ignored_messages_total";
                metrics.counter(name, labels).increment(1);
            }
            self.refuse(refusal, event_id);
        }
    }

    /// The next thing that the session is to know.
    pub(crate) fn next_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// The next thing that the client is to know.
    pub(crate) fn next_said(&mut self) -> Option<Said> {
        self.out.next()
    }

    /// Events that nobody took in time, since this was last asked.
    pub(crate) fn take_lost(&mut self) -> u64 {
        self.out.take_lost()
    }

    fn refuse(&mut self, refusal: Refusal, event_id: Option<String>) {
        let error = Refusal {
            event_id,
            ..refusal
        };
        self.out.say(&ServerEvent::Error { error });
    }

    fn event_of(&mut self, kind: &str, text: &str) -> Result<(), Refusal> {
        match kind {
            "session.update" => self.update(read::<SessionUpdate>(text)?, text),
            "input_audio_buffer.append" => self.append(read(text)?),
            "input_audio_buffer.commit" => self.commit(),
            "input_audio_buffer.clear" => {
                self.clear();
                Ok(())
            }
            "conversation.item.create" => self.create_item(read(text)?),
            "conversation.item.truncate" => self.truncate(read(text)?),
            "conversation.item.delete" => self.delete(read(text)?),
            "conversation.item.retrieve" => self.retrieve(read(text)?),
            "response.create" => self.create_response(read(text)?),
            "response.cancel" => self.cancel_response(read(text)?),
            "output_audio_buffer.clear" if self.tracks => {
                self.cancel(Ending::CLIENT);
                Ok(())
            }
            _ => {
                let kind: String = kind.chars().take(100).collect();
                let text = format!("there is no event '{kind}'");
                Err(Refusal::invalid(Some("type"), text))
            }
        }
    }

    fn update(&mut self, update: SessionUpdate, text: &str) -> Result<(), Refusal> {
        let before = self.settings.clone();
        let Unheeded { refused, ignored } =
            self.settings
                .update(update.session, &self.ports, self.tracks)?;
        self.reformat(&before);
        let event_id = read::<Head<'_>>(text).ok().and_then(|head| head.event_id);
        for refusal in refused {
            self.refuse(refusal, event_id.as_deref().map(str::to_owned));
        }
        let session = self.settings.shown(&self.session, &self.ports);
        let ignored = &ignored[..];
        self.out
            .say(&ServerEvent::SessionUpdated { session, ignored });
        Ok(())
    }

    /// Tells the session where sound is written down in another way from now on.
    fn reformat(&mut self, before: &Settings) {
        let (input, output) = (self.settings.input, self.settings.output);
        if let Some(at) = self.at.audio_in.filter(|_| input != before.input) {
            let format = input.stream();
            self.events
                .push_back(LinkEvent::FeedsOtherwise { input: at, format });
            self.hearing.reformat(before.input.format());
        }
        if let Some(at) = self.at.audio_out.filter(|_| output != before.output) {
            let accepts = output.accepts();
            self.events.push_back(LinkEvent::ListensOtherwise {
                output: at,
                accepts,
            });
        }
    }

    fn create_item(&mut self, create: ItemCreate) -> Result<(), Refusal> {
        let item = create.item;
        let mut roles = ROLES.into_iter().filter(|_| item.kind == "message");
        let role = roles.find(|role| item.role.as_deref() == Some(*role));
        let role = role.ok_or_else(|| {
            let text = "a pipeline takes messages, and no other items";
            Refusal::unsupported(Some("item.type"), text)
        })?;
        if let Some(part) = item.content.iter().find(|part| !part.is_text()) {
            let kind: String = part.kind.chars().take(NAME_BYTES).collect();
            let text =
                format!("'{kind}': items have text; sound goes by input_audio_buffer.append");
            return Err(Refusal::unsupported(Some("item.content"), text));
        }
        let follows = create.previous_item_id.as_deref();
        if follows.is_some_and(|follows| follows != self.items.last().unwrap_or("root")) {
            let text = "items are added at the end only";
            return Err(Refusal::unsupported(Some("previous_item_id"), text));
        }
        let id = match item.id {
            Some(id) if id.is_empty() || id.len() > NAME_BYTES || self.items.get(&id).is_some() => {
                let text = format!("an id of 1 to {NAME_BYTES} bytes that no other item has");
                return Err(Refusal::invalid(Some("item.id"), text));
            }
            Some(id) => id,
            None => self.items.name(),
        };
        let texts: Vec<_> = item.content.into_iter().filter_map(|p| p.text).collect();
        let deaf = self.deaf_to(role);
        let text = texts.join("\n");
        if deaf.is_none() {
            self.hearing.write(&text)?;
        } else {
            hearing::fits(text.len())?;
        }
        let part = |text| match role {
            "assistant" => ItemPart::OutputText { text },
            _ => ItemPart::InputText { text },
        };
        let item = Item::message(id, role, texts.into_iter().map(part).collect());
        self.add_item(item, deaf.as_slice());
        Ok(())
    }

    /// Why the pipeline hears nothing of a message of this role, which is remembered all the same: clients that set a scene by messages
    /// would not get on without.
    fn deaf_to(&self, role: &str) -> Option<Ignored> {
        if role != "user" {
            let text = "the pipeline does not hear it: it answers what its user says";
            return Some(Ignored::new("item.role", text));
        }
        let model = &self.ports.model;
        let text = format!(
            "the pipeline does not hear it: '{model}' has no text input, and answers sound"
        );
        let deaf = self.ports.text_in.is_none();
        deaf.then(|| Ignored::new("item.content", text))
    }

    /// Adds an item that is complete.
    fn add_item(&mut self, item: Item, ignored: &[Ignored]) {
        let previous_item_id = self.items.add(item.clone());
        let again = (previous_item_id.clone(), item.clone());
        self.out.say(&ServerEvent::ItemAdded {
            previous_item_id,
            item,
            ignored,
        });
        let (previous_item_id, item) = again;
        self.out.say(&ServerEvent::ItemDone {
            previous_item_id,
            item,
        });
    }

    fn truncate(&mut self, truncate: ItemTruncate) -> Result<(), Refusal> {
        let item = self.items.get(&truncate.item_id);
        if item.is_none_or(|item| item.role != "assistant") {
            return Err(no_item("truncate", &truncate.item_id));
        }
        self.items.change(&truncate.item_id, |item| {
            for part in &mut item.content {
                if let ItemPart::OutputAudio { transcript } = part {
                    // Nobody knows which of the words were heard.
                    *transcript = String::new();
                }
            }
        });
        if self.saying.is_saying(&truncate.item_id) {
            self.cancel(Ending::CLIENT);
        }
        self.out.say(&ServerEvent::ItemTruncated {
            item_id: truncate.item_id,
            content_index: truncate.content_index,
            audio_end_ms: truncate.audio_end_ms,
        });
        Ok(())
    }

    fn delete(&mut self, named: ItemNamed) -> Result<(), Refusal> {
        if !self.items.remove(&named.item_id) {
            return Err(no_item("delete", &named.item_id));
        }
        let item_id = named.item_id;
        self.out.say(&ServerEvent::ItemDeleted { item_id });
        Ok(())
    }

    fn retrieve(&mut self, named: ItemNamed) -> Result<(), Refusal> {
        let item = self.items.get(&named.item_id).cloned();
        let item = item.ok_or_else(|| no_item("retrieve", &named.item_id))?;
        self.out.say(&ServerEvent::ItemRetrieved { item });
        Ok(())
    }

    /// Takes the session's words.
    pub(crate) fn tell(&mut self, message: LinkMessage) {
        match message {
            LinkMessage::Opened(info) => self.opened(*info),
            LinkMessage::Frame { output, frame } => self.frame(output, &frame),
            LinkMessage::Interrupted { output } => {
                let says = [self.at.audio_out, self.at.text_out].contains(&Some(output));
                if says && self.saying.speaks_by(Some(output) == self.at.text_out) {
                    self.finish(Ending::TURN);
                }
            }
            LinkMessage::OutputEnded { output } if Some(output) == self.at.audio_out => {
                self.finish(Ending::COMPLETE);
            }
            LinkMessage::Error(error) => {
                self.finish(Ending::failed(&error));
                self.fail_transcriptions(&error);
                self.refuse(Refusal::failed(&error), None);
            }
            LinkMessage::Ended { .. } => self.finish(Ending::CUT),
            // The interface has no words for these.
            LinkMessage::OutputEnded { .. }
            | LinkMessage::Credit { .. }
            | LinkMessage::Ack { .. }
            | LinkMessage::ReplayFrom { .. }
            | LinkMessage::KeyFrameWanted { .. }
            | LinkMessage::Stats(_)
            | LinkMessage::Draining { .. } => {}
        }
    }

    fn opened(&mut self, info: OpenedInfo) {
        let input = |name: &Option<String>| {
            let mut inputs = info.inputs.iter();
            let found = inputs.find(|(_, port, _)| Some(port) == name.as_ref());
            found.map(|(index, ..)| *index)
        };
        let output = |name: &Option<String>| {
            let mut outputs = info.outputs.iter();
            let found = outputs.find(|(_, port, _)| Some(port) == name.as_ref());
            found.map(|(index, ..)| *index)
        };
        self.at = Places {
            audio_in: input(&self.ports.audio_in),
            text_in: input(&self.ports.text_in),
            audio_out: output(&self.ports.audio_out),
            text_out: output(&self.ports.text_out),
            heard: output(&self.ports.heard),
            events: output(&self.ports.events),
        };
        self.session = format!("sess_{}", info.session_id);
        let session = self.settings.shown(&self.session, &self.ports);
        let Unheeded { refused, ignored } = std::mem::take(&mut self.untold);
        let ignored = &ignored[..];
        self.out
            .say(&ServerEvent::SessionCreated { session, ignored });
        for refusal in refused {
            self.refuse(refusal, None);
        }
    }

    /// Takes a frame of an output. Of sound that goes by a track only what it says of itself matters.
    pub(crate) fn frame(&mut self, output: usize, frame: &Frame) {
        let output = Some(output);
        match &frame.payload {
            Payload::Audio(audio) if output == self.at.audio_out => {
                self.sound(&frame.meta, audio);
            }
            Payload::Text(text) if output == self.at.heard => {
                self.transcript(&frame.meta, text.as_str());
            }
            Payload::Text(text) if output == self.at.text_out => {
                self.words(&frame.meta, text.as_str());
            }
            Payload::Json(json) if output == self.at.events => {
                self.speech_event(&json.to_value());
            }
            _ => {}
        }
    }
}

impl Wishes for Realtime {
    fn wanted_ports(&self) -> &[String] {
        &self.wanted
    }

    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        let name = Some(&port.name);
        if name == self.ports.audio_in.as_ref() {
            return Some(self.settings.input.stream());
        }
        (name == self.ports.text_in.as_ref()).then_some(StreamFormat::Text)
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        let name = Some(&port.name);
        if name == self.ports.audio_out.as_ref() {
            return Some(self.settings.output.accepts());
        }
        let heard = [&self.ports.text_out, &self.ports.heard, &self.ports.events];
        let heard = heard.iter().any(|wanted| wanted.as_ref() == name);
        (heard && matches!(port.kind, Kind::Text | Kind::Json)).then_some(Accepts::Kind(port.kind))
    }

    fn mode(&self) -> Mode {
        self.mode
    }
}

/// What a client is told whom no session takes.
pub(crate) fn last_words(error: &Error) -> String {
    let mut out = Out::default();
    let error = Refusal::failed(error);
    out.say(&ServerEvent::Error { error });
    out.next().map(|said| said.text).unwrap_or_default()
}

fn no_item(wish: &str, name: &str) -> Refusal {
    let name: String = name.chars().take(NAME_BYTES).collect();
    let text = format!("there is no item '{name}', or it is remembered no more");
    Refusal {
        code: format!("item_{wish}_invalid_item_id"),
        ..Refusal::invalid(Some("item_id"), text)
    }
}
