//! A thousand random sessions of the real driver in virtual time: random pipelines, clients and hops.
//!
//! Everything follows from a seed; a failure names it. `SEED=n cargo test -p tidegate-gateway --lib simulation` repeats that one, `SEEDS=n`
//! runs more than the usual number. The driver is polled when its waker was called or its timer is due, and at no other time, so a
//! wake-up that is lost is a session that never ends.
//!
//! | kept true | checked in |
//! | --- | --- |
//! | a client's frames come out in order, each once | `client`, at each link |
//! | what comes out is numbered by one | `client` |
//! | every accepted frame reached the graph, every frame that the graph gave out its client | `World::account` |
//! | at every place a frame goes on or is counted as dropped | `World::account` |
//! | where all wait and nobody is cut off, every listener gets everything | `World::account` |
//! | no link gets more frames than it takes, no client more than it gave credit for, no hop either | `client`, `hop` |
//! | an acknowledgement comes behind all that its frames caused, and none goes back | `client` |
//! | a client is told `ended` once and nothing after it | `client` |
//! | a session ends once its clients have, and within its grace when it drains | `World::finish` |
//! | nothing of it is left behind: links, hops, the gauge of active clients | `run` |

mod client;
mod hop;
mod shape;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Registry;
use tidegate_nodes::graph::{Graph, HopStats, Mode, Role};
use tokio::sync::{mpsc, oneshot};

use self::client::Client;
use self::hop::Worker;
use self::shape::Shape;
use super::{Driver, Parts, SessionLimits};
use crate::clock::{Clock, standing};
use crate::metrics::Metrics;
use crate::session::control::{Control, End, Inbox};
use crate::session::figures::Figures;

/// Seeds of a usual run.
const SEEDS: u64 = 1_000;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`.
    const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("less than a usize")
    }

    fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(u64::from(bound))).expect("less than a u32")
    }

    /// True once in `n` times.
    const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The driver asks to be polled.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a session had of everything, so that a run of all seeds can say that it saw it.
#[derive(Debug, Default)]
struct Seen {
    heard: u64,
    acknowledged: u64,
    dropped: u64,
    whole: u64,
    finished: u64,
    failed: u64,
    left: u64,
    drained: u64,
}

struct World {
    rng: Rng,
    now: Timestamp,
    driver: Driver,
    control: mpsc::Sender<Control>,
    answers: Vec<oneshot::Receiver<Result<(), tidegate_nodes::Error>>>,
    flag: Arc<Flag>,
    polled_at: Timestamp,
    end: Option<End>,
    shape: Shape,
    shared: bool,
    clients: Vec<Client>,
    workers: Vec<Worker>,
    drained: Option<Timestamp>,
}

impl World {
    fn new(seed: u64, metrics: &Arc<Metrics>) -> Self {
        let mut rng = Rng(seed);
        let now = Timestamp::from_nanos(1_000_000_000);
        standing::set(Some(now));
        let shape = Shape::new(&mut rng);
        let plan = Arc::new(shape.plan.clone());
        let clock = Clock::standing();
        let figures = Figures::new(clock, Arc::clone(metrics), "simulated", false);
        let (graph, none) =
            Graph::new(Arc::clone(&plan), &Registry::builtin(), figures.probe()).expect("a plan");
        assert!(none.is_empty(), "threads are simulated as remote hops");
        let workers: Vec<_> = shape
            .hops()
            .map(|(hop, ports)| Worker::new(hop, ports, rng.next()))
            .collect();
        let hops = workers.iter().map(|worker| (worker.hop, worker.hop()));
        let shared = rng.one_in(3);
        let (sender, control) = mpsc::channel(16);
        let parts = Parts {
            id: format!("seed{seed}"),
            shared,
            plan,
            graph,
            hops: hops.collect(),
            figures,
            limits: SessionLimits {
                session: None,
                idle: None,
                stalled: ms(20_000),
                vacant: ms(3_000),
                clients: 100,
                message_bytes: 1 << 20,
            },
            clock,
            control: Inbox::new(control),
            metrics: Arc::clone(metrics),
            trace: None,
        };
        let driver = Driver::new(parts, crate::session::link::Transport::Websocket);
        Self {
            rng,
            now,
            driver,
            control: sender,
            answers: Vec::new(),
            flag: Arc::new(Flag(AtomicBool::new(true))),
            polled_at: now,
            end: None,
            shape,
            shared,
            clients: Vec::new(),
            workers,
            drained: None,
        }
    }

    fn tell(&self, control: Control) {
        drop(self.control.try_send(control));
    }

    fn join(&mut self) {
        let seed = self.rng.next();
        let client = Client::new(seed, self.clients.len() as u64, &self.shape);
        let (reply, answer) = oneshot::channel();
        // Whoever does not wait for the answer does not get in.
        self.answers.push(answer);
        self.tell(Control::Join {
            link: client.link(),
            reply,
        });
        self.clients.push(client);
        // Its ports are its own before another asks for them.
        self.poll();
    }

    /// Lets the driver run if it asked for that.
    fn poll(&mut self) {
        for _ in 0..10_000 {
            let due = self.driver.sleep_at > self.polled_at && self.driver.sleep_at <= self.now;
            if self.end.is_some() || !(self.flag.0.swap(false, Ordering::Relaxed) || due) {
                self.clients.iter().for_each(Client::nothing_waits);
                return;
            }
            self.polled_at = self.now;
            let waker = Waker::from(Arc::clone(&self.flag));
            let mut cx = Context::from_waker(&waker);
            if let Poll::Ready(end) = self.driver.poll(&mut cx) {
                self.end = Some(end);
            }
        }
        panic!("the driver asks to be polled without end");
    }

    fn pass(&mut self, by: Duration) {
        self.now += by;
        standing::set(Some(self.now));
        self.poll();
    }

    /// One thing happens.
    fn step(&mut self) {
        if self.rng.one_in(3) {
            let by = ms(self.rng.below(15));
            self.pass(by);
        }
        match self.rng.index(400) {
            0 if self.shared => self.join(),
            1 if self.drained.is_none() => {
                self.drained = Some(self.now);
                self.tell(Control::Drain { grace: ms(2_000) });
            }
            2 => {
                let (reply, _) = oneshot::channel();
                self.tell(Control::Snapshot(reply));
            }
            3 if self.rng.one_in(4) => self.tell(Control::End(End::Deleted)),
            n if n < 60 && !self.workers.is_empty() => {
                let at = self.rng.index(self.workers.len());
                self.workers[at].act(self.now);
            }
            _ if !self.clients.is_empty() => {
                let at = self.rng.index(self.clients.len());
                self.clients[at].act();
            }
            _ => {}
        }
        self.poll();
    }

    /// All clients end their inputs and take what comes in their own time; then the session must end.
    fn finish(&mut self) {
        for client in &mut self.clients {
            client.finish();
        }
        self.poll();
        let began = self.now;
        while self.end.is_none() {
            self.pass(ms(5));
            for client in &mut self.clients {
                client.take(self.now.saturating_since(began));
            }
            for worker in &self.workers {
                worker.wake(self.now);
            }
            self.poll();
            let took = self.now.saturating_since(began);
            let free = self.clients.iter().any(Client::was_cut);
            if took > ms(12_000) && free {
                // Who feeds an input may come back, and a listener may wait for it; these do not.
                self.clients.iter_mut().for_each(Client::hang_up);
            }
            assert!(
                took < ms(30_000),
                "it goes on for ever: {:#?}",
                self.clients
            );
        }
    }

    /// What came in went on, or was counted.
    fn account(&self, seen: &mut Seen) {
        let graph = &self.driver.parts.graph;
        let rows = graph.hop_stats();
        let taken: u64 = self.clients.iter().map(Client::read).sum();
        let given: u64 = self.clients.iter().map(Client::heard).sum();
        let cut = self.clients.iter().any(Client::was_cut);
        let count = |role: Role, of: fn(&HopStats) -> u64| -> u64 {
            let rows = rows.iter().filter(|row| row.role == role);
            rows.map(of).sum()
        };
        assert_eq!(
            taken,
            count(Role::Input, |row| row.frames_in),
            "into the graph"
        );
        if !cut {
            assert_eq!(
                given,
                count(Role::Output, |row| row.frames_out),
                "out of the graph"
            );
        }
        for row in rows {
            let waiting = u64::from(row.queue_frames);
            let id = &*row.id;
            if let Some(worker) = self.workers.iter().find(|w| *id == *format!("n{}", w.hop)) {
                // What it has not answered yet, and what it answered in vain, is its own.
                let (took, gave) = worker.counts();
                let here = row.frames_in - waiting;
                assert!(
                    took <= here && here <= took + row.dropped_frames(),
                    "{row:?}"
                );
                assert!(row.frames_out <= gave && gave <= took, "{row:?}");
            } else {
                let on = row.frames_out + row.dropped_frames() + waiting;
                assert_eq!(row.frames_in, on, "{row:?}");
            }
        }
        let dropped: u64 = rows.iter().map(|row| row.dropped_frames()).sum();
        let calm = self.clients.len() == 1 && !cut && !self.clients[0].interrupted();
        if calm && self.clients[0].mode() == Mode::Waits && matches!(self.end, Some(End::Finished))
        {
            assert_eq!(dropped, 0, "nothing is thinned out of what waits");
            self.clients[0].got_everything(&self.shape);
            if self.drained.is_none() {
                assert_eq!(
                    self.clients[0].received(),
                    given,
                    "all of it reached a client that only took its time"
                );
                seen.whole += 1;
            }
        }
        seen.heard += given;
        seen.dropped += dropped;
        seen.acknowledged += self.clients.iter().map(Client::acknowledged).sum::<u64>();
        seen.drained += u64::from(self.drained.is_some());
        match self.end {
            Some(End::Finished) => seen.finished += 1,
            Some(End::Failed(_)) => seen.failed += 1,
            _ => seen.left += 1,
        }
    }
}

fn run(seed: u64, metrics: &Arc<Metrics>, seen: &mut Seen) {
    let mut world = World::new(seed, metrics);
    world.join();
    let steps = 50 + world.rng.below(350);
    for _ in 0..steps {
        world.step();
        if world.end.is_some() {
            break;
        }
    }
    world.finish();
    if let (Some(drained), Some(End::Failed(_))) = (world.drained, &world.end) {
        let took = world.now.saturating_since(drained);
        assert!(
            took < ms(2_000) + ms(30_000),
            "{took:?} after the drain began"
        );
    }
    world.account(seen);
    let World {
        driver,
        clients,
        workers,
        end,
        ..
    } = world;
    let links: Vec<Weak<dyn Any>> = clients.iter().map(Client::alive).collect();
    let hops: Vec<Weak<dyn Any>> = workers.iter().map(Worker::alive).collect();
    let told = matches!(end, Some(End::Left));
    clients.iter().for_each(|client| client.was_told(told));
    drop((driver, clients, workers));
    assert!(
        links.iter().all(|link| link.strong_count() == 0),
        "a link is left"
    );
    assert!(
        hops.iter().all(|hop| hop.strong_count() == 0),
        "a hop is left"
    );
}

#[test]
fn every_seed_keeps_every_promise_of_a_session() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let metrics = Arc::new(Metrics::new());
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let done = catch_unwind(AssertUnwindSafe(|| run(seed, &metrics, &mut seen)));
        assert!(
            done.is_ok(),
            "seed {seed} failed: repeat it with SEED={seed}"
        );
    }
    standing::set(None);
    let active = metrics.render(crate::metrics::page::Format::Text);
    let mut lines = active
        .lines()
        .filter(|line| line.starts_with("tidegate_sessions_active{"));
    assert!(
        lines.all(|line| line.ends_with(" 0")),
        "a client is still counted"
    );
    if seeds.count() as u64 >= SEEDS {
        let Seen {
            heard,
            acknowledged,
            dropped,
            whole,
            finished,
            failed,
            left,
            drained,
        } = seen;
        let all = [
            heard,
            acknowledged,
            dropped,
            whole,
            finished,
            failed,
            left,
            drained,
        ];
        assert!(
            all.iter().all(|count| *count > 20),
            "not much happened: {seen:?}"
        );
    }
}
