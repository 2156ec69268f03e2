//! What holds of a session, and what `session.update` changes of it.
//!
//! An update with a field that nobody knows (those of the beta shape among them) changes nothing. Of one with a field that this
//! pipeline cannot honour all else holds, and each such field is answered with an `error` event.

use serde_json::{Map, Value, json};

use super::client::{AudioPatch, InputPatch, OutputPatch, SessionPatch};
use super::ports::{Ports, Wire};
use super::refusal::Refusal;

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

/// Fields of a session that say something to a model, and the values by which they say nothing.
const FOR_MODELS: [(&str, &[&str]); 11] = [
    ("instructions", &["\"\""]),
    ("tools", &["[]"]),
    ("tool_choice", &["\"auto\"", "\"none\""]),
    ("parallel_tool_calls", &["true", "false"]),
    ("max_output_tokens", &["\"inf\""]),
    ("truncation", &["\"auto\""]),
    ("include", &["[]"]),
    ("tracing", &[]),
    ("prompt", &[]),
    ("reasoning", &[]),
    ("metadata", &["{}"]),
];

/// Fields of the beta shape, and where they are said now.
const BETA: [(&str, &str); 10] = [
    ("modalities", "session.output_modalities"),
    ("voice", "session.audio.output.voice"),
    ("speed", "session.audio.output.speed"),
    ("input_audio_format", "session.audio.input.format"),
    ("output_audio_format", "session.audio.output.format"),
    (
        "input_audio_transcription",
        "session.audio.input.transcription",
    ),
    (
        "input_audio_noise_reduction",
        "session.audio.input.noise_reduction",
    ),
    ("turn_detection", "session.audio.input.turn_detection"),
    ("max_response_output_tokens", "session.max_output_tokens"),
    ("temperature", ""),
];

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
    ) -> Result<Vec<Refusal>, Refusal> {
        let mut change = Change {
            settings: self.clone(),
            ports,
            tracks,
            refused: Vec::new(),
        };
        change.session(patch)?;
        *self = change.settings;
        Ok(change.refused)
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

/// An update that is being applied.
struct Change<'a> {
    settings: Settings,
    ports: &'a Ports,
    tracks: bool,
    refused: Vec<Refusal>,
}

impl Change<'_> {
    fn refuse(&mut self, param: &str, why: impl Into<String>) {
        self.refused.push(Refusal::unsupported(Some(param), why));
    }

    fn session(&mut self, patch: SessionPatch) -> Result<(), Refusal> {
        for (name, value) in &patch.rest {
            let known = FOR_MODELS.iter().find(|(field, _)| field == name);
            let Some((_, idle)) = known else {
                return Err(unknown("session", name));
            };
            let says_nothing = value.is_null() || idle.contains(&value.to_string().as_str());
            if !says_nothing {
                let text = "a pipeline's nodes say what they do: this is no model that could be told; see ?parameters=";
                self.refuse(&format!("session.{name}"), text);
            }
        }
        match patch.kind.as_deref() {
            None => {
                let text = "session.type is missing: 'realtime' or 'transcription'";
                return Err(Refusal::invalid(Some("session.type"), text));
            }
            Some("realtime") if self.ports.answers() => self.settings.purpose = Purpose::Realtime,
            Some("realtime") => {
                let text = "this pipeline only writes down what it hears: 'transcription'";
                self.refuse("session.type", text);
            }
            Some("transcription") if self.ports.heard.is_some() => {
                self.settings.purpose = Purpose::Transcription;
            }
            Some("transcription") => {
                let text = "this pipeline has no output with 'role: input_transcript'";
                self.refuse("session.type", text);
            }
            Some(_) => {
                let text = "'realtime' or 'transcription'";
                return Err(Refusal::invalid(Some("session.type"), text));
            }
        }
        if let Some(model) = patch.model.filter(|model| *model != self.ports.model) {
            let text = format!(
                "'{model}' is not what was opened: the model is the pipeline, '{}'",
                self.ports.model
            );
            self.refuse("session.model", text);
        }
        if let Some(modalities) = &patch.output_modalities {
            self.modalities(modalities)?;
        }
        match patch.audio {
            Some(audio) => self.audio(audio),
            None => Ok(()),
        }
    }

    fn modalities(&mut self, modalities: &[String]) -> Result<(), Refusal> {
        const PARAM: &str = "session.output_modalities";
        let (lacks, text_only) = match modalities {
            [one] if one == "audio" => (self.ports.audio_out.is_none(), false),
            [one] if one == "text" => (self.ports.text_out.is_none(), true),
            _ => return Err(Refusal::invalid(Some(PARAM), "[\"audio\"] or [\"text\"]")),
        };
        if lacks {
            let text = "this pipeline has no output for that";
            self.refuse(PARAM, text);
        } else {
            self.settings.text_only = text_only;
        }
        Ok(())
    }

    fn audio(&mut self, patch: AudioPatch) -> Result<(), Refusal> {
        if let Some(name) = patch.rest.keys().next() {
            return Err(unknown("session.audio", name));
        }
        if let Some(input) = patch.input {
            self.input(input)?;
        }
        match patch.output {
            Some(output) => self.output(&output),
            None => Ok(()),
        }
    }

    fn input(&mut self, patch: InputPatch) -> Result<(), Refusal> {
        if let Some(name) = patch.rest.keys().next() {
            return Err(unknown("session.audio.input", name));
        }
        let now = self.settings.input;
        self.settings.input = self.format("session.audio.input.format", patch.format, now)?;
        if patch.noise_reduction.is_some_and(|value| !value.is_null()) {
            let text = "noise is a node's affair: use a pipeline with audio.denoise";
            self.refuse("session.audio.input.noise_reduction", text);
        }
        match patch.transcription {
            None => {}
            Some(None) => self.settings.transcribes = false,
            Some(Some(_)) if self.ports.heard.is_none() => {
                let text = "this pipeline has no output with 'role: input_transcript'";
                self.refuse("session.audio.input.transcription", text);
            }
            Some(Some(wanted)) => {
                self.settings.transcribes = true;
                self.transcription(&wanted);
            }
        }
        match patch.turn_detection {
            None => Ok(()),
            Some(wanted) => self.turns(wanted),
        }
    }

    fn transcription(&mut self, wanted: &Map<String, Value>) {
        for (name, value) in wanted {
            let language = self.ports.language.as_deref();
            if let ("language", Some(own), Value::String(_)) = (name.as_str(), language, value) {
                if value != own {
                    let text = format!(
                        "this session's parameter 'language' is '{own}', and is settled when it is opened: ?parameters={{\"language\": {value}}}"
                    );
                    self.refuse("session.audio.input.transcription.language", text);
                }
                continue;
            }
            let own = name == "model" && *value == json!(self.ports.model);
            if !own && !value.is_null() {
                let param = format!("session.audio.input.transcription.{name}");
                let text =
                    "the pipeline's own recogniser writes down what is said; see ?parameters=";
                self.refuse(&param, text);
            }
        }
    }

    fn turns(&mut self, wanted: Option<Map<String, Value>>) -> Result<(), Refusal> {
        const PARAM: &str = "session.audio.input.turn_detection";
        let Some(wanted) = wanted else {
            if self.ports.events.is_some() {
                let text = "this pipeline finds the turns by itself; input_audio_buffer.commit ends one before its time";
                self.refuse(PARAM, text);
            }
            return Ok(());
        };
        match wanted.get("type").and_then(Value::as_str) {
            Some("server_vad" | "semantic_vad") if self.ports.events.is_none() => {
                let text = "this pipeline has no output with 'role: speech_events': input_audio_buffer.commit ends a turn";
                self.refuse(PARAM, text);
                return Ok(());
            }
            Some("server_vad") => {}
            Some("semantic_vad") => {
                let text = "the pipeline finds turns by its own voice detector: 'server_vad'";
                self.refuse(&format!("{PARAM}.type"), text);
            }
            _ => {
                let text = "'server_vad' or 'semantic_vad'";
                return Err(Refusal::invalid(Some(&format!("{PARAM}.type")), text));
            }
        }
        for (name, value) in &wanted {
            let param = format!("{PARAM}.{name}");
            match (name.as_str(), value) {
                ("type", _) | (_, Value::Null) | ("create_response", Value::Bool(true)) => {}
                ("interrupt_response", Value::Bool(false)) if self.ports.interrupts => {
                    self.refuse(&param, "this pipeline's manifest interrupts by itself");
                }
                ("interrupt_response", Value::Bool(interrupts)) => {
                    self.settings.interrupts = *interrupts;
                }
                _ => self.refuse(
                    &param,
                    "the pipeline's manifest says how it finds turns; see ?parameters=",
                ),
            }
        }
        Ok(())
    }

    fn output(&mut self, patch: &OutputPatch) -> Result<(), Refusal> {
        if let Some(name) = patch.rest.keys().next() {
            return Err(unknown("session.audio.output", name));
        }
        let now = self.settings.output;
        self.settings.output =
            self.format("session.audio.output.format", patch.format.clone(), now)?;
        if patch.voice.as_ref().is_some_and(|voice| !voice.is_null()) {
            let text = "the pipeline's own voice speaks; see ?parameters=";
            self.refuse("session.audio.output.voice", text);
        }
        if patch.speed.is_some_and(|speed| (speed - 1.0).abs() > 1e-6) {
            let text = "the pipeline's own voice speaks, at its own speed";
            self.refuse("session.audio.output.speed", text);
        }
        Ok(())
    }

    fn format(&mut self, param: &str, wanted: Option<Value>, now: Wire) -> Result<Wire, Refusal> {
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_null()) else {
            return Ok(now);
        };
        let name = wanted.get("type").and_then(Value::as_str);
        let Some(wire) = name.and_then(Wire::named) else {
            let text = "{\"type\": \"audio/pcm\", \"rate\": 24000}, audio/pcmu or audio/pcma";
            return Err(Refusal::invalid(Some(param), text));
        };
        let rate = wanted.get("rate").and_then(Value::as_u64);
        if rate.is_some_and(|rate| rate != u64::from(wire.format().sample_rate)) {
            let text = format!("{} has {} Hz", wire.name(), wire.format().sample_rate);
            return Err(Refusal::invalid(Some(&format!("{param}.rate")), text));
        }
        if self.tracks && wire != now {
            self.refuse(param, "sound goes by tracks: the offer says their formats");
            return Ok(now);
        }
        Ok(wire)
    }
}

fn unknown(of: &str, name: &str) -> Refusal {
    let beta = BETA
        .iter()
        .find(|(field, _)| of == "session" && *field == name);
    let hint = match beta {
        Some((_, "")) => " It is of the beta shape, and no longer there.".to_owned(),
        Some((_, now)) => format!(" It is of the beta shape: say '{now}'."),
        None => String::new(),
    };
    let name: String = name.chars().take(64).collect();
    Refusal::unknown(&format!("{of}.{name}"), &hint)
}
