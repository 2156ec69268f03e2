//! What holds of a session, and what `session.update` changes of it.
//!
//! An update with a field that nobody knows (those of the beta shape among them) changes nothing. Of one with a field that this
//! pipeline cannot honour all else holds. Where the client would wait for what will never come (turns, answers) that is an `error` event.
//! What only says how an answer is to be made goes unheeded, and the event that shows the session says so: clients send much of that
//! without being asked (a voice, instructions), and some take every error for the end.

pub(super) mod change;

use serde_json::{Value, json};

use super::client::SessionPatch;
use super::ports::{Ports, Wire};
use super::refusal::{Ignored, Refusal};

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The pipeline answers.
    Realtime,
    /// It writes down what it hears.
    Transcription,
}

impl Purpose {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::Transcription => "transcription",
        }
    }
}

/// What holds of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) purpose: Purpose,
    pub(super) input: Wire,
    pub(super) output: Wire,
    /// Answers come in words only.
    pub(super) text_only: bool,
    /// What was understood is told.
    pub(super) transcribes: bool,
    /// Who begins to speak is not talked over.
    pub(super) interrupts: bool,
}

/// What of an update this pipeline cannot honour.
#[derive(Debug, Default)]
pub(super) struct Unheeded {
    /// Each an `error` event.
    pub(super) refused: Vec<Refusal>,
    /// What is told along with the session.
    pub(super) ignored: Vec<Ignored>,
}

impl Settings {
    /// What holds before anything is said.
    pub(super) fn new(ports: &Ports) -> Self {
        let answers = ports.answers();
        Self {
            purpose: if answers {
                Purpose::Realtime
            } else {
                Purpose::Transcription
            },
            input: Wire::default(),
            output: Wire::default(),
            text_only: ports.audio_out.is_none(),
            transcribes: ports.heard.is_some(),
            interrupts: ports.interrupts,
        }
    }

    /// Changes what an update says, and gives what of it this pipeline cannot honour. `tracks`: sound goes by tracks.
    ///
    /// # Errors
    /// A field that is not known, or a value that is none: nothing is changed.
    pub(super) fn update(
        &mut self,
        patch: SessionPatch,
        ports: &Ports,
        tracks: bool,
    ) -> Result<Unheeded, Refusal> {
        let (changed, unheeded) = change::apply(self.clone(), patch, ports, tracks)?;
        *self = changed;
        Ok(unheeded)
    }

    /// The modality of answers, as events name it.
    pub(super) const fn modality(&self) -> &'static str {
        if self.text_only { "text" } else { "audio" }
    }

    /// The session as events show it.
    pub(super) fn shown(&self, id: &str, ports: &Ports) -> Value {
        let transcription = self.transcribes.then(|| json!({"model": ports.model}));
        let turns = ports.events.as_ref().map(|_| {
            json!({
                "type": "server_vad",
                "create_response": true,
                "interrupt_response": self.interrupts,
            })
        });
        let mut session = json!({
            "type": self.purpose.name(),
            "object": "realtime.session",
            "id": id,
            "audio": {"input": {
                "format": self.input.shown(),
                "noise_reduction": null,
                "transcription": transcription,
                "turn_detection": turns,
            }},
            "include": null,
        });
        if self.purpose == Purpose::Realtime {
            session["model"] = json!(ports.model);
            session["output_modalities"] = json!([self.modality()]);
            session["audio"]["output"] = json!({"format": self.output.shown(), "speed": 1.0});
            session["instructions"] = json!("");
            session["tools"] = json!([]);
            session["tool_choice"] = json!("auto");
            session["max_output_tokens"] = json!("inf");
            session["truncation"] = json!("auto");
        }
        session
    }
}
