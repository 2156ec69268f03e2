//! A driver that only remembers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::graph::{
    EgressId, Graph, HopStats, Input, Listener, Mode, Output, Probe, Stage,
};
use tidegate_nodes::node::{DropReason, Node};
use tidegate_nodes::{Accepts, HopCommand, HopEvent, Plan};

use super::{at, registry, text, words};

#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) clock: Timestamp,
    /// How much the clock moves at each reading.
    pub(crate) step: Duration,
    pub(crate) records: Vec<(usize, Stage, Duration)>,
    pub(crate) latencies: Vec<(EgressId, Duration)>,
}

pub(crate) struct TestProbe(pub(crate) Arc<Mutex<Measured>>);

impl Probe for TestProbe {
    fn now(&mut self) -> Timestamp {
        let mut measured = self.0.lock().unwrap();
        let step = measured.step;
        measured.clock += step;
        measured.clock
    }
    fn record(&mut self, _: Timestamp, hop: usize, stage: Stage, value: Duration) {
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
            plays: true,
            metered,
        };
        self.listen_as(output, listener)
    }

    pub(crate) fn listen_as(&mut self, output: usize, listener: Listener) -> EgressId {
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
