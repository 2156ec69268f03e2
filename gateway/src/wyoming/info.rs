//! Which pipelines serve what in Wyoming, and how they are described: the pipeline's name is the model of speech to text, or the voice.

use serde_json::{Map, Value, json};
use tidegate_media::Kind;
use tidegate_nodes::compile::Description;
use tidegate_nodes::plan::OutputRole;
use tidegate_nodes::{Code, Error};
use tidegate_proto::wyoming::Event;

use crate::roles;

/// What Wyoming calls this program, in both of its parts.
pub(super) const PROGRAM: &str = "tidegate";
/// The language of pipelines that declare none; clients want at least one.
const LANGUAGE: &str = "en";

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Speech to text.
    Asr,
    /// Text to speech.
    Tts,
}

/// The ports by which a pipeline serves a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) input: String,
    pub(super) output: String,
}

impl Part {
    /// How messages call it.
    const fn name(self) -> &'static str {
        match self {
            Self::Asr => "Wyoming speech to text",
            Self::Tts => "Wyoming text to speech",
        }
    }

    /// The ports of a pipeline that are meant: its one input, and its one text or sound. One that also speaks is no recogniser.
    ///
    /// # Errors
    /// It does not serve this part.
    pub(super) fn ports(self, pipeline: &Description) -> Result<Ports, Error> {
        let (input, output) = match self {
            Self::Asr => (
                roles::input(pipeline, Kind::Audio, self.name())?,
                roles::role(pipeline, OutputRole::InputTranscript, self.name())?,
            ),
            Self::Tts => (
                roles::input(pipeline, Kind::Text, self.name())?,
                roles::output(pipeline, Kind::Audio, self.name())?,
            ),
        };
        let mut outputs = pipeline.outputs.iter();
        let speaks = self == Self::Asr && outputs.any(|port| port.kind == Some(Kind::Audio));
        if pipeline.inputs.len() != 1 || speaks {
            let text = format!(
                "pipeline '{}' cannot serve {}: it has other inputs, or answers by speaking",
                pipeline.name,
                self.name()
            );
            return Err(Error::new(Code::Incompatible, text));
        }
        Ok(Ports {
            input: input.to_owned(),
            output: output.to_owned(),
        })
    }
}

/// The `info` of these pipelines.
pub(super) fn info(pipelines: &[Description]) -> Event {
    let serving = |part: Part| -> Vec<Value> {
        let fit = pipelines.iter().filter(|one| part.ports(one).is_ok());
        fit.map(|pipeline| {
            let mut artifact = artifact(&pipeline.name, &pipeline.description);
            artifact["languages"] = languages(pipeline).into();
            artifact
        })
        .collect()
    };
    let program = |part, list: &str, streaming: &str| {
        let pipelines = serving(part);
        if pipelines.is_empty() {
            return json!([]);
        }
        let mut program = artifact(PROGRAM, "Pipelines of a Tidegate gateway");
        program[list] = pipelines.into();
        program[streaming] = true.into();
        json!([program])
    };
    let asr = program(Part::Asr, "models", "supports_transcript_streaming");
    let tts = program(Part::Tts, "voices", "supports_synthesize_streaming");
    let mut event = Event::new("info").with("asr", asr).with("tts", tts);
    for none in ["handle", "intent", "wake", "mic", "snd"] {
        event = event.with(none, json!([]));
    }
    event
}

fn artifact(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "description": description,
        "attribution": {"name": "Tidegate", "url": ""},
        "installed": true,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// What the pipeline's parameter `language` may be, its default first.
fn languages(pipeline: &Description) -> Vec<String> {
    let parameter = pipeline.parameters.get("language");
    let choices = parameter.into_iter().flat_map(|parameter| {
        let choices = parameter.default.iter().chain(&parameter.choices);
        choices.filter_map(Value::as_str)
    });
    let mut languages: Vec<String> = Vec::new();
    for choice in choices.filter(|choice| !choice.is_empty()) {
        if !languages.iter().any(|known| known == choice) {
            languages.push(choice.to_owned());
        }
    }
    if languages.is_empty() {
        languages.push(LANGUAGE.to_owned());
    }
    languages
}

/// What a request names, as values of the parameters that the pipeline declares. A language that is not among the choices is taken
/// without its country; all else is judged where parameters are.
pub(super) fn parameters(
    pipeline: &Description,
    language: &str,
    speaker: &str,
) -> Map<String, Value> {
    let mut values = Map::new();
    if let Some(parameter) = pipeline.parameters.get("language")
        && !language.is_empty()
    {
        let short = language.split(['-', '_']).next().unwrap_or(language);
        let known = |wanted: &str| parameter.choices.iter().any(|choice| choice == wanted);
        let cut = !known(language) && known(short);
        let value = if cut { short } else { language };
        values.insert("language".to_owned(), value.into());
    }
    if pipeline.parameters.contains_key("speaker") && !speaker.is_empty() {
        values.insert("speaker".to_owned(), speaker.into());
    }
    values
}
