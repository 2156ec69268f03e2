//! A worker dies and another takes over: what was not acknowledged, or is still needed, is replayed into a new graph, and with what the
//! first had given out already it makes exactly what one graph makes of everything.
//!
//! Random chains of the built-in node types that say they make the same again, in place and on threads, over random streams. The
//! side that replays does what a remote hop does: it keeps frames from what it was told on, and leaves out outputs that it was given
//! before, by their cause and their count. `SEED=n` repeats a failure.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_media::{Audio, Frame, MediaTime, Payload, Tensor, Timestamp};
use tidegate_nodes::graph::{EgressId, Graph, Input, Listener, Mode, Output};
use tidegate_nodes::node::{Context, Effects, Node};
use tidegate_nodes::plan::Target;
use tidegate_nodes::{
    Accepts, Hold, HopCommand, HopEvent, Placement, Plan, Registry, StreamFormat,
};

use crate::simulation::Rng;
use crate::toolkit::{SOUND, Sketch, TestProbe, at, into, out};

const SEEDS: u64 = 1_000;
const FRAMES: u64 = 60;

/// What a listener got: enough to tell any two outputs apart.
type Heard = (u64, MediaTime, u64, bool, Payload);

/// A graph with threads that work when they are let.
struct Worker {
    graph: Graph,
    threads: Vec<Thread>,
    egress: EgressId,
    now: Timestamp,
    heard: Vec<Heard>,
}

struct Thread {
    hop: usize,
    node: Box<dyn Node>,
    commands: VecDeque<HopCommand>,
    events: VecDeque<HopEvent>,
    newest: u64,
    holds: Hold,
}

impl Thread {
    /// One command, as the gateway's own thread does it.
    fn work(&mut self, now: Timestamp) {
        let Some(command) = self.commands.pop_front() else {
            return;
        };
        let mut effects = Effects::default();
        let mut cx = Context::new(now, &mut effects);
        let done = match command {
            HopCommand::Frame { port, frame } => {
                let seq = frame.meta.seq;
                self.newest = seq;
                self.node.on_frame(&mut cx, port, frame).unwrap();
                Some((port, seq))
            }
            HopCommand::End { port } => {
                self.newest += 1;
                self.node.on_end(&mut cx, port).unwrap();
                None
            }
            HopCommand::Interrupt => unreachable!("nobody interrupts"),
        };
        for (port, mut frame) in effects.frames {
            frame.meta.caused_by = self.newest;
            frame.meta.caused_port = 1;
            self.events.push_back(HopEvent::Frame { port, frame });
        }
        let holds = self.node.holds();
        if holds != self.holds {
            self.holds = holds;
            self.events.push_back(HopEvent::Holds(holds));
        }
        match done {
            Some((port, seq)) => {
                self.events.push_back(HopEvent::Acknowledged { port, seq });
                self.events.push_back(credit(port, 1));
            }
            None => self.events.push_back(HopEvent::Ended { port: 0 }),
        }
    }
}

fn credit(port: usize, frames: u32) -> HopEvent {
    HopEvent::Credit {
        port,
        frames,
        bytes: u64::MAX,
    }
}

impl Worker {
    fn new(plan: &Arc<Plan>, registry: &Registry) -> Self {
        let probe = Box::new(TestProbe(Arc::new(Mutex::default())));
        let (mut graph, nodes) = Graph::new(Arc::clone(plan), registry, probe).unwrap();
        assert!(graph.is_deterministic(), "{plan:?}");
        graph.track();
        let now = at(1);
        graph
            .attach_input(now, 0, plan.inputs[0].format, Mode::Waits)
            .unwrap();
        let listener = Listener {
            accepts: Accepts::Anything,
            mode: Mode::Waits,
            plays: true,
            metered: true,
        };
        let (egress, _) = graph.attach_output(now, 0, listener).unwrap();
        let threads = nodes.into_iter().map(|(hop, node)| Thread {
            hop,
            node,
            commands: VecDeque::new(),
            events: VecDeque::from([credit(0, 3)]),
            newest: 0,
            holds: Hold::Nothing,
        });
        Self {
            threads: threads.collect(),
            graph,
            egress,
            now,
            heard: Vec::new(),
        }
    }

    fn give(&mut self, input: Input) {
        self.now += std::time::Duration::from_millis(1);
        self.graph.handle_input(self.now, input);
        while let Some(output) = self.graph.poll_output() {
            match output {
                Output::Frame { frame, .. } => {
                    let meta = frame.meta;
                    self.heard.push((
                        meta.caused_by,
                        meta.media_time,
                        meta.utterance,
                        meta.is_final,
                        frame.payload,
                    ));
                }
                Output::Hop { hop, command } => {
                    let thread = self.threads.iter_mut().find(|thread| thread.hop == hop);
                    thread.unwrap().commands.push_back(command);
                }
                Output::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }

    fn listen(&mut self, frames: u32) {
        let egress = self.egress;
        self.give(Input::EgressCredit { egress, frames });
    }

    /// Lets one thread do something, or tell something.
    fn step(&mut self, thread: usize, tell: bool) {
        let now = self.now;
        let Some(thread) = self.threads.get_mut(thread) else {
            return;
        };
        let hop = thread.hop;
        if !tell {
            thread.work(now);
        } else if let Some(event) = thread.events.pop_front() {
            self.give(Input::Hop { hop, event });
        }
    }

    /// Ends the input and lets everything come to rest.
    fn finish(mut self) -> Vec<Heard> {
        self.listen(u32::MAX);
        self.give(Input::End { input: 0 });
        loop {
            let busy = |thread: &Thread| !thread.commands.is_empty() || !thread.events.is_empty();
            if !self.threads.iter().any(busy) {
                return self.heard;
            }
            for thread in 0..self.threads.len() {
                self.step(thread, false);
                self.step(thread, true);
            }
        }
    }
}

/// What the side that replays was told.
#[derive(Default)]
struct Told {
    acknowledged: u64,
    replay_from: Option<u64>,
}

impl Told {
    /// As a session tells its client.
    fn hear(&mut self, worker: &mut Worker) {
        let consumed = worker.graph.consumed(0).unwrap();
        let seq = consumed.acknowledged.max(self.acknowledged);
        let kept = self.keeps_from();
        assert!(consumed.replay_from >= kept, "{consumed:?} after {kept}");
        self.replay_from = Some(consumed.replay_from).filter(|from| *from <= seq);
        self.acknowledged = seq;
    }

    fn keeps_from(&self) -> u64 {
        self.replay_from.unwrap_or(self.acknowledged + 1)
    }
}

fn add(sketch: &mut Sketch, rng: &mut Rng, sound: bool, registry: &Registry) -> StreamFormat {
    let mut format = if sound { SOUND } else { StreamFormat::Tensor };
    let from = sketch.input("in", format);
    let mut chain = Vec::new();
    for n in 0..1 + rng.index(4) {
        let (node_type, params) = choose(rng, format);
        let placement = match rng.index(3) {
            0 => Placement::Offload,
            _ => Placement::InPlace,
        };
        let hop = sketch.add(
            &format!("n{n}"),
            node_type,
            placement,
            (1, 1),
            params.clone(),
        );
        sketch.plan.hops[hop].inputs[0].format = Some(format);
        let found = registry.get(node_type).unwrap();
        format = found.outputs(&params, &[Some(format)]).unwrap()[0];
        chain.push(hop);
    }
    let to = sketch.output("out", format);
    let mut from = from;
    for hop in chain {
        sketch.join(from, into(hop));
        from = out(hop);
    }
    sketch.join(from, to);
    assert!(matches!(to, Target::Output(0)));
    format
}

fn choose(rng: &mut Rng, format: StreamFormat) -> (&'static str, Value) {
    let size = 1 + rng.below(7);
    let step = 1 + rng.below(size);
    let float = format
        .audio_format()
        .is_some_and(|f| f.codec == tidegate_media::Codec::PcmF32);
    match (format, rng.index(5)) {
        (StreamFormat::Tensor, 0) => ("tensor.stack", json!({"count": size})),
        (StreamFormat::Tensor, 1..4) => {
            let params = json!({"size": size, "step": step, "pad": step == size && rng.one_in(2)});
            ("tensor.window", params)
        }
        (StreamFormat::Audio { .. }, 0) => ("audio.segment", json!({"max_length": "200ms"})),
        (StreamFormat::Audio { .. }, 1) => ("audio.resample", json!({"sample_rate": 16_000})),
        (StreamFormat::Audio { .. }, 2) => ("audio.gain", json!({"gain_db": -3})),
        (StreamFormat::Audio { .. }, 3) if !float => ("audio.pcm", json!({"codec": "pcm_f32"})),
        _ => ("identity", json!({})),
    }
}

/// A frame of the stream. Sound is in utterances; tensors need not be.
fn frame(
    rng: &mut Rng,
    n: u64,
    sound: bool,
    rows: Option<u64>,
    utterance: &mut (u64, bool),
) -> Frame {
    let at = MediaTime::from_micros(i64::try_from(n).unwrap() * 20_000);
    let byte = |i: u64| u8::try_from((n * 31 + i * 7) % 251).unwrap();
    let payload = if sound {
        let data: Vec<u8> = (0..320).map(byte).collect();
        Payload::Audio(Audio::encoded(crate::toolkit::PCM, data.into()))
    } else {
        let rows = rows.unwrap_or_else(|| 1 + rng.below(3));
        let data: Vec<u8> = (0..rows * 2).map(byte).collect();
        Payload::Tensor(Tensor::from_vec(&[rows, 2], data).unwrap())
    };
    let mut frame = Frame::new(at, payload);
    frame.meta.seq = n;
    if std::mem::take(&mut utterance.1) {
        utterance.0 += 1;
    }
    if utterance.0 > 0 {
        frame.meta.utterance = utterance.0;
        frame.meta.is_final = rng.one_in(9);
        utterance.1 = frame.meta.is_final || rng.one_in(20);
    }
    frame
}

fn run(seed: u64) -> (bool, bool) {
    let mut rng = Rng::seeded(seed);
    let registry = Registry::builtin();
    let mut sketch = Sketch::new();
    let sound = rng.one_in(2);
    add(&mut sketch, &mut rng, sound, &registry);
    if std::env::var_os("SEED").is_some() {
        for hop in &sketch.plan.hops {
            eprintln!("{} {:?} {}", hop.node_type, hop.placement, hop.params);
        }
    }
    let plan = Arc::new(sketch.plan);
    let rows = rng.one_in(2).then(|| 1 + rng.below(3));
    let mut utterance = (u64::from(sound || rng.one_in(2)), false);
    let stream: Vec<_> = (1..=FRAMES)
        .map(|n| frame(&mut rng, n, sound, rows, &mut utterance))
        .collect();
    let input = |frame: &Frame| Input::Frame {
        input: 0,
        frame: frame.clone(),
    };

    let mut whole = Worker::new(&plan, &registry);
    for frame in &stream {
        whole.give(input(frame));
    }
    let whole = whole.finish();

    let mut first = Worker::new(&plan, &registry);
    let mut told = Told::default();
    let mut sent = 0;
    for _ in 0..rng.below(6 * FRAMES) {
        match rng.index(6) {
            0 | 1 if sent < stream.len() && first.graph.input_ready(0) => {
                first.give(input(&stream[sent]));
                sent += 1;
            }
            2 => first.listen(1 + u32::try_from(rng.below(3)).unwrap()),
            3 => told.hear(&mut first),
            n => first.step(rng.index(3), n == 4),
        }
    }
    let mut heard = first.heard;

    let mut second = Worker::new(&plan, &registry);
    let from = told.keeps_from();
    assert!(from <= sent as u64 + 1);
    for frame in stream.iter().filter(|frame| frame.meta.seq >= from) {
        second.give(input(frame));
    }
    let newest = heard.last().map_or(0, |last| last.0);
    let count = heard.iter().filter(|one| one.0 == newest).count();
    let mut again = 0;
    for one in second.finish() {
        again += usize::from(one.0 == newest);
        if one.0 > newest || one.0 == newest && again > count {
            heard.push(one);
        }
    }
    for (at, (heard, whole)) in heard.iter().zip(&whole).enumerate() {
        assert_eq!(
            heard, whole,
            "output {at} of {plan:#?}, replayed from {from} of {sent}"
        );
    }
    assert_eq!(
        heard.len(),
        whole.len(),
        "replayed from {from} of {sent}: {plan:#?}"
    );
    (from > 1, from <= told.acknowledged)
}

#[test]
fn what_was_told_is_enough_to_go_on_where_a_worker_died() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let (mut forgotten, mut held) = (0, 0);
    for seed in seeds.clone() {
        let Ok((forgot, held_back)) = std::panic::catch_unwind(|| run(seed)) else {
            panic!("seed {seed} failed: repeat it with SEED={seed}");
        };
        forgotten += u64::from(forgot);
        held += u64::from(held_back);
    }
    if seeds.count() as u64 >= SEEDS {
        assert!(
            forgotten > SEEDS / 4,
            "little was ever forgotten: {forgotten}"
        );
        assert!(held > SEEDS / 8, "little was ever held: {held}");
    }
}
