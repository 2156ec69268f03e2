//! The failover and a real pool over simulated workers, in virtual time. A history is its seed.
//!
//! Each history draws a pipeline, how its workers speak, the limits of the ring, and for each attempt a fate: to serve, refuse, hang, die,
//! stall, lie, leave, or drain. After a while faults end. Then every input must have been answered exactly as one worker that never
//! failed would have answered: nothing lost, nothing twice, in order, with one end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidegate_media::Timestamp;
use tidegate_nodes::{DropReason, HopCommand, HopEvent, HopNote, StreamFormat};
use tidegate_proto::message::Mode;
use tidegate_proto::{ClientMessage, ServerMessage};

use super::{Action, Failover, Setup, StreamId, Way};
use crate::config::{HopPorts, Timeouts};
use crate::error::RemoteError;
use crate::link::Counts;
use crate::pool::{Pool, PoolConfig};
use crate::replay::ReplayLimits;

mod worker;

use worker::{Brain, Fate, Recipe, Style, Worker, frame, name, value};

/// Histories that the gate asks for.
const HISTORIES: u64 = 10_000;
/// Longer than any history takes in virtual time, backoffs included.
const PATIENCE: Duration = Duration::from_secs(900);

/// What happens at a time.
#[derive(Debug)]
enum Event {
    ToWorker(StreamId, ClientMessage),
    ToHop(StreamId, ServerMessage),
    Opens(StreamId),
    Breaks(StreamId),
    Feeds,
}

/// A stream as the network has it.
#[derive(Debug)]
struct Stream {
    worker: Worker,
    fate: Fate,
    taken: u32,
    there: Timestamp,
    back: Timestamp,
}

struct World {
    random: SmallRng,
    now: Timestamp,
    failover: Failover,
    recipe: Recipe,
    style: Style,
    streams: BTreeMap<u64, Stream>,
    order: u64,
    due: BinaryHeap<Reverse<(Timestamp, u64)>>,
    events: BTreeMap<u64, Event>,
    /// Faults happen until then.
    calm: Timestamp,
    /// What the graph has.
    inputs: Vec<u64>,
    fed: usize,
    credit: u64,
    ended: bool,
    outputs: [Vec<(u64, u64)>; 2],
    ends: [u32; 2],
    failed: Option<tidegate_nodes::Error>,
    gaps: u32,
    failovers: u32,
    ring: usize,
    endpoints: u32,
    left: bool,
    /// Everything is written down.
    told: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let recipe = Recipe::random(&mut random);
        let acks = recipe.has_state() || random.random_bool(0.8);
        let ring = if acks && random.random_bool(0.5) {
            random.random_range(8..24)
        } else {
            1_024
        };
        let style = Style {
            credits: random.random_bool(0.7),
            acks,
            deterministic: recipe.has_state() || random.random_bool(0.7),
            names_places: random.random_bool(0.5),
            every: if random.random_bool(0.6) { 1 } else { 2 },
        };
        let binary = Some(StreamFormat::Binary);
        let setup = Setup {
            ports: HopPorts {
                hop: "far".into(),
                inputs: vec![("in".into(), binary)],
                outputs: vec![("out".into(), binary), ("more".into(), binary)],
            },
            timeouts: Timeouts {
                connect: Duration::from_millis(200),
                first_output: None,
                gap: None,
                call: None,
            },
            mode: Mode::Waits,
            attempts: 1_000,
            deterministic: None,
            partial: None,
            unary: false,
            cache: None,
            replay: ReplayLimits {
                frames: ring,
                ..ReplayLimits::default()
            },
        };
        let setup = Setup {
            timeouts: Timeouts {
                first_output: Some(Duration::from_millis(400)),
                gap: Some(Duration::from_millis(400)),
                ..setup.timeouts
            },
            ..setup
        };
        let endpoints = random.random_range(1..4);
        let names = (0..endpoints).map(|index| format!("http://{index}"));
        let pool = Pool::new(PoolConfig::new(names), seed);
        let ways = vec![Way::Pool(Arc::new(Mutex::new(pool)))];
        let now = Timestamp::from_nanos(1_000_000_000);
        let frames = random.random_range(5..40);
        let calm = now + Duration::from_millis(random.random_range(0..8_000));
        Self {
            now,
            failover: Failover::new(now, setup, ways),
            recipe,
            style,
            streams: BTreeMap::new(),
            order: 0,
            due: BinaryHeap::new(),
            events: BTreeMap::new(),
            calm,
            inputs: (0..frames).map(|_| random.random()).collect(),
            random,
            fed: 0,
            credit: 0,
            ended: false,
            outputs: Default::default(),
            ends: [0; 2],
            failed: None,
            gaps: 0,
            failovers: 0,
            ring,
            endpoints,
            left: false,
            told: false,
        }
    }

    fn later(&mut self, at: Timestamp, event: Event) {
        self.order += 1;
        self.due.push(Reverse((at, self.order)));
        self.events.insert(self.order, event);
    }

    fn delay(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.random.random_range(100..most))
    }

    fn run(&mut self) {
        let until = self.now + PATIENCE;
        self.later(self.now, Event::Feeds);
        loop {
            self.act();
            if self.failover.is_over() && !self.failover.has_events() {
                return;
            }
            let timer = self.failover.poll_timeout();
            let next = self.due.peek().map(|Reverse((at, _))| *at);
            let Some(at) = timer.into_iter().chain(next).min() else {
                panic!("nothing is left to happen: {:#?}", self.failover);
            };
            assert!(at < until, "it never comes to an end: {:#?}", self.failover);
            self.now = self.now.max(at);
            if let Some(at) = next
                && at <= self.now
                && let Some(Reverse((_, order))) = self.due.pop()
                && let Some(event) = self.events.remove(&order)
            {
                self.happen(event);
            } else {
                self.failover.handle_timeout(self.now);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        if self.told {
            eprintln!("{now:?} {event:?}");
        }
        match event {
            Event::Opens(id) => {
                let Some(stream) = self.streams.get_mut(&id.0) else {
                    return;
                };
                if matches!(stream.fate, Fate::Refuses) {
                    let error = RemoteError::Network("refused".into());
                    self.failover.opened(now, id, Err(error));
                    return;
                }
                let (opened, said) = stream.worker.open();
                self.failover.opened(now, id, Ok(&opened));
                self.say(id, said);
            }
            Event::ToWorker(id, message) => self.work(id, message),
            Event::ToHop(id, message) => self.failover.message(now, id, message),
            Event::Breaks(id) => {
                let error = RemoteError::Network("it broke".into());
                self.failover.broken(now, id, Some(error));
                self.streams.remove(&id.0);
            }
            Event::Feeds => self.feed(),
        }
    }

    /// A worker takes a message, each by its fate.
    fn work(&mut self, id: StreamId, message: ClientMessage) {
        let now = self.now;
        let is_frame = matches!(message, ClientMessage::Frame { .. });
        let Some(stream) = self.streams.get_mut(&id.0) else {
            return;
        };
        if matches!(
            message,
            ClientMessage::Frame { .. } | ClientMessage::End { .. }
        ) {
            stream.taken += 1;
        }
        let taken = stream.taken;
        match stream.fate {
            Fate::Stalls(after) if taken > after => {}
            Fate::Dies(after) if taken > after => {
                let said = stream.worker.take(message);
                self.say(id, said);
                let at = now + self.delay(3_000);
                self.later(at, Event::Breaks(id));
            }
            Fate::Lies(after) if taken > after => {
                let port = name("nowhere");
                self.say(id, vec![ServerMessage::End { port }]);
            }
            // Not after the end: who acknowledges all and then keeps the rest to itself has to be believed, too.
            Fate::Leaves(after) if taken > after && is_frame => {
                let reason = "leaving".to_owned();
                self.say(id, vec![ServerMessage::Ended { reason }]);
                if let Some(stream) = self.streams.get_mut(&id.0) {
                    stream.fate = Fate::Stalls(0);
                }
            }
            Fate::Drains(after) if taken > after => {
                stream.fate = Fate::Good;
                let said = stream.worker.take(message);
                self.say(id, said);
                let deadline = Duration::from_millis(300);
                self.say(id, vec![ServerMessage::Draining { deadline }]);
                self.later(now + deadline, Event::Breaks(id));
            }
            _ => {
                let said = stream.worker.take(message);
                self.say(id, said);
            }
        }
    }

    fn say(&mut self, id: StreamId, said: Vec<ServerMessage>) {
        for message in said {
            let delay = self.delay(2_000);
            let Some(stream) = self.streams.get_mut(&id.0) else {
                return;
            };
            stream.back = stream.back.max(self.now + delay);
            let at = stream.back;
            self.later(at, Event::ToHop(id, message));
        }
    }

    /// The graph sends what it may, now and then.
    fn feed(&mut self) {
        if self.fed < self.inputs.len() {
            if self.credit > 0 {
                self.credit -= 1;
                let mut frame = frame(self.inputs[self.fed]);
                self.fed += 1;
                frame.meta.seq = self.fed as u64;
                let port = 0;
                self.failover
                    .command(self.now, HopCommand::Frame { port, frame });
            }
        } else if !self.ended {
            self.ended = true;
            self.failover.command(self.now, HopCommand::End { port: 0 });
            return;
        }
        if !self.ended {
            let most = if self.random.random_bool(0.8) {
                2_000
            } else {
                60_000
            };
            let at = self.now + self.delay(most);
            self.later(at, Event::Feeds);
        }
    }

    /// What the failover wants done and said.
    fn act(&mut self) {
        loop {
            while let Some(action) = self.failover.poll_action() {
                self.act_on(action);
            }
            let Some(event) = self.failover.poll_event() else {
                return;
            };
            self.hear(event);
        }
    }

    fn act_on(&mut self, action: Action) {
        let now = self.now;
        if self.told {
            eprintln!("{now:?}     {action:?}");
        }
        match action {
            Action::Open { stream, member, .. } => {
                let fate = if now < self.calm {
                    Fate::random(&mut self.random)
                } else {
                    Fate::Good
                };
                // Where every endpoint lies there is nobody to go to.
                let first = member.is_some_and(|member| member.endpoint.ends_with('0'));
                let fate = match fate {
                    Fate::Lies(after) if self.endpoints == 1 || !first => Fate::Dies(after),
                    // Who acknowledges nothing and says that all is done has to be believed.
                    Fate::Leaves(after) if !self.style.acks => Fate::Stalls(after),
                    // And so have two who say it one after the other.
                    Fate::Leaves(after) if std::mem::replace(&mut self.left, true) => {
                        Fate::Dies(after)
                    }
                    fate => fate,
                };
                let state = Stream {
                    worker: Worker::new(self.recipe, self.style),
                    fate,
                    taken: 0,
                    there: now,
                    back: now,
                };
                self.streams.insert(stream.0, state);
                if !matches!(fate, Fate::Hangs) {
                    let at = now + self.delay(5_000);
                    self.later(at, Event::Opens(stream));
                }
            }
            Action::Send {
                stream: id,
                message,
                place,
            } => {
                if let Some(place) = place {
                    let mut counts = Counts::default();
                    counts.add(place);
                    self.failover.taken(now, id, &counts);
                }
                let delay = self.delay(2_000);
                if let Some(stream) = self.streams.get_mut(&id.0) {
                    stream.there = stream.there.max(now + delay);
                    let at = stream.there;
                    self.later(at, Event::ToWorker(id, message));
                }
            }
            Action::Discard { stream } => self.failover.discarded(stream, &Counts::default()),
            Action::Close { stream } => {
                self.streams.remove(&stream.0);
            }
        }
    }

    fn hear(&mut self, event: HopEvent) {
        if self.told {
            eprintln!("{:?}         {event:?}", self.now);
        }
        assert!(self.failed.is_none(), "{event:?} after the failure");
        match event {
            HopEvent::Credit { frames, .. } => {
                self.credit += u64::from(frames);
                assert!(self.credit <= 64, "more credit than a port may have");
            }
            HopEvent::Frame { port, frame } => {
                assert_eq!(self.ends[port], 0, "a frame after the end");
                self.outputs[port].push((value(&frame), frame.meta.caused_by));
            }
            HopEvent::Ended { port } => self.ends[port] += 1,
            HopEvent::Failed(error) => self.failed = Some(error),
            HopEvent::Dropped { reason, frames } => {
                assert_eq!(reason, DropReason::Gap, "nothing else is dropped");
                self.gaps += frames;
            }
            HopEvent::Note(HopNote::Failover { .. }) => self.failovers += 1,
            HopEvent::Acknowledged { seq, .. } => assert!(seq <= self.fed as u64 + 1),
            HopEvent::Holds(_) | HopEvent::Note(_) => {}
        }
        assert!(
            self.failover.ring.len() <= self.ring,
            "the ring keeps its bound"
        );
    }

    /// Everything was answered as by one worker that never failed.
    fn check(&self) {
        assert_eq!(self.failed, None);
        assert_eq!(self.ends, [1, 1]);
        assert_eq!(self.gaps, 0, "nothing was forgotten");
        let mut brain = Brain::new(self.recipe);
        let mut wanted: [Vec<(u64, u64)>; 2] = Default::default();
        for (index, input) in self.inputs.iter().enumerate() {
            let seq = index as u64 + 1;
            for (port, value) in brain.feed(seq, *input) {
                wanted[port].push((value, seq));
            }
        }
        for (port, value) in brain.end() {
            wanted[port].push((value, self.inputs.len() as u64 + 1));
        }
        for (port, (got, wanted)) in self.outputs.iter().zip(&wanted).enumerate() {
            let at = got
                .iter()
                .zip(wanted)
                .position(|(got, wanted)| got != wanted);
            let at = at.unwrap_or(got.len().min(wanted.len()));
            assert!(
                got == wanted,
                "output {port} differs from number {at} on: {:?} instead of {:?}",
                &got[at..got.len().min(at + 4)],
                &wanted[at..wanted.len().min(at + 4)]
            );
        }
    }
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_whatever_becomes_of_the_workers() {
    let one = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seeds = one.map_or(0..HISTORIES, |seed| seed..seed + 1);
    let mut failovers = 0;
    for seed in seeds {
        let played = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            if one.is_some() {
                world.told = true;
                eprintln!(
                    "{:?} {:?} ring {} inputs {} endpoints {}",
                    world.recipe,
                    world.style,
                    world.ring,
                    world.inputs.len(),
                    world.endpoints
                );
            }
            world.run();
            world.check();
            world.failovers
        });
        match played {
            Ok(count) => failovers += u64::from(count),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map_or("", |text| text);
                panic!("history {seed} (SEED={seed} repeats it): {text}");
            }
        }
    }
    assert!(
        one.is_some() || failovers > HISTORIES / 2,
        "{failovers} failovers"
    );
}
