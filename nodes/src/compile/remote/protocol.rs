//! Protocols that workers speak: Tidegate's own, and those of servers that know nothing of it.
//!
//! A protocol implies the transport that carries it, the mode in which it is called and, where it is one thing only, the ports of its
//! hop. In it `pipeline` names the model, `parameters` are the model's, and `options` say how the protocol is spoken.
//!
//! A new protocol begins here: a variant, its name, and a line in each of the functions.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_media::{Codec, Kind};

use super::checks::Problems;
use super::options::{
    ChatOptions, KserveOptions, NoOptions, TranscriptionOptions, WebsocketSttOptions,
};
use super::{HopMode, RemoteParams, RemotePort, Transport};

/// What a worker is: a Tidegate, a service written with its SDK, or a server of somebody else's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// Tidegate's own, by any transport.
    #[default]
    #[serde(rename = "tidegate")]
    Tidegate,
    /// `POST /v1/audio/transcriptions` for each utterance: audio in, text out.
    #[serde(rename = "openai.transcriptions")]
    OpenaiTranscriptions,
    /// `POST /v1/audio/speech` for each sentence: text in, audio out as it comes.
    #[serde(rename = "openai.speech")]
    OpenaiSpeech,
    /// `POST /v1/chat/completions` for each utterance: text in, text out word by word.
    #[serde(rename = "openai.chat")]
    OpenaiChat,
    /// The Open Inference Protocol ("KServe v2") over gRPC: `ModelInfer`, or with `mode: stream` `ModelStreamInfer`, for each frame or
    /// utterance.
    #[serde(rename = "kserve")]
    Kserve,
    /// Wyoming's speech to text for each utterance: audio in as it comes, text out.
    #[serde(rename = "wyoming.asr")]
    WyomingAsr,
    /// Wyoming's text to speech for each sentence: text in, audio out as it comes.
    #[serde(rename = "wyoming.tts")]
    WyomingTts,
    /// A plain WebSocket for each utterance: samples in as they come, JSON out.
    #[serde(rename = "websocket.stt")]
    WebsocketStt,
}

impl Protocol {
    /// The name that manifests use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::OpenaiTranscriptions => "openai.transcriptions",
            Self::OpenaiSpeech => "openai.speech",
            Self::OpenaiChat => "openai.chat",
            Self::Kserve => "kserve",
            Self::WyomingAsr => "wyoming.asr",
            Self::WyomingTts => "wyoming.tts",
            Self::WebsocketStt => "websocket.stt",
        }
    }

    /// Whether its servers know nothing of Tidegate.
    #[must_use]
    pub const fn is_foreign(self) -> bool {
        !matches!(self, Self::Tidegate)
    }

    /// What carries it; for Tidegate's own, what does unless the manifest names another.
    #[must_use]
    pub const fn transport(self) -> Transport {
        match self {
            Self::Tidegate | Self::Kserve => Transport::Grpc,
            Self::WebsocketStt => Transport::Websocket,
            // Wyoming's connections are plain TCP, or TLS; addresses are written as of HTTP.
            _ => Transport::Http,
        }
    }

    /// The path that tells whether a server is there, if the manifest names none.
    #[must_use]
    pub const fn health_path(self) -> Option<&'static str> {
        match self {
            Self::OpenaiTranscriptions | Self::OpenaiSpeech | Self::OpenaiChat => {
                Some("/v1/models")
            }
            _ => None,
        }
    }

    /// Whether a server is sent an utterance as it comes, and answers it as a whole. Any other foreign server is sent it when it has ended.
    #[must_use]
    pub const fn takes_utterances_as_they_come(self) -> bool {
        matches!(
            self,
            Self::WebsocketStt | Self::WyomingAsr | Self::WyomingTts | Self::OpenaiSpeech
        )
    }

    /// How it is called unless the manifest says otherwise. A foreign call whose answer comes in parts gives them on as they come.
    pub(super) const fn mode(self, transport: Transport) -> HopMode {
        match (self, transport) {
            // Every server of it has calls, few have streams.
            (Self::Tidegate, Transport::Http) | (Self::Kserve, _) => HopMode::Unary,
            _ => HopMode::Stream,
        }
    }

    /// Whether a request must name a model.
    const fn needs_model(self) -> bool {
        matches!(
            self,
            Self::OpenaiTranscriptions | Self::OpenaiSpeech | Self::OpenaiChat | Self::Kserve
        )
    }

    /// What of a request is Tidegate's own affair, so that no parameter may have its name.
    const fn reserved(self) -> &'static [&'static str] {
        match self {
            Self::Tidegate => &[],
            Self::Kserve => &["triton_enable_empty_final_response"],
            Self::OpenaiTranscriptions => &["file", "model", "stream", "response_format"],
            Self::OpenaiSpeech => &["input", "model", "response_format", "stream_format"],
            Self::OpenaiChat => &["messages", "model", "n", "stream"],
            Self::WyomingAsr | Self::WyomingTts => &["name"],
            Self::WebsocketStt => &[],
        }
    }

    /// Ports of the hop, inputs and outputs, where the protocol has no others. A declared one counts more.
    #[must_use]
    pub fn ports(self) -> Option<[RemotePort; 2]> {
        let port = |name: &str, kind, format: Option<&str>| RemotePort {
            name: name.to_owned(),
            kind,
            format: format.map(str::to_owned),
        };
        let audio = |name: &str, rate| port(name, Kind::Audio, Some(rate));
        let text = |name| port(name, Kind::Text, None);
        match self {
            // A model has the tensors that it has.
            Self::Tidegate | Self::Kserve => None,
            // What speech recognition hears; servers resample what is more.
            Self::OpenaiTranscriptions => Some([audio("audio", "pcm_s16/16000/1"), text("text")]),
            // What the interface calls `pcm`.
            Self::OpenaiSpeech => Some([text("text"), audio("audio", "pcm_s16/24000/1")]),
            Self::OpenaiChat => Some([text("text"), text("reply")]),
            Self::WyomingAsr | Self::WebsocketStt => {
                Some([audio("audio", "pcm_s16/16000/1"), text("text")])
            }
            // What most voices of Piper speak at.
            Self::WyomingTts => Some([text("text"), audio("audio", "pcm_s16/22050/1")]),
        }
    }

    /// Whether options are those of the protocol.
    fn check_options(self, options: &Map<String, Value>, problems: &mut Problems) {
        match self {
            Self::Tidegate if !options.is_empty() => {
                let what = "'options' has no effect under 'protocol: tidegate'";
                let mend = "remove it; values for the pipeline there go to 'parameters'";
                problems.add("options", what, mend);
            }
            Self::Tidegate => {}
            Self::OpenaiTranscriptions => {
                read::<TranscriptionOptions>(options, problems);
            }
            Self::OpenaiSpeech | Self::WyomingAsr | Self::WyomingTts => {
                read::<NoOptions>(options, problems);
            }
            Self::WebsocketStt => {
                if let Some(options) = read::<WebsocketSttOptions>(options, problems) {
                    options.check(problems);
                }
            }
            Self::OpenaiChat => {
                if let Some(options) = read::<ChatOptions>(options, problems) {
                    options.check(problems);
                }
            }
            Self::Kserve => {
                read::<KserveOptions>(options, problems);
            }
        }
    }
}

/// Options as a protocol's own; what is wrong with them is noted.
fn read<T: DeserializeOwned>(options: &Map<String, Value>, problems: &mut Problems) -> Option<T> {
    let options = Value::Object(options.clone());
    serde_path_to_error::deserialize(&options)
        .map_err(|error| {
            let path = error.path().to_string();
            let path = match path.as_str() {
                "." => "options".to_owned(),
                path => format!("options.{path}"),
            };
            let what = error.into_inner().to_string();
            problems.add(
                path,
                what,
                "see 'Foreign servers' in docs/hops.md for what it takes",
            );
        })
        .ok()
}

/// What goes together with the node's protocol, and what does not.
pub(super) fn check(node: &RemoteParams, problems: &mut Problems) {
    let protocol = node.protocol;
    protocol.check_options(&node.options, problems);
    if !protocol.is_foreign() {
        return;
    }
    let (name, implied) = (protocol.as_str(), protocol.transport());
    let transports = node.fallback.iter().map(|tier| tier.transport).enumerate();
    let transports = transports.map(|(at, t)| (format!("fallback[{at}].transport"), t));
    let own = std::iter::once(("transport".to_owned(), node.transport));
    for (path, transport) in own.chain(transports) {
        if let Some(other) = transport.filter(|transport| *transport != implied) {
            let [other, implied] = [other, implied].map(Transport::as_str);
            let what = format!("protocol '{name}' travels by {implied}, not by {other}");
            problems.add(path, what, "remove 'transport'");
        }
    }
    for (key, given) in [
        ("manifest", node.manifest.is_some()),
        ("manifest_url", node.manifest_url.is_some()),
    ] {
        if given {
            let what = format!("a server that speaks '{name}' knows no manifests");
            problems.add(key, what, "name the model in 'pipeline'");
        }
    }
    if protocol.needs_model() && node.pipeline.is_none() {
        let what = format!("protocol '{name}' needs a model");
        problems.add("pipeline", what, "name the model in 'pipeline'");
    }
    if protocol == Protocol::Kserve {
        let sides = [
            ("inputs", node.inputs.is_none()),
            ("outputs", node.outputs.is_none()),
        ];
        for (key, _) in sides.into_iter().filter(|(_, missing)| *missing) {
            let what =
                format!("a model's tensors do not say what they are here, and '{key}' does not");
            let mend = format!("declare '{key}', such as [{{name: in, kind: tensor}}]");
            problems.add(key, what, mend);
        }
    }
    if let Some([input, output]) = protocol.ports() {
        check_side(protocol, "inputs", node.inputs.as_deref(), &input, problems);
        check_side(
            protocol,
            "outputs",
            node.outputs.as_deref(),
            &output,
            problems,
        );
    }
    if let (Protocol::WyomingAsr | Protocol::WyomingTts, Some(auth)) = (protocol, &node.auth)
        && (auth.bearer.is_some() || auth.bearer_file.is_some() || auth.header.is_some())
    {
        let mend = "keep 'tls' only, and let a tunnel or a firewall guard the server";
        problems.add("auth", "Wyoming has no place for a credential", mend);
    }
    for key in protocol.reserved() {
        if node.parameters.contains_key(*key) {
            let what = format!("the hop itself writes '{key}' of each request");
            problems.add(format!("parameters.{key}"), what, "remove it");
        }
    }
}

/// What is declared of a side where the protocol has one port.
fn check_side(
    protocol: Protocol,
    side: &str,
    declared: Option<&[RemotePort]>,
    due: &RemotePort,
    problems: &mut Problems,
) {
    let (name, kind) = (protocol.as_str(), due.kind.as_str());
    let port = match declared {
        None => return,
        Some([port]) => port,
        Some(ports) => {
            let what = format!(
                "{} ports are declared, and a server of '{name}' has one of {kind} there",
                ports.len()
            );
            let mend = "declare one, or leave the key out";
            problems.add(side, what, mend);
            return;
        }
    };
    if port.kind != due.kind {
        let what = format!("protocol '{name}' has {kind} there");
        let mend = format!("write 'kind: {kind}'");
        problems.add(format!("{side}[0].kind"), what, mend);
        return;
    }
    // What is malformed is told of where it is read.
    let format = port.stream_format().ok().flatten();
    let Some(format) = format.and_then(|format| format.audio_format()) else {
        return;
    };
    let fits = match protocol {
        // A file says what its samples are.
        Protocol::OpenaiTranscriptions => format.codec.is_pcm(),
        _ => format.codec == Codec::PcmS16,
    };
    if !fits {
        let (rate, channels) = (format.sample_rate, format.channels);
        let what = format!("protocol '{name}' carries 16-bit samples, and no {format}");
        let mend = format!("write 'format: pcm_s16/{rate}/{channels}'");
        problems.add(format!("{side}[0].format"), what, mend);
    }
}
