//! What a node costs: frames through a chain of identity nodes in a graph, with its metrics
//! recorded as the gateway does it, and through a chain of tokio tasks joined by bounded channels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::{Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use tidegate_media::{Frame, MediaTime, Payload, Timestamp};
use tidegate_nodes::graph::{EgressId, Graph, Input, Listener, Mode, Output, Probe, Stage};
use tidegate_nodes::{Accepts, Binding, Grants, Pipeline, Registry, StreamFormat};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::figures::Figures;
use crate::{Failure, clock};

/// Nodes in the chain.
const NODES: u32 = 16;
/// Frames of a run: about a second of work.
const FRAMES: u32 = 1_000_000;
/// Capacity of each channel, as a queue of the gateway would have.
const CAPACITY: usize = 64;

/// Records durations into Prometheus histograms, by handles that are kept.
struct Recorded {
    epoch: Instant,
    service: Vec<Histogram>,
    session: Histogram,
}

impl Probe for Recorded {
    fn now(&mut self) -> Timestamp {
        since(self.epoch)
    }

    fn record(&mut self, _: Timestamp, hop: usize, _: Stage, value: Duration) {
        if let Some(histogram) = self.service.get(hop) {
            histogram.record(value);
        }
    }

    fn session_latency(&mut self, _: EgressId, value: Duration) {
        self.session.record(value);
    }
}

fn since(epoch: Instant) -> Timestamp {
    Timestamp::ZERO + epoch.elapsed()
}

fn frame() -> Frame {
    Frame::new(MediaTime::ZERO, Payload::Binary(Bytes::from(vec![7; 640])))
}

/// Nanoseconds for each frame and node through a graph: the whole way, input and output included,
/// and what one more node adds.
///
/// # Errors
/// If the pipeline does not compile.
pub fn graph() -> Result<Figures, Failure> {
    let whole = graph_of(NODES)?;
    let one = graph_of(1)?;
    Ok(Figures::from([
        ("ns/frame", whole),
        ("ns/node", whole / f64::from(NODES)),
        ("ns for one more node", (whole - one) / f64::from(NODES - 1)),
    ]))
}

fn graph_of(nodes: u32) -> Result<f64, Failure> {
    let registry = Registry::builtin();
    let grants = Grants::default();
    let pipeline = Pipeline::from_text("chain", &manifest(nodes), &registry, &grants)?;
    let binding = Binding {
        modes: vec![Mode::Waits],
        ..Binding::default()
    };
    let plan = Arc::new(pipeline.bind(&binding)?);
    let epoch = clock::now();
    let (mut graph, _) = Graph::new(plan, &registry, Box::new(recorded(epoch, nodes)))?;
    graph.attach_input(since(epoch), 0, StreamFormat::Binary, Mode::Waits)?;
    let listener = Listener {
        accepts: Accepts::Anything,
        mode: Mode::Waits,
        plays: true,
        metered: false,
    };
    graph.attach_output(since(epoch), 0, listener)?;
    let frame = frame();
    let began = clock::now();
    let mut out = 0;
    for _ in 0..FRAMES {
        let input = Input::Frame {
            input: 0,
            frame: frame.clone(),
        };
        graph.handle_input(since(epoch), input);
        while let Some(output) = graph.poll_output() {
            out += u32::from(matches!(output, Output::Frame { .. }));
        }
    }
    let took = began.elapsed();
    if out != FRAMES {
        return Err(format!("{out} of {FRAMES} frames came out").into());
    }
    Ok(took.as_secs_f64() * 1e9 / f64::from(FRAMES))
}

fn manifest(nodes: u32) -> String {
    let mut text = "version: tidegate/v1\nname: chain\ninputs: [{name: in, kind: binary}]\n\
                    outputs: [{name: out, kind: binary}]\nnodes:\n"
        .to_owned();
    for node in 0..nodes {
        text += &format!("  - {{id: n{node}, type: identity}}\n");
    }
    text += "edges:\n  - in -> n0\n";
    for node in 1..nodes {
        text += &format!("  - n{} -> n{node}\n", node - 1);
    }
    text + &format!("  - n{} -> out\n", nodes - 1)
}

fn recorded(epoch: Instant, nodes: u32) -> Recorded {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metadata = Metadata::new(module_path!(), Level::INFO, None);
    let histogram = |name: &'static str, hop: u32| {
        let key = Key::from_parts(name, vec![Label::new("hop", format!("n{hop}"))]);
        recorder.register_histogram(&key, &metadata)
    };
    Recorded {
        epoch,
        service: (0..nodes).map(|hop| histogram("service", hop)).collect(),
        session: histogram("session", 0),
    }
}

/// The same through as many tasks, all on this thread: the cheapest that channels can be.
///
/// # Errors
/// If a task ends early.
pub async fn channels() -> Result<Figures, Failure> {
    let mut tasks = JoinSet::new();
    let (first, mut last) = mpsc::channel::<Frame>(CAPACITY);
    for _ in 0..NODES {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let mut input = std::mem::replace(&mut last, receiver);
        tasks.spawn(async move {
            while let Some(frame) = input.recv().await {
                if sender.send(frame).await.is_err() {
                    return;
                }
            }
        });
    }
    let frame = frame();
    let began = clock::now();
    tasks.spawn(async move {
        for _ in 0..FRAMES {
            if first.send(frame.clone()).await.is_err() {
                return;
            }
        }
    });
    let mut out = 0;
    while last.recv().await.is_some() {
        out += 1;
    }
    let took = began.elapsed();
    if out != FRAMES {
        return Err(format!("{out} of {FRAMES} frames came out").into());
    }
    let whole = took.as_secs_f64() * 1e9 / f64::from(FRAMES);
    Ok(Figures::from([
        ("ns/frame", whole),
        ("ns/node", whole / f64::from(NODES)),
    ]))
}
