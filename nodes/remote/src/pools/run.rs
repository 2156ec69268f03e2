//! Keeps the pools that are in use: makes the checks and asks the names that they call due.
//!
//! One future for all pools, without tasks of its own: what is on its way is polled in place.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tidegate_media::Timestamp;
use tidegate_nodes::Code;

use super::{Checks, PoolSpec, Pools};
use crate::connector::Connector;
use crate::pool::{Pool, Probe, Resolve};
use crate::probe;
use crate::resolve::Resolver;

/// Checks and questions on their way at once. What is due beyond it waits its turn.
const WORK_MAX: usize = 256;
/// Outcomes of sessions bring forward what is due without telling, so it is looked at no less often.
const LOOK: Duration = Duration::from_millis(500);
/// How long a name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(10);

/// Something on its way for one pool.
type Work<'a> = Pin<Box<dyn Future<Output = Done> + Send + 'a>>;

struct Done {
    pool: Weak<Mutex<Pool>>,
    result: Found,
}

enum Found {
    Probed(Probe, Result<Duration, Code>),
    Resolved(usize, Vec<std::net::SocketAddr>),
}

/// What makes the checks: the network, or a test.
pub(super) trait Checker: Sync {
    /// The round trip of one check, or why it failed.
    fn check<'a>(
        &'a self,
        probe: &'a Probe,
        checks: &'a Checks,
    ) -> Pin<Box<dyn Future<Output = Result<Duration, Code>> + Send + 'a>>;
}

struct Network<'a, C> {
    connector: &'a Connector,
    clock: &'a C,
}

impl<C: Fn() -> Timestamp + Sync> Checker for Network<'_, C> {
    fn check<'a>(
        &'a self,
        probe: &'a Probe,
        checks: &'a Checks,
    ) -> Pin<Box<dyn Future<Output = Result<Duration, Code>> + Send + 'a>> {
        Box::pin(probe::check(
            self.connector,
            &probe.member,
            checks,
            self.clock,
        ))
    }
}

impl Pools {
    /// Keeps pools for as long as it is polled; never ends. Spawned once by whoever owns the tasks of the process, and dropped when
    /// that shuts down. Cancel safe: checks that are dropped are made again by the next one to run.
    pub async fn run(
        &self,
        connector: &Connector,
        resolver: &dyn Resolver,
        clock: impl Fn() -> Timestamp + Sync,
    ) -> ! {
        let checker = Network {
            connector,
            clock: &clock,
        };
        self.run_with(&checker, resolver, &clock).await
    }

    pub(super) async fn run_with(
        &self,
        checker: &dyn Checker,
        resolver: &dyn Resolver,
        clock: &(dyn Fn() -> Timestamp + Sync),
    ) -> ! {
        let mut work = FuturesUnordered::new();
        loop {
            let wait = self.begin(clock(), &mut work, checker, resolver);
            tokio::select! {
                Some(done) = work.next(), if !work.is_empty() => apply(done, clock()),
                () = self.inner.joined.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Starts everything that is due; returns how long nothing more will be.
    fn begin<'a>(
        &self,
        now: Timestamp,
        work: &mut FuturesUnordered<Work<'a>>,
        checker: &'a dyn Checker,
        resolver: &'a dyn Resolver,
    ) -> Duration {
        let mut registry = self.lock();
        registry.sweep(now);
        let mut next = now + LOOK;
        for entry in registry.in_use() {
            let weak = Arc::downgrade(&entry.pool);
            let mut pool = entry.pool.lock().unwrap_or_else(PoisonError::into_inner);
            while work.len() < WORK_MAX
                && let Some(asked) = pool.resolve_due(now)
            {
                work.push(Box::pin(ask(weak.clone(), asked, resolver)));
            }
            while work.len() < WORK_MAX
                && let Some(probe) = pool.probe_due(now)
            {
                let spec = Arc::clone(&entry.spec);
                work.push(Box::pin(check(weak.clone(), probe, spec, checker)));
            }
            next = pool.poll_timeout().map_or(next, |at| next.min(at));
        }
        // What is due now and found no place waits for another to end.
        (next - now).max(Duration::from_millis(5))
    }
}

async fn check(
    pool: Weak<Mutex<Pool>>,
    probe: Probe,
    spec: Arc<PoolSpec>,
    checker: &dyn Checker,
) -> Done {
    let checking = checker.check(&probe, &spec.checks);
    let result = tokio::time::timeout(probe.timeout, checking).await;
    let result = Found::Probed(probe, result.unwrap_or(Err(Code::Timeout)));
    Done { pool, result }
}

async fn ask(pool: Weak<Mutex<Pool>>, asked: Resolve, resolver: &dyn Resolver) -> Done {
    let resolving = resolver.resolve(&asked.name);
    let answer = tokio::time::timeout(RESOLVE, resolving).await;
    let answer = answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    if let Err(error) = &answer {
        tracing::warn!(host = %asked.name.host, %error, "name cannot be resolved: what was known of it stays");
    }
    let result = Found::Resolved(asked.endpoint, answer.unwrap_or_default());
    Done { pool, result }
}

fn apply(done: Done, now: Timestamp) {
    // Forgotten meanwhile: nobody asks any more.
    let Some(pool) = done.pool.upgrade() else {
        return;
    };
    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    match done.result {
        Found::Probed(probe, result) => pool.probed(now, probe.id, result),
        Found::Resolved(endpoint, addresses) => pool.resolved(now, endpoint, addresses),
    }
}
