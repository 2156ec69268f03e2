//! What an in-place node costs, beside the same chain as tokio tasks joined by bounded channels, in the same run.
//!
//! `cargo bench -p tidegate-benches --bench graph`. Criterion's own figures come first; then both are measured in turns, and the
//! last lines give the medians, what a node costs and the ratio. Metrics are on: every hop counts frames and bytes, and is timed at
//! the documented rate by a probe that reads a real clock and sorts into a histogram. A frame is 20 ms of 16 kHz PCM (640 B).

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints its result and reads the clock"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use serde_json::Value;
use tidegate_media::{Audio, AudioFormat, Frame, Kind, MediaTime, Payload, Timestamp};
use tidegate_nodes::graph::{EgressId, Graph, Input, Listener, Mode, Output, Probe, Stage};
use tidegate_nodes::node::{Context, Node, NodeError};
use tidegate_nodes::plan::{
    PlanEdge, PlanHop, PlanInput, PlanOutput, PlanPort, Queue, Source, Target,
};
use tidegate_nodes::{
    Accepts, NodeType, ParamError, Placement, Plan, Ports, Registry, StreamFormat,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const LENGTHS: [usize; 2] = [1, 16];
/// Frames of one measurement; the channels hold [`CHANNEL`] each, so tasks run in batches as they would under load.
const FRAMES: usize = 2_000;
const CHANNEL: usize = 64;
const REPETITIONS: usize = 15;

const FORMAT: StreamFormat = StreamFormat::audio(AudioFormat::pcm_s16(16_000, 1));

/// Passes every frame on.
struct Identity;

impl Node for Identity {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        cx.emit(0, frame);
        Ok(())
    }
}

impl NodeType for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }
    fn summary(&self) -> &'static str {
        "passes every frame on"
    }
    fn cost(&self) -> &'static str {
        "measured here"
    }
    fn schema(&self) -> Value {
        Value::Null
    }
    fn ports(&self, _: &Value) -> Result<Ports, ParamError> {
        Ok(Ports::default())
    }
    fn outputs(
        &self,
        _: &Value,
        _: &[Option<StreamFormat>],
    ) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![FORMAT])
    }
    fn build(&self, _: &Value, _: &[Option<StreamFormat>]) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Self))
    }
}

/// Reads a real clock and sorts durations into powers of two.
struct Histograms {
    epoch: Instant,
    buckets: Vec<[u64; 64]>,
}

impl Histograms {
    fn sort(&mut self, row: usize, value: Duration) {
        if self.buckets.len() <= row {
            self.buckets.resize(row + 1, [0; 64]);
        }
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[row][63 - (nanos | 1).leading_zeros() as usize] += 1;
    }
}

impl Probe for Histograms {
    fn now(&mut self) -> Timestamp {
        Timestamp::ZERO + self.epoch.elapsed()
    }
    fn record(&mut self, _: Timestamp, hop: usize, _: Stage, value: Duration) {
        self.sort(hop + 1, value);
    }
    fn session_latency(&mut self, _: EgressId, value: Duration) {
        self.sort(0, value);
    }
}

fn plan(length: usize) -> Plan {
    let port = || PlanPort {
        name: "p".to_owned(),
        format: Some(FORMAT),
        accepts: Accepts::Anything,
    };
    let hops = (0..length).map(|index| PlanHop {
        id: format!("n{index}"),
        node_type: "identity".to_owned(),
        placement: Placement::InPlace,
        inserted: false,
        params: Arc::new(Value::Null),
        inputs: vec![port()],
        outputs: vec![port()],
    });
    let edges = (0..=length).map(|index| PlanEdge {
        from: match index.checked_sub(1) {
            None => Source::Input(0),
            Some(hop) => Source::Hop { hop, port: 0 },
        },
        to: if index == length {
            Target::Output(0)
        } else {
            Target::Hop {
                hop: index,
                port: 0,
            }
        },
        queue: Queue::default(),
        explicit: false,
    });
    Plan {
        pipeline: "bench".to_owned(),
        inputs: vec![PlanInput {
            name: "in".to_owned(),
            kind: Kind::Audio,
            format: FORMAT,
        }],
        outputs: vec![PlanOutput {
            name: "out".to_owned(),
            kind: Kind::Audio,
            format: FORMAT,
            seat: None,
            paced: false,
            role: None,
            queue: Queue::default(),
        }],
        hops: hops.collect(),
        edges: edges.collect(),
        interrupt: None,
    }
}

fn graph(length: usize) -> Graph {
    let mut registry = Registry::empty();
    registry.add(Identity);
    let probe = Histograms {
        epoch: Instant::now(),
        buckets: Vec::new(),
    };
    let made = Graph::new(Arc::new(plan(length)), &registry, Box::new(probe));
    let (mut graph, _) = made.expect("the plan is sound");
    let now = Timestamp::from_nanos(1);
    graph
        .attach_input(now, 0, FORMAT, Mode::Live)
        .expect("the format is the input's");
    let listener = Listener {
        accepts: Accepts::Anything,
        mode: Mode::Live,
        plays: true,
        metered: false,
    };
    graph
        .attach_output(now, 0, listener)
        .expect("the listener takes anything");
    graph
}

fn frame() -> Frame {
    let audio = Audio::from_s16(16_000, 1, vec![0; 320]);
    Frame::new(MediaTime::ZERO, Payload::Audio(audio))
}

fn through_graph(graph: &mut Graph, frame: &Frame, epoch: Instant) {
    for _ in 0..FRAMES {
        // A driver reads the clock once for each frame that arrives.
        let now = Timestamp::from_nanos(1) + epoch.elapsed();
        let frame = frame.clone();
        graph.handle_input(now, Input::Frame { input: 0, frame });
        let mut came = 0;
        while let Some(output) = graph.poll_output() {
            came += usize::from(matches!(output, Output::Frame { .. }));
            black_box(output);
        }
        assert_eq!(came, 1);
    }
}

/// A chain of tasks, each of which takes a frame from a channel and puts it into the next.
struct Tasks {
    first: mpsc::Sender<Frame>,
    last: mpsc::Receiver<Frame>,
}

impl Tasks {
    fn new(runtime: &Runtime, length: usize) -> Self {
        let (first, mut from) = mpsc::channel::<Frame>(CHANNEL);
        for _ in 0..length {
            let (to, next) = mpsc::channel(CHANNEL);
            runtime.spawn(async move {
                while let Some(frame) = from.recv().await {
                    if to.send(frame).await.is_err() {
                        return;
                    }
                }
            });
            from = next;
        }
        Self { first, last: from }
    }

    async fn pass(&mut self, frame: &Frame, epoch: Instant) {
        let (mut sent, mut came) = (0, 0);
        while came < FRAMES {
            while sent < FRAMES {
                let mut frame = frame.clone();
                frame.meta.ingress = Timestamp::from_nanos(1) + epoch.elapsed();
                if self.first.try_send(frame).is_err() {
                    break;
                }
                sent += 1;
            }
            black_box(self.last.recv().await);
            came += 1;
        }
    }
}

fn single() -> Runtime {
    let built = tokio::runtime::Builder::new_current_thread().build();
    built.expect("a runtime on this thread")
}

fn several() -> Runtime {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build();
    built.expect("a runtime with two workers")
}

fn chains(criterion: &mut Criterion) {
    let frame = frame();
    let epoch = Instant::now();
    let mut group = criterion.benchmark_group("identity_chain");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for length in LENGTHS {
        let mut graph = graph(length);
        group.bench_function(BenchmarkId::new("graph", length), |bencher| {
            bencher.iter(|| through_graph(&mut graph, &frame, epoch));
        });
        let runtime = single();
        let mut tasks = Tasks::new(&runtime, length);
        group.bench_function(BenchmarkId::new("tokio_channels", length), |bencher| {
            bencher.iter(|| runtime.block_on(tasks.pass(&frame, epoch)));
        });
    }
    group.finish();
}

criterion_group!(benches, chains);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    compare();
}

/// Nanoseconds a frame took.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(FRAMES).expect("small"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures all in turns, so that what else runs on the machine meets them alike.
fn compare() {
    let frame = frame();
    let epoch = Instant::now();
    let (one_thread, two_threads) = (single(), several());
    let mut rows = LENGTHS.map(|length| {
        let graph = graph(length);
        let tasks = [
            Tasks::new(&one_thread, length),
            Tasks::new(&two_threads, length),
        ];
        (length, graph, tasks, [(); 3].map(|()| Vec::new()))
    });
    for _ in 0..REPETITIONS {
        for (_, graph, [one, two], times) in &mut rows {
            times[0].push(timed(|| through_graph(graph, &frame, epoch)));
            times[1].push(timed(|| one_thread.block_on(one.pass(&frame, epoch))));
            times[2].push(timed(|| two_threads.block_on(two.pass(&frame, epoch))));
        }
    }
    let [short, long] = rows.map(|(length, _, _, times)| (length, times.map(median)));
    println!(
        "\nnanoseconds a frame, median of {REPETITIONS} repetitions of {FRAMES} frames in turns"
    );
    println!(
        "{:>6} {:>10} {:>16} {:>16}",
        "nodes", "graph", "tokio 1 thread", "tokio 2 threads"
    );
    for (length, [graph, one, two]) in [&short, &long] {
        println!("{length:>6} {graph:>10.1} {one:>16.1} {two:>16.1}");
    }
    let between = f64::from(u32::try_from(long.0 - short.0).expect("small"));
    let node = |index: usize| (long.1[index] - short.1[index]) / between;
    let best = long.1[1].min(long.1[2]);
    println!(
        "in-place identity node, metrics on: {:.1} ns (owed: 60, aim: 20)",
        node(0)
    );
    println!("tokio task and channel: {:.1} ns", node(1).min(node(2)));
    println!(
        "chain of 16: {:.1} times as fast as tokio's better runtime (owed: 2)",
        best / long.1[0]
    );
}
