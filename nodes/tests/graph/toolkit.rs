//! Nodes with simple behaviour, plans built by hand, and a driver that keeps what comes out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_media::{
    Audio, AudioFormat, Codec, Frame, MediaTime, Payload, Text, Timestamp, Video, VideoCodec,
    VideoFormat,
};
use tidegate_nodes::graph::{
    EgressId, Graph, HopStats, Input, Listener, Mode, Output, Probe, Stage,
};
use tidegate_nodes::node::{Context, DropReason, Node, NodeError};
use tidegate_nodes::plan::{
    PlanEdge, PlanHop, PlanInput, PlanInterrupt, PlanOutput, PlanPort, Queue, Source, Target,
    WhenFull,
};
use tidegate_nodes::{
    Accepts, Error, HopCommand, HopEvent, NodeType, ParamError, Placement, Plan, Port, Ports,
    Registry, StreamFormat,
};

pub(crate) const PCM: AudioFormat = AudioFormat::pcm_s16(8_000, 1);

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms * 1_000_000)
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn text(value: &str) -> Frame {
    Frame::new(MediaTime::ZERO, Payload::Text(Text::from(value)))
}

/// 20 ms of PCM that starts at a media time.
pub(crate) fn audio(media_ms: u64) -> Frame {
    let media = MediaTime::from_micros(i64::try_from(media_ms * 1_000).unwrap());
    Frame::new(
        media,
        Payload::Audio(Audio::from_s16(8_000, 1, vec![0; 160])),
    )
}

pub(crate) fn video(key: bool) -> Frame {
    let format = VideoFormat {
        codec: VideoCodec::Vp8,
    };
    let data = bytes::Bytes::from_static(b"picture");
    Frame::new(MediaTime::ZERO, Payload::Video(Video { format, key, data }))
}

pub(crate) fn words(frame: &Frame) -> String {
    match &frame.payload {
        Payload::Text(text) => text.as_str().to_owned(),
        other => format!("{:?}", other.kind()),
    }
}

/// What a test node does, by its type's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Passes what comes.
    Identity,
    /// Passes what comes and appends its parameter `mark`.
    Mark,
    /// `times` frames for each.
    Repeat,
    /// Holds the newest frame back until the next or the end.
    Hold,
    /// Emits a frame each `every_ms`.
    Generate,
    /// Passes on output 0 and, if the text is `speech`, announces it on output 1 before.
    Detect,
    /// Fails when it sees `bad`.
    Brittle,
    /// Sets a timer in the past for ever.
    Restless,
    /// Keeps everything, gives nothing.
    Sink,
    /// Two inputs, one output: passes both.
    Join,
    /// Passes; notes interrupts as `flushed` at the next frame.
    Flushable,
}

const ACTS: [(&str, Act); 11] = [
    ("identity", Act::Identity),
    ("mark", Act::Mark),
    ("repeat", Act::Repeat),
    ("hold", Act::Hold),
    ("generate", Act::Generate),
    ("detect", Act::Detect),
    ("brittle", Act::Brittle),
    ("restless", Act::Restless),
    ("sink", Act::Sink),
    ("join", Act::Join),
    ("flushable", Act::Flushable),
];

/// Stands for a conversion between audio formats; says so in nothing but its row.
const CONVERSIONS: [&str; 6] = [
    "audio.dejitter",
    "audio.decode",
    "audio.resample",
    "audio.channels",
    "audio.encode",
    "audio.pcm",
];

struct TestType {
    name: &'static str,
    act: Act,
}

struct TestNode {
    act: Act,
    params: Value,
    held: Option<Frame>,
    count: u64,
}

impl NodeType for TestType {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        "for tests"
    }
    fn cost(&self) -> &'static str {
        "nothing"
    }
    fn schema(&self) -> Value {
        json!({})
    }
    fn ports(&self, _: &Value) -> Result<Ports, ParamError> {
        Ok(Ports::default())
    }
    fn outputs(
        &self,
        _: &Value,
        _: &[Option<StreamFormat>],
    ) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(Vec::new())
    }
    fn build(
        &self,
        params: &Value,
        _: &[Option<StreamFormat>],
    ) -> Result<Box<dyn Node>, ParamError> {
        if params.get("refuse").is_some() {
            return Err(ParamError::new("refuse", "it was asked to refuse"));
        }
        Ok(Box::new(TestNode {
            act: self.act,
            params: params.clone(),
            held: None,
            count: 0,
        }))
    }
}

impl TestNode {
    fn number(&self, name: &str) -> u64 {
        self.params.get(name).and_then(Value::as_u64).unwrap_or(1)
    }
}

impl Node for TestNode {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        match self.act {
            Act::Identity | Act::Join => cx.emit(0, frame),
            Act::Flushable => {
                let flushed = std::mem::take(&mut self.count) > 0;
                cx.emit(0, if flushed { text("flushed") } else { frame });
            }
            Act::Mark => {
                let mark = self.params["mark"].as_str().unwrap_or("+");
                cx.emit(0, text(&format!("{}{mark}", words(&frame))));
            }
            Act::Repeat => {
                for n in 0..self.number("times") {
                    let mut copy = frame.clone();
                    copy.meta.media_time += ms(20 * n);
                    cx.emit(0, copy);
                }
            }
            Act::Hold => {
                if let Some(before) = self.held.replace(frame) {
                    cx.emit(0, before);
                }
            }
            Act::Generate => cx.set_timer(cx.now()),
            Act::Detect => {
                if words(&frame) == "speech" {
                    cx.emit(1, text("start"));
                }
                cx.emit(0, frame);
            }
            Act::Brittle if words(&frame) == "bad" => {
                return Err(NodeError::new("it cannot take 'bad'"));
            }
            Act::Brittle => cx.emit(0, frame),
            Act::Restless => cx.set_timer(Timestamp::ZERO),
            Act::Sink => self.held = Some(frame),
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        self.count += 1;
        match self.act {
            Act::Generate => {
                let every = ms(self.number("every_ms"));
                cx.emit(0, audio(20 * (self.count - 1)));
                cx.set_timer(cx.now() + every);
            }
            Act::Restless => cx.set_timer(Timestamp::ZERO),
            _ => {}
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        if let (Act::Hold, Some(frame)) = (self.act, self.held.take()) {
            cx.emit(0, frame);
        }
        Ok(())
    }

    fn on_interrupt(&mut self, _: &mut Context<'_>) {
        self.count = 1;
    }
}

pub(crate) fn registry() -> Registry {
    let mut registry = Registry::empty();
    for (name, act) in ACTS {
        registry.add(TestType { name, act });
    }
    for name in CONVERSIONS {
        registry.add(TestType {
            name,
            act: Act::Identity,
        });
    }
    registry
}

/// A plan under construction. Ports and formats follow from what is joined.
#[derive(Clone)]
pub(crate) struct Sketch {
    pub(crate) plan: Plan,
}

impl Sketch {
    pub(crate) fn new() -> Self {
        Self {
            plan: Plan {
                pipeline: "test".to_owned(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                hops: Vec::new(),
                edges: Vec::new(),
                interrupt: None,
            },
        }
    }

    pub(crate) fn input(&mut self, name: &str, format: StreamFormat) -> Source {
        self.plan.inputs.push(PlanInput {
            name: name.to_owned(),
            kind: format.kind(),
            format,
        });
        Source::Input(self.plan.inputs.len() - 1)
    }

    pub(crate) fn output(&mut self, name: &str, format: StreamFormat) -> Target {
        self.plan.outputs.push(PlanOutput {
            name: name.to_owned(),
            kind: format.kind(),
            format,
            seat: None,
            paced: false,
            queue: Queue::default(),
        });
        Target::Output(self.plan.outputs.len() - 1)
    }

    /// Bounds of the newest output's queues.
    pub(crate) fn output_queue(&mut self, frames: u32, when_full: WhenFull) -> &mut PlanOutput {
        let output = self.plan.outputs.last_mut().unwrap();
        output.queue = queue(frames, when_full);
        output
    }

    pub(crate) fn hop(&mut self, id: &str, placement: Placement, ports: (usize, usize)) -> usize {
        self.hop_with(id, id, placement, ports, Value::Null)
    }

    pub(crate) fn node(&mut self, node_type: &str) -> usize {
        self.node_with(node_type, Value::Null)
    }

    pub(crate) fn node_with(&mut self, node_type: &str, params: Value) -> usize {
        let ports = match node_type {
            "generate" => (0, 1),
            "detect" => (1, 2),
            "sink" => (1, 0),
            "join" => (2, 1),
            _ => (1, 1),
        };
        let id = format!("{node_type}{}", self.plan.hops.len());
        self.hop_with(&id, node_type, Placement::InPlace, ports, params)
    }

    fn hop_with(
        &mut self,
        id: &str,
        node_type: &str,
        placement: Placement,
        (inputs, outputs): (usize, usize),
        params: Value,
    ) -> usize {
        let port = |index: usize| PlanPort {
            name: format!("p{index}"),
            format: None,
            accepts: Accepts::Anything,
        };
        self.plan.hops.push(PlanHop {
            id: id.to_owned(),
            node_type: node_type.to_owned(),
            placement,
            inserted: false,
            params: Arc::new(params),
            inputs: (0..inputs).map(port).collect(),
            outputs: (0..outputs).map(port).collect(),
        });
        self.plan.hops.len() - 1
    }

    pub(crate) fn join(&mut self, from: Source, to: Target) -> &mut PlanEdge {
        self.plan.edges.push(PlanEdge {
            from,
            to,
            queue: Queue::default(),
            explicit: false,
        });
        self.plan.edges.last_mut().unwrap()
    }

    /// Joins input 0 to output 0 of these hops in a row, and the last to a target.
    pub(crate) fn chain(&mut self, from: Source, hops: &[usize], to: Target) {
        let mut from = from;
        for &hop in hops {
            self.join(from, into(hop));
            from = out(hop);
        }
        self.join(from, to);
    }

    pub(crate) fn interrupt(&mut self, on: Option<Source>, flush: &[usize]) {
        let flush = flush.to_vec();
        self.plan.interrupt = Some(PlanInterrupt { on, flush });
    }

    /// Why no graph can be made of it.
    pub(crate) fn refused(&self) -> Error {
        let plan = Arc::new(self.plan.clone());
        let probe = Box::new(TestProbe(Arc::default()));
        let Err(error) = Graph::new(plan, &registry(), probe) else {
            panic!("a graph was made of it");
        };
        error
    }

    pub(crate) fn run(&self) -> Bench {
        Bench::new(self.plan.clone())
    }
}

pub(crate) fn into(hop: usize) -> Target {
    Target::Hop { hop, port: 0 }
}

pub(crate) fn out(hop: usize) -> Source {
    Source::Hop { hop, port: 0 }
}

pub(crate) fn queue(frames: u32, when_full: WhenFull) -> Queue {
    Queue {
        frames,
        when_full,
        ..Queue::default()
    }
}

#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) clock: Timestamp,
    /// How much the clock moves at each reading.
    pub(crate) step: Duration,
    pub(crate) records: Vec<(usize, Stage, Duration)>,
    pub(crate) latencies: Vec<(EgressId, Duration)>,
}

struct TestProbe(Arc<Mutex<Measured>>);

impl Probe for TestProbe {
    fn now(&mut self) -> Timestamp {
        let mut measured = self.0.lock().unwrap();
        let step = measured.step;
        measured.clock += step;
        measured.clock
    }
    fn record(&mut self, hop: usize, stage: Stage, value: Duration) {
        self.0.lock().unwrap().records.push((hop, stage, value));
    }
    fn session_latency(&mut self, egress: EgressId, value: Duration) {
        self.0.lock().unwrap().latencies.push((egress, value));
    }
}

/// A graph with a driver that only remembers.
pub(crate) struct Bench {
    pub(crate) graph: Graph,
    pub(crate) offloaded: Vec<(usize, Box<dyn Node>)>,
    pub(crate) now: Timestamp,
    pub(crate) said: Vec<Output>,
    pub(crate) measured: Arc<Mutex<Measured>>,
}

impl Bench {
    pub(crate) fn new(plan: Plan) -> Self {
        let measured = Arc::new(Mutex::new(Measured::default()));
        let probe = Box::new(TestProbe(Arc::clone(&measured)));
        let (graph, offloaded) = Graph::new(Arc::new(plan), &registry(), probe).unwrap();
        Self {
            graph,
            offloaded,
            now: at(1),
            said: Vec::new(),
            measured,
        }
    }

    /// A client sends to every input and a listener, not metered, hears every output.
    pub(crate) fn open(&mut self, mode: Mode) -> Vec<EgressId> {
        let plan = Arc::clone(self.graph.plan());
        for (index, input) in plan.inputs.iter().enumerate() {
            self.graph
                .attach_input(self.now, index, input.format, mode)
                .unwrap();
        }
        let outputs = 0..plan.outputs.len();
        outputs
            .map(|output| self.listen(output, mode, false))
            .collect()
    }

    pub(crate) fn listen(&mut self, output: usize, mode: Mode, metered: bool) -> EgressId {
        let listener = Listener {
            accepts: Accepts::Anything,
            mode,
            metered,
        };
        let (egress, _) = self
            .graph
            .attach_output(self.now, output, listener)
            .unwrap();
        self.collect();
        egress
    }

    pub(crate) fn give(&mut self, input: Input) {
        self.graph.handle_input(self.now, input);
        self.collect();
    }

    pub(crate) fn send(&mut self, input: usize, frame: Frame) {
        self.give(Input::Frame { input, frame });
    }

    pub(crate) fn say(&mut self, input: usize, words: &str) {
        self.send(input, text(words));
    }

    pub(crate) fn end(&mut self, input: usize) {
        self.give(Input::End { input });
    }

    pub(crate) fn event(&mut self, hop: usize, event: HopEvent) {
        self.give(Input::Hop { hop, event });
    }

    pub(crate) fn credit(&mut self, hop: usize, frames: u32) {
        let bytes = u64::MAX;
        self.event(
            hop,
            HopEvent::Credit {
                port: 0,
                frames,
                bytes,
            },
        );
    }

    /// The hop answers its frame `cause` with a text.
    pub(crate) fn answer(&mut self, hop: usize, cause: u64, words: &str) {
        let mut frame = text(words);
        frame.meta.caused_by = cause;
        self.event(hop, HopEvent::Frame { port: 0, frame });
    }

    /// Lets time pass, and every timer on the way fire.
    pub(crate) fn pass(&mut self, until: Timestamp) {
        let mut calls = 0;
        while let Some(next) = self.graph.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(next);
            self.graph.handle_timeout(self.now);
            self.collect();
            calls += 1;
            assert!(calls < 100_000, "the graph spins");
        }
        self.now = self.now.max(until);
    }

    fn collect(&mut self) {
        self.said
            .extend(std::iter::from_fn(|| self.graph.poll_output()));
    }

    pub(crate) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.said)
    }

    /// What was heard, in order, as `egress:seq:words`; forgets it.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        let frames = self.take().into_iter().filter_map(|output| match output {
            Output::Frame { frame, .. } => Some(words(&frame)),
            _ => None,
        });
        frames.collect()
    }

    /// What hops were told, in order; forgets everything.
    pub(crate) fn told(&mut self) -> Vec<HopCommand> {
        let commands = self.take().into_iter().filter_map(|output| match output {
            Output::Hop { command, .. } => Some(command),
            _ => None,
        });
        commands.collect()
    }

    pub(crate) fn stats(&self, id: &str) -> &HopStats {
        let mut rows = self.graph.hop_stats().iter();
        rows.find(|row| &*row.id == id).unwrap()
    }

    pub(crate) fn dropped(&self, id: &str, reason: DropReason) -> u64 {
        self.stats(id).dropped[reason as usize]
    }
}

pub(crate) const TEXT: StreamFormat = StreamFormat::Text;
pub(crate) const SOUND: StreamFormat = StreamFormat::audio(PCM);
pub(crate) const OPUS: StreamFormat = StreamFormat::audio(AudioFormat {
    codec: Codec::Opus,
    sample_rate: 48_000,
    channels: 1,
});
pub(crate) const PICTURES: StreamFormat = StreamFormat::Video(VideoFormat {
    codec: VideoCodec::Vp8,
});
