//! A stream of requests as a session's events, and what the session gives as responses, without I/O.
//!
//! Each tensor of a request gives its port frames; a request is done when the session has consumed them all. Which request a response
//! belongs to is what caused its frame.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_media::{Frame, MediaTime, Payload, Timestamp};
use tidegate_nodes::compile::Pipeline;
use tidegate_nodes::hop::port_number;
use tidegate_nodes::{Accepts, Error, StreamFormat};
use tidegate_proto::kserve::{FINAL_RESPONSE, InferRequest, InferResponse, Named, VERSION, frames};

use super::request::{self, Given, Said};
use super::{answer, bad, heard, model};
use crate::http::formats::format_of;
use crate::session::link::{LinkEvent, OpenedInfo};
use crate::session::ports::PortFacts;

/// Requests that are remembered until they are done. A session's queues hold far fewer, so that only those are forgotten of which
/// a pipeline keeps something for good; what comes of them then has no id.
const REQUESTS: usize = 4096;

/// One client's side of `ModelStreamInfer`.
pub(super) struct Translator {
    pipeline: Arc<Pipeline>,
    /// What the first request said, which holds for the whole session.
    first: Said,
    /// The first request's tensors, until the session stands.
    opening: Vec<Given>,
    inputs: Vec<Input>,
    outputs: Vec<(usize, String)>,
    /// When the session was opened.
    since: Timestamp,
    utterance: u64,
    requests: VecDeque<Asked>,
    /// When those came that are done, until somebody counts them.
    done: Vec<Timestamp>,
}

struct Input {
    index: usize,
    format: StreamFormat,
    seq: u64,
    acknowledged: u64,
    /// Samples of sound that came.
    samples: u64,
}

/// A request that is not done.
struct Asked {
    id: String,
    came: Timestamp,
    wants_final: bool,
    /// The numbers of its frames, by input: first and last.
    frames: Vec<(usize, u64, u64)>,
}

impl Translator {
    /// A stream that begins with this request.
    ///
    /// # Errors
    /// The request is none for the pipeline.
    pub(super) fn new(pipeline: Arc<Pipeline>, request: InferRequest) -> Result<Self, Error> {
        model::describe(pipeline.outline())?;
        let (first, opening) = request::read(pipeline.outline(), request)?;
        Ok(Self {
            pipeline,
            first,
            opening,
            inputs: Vec::new(),
            outputs: Vec::new(),
            since: Timestamp::ZERO,
            utterance: 0,
            requests: VecDeque::new(),
            done: Vec::new(),
        })
    }

    /// The model's name.
    pub(super) fn model(&self) -> &str {
        self.pipeline.name()
    }

    /// When the requests came that are done since this was last asked.
    pub(super) fn take_done(&mut self) -> Vec<Timestamp> {
        std::mem::take(&mut self.done)
    }

    /// When the requests came of which nothing comes any more.
    pub(super) fn abandoned(&mut self) -> Vec<Timestamp> {
        self.requests.drain(..).map(|asked| asked.came).collect()
    }

    /// Parameters of the pipeline.
    pub(super) fn parameters(&self) -> Map<String, Value> {
        self.first.parameters.clone()
    }

    /// The format in which an input is fed: that of the first request's tensor.
    pub(super) fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        let plan = self.pipeline.outline();
        let input = plan.inputs.iter().position(|i| i.name == port.name)?;
        let given = self.opening.iter().find(|given| given.input == input);
        match given.and_then(|given| given.payloads.first()) {
            Some(payload) => Some(format(payload)),
            None => model::unfed(plan, input, port.kind),
        }
    }

    /// How an output is heard.
    pub(super) fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        heard(port, &self.first.outputs)
    }

    /// The session stands: the first request's frames.
    pub(super) fn opened(&mut self, info: OpenedInfo, now: Timestamp) -> Vec<LinkEvent> {
        self.since = now;
        let input = |(index, _, format)| Input {
            index,
            format,
            seq: 0,
            acknowledged: 0,
            samples: 0,
        };
        self.inputs = info.inputs.into_iter().map(input).collect();
        let outputs = info.outputs.into_iter();
        self.outputs = outputs.map(|(index, name, _)| (index, name)).collect();
        let opening = std::mem::take(&mut self.opening);
        self.take(&self.first.clone(), opening, now)
    }

    /// A later request's frames.
    ///
    /// # Errors
    /// It is none for the pipeline, or wants what only the first can say.
    pub(super) fn request(
        &mut self,
        request: InferRequest,
        now: Timestamp,
    ) -> Result<Vec<LinkEvent>, Error> {
        let name = self.pipeline.name();
        if request.model != name {
            return Err(bad(format!(
                "the stream is a session of model '{name}': open another stream for another model"
            )));
        }
        let (said, given) = request::read(self.pipeline.outline(), request)?;
        let same = |now: bool, what: &str| {
            let text =
                format!("{what} are those of the stream's first request: open another stream");
            if now { Ok(()) } else { Err(bad(text)) }
        };
        let parameters = said.parameters.is_empty() || said.parameters == self.first.parameters;
        same(parameters, "the pipeline's parameters")?;
        let outputs = said.outputs.is_empty() || said.outputs == self.first.outputs;
        same(outputs, "the outputs that are wanted")?;
        for given in &given {
            let Some(input) = self.inputs.iter().find(|i| i.index == given.input) else {
                return Err(bad("an input that this stream does not feed"));
            };
            let fits = |payload: &Payload| format(payload) == input.format;
            if let Some(other) = given.payloads.iter().find(|payload| !fits(payload)) {
                return Err(bad(format!(
                    "sound as {} on a stream that began with {}: open another stream",
                    format(other),
                    input.format
                )));
            }
        }
        Ok(self.take(&said, given, now))
    }

    fn take(&mut self, said: &Said, given: Vec<Given>, now: Timestamp) -> Vec<LinkEvent> {
        let (utterance, is_final) = match said.sequence {
            None => (0, false),
            Some((start, end)) => {
                self.utterance += u64::from(start || self.utterance == 0);
                (self.utterance, end)
            }
        };
        let (mut events, mut taken) = (Vec::new(), Vec::new());
        for Given { input, payloads } in given {
            let port = self.inputs.iter_mut().find(|i| i.index == input);
            let Some(port) = port else { continue };
            let (first, count) = (port.seq + 1, payloads.len());
            for (place, payload) in payloads.into_iter().enumerate() {
                port.seq += 1;
                let at = port.passes(&payload, self.since, now);
                let mut frame = Frame::new(at, payload);
                frame.meta.seq = port.seq;
                frame.meta.utterance = utterance;
                frame.meta.is_final = is_final && place + 1 == count;
                frame.meta.deadline = said.timeout.map(|timeout| now + timeout);
                events.push(LinkEvent::Frame { input, frame });
            }
            if count > 0 {
                taken.push((input, first, port.seq));
            }
        }
        if self.requests.len() == REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(Asked {
            id: said.id.clone(),
            came: now,
            wants_final: said.wants_final,
            frames: taken,
        });
        events
    }

    /// What a frame of an output is to the client; `None` where the protocol has nothing like it.
    pub(super) fn response(&self, output: usize, frame: Frame) -> Option<InferResponse> {
        let name = self.outputs.iter().find(|(index, _)| *index == output);
        let (_, name) = name?;
        let cause = |asked: &&Asked| {
            asked.frames.iter().any(|(input, first, last)| {
                port_number(*input) == frame.meta.caused_port
                    && (*first..=*last).contains(&frame.meta.caused_by)
            })
        };
        let id = self.requests.iter().find(cause);
        let named = Named {
            name: name.clone(),
            parameters: answer::parameters(&frame.payload),
            data: frames::data(frame.payload)?,
        };
        let id = id.map(|asked| asked.id.clone()).unwrap_or_default();
        Some(self.message(id, false, vec![named]))
    }

    /// All that was made of an input's frames up to this one was said: the last responses of the requests that are done with it.
    pub(super) fn acknowledged(&mut self, input: usize, seq: u64) -> Vec<InferResponse> {
        if let Some(port) = self.inputs.iter_mut().find(|i| i.index == input) {
            port.acknowledged = seq;
        }
        let inputs = &self.inputs;
        let is_done = |asked: &mut Asked| {
            asked.frames.iter().all(|(input, _, last)| {
                let port = inputs.iter().find(|port| port.index == *input);
                port.is_none_or(|port| port.acknowledged >= *last)
            })
        };
        let mut done = VecDeque::new();
        while self.requests.front_mut().is_some_and(is_done) {
            done.extend(self.requests.pop_front());
        }
        self.last_responses(done)
    }

    /// Nothing more is made of anything.
    pub(super) fn finished(&mut self) -> Vec<InferResponse> {
        let all = std::mem::take(&mut self.requests);
        self.last_responses(all)
    }

    fn last_responses(&mut self, done: VecDeque<Asked>) -> Vec<InferResponse> {
        self.done.extend(done.iter().map(|asked| asked.came));
        let asked = done.into_iter().filter(|asked| asked.wants_final);
        asked
            .map(|asked| self.message(asked.id, true, Vec::new()))
            .collect()
    }

    fn message(&self, id: String, is_last: bool, outputs: Vec<Named>) -> InferResponse {
        InferResponse {
            model: self.pipeline.name().to_owned(),
            version: VERSION.to_owned(),
            id,
            parameters: Map::from_iter([(FINAL_RESPONSE.to_owned(), is_last.into())]),
            outputs,
        }
    }
}

impl Input {
    /// Where a payload stands on the input's time line: sound behind the sound before it, others where they came.
    fn passes(&mut self, payload: &Payload, since: Timestamp, now: Timestamp) -> MediaTime {
        let Payload::Audio(audio) = payload else {
            return MediaTime::ZERO + now.saturating_since(since);
        };
        let rate = u64::from(audio.format.sample_rate.max(1));
        let micros = self.samples.saturating_mul(1_000_000) / rate;
        self.samples = self.samples.saturating_add(u64::from(audio.samples));
        MediaTime::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

fn format(payload: &Payload) -> StreamFormat {
    format_of(&Frame::new(MediaTime::ZERO, payload.clone()))
}
