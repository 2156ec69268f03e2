//! Which ports of the pipeline this interface means, and how it feeds and hears them.

use tidegate_media::{AudioFormat, Codec, Kind};
use tidegate_nodes::compile::Description;
use tidegate_nodes::plan::OutputRole;
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Error, StreamFormat};

use crate::roles;

/// What the interface is called where it is refused.
const INTERFACE: &str = "OpenAI Realtime";

/// The ports by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    /// The pipeline's name, which is the model's.
    pub(super) model: String,
    pub(super) audio_in: Option<String>,
    pub(super) text_in: Option<String>,
    pub(super) audio_out: Option<String>,
    /// What is answered, in words.
    pub(super) text_out: Option<String>,
    /// What was understood of what the client said.
    pub(super) heard: Option<String>,
    /// When the client begins and ceases to speak.
    pub(super) events: Option<String>,
    /// The value of the pipeline's parameter `language` in this session, where it has one and that is known.
    pub(super) language: Option<String>,
    /// What the pipeline says is interrupted by itself when somebody speaks.
    pub(super) interrupts: bool,
}

impl Ports {
    /// The ports of a pipeline; where `named` names some, only those and what belongs to them.
    ///
    /// # Errors
    /// It has nothing to say something into, or nothing to hear, or several and nobody can tell which is meant.
    pub(crate) fn of(pipeline: &Description, named: &[String]) -> Result<Self, Error> {
        let mut pipeline = pipeline.clone();
        if !named.is_empty() {
            pipeline.inputs.retain(|port| named.contains(&port.name));
            pipeline.outputs.retain(|port| match &port.seat {
                Some(seat) => named.contains(seat) || named.contains(&port.name),
                None => true,
            });
        }
        let takes = |kind| pipeline.inputs.iter().any(|port| port.kind == Some(kind));
        let gives = |kind| {
            let mut outputs = pipeline.outputs.iter();
            outputs.any(|port| port.kind == Some(kind) && port.role.is_none())
        };
        let role = |role| {
            let mut outputs = pipeline.outputs.iter();
            let found = outputs.find(|port| port.role == Some(role));
            found.map(|port| port.name.clone())
        };
        let owned = |name: &str| name.to_owned();
        let mut ports = Self {
            model: pipeline.name.clone(),
            heard: role(OutputRole::InputTranscript),
            events: role(OutputRole::SpeechEvents),
            interrupts: pipeline.interrupt.as_ref().is_some_and(|i| i.on.is_some()),
            ..Self::default()
        };
        if takes(Kind::Audio) || !takes(Kind::Text) {
            ports.audio_in = Some(roles::input(&pipeline, Kind::Audio, INTERFACE).map(owned)?);
        }
        if takes(Kind::Text) {
            ports.text_in = Some(roles::input(&pipeline, Kind::Text, INTERFACE).map(owned)?);
        }
        ports.text_out = role(OutputRole::OutputTranscript);
        if ports.text_out.is_none() && gives(Kind::Text) {
            let found = roles::role(&pipeline, OutputRole::OutputTranscript, INTERFACE);
            ports.text_out = Some(found.map(owned)?);
        }
        if gives(Kind::Audio) || ports.text_out.is_none() && ports.heard.is_none() {
            ports.audio_out = Some(roles::output(&pipeline, Kind::Audio, INTERFACE).map(owned)?);
        }
        Ok(ports)
    }

    /// The same for a session with this value of the parameter `language`.
    pub(crate) fn in_language(mut self, language: Option<&str>) -> Self {
        self.language = language.map(str::to_owned);
        self
    }

    /// Whether it answers; else it only writes down what it hears.
    pub(super) const fn answers(&self) -> bool {
        self.audio_out.is_some() || self.text_out.is_some()
    }

    /// All that it has, for a client that asks for them.
    pub(super) fn names(&self) -> Vec<String> {
        let inputs = [&self.audio_in, &self.text_in];
        let outputs = [&self.audio_out, &self.text_out, &self.heard, &self.events];
        let all = inputs.into_iter().chain(outputs);
        all.flatten().cloned().collect()
    }
}

/// How sound is written down in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wire {
    /// 16-bit samples, 24 kHz, mono.
    #[default]
    Pcm,
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
}

impl Wire {
    /// By the name that events give it.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Pcm, Self::Pcmu, Self::Pcma]
            .into_iter()
            .find(|wire| wire.name() == name)
    }

    /// Its name in events.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pcm => "audio/pcm",
            Self::Pcmu => "audio/pcmu",
            Self::Pcma => "audio/pcma",
        }
    }

    /// The same as a format of ours.
    pub(super) const fn format(self) -> AudioFormat {
        let codec = match self {
            Self::Pcm => return AudioFormat::pcm_s16(24_000, 1),
            Self::Pcmu => Codec::Pcmu,
            Self::Pcma => Codec::Pcma,
        };
        AudioFormat {
            codec,
            sample_rate: 8_000,
            channels: 1,
        }
    }

    /// The same as what feeds an input.
    pub(super) const fn stream(self) -> StreamFormat {
        StreamFormat::audio(self.format())
    }

    /// The same as what an output is heard in.
    pub(super) fn accepts(self) -> Accepts {
        let format = self.format();
        Accepts::Audio(AudioPattern {
            codecs: vec![format.codec],
            sample_rates: vec![format.sample_rate],
            channels: vec![format.channels],
            packets: false,
        })
    }

    /// The same as a session says it.
    pub(super) fn shown(self) -> serde_json::Value {
        match self {
            Self::Pcm => serde_json::json!({"type": self.name(), "rate": 24_000}),
            Self::Pcmu | Self::Pcma => serde_json::json!({"type": self.name()}),
        }
    }
}
