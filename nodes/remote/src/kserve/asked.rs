//! What a request says and its responses mean, without I/O.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_media::{Audio, Codec, Frame, Kind, MediaTime, Payload, Tensor, Text};
use tidegate_nodes::StreamFormat;
use tidegate_nodes::compile::remote::{KserveDialect, KserveOptions};
use tidegate_proto::PortName;
use tidegate_proto::kserve::{
    Data, EMPTY_FINAL_RESPONSE, FINAL_RESPONSE, InferRequest, InferResponse, Named, SAMPLE_RATE,
    frames,
};
use tidegate_proto::message::Execute;

use crate::calls::Answer;
use crate::config::{HopPorts, RemoteConfig, Target};
use crate::error::RemoteError;
use crate::{opening, refusal};

/// So many names of tensors that nobody declares are told.
const UNHEARD_MAX: usize = 8;
/// Rate of sound where neither the manifest nor the server says one.
const USUAL_RATE: u32 = 16_000;

/// One hop's requests, and the one that is under way.
pub(super) struct Asked {
    model: String,
    options: KserveOptions,
    parameters: Map<String, Value>,
    outputs: Vec<(PortName, StreamFormat)>,
    is_streamed: bool,
    /// Requests that were made.
    count: u64,
    call: Call,
}

/// The request under way.
#[derive(Default)]
struct Call {
    at: MediaTime,
    utterance: u64,
    /// Outputs of text that were answered.
    texts: Vec<PortName>,
    /// Names of tensors that nothing is joined to.
    unheard: Vec<String>,
    is_heard: bool,
}

impl Call {
    /// A tensor is nobody's.
    fn leave(&mut self, name: &str) {
        // The name is the server's own.
        let name = refusal::quote(name.as_bytes());
        if self.unheard.len() < UNHEARD_MAX && !self.unheard.contains(&name) {
            self.unheard.push(name);
        }
    }
}

impl Asked {
    pub(super) fn new(
        config: &RemoteConfig,
        options: KserveOptions,
        ports: &HopPorts,
        is_streamed: bool,
    ) -> Result<Self, RemoteError> {
        let joined = ports.outputs.iter();
        let joined = joined.filter_map(|(name, format)| Some((name, (*format)?)));
        let outputs = joined.map(|(name, format)| Ok((opening::port(name)?, format)));
        let mut parameters = config.parameters.clone();
        if is_streamed && options.dialect == KserveDialect::Triton {
            parameters.insert(EMPTY_FINAL_RESPONSE.to_owned(), true.into());
        }
        Ok(Self {
            model: match &config.target {
                Target::Pipeline(model) => model.clone(),
                _ => String::new(),
            },
            options,
            parameters,
            outputs: outputs.collect::<Result<_, RemoteError>>()?,
            is_streamed,
            count: 0,
            call: Call::default(),
        })
    }

    /// How responses of a stream look; `None`: each request has one.
    pub(super) fn streamed(&self) -> Option<KserveDialect> {
        self.is_streamed.then_some(self.options.dialect)
    }

    /// The request that a call is.
    ///
    /// # Errors
    /// The input is none that the protocol has.
    pub(super) fn request(&mut self, execute: &Execute) -> Result<InferRequest, RemoteError> {
        let last = execute.inputs.first().and_then(|(_, frames)| frames.last());
        self.count += 1;
        self.call = Call {
            at: last.map_or(MediaTime::ZERO, |frame| frame.meta.media_time),
            utterance: last.map_or(0, |frame| frame.meta.utterance),
            ..Call::default()
        };
        let input = |(port, frames): &(PortName, Vec<Frame>)| {
            Ok(Named {
                name: self.tensor(port.as_str()).to_owned(),
                data: self.batched(data(port, frames)?)?,
                parameters: Map::new(),
            })
        };
        let inputs = execute.inputs.iter().map(input);
        Ok(InferRequest {
            model: self.model.clone(),
            version: self.options.version.clone(),
            id: self.count.to_string(),
            parameters: self.parameters.clone(),
            inputs: inputs.collect::<Result<_, RemoteError>>()?,
            // All: a server that lacks one would refuse the request rather than say so.
            outputs: Vec::new(),
        })
    }

    /// What a response says goes to `answers`. True: it was the last one.
    ///
    /// # Errors
    /// A tensor is none that the output's port takes.
    pub(super) fn response(
        &mut self,
        response: InferResponse,
        answers: &mut VecDeque<Answer>,
    ) -> Result<bool, RemoteError> {
        let last = response.parameters.get(FINAL_RESPONSE);
        let is_last = last.and_then(Value::as_bool).unwrap_or(false);
        for named in response.outputs {
            let mut outputs = self.outputs.iter();
            let output = outputs.find(|(port, _)| self.tensor(port.as_str()) == named.name);
            let Some((port, format)) = output.cloned() else {
                self.call.leave(&named.name);
                continue;
            };
            self.call.is_heard = true;
            if format.kind() == Kind::Text && !self.call.texts.contains(&port) {
                self.call.texts.push(port.clone());
            }
            let payloads = self.payloads(&port, format, named)?;
            let count = payloads.len();
            // The one response to a call closes what it is about.
            let closes = !self.is_streamed && self.call.utterance != 0;
            let payloads = payloads.into_iter().enumerate();
            answers.extend(payloads.map(|(place, payload)| {
                answer(self.call.at, &port, payload, closes && place + 1 == count)
            }));
        }
        Ok(is_last)
    }

    /// Nothing more comes of the request.
    ///
    /// # Errors
    /// All that came was on outputs to which nothing is joined.
    pub(super) fn done(&mut self, answers: &mut VecDeque<Answer>) -> Result<(), RemoteError> {
        let call = std::mem::take(&mut self.call);
        if !call.is_heard && !call.unheard.is_empty() && !self.outputs.is_empty() {
            return Err(RemoteError::Unheard(format!(
                "the server answered with the tensors [{}] only, which the node does not declare: name them in 'options.tensors', or declare outputs of these names",
                call.unheard.join(", ")
            )));
        }
        if call.utterance == 0 || !self.is_streamed {
            return Ok(());
        }
        // What was said of an utterance came in pieces, of which none knew that it was the last.
        for port in &call.texts {
            let nothing = Payload::Text(Text::default());
            answers.push_back(answer(call.at, port, nothing, true));
        }
        Ok(())
    }

    fn payloads(
        &self,
        port: &PortName,
        format: StreamFormat,
        named: Named,
    ) -> Result<Vec<Payload>, RemoteError> {
        let field = format!("output '{port}'");
        let wanted = format.audio_format();
        let said = named.parameters.get(SAMPLE_RATE).and_then(Value::as_u64);
        let said = said.and_then(|rate| u32::try_from(rate).ok());
        let rate = said.or(wanted.map(|wanted| wanted.sample_rate));
        let data = self.unbatched(named.data)?;
        let payloads = frames::payloads(&field, format.kind(), data, rate.unwrap_or(USUAL_RATE))?;
        let same = |payload| match (payload, wanted) {
            (Payload::Audio(audio), Some(wanted)) => sound_as(audio, wanted.codec),
            (other, _) => other,
        };
        Ok(payloads.into_iter().map(same).collect())
    }

    /// The tensor of a port.
    fn tensor<'a>(&'a self, port: &'a str) -> &'a str {
        self.options.tensors.get(port).map_or(port, String::as_str)
    }

    fn batched(&self, data: Data) -> Result<Data, RemoteError> {
        if !self.options.batch {
            return Ok(data);
        }
        let shape: Vec<_> = std::iter::once(1)
            .chain(data.shape().iter().copied())
            .collect();
        reshaped(data, shape)
    }

    fn unbatched(&self, data: Data) -> Result<Data, RemoteError> {
        match data.shape() {
            [1, rest @ ..] if self.options.batch => {
                let rest = rest.to_vec();
                reshaped(data, rest)
            }
            _ => Ok(data),
        }
    }
}

fn answer(at: MediaTime, port: &PortName, payload: Payload, is_final: bool) -> Answer {
    let mut frame = Frame::new(at, payload);
    frame.meta.is_final = is_final;
    Answer::Output {
        port: port.clone(),
        caused_port: None,
        frame,
    }
}

fn reshaped(data: Data, shape: Vec<u64>) -> Result<Data, RemoteError> {
    match data {
        Data::Numbers(tensor) => Tensor::new(tensor.dtype(), &shape, tensor.data().clone())
            .map(Data::Numbers)
            .map_err(|error| RemoteError::Config(error.to_string())),
        Data::Strings { elements, .. } => Ok(Data::Strings { shape, elements }),
    }
}

/// What was gathered of an input, as one tensor.
fn data(port: &PortName, frames: &[Frame]) -> Result<Data, RemoteError> {
    let unfit = |text: String| RemoteError::Config(format!("input '{port}' {text}"));
    match frames.first().map(|frame| &frame.payload) {
        Some(Payload::Text(_)) => Ok(Data::strings(vec![text(frames)])),
        Some(Payload::Audio(audio)) if !audio.format.codec.is_pcm() => Err(unfit(format!(
            "is {}, and tensors are PCM: declare 'format: pcm_f32/16000/1' or the like",
            audio.format
        ))),
        Some(payload) => {
            let data = frames::gathered(payload.kind(), frames.to_vec())?;
            data.ok_or_else(|| unfit("is of a kind that is no tensor".to_owned()))
        }
        None => Err(RemoteError::Internal("a call without frames")),
    }
}

/// Pieces one after the other. A partial result counts for nothing, since a later one replaces it.
fn text(frames: &[Frame]) -> Bytes {
    let mut said = String::new();
    for frame in frames {
        let Payload::Text(piece) = &frame.payload else {
            continue;
        };
        match (frame.meta.revision, frame.meta.is_final) {
            (0, _) => said.push_str(piece.as_str()),
            (_, true) => piece.as_str().clone_into(&mut said),
            (_, false) => {}
        }
    }
    said.into()
}

/// Sound with samples of the other kind, where the hop's output has these.
fn sound_as(audio: Audio, codec: Codec) -> Payload {
    let (rate, channels) = (audio.format.sample_rate, audio.format.channels);
    Payload::Audio(match (audio.format.codec, codec) {
        (Codec::PcmF32, Codec::PcmS16) => {
            Audio::from_s16(rate, channels, audio.to_s16().into_owned())
        }
        (Codec::PcmS16, Codec::PcmF32) => {
            Audio::from_f32(rate, channels, audio.to_f32().into_owned())
        }
        _ => audio,
    })
}
