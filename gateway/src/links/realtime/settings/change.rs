//! An update of a session that is being applied, field by field.

use serde_json::{Map, Value, json};

use super::super::client::{AudioPatch, InputPatch, OutputPatch, SessionPatch};
use super::super::ports::{Ports, Wire};
use super::super::refusal::{Ignored, Refusal};
use super::{Purpose, Settings, Unheeded};

/// Most fields of an update that go unheeded; the interface has fewer.
pub(in super::super) const NOTES: usize = 32;

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

/// An update that is being applied.
struct Change<'a> {
    settings: Settings,
    ports: &'a Ports,
    tracks: bool,
    unheeded: Unheeded,
}

/// What holds after an update, and what of that goes unheeded.
///
/// # Errors
/// As for [`Settings::update`].
pub(super) fn apply(
    settings: Settings,
    patch: SessionPatch,
    ports: &Ports,
    tracks: bool,
) -> Result<(Settings, Unheeded), Refusal> {
    let mut change = Change {
        settings,
        ports,
        tracks,
        unheeded: Unheeded::default(),
    };
    change.session(patch)?;
    if change.unheeded.ignored.len() > NOTES {
        return Err(Refusal::too_many("session", NOTES));
    }
    Ok((change.settings, change.unheeded))
}

impl Change<'_> {
    fn refuse(&mut self, param: &str, why: impl Into<String>) {
        let refusal = Refusal::unsupported(Some(param), why);
        self.unheeded.refused.push(refusal);
    }

    fn ignore(&mut self, param: &str, why: impl Into<String>) {
        // One more than are told shows that there are too many.
        if self.unheeded.ignored.len() <= NOTES {
            self.unheeded.ignored.push(Ignored::new(param, why));
        }
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
                self.ignore(&format!("session.{name}"), text);
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
            self.ignore("session.model", text);
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
            self.ignore("session.audio.input.noise_reduction", text);
        }
        match patch.transcription {
            None => {}
            Some(None) => self.settings.transcribes = false,
            Some(Some(_)) if self.ports.heard.is_none() => {
                let text = "this pipeline has no output with 'role: input_transcript'";
                self.ignore("session.audio.input.transcription", text);
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
                    self.ignore("session.audio.input.transcription.language", text);
                }
                continue;
            }
            let own = name == "model" && *value == json!(self.ports.model);
            if !own && !value.is_null() {
                let param = format!("session.audio.input.transcription.{name}");
                let text = match name.as_str() {
                    "language" => "the pipeline's own, or that of who opened the session holds",
                    _ => "the pipeline's own recogniser writes down what is said; see ?parameters=",
                };
                self.ignore(&param, text);
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
                self.ignore(&format!("{PARAM}.type"), text);
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
                    self.ignore(&param, "this pipeline's manifest interrupts by itself");
                }
                ("interrupt_response", Value::Bool(interrupts)) => {
                    self.settings.interrupts = *interrupts;
                }
                _ => self.ignore(
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
            self.ignore("session.audio.output.voice", text);
        }
        if patch.speed.is_some_and(|speed| (speed - 1.0).abs() > 1e-6) {
            let text = "the pipeline's own voice speaks, at its own speed";
            self.ignore("session.audio.output.speed", text);
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
            self.ignore(param, "sound goes by tracks: the offer says their formats");
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
