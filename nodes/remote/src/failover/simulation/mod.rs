//! The failover and a real pool over simulated workers, in virtual time. A history is its seed.
//!
//! Each history draws a pipeline, how its workers speak, the limits of the ring, and for each attempt a fate: to serve, refuse, hang, die,
//! stall, lie, leave, or drain. After a while faults end, and then everything must be as [`history`] says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, HopCommand, HopEvent, HopNote, StreamFormat};
use tidegate_proto::{ClientMessage, ServerMessage};

use super::{Action, Failover, Setup, StreamId, Way};
use crate::config::{HopPorts, Timeouts};
use crate::error::RemoteError;
use crate::link::Counts;
use crate::pool::{Pool, PoolConfig};
use crate::replay::ReplayLimits;

mod history;
mod worker;

use history::{Flavour, Heard, Plan};
pub(super) use worker::frame;
use worker::{Fate, Worker, name};

/// Longer than any history takes in virtual time, backoffs included.
const PATIENCE: Duration = Duration::from_secs(900);

/// What happens at a time.
#[derive(Debug)]
enum Event {
    ToWorker(StreamId, ClientMessage),
    ToHop(StreamId, ServerMessage),
    Opens(StreamId),
    Breaks(StreamId),
    /// The token of a stream, which ends then, is to be replaced.
    Expires(StreamId, Timestamp),
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
    plan: Plan,
    random: SmallRng,
    now: Timestamp,
    failover: Failover,
    streams: BTreeMap<u64, Stream>,
    order: u64,
    due: BinaryHeap<Reverse<(Timestamp, u64)>>,
    events: BTreeMap<u64, Event>,
    /// Faults happen until then.
    calm: Timestamp,
    fed: usize,
    sent: [u64; 2],
    credit: [u64; 2],
    ended: bool,
    void: u64,
    heard: Heard,
    failovers: u32,
    /// Attempts that a wait ended, and those whose worker was silent when it should not have been.
    timeouts: u32,
    silent: u32,
    left: bool,
    /// Everything is written down.
    told: bool,
}

impl World {
    fn new(seed: u64, flavour: Flavour) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let plan = Plan::random(&mut random, flavour);
        let now = Timestamp::from_nanos(1_000_000_000);
        let binary = Some(StreamFormat::Binary);
        let port = |name: &&str| ((*name).to_owned(), binary);
        let setup = Setup {
            ports: HopPorts {
                hop: "far".into(),
                inputs: ["in", "in-too"][..flavour.ports()]
                    .iter()
                    .map(port)
                    .collect(),
                outputs: ["out", "more"].iter().map(port).collect(),
            },
            timeouts: Timeouts {
                connect: Duration::from_millis(200),
                first_output: Some(Duration::from_millis(400)),
                gap: Some(Duration::from_millis(400)),
                call: plan.call,
            },
            mode: flavour.mode(),
            unary: flavour.calls(),
            by_utterance: flavour == Flavour::Listens,
            attempts: 1_000,
            deterministic: None,
            partial: flavour.partial(),
            cache: None,
            replay: ReplayLimits {
                frames: plan.ring,
                ..ReplayLimits::default()
            },
        };
        let names = (0..plan.endpoints).map(|index| format!("http://{index}"));
        let mut ways = vec![Way::Pool(Arc::new(Mutex::new(Pool::new(
            PoolConfig::new(names),
            seed,
        ))))];
        if random.random_bool(0.4) || flavour == Flavour::Recovers {
            let pool = Pool::new(PoolConfig::new(["http://9".to_owned()]), seed);
            ways.push(Way::Pool(Arc::new(Mutex::new(pool))));
        }
        Self {
            calm: now + plan.trouble,
            failover: Failover::new(now, setup, ways),
            plan,
            random,
            now,
            streams: BTreeMap::new(),
            order: 0,
            due: BinaryHeap::new(),
            events: BTreeMap::new(),
            fed: 0,
            sent: [0; 2],
            credit: [0; 2],
            ended: false,
            void: 0,
            heard: Heard::default(),
            failovers: 0,
            timeouts: 0,
            silent: 0,
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
                if self.plan.flavour == Flavour::Tokens {
                    let end = now + self.plan.token;
                    let margin = self.plan.token / 10;
                    self.later(end.saturating_sub(margin), Event::Expires(id, end));
                }
            }
            Event::ToWorker(id, message) => self.work(id, message),
            Event::ToHop(id, message) => {
                if self.streams.contains_key(&id.0) {
                    self.failover.message(now, id, message);
                }
            }
            Event::Breaks(id) => {
                if self.streams.remove(&id.0).is_some() {
                    let error = RemoteError::Network("it broke".into());
                    self.failover.broken(now, id, Some(error));
                }
            }
            Event::Expires(id, end) => {
                if !self.streams.contains_key(&id.0) {
                    return;
                }
                assert!(now < end, "the token ends before its stream is left");
                let by = end.saturating_sub(self.plan.token / 40);
                self.failover.expiring(now, id, by);
                // As often as the file is looked at, and once more at the end.
                let again = (now + Duration::from_secs(1)).min(end);
                self.later(again, Event::Expires(id, end));
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
        stream.taken += u32::from(is_frame || matches!(message, ClientMessage::End { .. }));
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
            // Not after the end: who acknowledges all and then keeps the rest to itself has to be believed.
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
            let late = self.streams.get(&id.0).map(|stream| stream.fate);
            let most = match late {
                Some(Fate::Late) => 600_000,
                _ => 2_000,
            };
            let delay = self.delay(most);
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
        let now = self.now;
        if let Some(next) = self.plan.inputs.get(self.fed).copied() {
            let port = next.port;
            if self.credit[port] > 0 {
                self.credit[port] -= 1;
                self.fed += 1;
                self.sent[port] += 1;
                let mut frame = frame(next.value);
                frame.meta.seq = self.sent[port];
                frame.meta.utterance = next.utterance;
                frame.meta.is_final = next.is_final;
                self.failover
                    .command(now, HopCommand::Frame { port, frame });
            }
            if self.plan.flavour == Flavour::Interrupts && self.random.random_bool(0.1) {
                self.void = self.sent[0];
                self.failover.command(now, HopCommand::Interrupt);
            }
        } else if !self.ended {
            self.ended = true;
            for port in 0..self.plan.flavour.ports() {
                self.failover.command(now, HopCommand::End { port });
            }
            return;
        }
        let slow = matches!(self.plan.flavour, Flavour::Recovers | Flavour::Tokens);
        let pauses = self.plan.flavour == Flavour::Listens && self.random.random_bool(0.1);
        let most = if slow || pauses {
            2_000_000
        } else if self.random.random_bool(0.8) {
            2_000
        } else {
            60_000
        };
        let at = now + self.delay(most);
        self.later(at, Event::Feeds);
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
                let first = member.is_some_and(|member| member.endpoint.ends_with('0'));
                let fate = self.fate(first);
                let silent = matches!(fate, Fate::Stalls(_) | Fate::Hangs | Fate::Leaves(_));
                self.silent += u32::from(silent);
                let (recipe, style) = (self.plan.recipe, self.plan.style);
                let inputs = self.plan.flavour.ports();
                let state = Stream {
                    worker: Worker::new(recipe, style, stream.0, inputs),
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

    /// What becomes of an attempt, at the first endpoint or another one.
    fn fate(&mut self, first: bool) -> Fate {
        if self.now >= self.calm {
            return Fate::Good;
        }
        if self.plan.flavour == Flavour::Late && self.random.random_bool(0.3) {
            return Fate::Late;
        }
        match Fate::random(&mut self.random) {
            // Where every endpoint lies there is nobody to go to.
            Fate::Lies(after) if self.plan.endpoints == 1 || !first => Fate::Dies(after),
            // Who acknowledges nothing and says that all is done has to be believed.
            Fate::Leaves(after) if !self.plan.style.acks => Fate::Stalls(after),
            // And so have two who say it one after the other.
            Fate::Leaves(after) if std::mem::replace(&mut self.left, true) => Fate::Dies(after),
            fate => fate,
        }
    }

    fn hear(&mut self, event: HopEvent) {
        if self.told {
            eprintln!("{:?}         {event:?}", self.now);
        }
        match &event {
            HopEvent::Credit { port, frames, .. } => {
                self.credit[*port] += u64::from(*frames);
                assert!(self.credit[*port] <= 64, "more credit than a port may have");
            }
            HopEvent::Note(HopNote::Failover { .. }) => self.failovers += 1,
            HopEvent::Note(HopNote::Attempt {
                outcome: Some(Code::Timeout),
                ..
            }) => self.timeouts += 1,
            HopEvent::Acknowledged { port, seq } => assert!(*seq <= self.sent[*port] + 1),
            HopEvent::Frame { frame, .. } => {
                assert!(
                    frame.meta.caused_by > self.void,
                    "an output of what is void"
                );
            }
            _ => {}
        }
        self.heard.hear(event);
        let slack = if self.plan.flavour == Flavour::Live {
            64
        } else {
            0
        };
        let most = self.plan.ring + slack;
        assert!(self.failover.ring.len() <= most, "the ring keeps its bound");
    }
}

/// Plays histories, and says which one went wrong.
fn play(flavour: Flavour, histories: u64) {
    let one = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seeds = one.map_or(0..histories, |seed| seed..seed + 1);
    let (mut failovers, mut given_up) = (0, 0);
    for seed in seeds {
        let played = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, flavour);
            if one.is_some() {
                world.told = true;
                let plan = &world.plan;
                eprintln!(
                    "{:?} {:?} ring {} inputs {}",
                    plan.recipe,
                    plan.style,
                    plan.ring,
                    plan.inputs.len()
                );
            }
            world.run();
            world.heard.check(&world.plan);
            let well = flavour != Flavour::Listens || world.timeouts <= world.silent;
            assert!(well, "a worker that listened was taken for sick");
            (world.failovers, world.heard.failed.is_some())
        });
        match played {
            Ok((count, failed)) => {
                failovers += u64::from(count);
                given_up += u64::from(failed);
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map_or("", |text| text);
                panic!("{flavour:?} history {seed} (SEED={seed} repeats it): {text}");
            }
        }
    }
    let few = histories / 8;
    assert!(
        one.is_some() || failovers > few,
        "only {failovers} failovers"
    );
    let limited = flavour == Flavour::Late && one.is_none();
    assert!(
        !limited || (few / 4..histories - few).contains(&given_up),
        "{given_up} of {histories} were given up"
    );
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_whatever_becomes_of_the_workers() {
    play(Flavour::Waits, 10_000);
}

#[test]
fn two_inputs_are_answered_each_in_its_order() {
    play(Flavour::Two, 1_000);
}

#[test]
fn what_a_live_stream_loses_is_counted() {
    play(Flavour::Live, 1_000);
}

#[test]
fn calls_are_answered_whole_and_once() {
    play(Flavour::Unary, 1_000);
}

#[test]
fn a_call_that_takes_too_long_is_given_up_whole_and_late_answers_are_nobodys() {
    play(Flavour::Late, 1_000);
}

#[test]
fn what_is_said_again_supersedes_what_was_said() {
    play(Flavour::Supersede, 1_000);
}

#[test]
fn who_listens_while_somebody_speaks_is_not_taken_for_sick() {
    play(Flavour::Listens, 1_000);
}

#[test]
fn an_utterance_that_is_held_comes_whole_from_one_worker() {
    play(Flavour::Hold, 1_000);
}

#[test]
fn a_hop_is_back_at_its_primary_when_the_trouble_is_over() {
    play(Flavour::Recovers, 1_000);
}

#[test]
fn a_stream_is_left_before_its_token_ends_however_busy_it_is() {
    play(Flavour::Tokens, 1_000);
}

#[test]
fn nothing_comes_of_what_was_interrupted() {
    play(Flavour::Interrupts, 1_000);
}
