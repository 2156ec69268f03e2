//! One session from its first client to its last word.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tidegate_media::{AudioFormat, Codec, Kind, Timestamp};
use tidegate_nodes::graph::{EgressId, Graph, Input, Listener, Mode, Output};
use tidegate_nodes::plan::Target;
use tidegate_nodes::{Accepts, Placement};

use super::Rng;
use super::check::{self, Arrivals, PATIENCE, Still};
use super::client::Client;
use super::listener::Ear;
use super::shape::{Shape, Tag, start};
use super::summary::Outcome;
use super::worker::Worker;
use crate::toolkit::{PCM, ms, registry};

/// Calls of the graph at one instant that no honest graph needs.
const SPIN: u32 = 20_000;

struct Session {
    rng: Rng,
    shape: Shape,
    graph: Graph,
    now: Timestamp,
    clients: Vec<Client>,
    workers: Vec<Worker>,
    ears: Vec<Ear>,
    /// Of each output.
    arrivals: Vec<Arrivals>,
    all_wait: bool,
    all_live: bool,
    /// When somebody next comes, goes or interrupts.
    next_whim: Timestamp,
    trace: DefaultHasher,
    outcome: Outcome,
    over: bool,
}

pub(super) fn run(seed: u64) -> Outcome {
    let mut session = Session::new(seed);
    let limit = start() + PATIENCE;
    let mut calls = 0;
    while !session.over {
        let next = session.next();
        if next > session.now {
            calls = 0;
            session.now = next;
        }
        calls += 1;
        assert!(calls < SPIN, "the graph spins at {:?}", session.now);
        if session.now >= limit {
            panic!("the session does not finish: {}", session.picture());
        }
        session.turn();
    }
    session.close()
}

impl Session {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let shape = Shape::new(&mut rng);
        let plan = Arc::new(shape.sketch.plan.clone());
        let mut registry = registry();
        super::nodes::add_to(&mut registry);
        let made = Graph::new(Arc::clone(&plan), &registry, Box::new(Still));
        let (graph, _) = made.unwrap();
        let (all_wait, all_live) = [(true, false), (false, true), (false, false)][rng.index(3)];
        let now = start();
        let mut mode = {
            let mut rng = rng.clone();
            move || match (all_wait, all_live) {
                (true, _) => Mode::Waits,
                (_, true) => Mode::Live,
                _ if rng.one_in(2) => Mode::Waits,
                _ => Mode::Live,
            }
        };
        let clients = (0..plan.inputs.len())
            .map(|input| Client::new(input, shape.kind, mode(), now, Rng(rng.next())))
            .collect();
        let hops = plan.hops.iter().enumerate();
        let hops = hops.filter(|(_, hop)| hop.placement != Placement::InPlace);
        let workers = hops.map(|(index, hop)| {
            let joined = (0..hop.inputs.len()).map(|port| {
                let to = Target::Hop { hop: index, port };
                plan.edges.iter().any(|edge| edge.to == to)
            });
            let joined: Vec<_> = joined.collect();
            Worker::new(index, &joined, hop.outputs.len(), now, Rng(rng.next()))
        });
        let workers = workers.collect();
        let mut session = Self {
            rng,
            shape,
            graph,
            now,
            clients,
            workers,
            ears: Vec::new(),
            arrivals: plan.outputs.iter().map(|_| Arrivals::new()).collect(),
            all_wait,
            all_live,
            next_whim: now + ms(50),
            trace: DefaultHasher::new(),
            outcome: Outcome::default(),
            over: false,
        };
        session.open();
        session
    }

    fn open(&mut self) {
        for input in 0..self.clients.len() {
            self.attach_input(input);
        }
        for output in 0..self.graph.plan().outputs.len() {
            if self.all_wait || !self.rng.one_in(4) {
                self.attach_output(output);
            }
        }
    }

    fn attach_input(&mut self, input: usize) {
        let client = &mut self.clients[input];
        let format = client.arrive();
        let mode = client.mode;
        self.graph
            .attach_input(self.now, input, format, mode)
            .unwrap();
        self.collect();
    }

    fn attach_output(&mut self, output: usize) {
        self.note_arrivals();
        let f32 = AudioFormat {
            codec: Codec::PcmF32,
            ..PCM
        };
        let accepts = match self.shape.kind {
            Kind::Audio if self.rng.one_in(2) => Accepts::exactly(f32),
            _ => Accepts::Anything,
        };
        let mode = match (self.all_wait, self.all_live) {
            (true, _) => Mode::Waits,
            (_, true) => Mode::Live,
            _ if self.rng.one_in(2) => Mode::Waits,
            _ => Mode::Live,
        };
        let metered = self.rng.one_in(2);
        let listener = Listener {
            accepts,
            mode,
            plays: !self.rng.one_in(4),
            metered,
        };
        let (egress, _) = self
            .graph
            .attach_output(self.now, output, listener)
            .unwrap();
        let ear = Ear::new(egress, output, metered, self.now);
        self.ears.push(ear);
        self.collect();
    }

    /// The next instant at which something happens.
    fn next(&self) -> Timestamp {
        let now = self.now;
        let workers = self.workers.iter().filter_map(|worker| {
            if !self.graph.hop_ready(worker.hop) {
                worker.next_of_its_own()
            } else {
                worker.next()
            }
        });
        let clients = self
            .clients
            .iter()
            .filter(|c| c.attached)
            .filter_map(|c| c.next);
        let ears = self.ears.iter().filter_map(Ear::next);
        let all = workers
            .chain(clients)
            .chain(ears)
            .chain(self.graph.poll_timeout());
        all.chain([self.next_whim]).min().unwrap_or(now).max(now)
    }

    /// Everything that happens at this instant. What room there is goes to a generator, a worker or a client as it falls out.
    fn turn(&mut self) {
        for index in 0..self.ears.len() {
            self.grant(index);
        }
        let first = self.rng.index(3);
        for turn in first..first + 3 {
            match turn % 3 {
                0 => self.fire(),
                1 => self.work(),
                _ => self.send_all(),
            }
        }
        if self.now >= self.next_whim && !self.over {
            self.whim();
        }
    }

    fn fire(&mut self) {
        if self.graph.poll_timeout().is_some_and(|at| at <= self.now) {
            self.graph.handle_timeout(self.now);
            self.collect();
        }
    }

    fn work(&mut self) {
        for index in 0..self.workers.len() {
            self.workers[index].work(self.now);
            while !self.over {
                let worker = &mut self.workers[index];
                let ready = self.graph.hop_ready(worker.hop);
                let Some(event) = worker.event(self.now, ready) else {
                    break;
                };
                let hop = worker.hop;
                self.give(Input::Hop { hop, event });
            }
        }
    }

    fn send_all(&mut self) {
        for index in 0..self.clients.len() {
            self.send(index);
        }
    }

    fn send(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if !client.attached {
            return;
        }
        client.work(self.now);
        let input = client.input;
        while self.graph.input_ready(input) && !self.over {
            let Some(frame) = self.clients[index].waiting.pop_front() else {
                break;
            };
            self.give(Input::Frame { input, frame });
        }
        let client = &mut self.clients[index];
        if client.is_done() && !client.said_end && !self.over {
            client.said_end = true;
            self.give(Input::End { input });
            if self.rng.one_in(2) {
                self.graph.detach_input(self.now, input);
                self.collect();
            }
        }
    }

    fn grant(&mut self, index: usize) {
        let ear = &mut self.ears[index];
        if let Some(frames) = ear.grant(self.now, &mut self.rng) {
            let egress = ear.egress;
            self.give(Input::EgressCredit { egress, frames });
        }
    }

    /// Somebody comes, goes or interrupts.
    fn whim(&mut self) {
        self.next_whim = self.now + ms(10 + self.rng.below(150));
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.said_end {
                continue;
            }
            if !client.attached {
                self.attach_input(index);
            } else if client.wants_to_go() {
                client.attached = false;
                let input = client.input;
                self.graph.detach_input(self.now, input);
                self.collect();
            }
        }
        match self.rng.index(12) {
            0 => self.give(Input::Interrupt),
            1 if !self.all_wait && self.ears.len() < 12 => {
                let output = self.rng.index(self.graph.plan().outputs.len());
                self.attach_output(output);
            }
            2 if !self.all_wait && !self.ears.is_empty() => {
                self.note_arrivals();
                let ear = self.rng.index(self.ears.len());
                let ear = self.ears.swap_remove(ear);
                self.graph.detach_output(self.now, ear.egress);
                self.collect();
            }
            _ => {}
        }
        self.check(false);
    }

    fn give(&mut self, input: Input) {
        if !self.over {
            self.graph.handle_input(self.now, input);
            self.collect();
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.graph.poll_output() {
            assert!(!self.over, "it spoke after its last word: {output:?}");
            self.note(&output);
            match output {
                Output::Frame { egress, frame } => self.hear(egress, &frame),
                Output::Ended { egress } => self.ear(egress).ended = true,
                Output::Hop { hop, command } => {
                    let now = self.now;
                    let worker = self.workers.iter_mut().find(|worker| worker.hop == hop);
                    worker.unwrap().command(now, command);
                }
                Output::Interrupted { egress } => {
                    assert!(!self.ear(egress).ended);
                    self.outcome.interrupted = true;
                }
                Output::KeyFrameWanted { .. } => assert_eq!(self.shape.kind, Kind::Video),
                Output::Failed(error) => {
                    assert_eq!(error.code, tidegate_nodes::Code::Network, "{error}");
                    self.outcome.failed = true;
                    self.over = true;
                }
                Output::Finished => {
                    assert!(self.ears.iter().all(|ear| ear.ended));
                    self.outcome.finished = true;
                    self.over = true;
                }
            }
        }
    }

    fn ear(&mut self, egress: EgressId) -> &mut Ear {
        self.ears
            .iter_mut()
            .find(|ear| ear.egress == egress)
            .unwrap()
    }

    fn hear(&mut self, egress: EgressId, frame: &tidegate_media::Frame) {
        let tag = self.ear(egress).hear(frame);
        if self.clients.len() == 1 && tag.origin == 0 {
            let cause = frame.meta.caused_by;
            assert!(cause >= tag.n, "{tag:?} is said to be caused by {cause}");
            assert!(frame.meta.ingress >= start());
        }
        self.outcome.heard += 1;
    }

    fn note(&mut self, output: &Output) {
        let trace = &mut self.trace;
        self.now.hash(trace);
        std::mem::discriminant(output).hash(trace);
        match output {
            Output::Frame { egress, frame } => {
                (egress, frame.meta.seq, frame.meta.caused_by, Tag::of(frame)).hash(trace);
            }
            Output::Ended { egress } | Output::Interrupted { egress } => egress.hash(trace),
            Output::Hop { hop, command } => {
                hop.hash(trace);
                std::mem::discriminant(command).hash(trace);
            }
            _ => {}
        }
    }

    /// Everything that tells why it hangs.
    fn picture(&self) -> String {
        let plan = self.graph.plan();
        let hops = plan.hops.iter().map(|hop| (&hop.id, hop.placement));
        let hops: Vec<_> = hops.collect();
        let clients: Vec<_> = self.clients.iter().map(|c| (c.mode, c.said_end)).collect();
        format!(
            "{hops:#?} {:#?} {:#?} {clients:?} {:#?} {:#?}",
            plan.edges,
            self.graph.hop_stats(),
            self.ears,
            self.workers,
        )
    }

    fn note_arrivals(&mut self) {
        for (output, arrivals) in self.arrivals.iter_mut().enumerate() {
            let listeners = self.ears.iter().filter(|ear| ear.output == output);
            arrivals.note(&self.graph, output, listeners.count());
        }
    }

    fn check(&mut self, over: bool) {
        self.note_arrivals();
        let ended = self.clients.iter().all(|client| client.said_end);
        let over = over && ended && self.outcome.finished;
        check::conservation(&self.graph, &self.workers, over);
        let outputs = 0..self.graph.plan().outputs.len();
        let at = |output| self.ears.iter().filter(|ear| ear.output == output).count();
        check::bounds(
            &self.graph,
            &outputs.map(at).collect::<Vec<_>>(),
            self.all_live,
        );
        if self.all_wait {
            check::patience(&self.graph);
        }
    }

    fn close(mut self) -> Outcome {
        self.check(true);
        assert_eq!(self.graph.poll_timeout(), None);
        assert_eq!(self.graph.poll_output(), None);
        for row in self.graph.hop_stats() {
            for (sum, row) in self.outcome.dropped.iter_mut().zip(row.dropped) {
                *sum += row;
            }
        }
        self.outcome.trace = self.trace.finish();
        self.outcome
    }
}
