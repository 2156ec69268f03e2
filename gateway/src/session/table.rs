//! All running sessions: admission, the shared ones by key, and the way to each driver.
//!
//! A slot is taken before anything is set up and given back when the session's task ends, so that a burst of openings cannot pass
//! the limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::control::{Control, End, Inbox, Stage};
pub(crate) use super::handle::Handle;
use super::link::Transport;
use crate::metrics::{Metrics, label};

/// Messages to a driver that may wait. Joins and snapshots; a driver that is this far behind is not asked more.
const CONTROL: usize = 32;

/// All running sessions.
pub(crate) struct Table {
    inner: Mutex<Inner>,
    metrics: Arc<Metrics>,
    limit: usize,
    /// Turns true when the drain begins.
    drain: watch::Sender<bool>,
    /// Told when the last slot is given back.
    empty: Notify,
}

#[derive(Default)]
struct Inner {
    sessions: HashMap<String, Entry>,
    /// Ids of shared sessions.
    shared: HashMap<SharedKey, String>,
    /// Slots taken, those of sessions that are being set up included.
    taken: usize,
    draining: Option<Duration>,
}

/// What clients that are to meet in one session have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SharedKey {
    /// What runs: a pipeline's name, or of a manifest that a client sent its digest, since its author chose the name.
    pub(crate) scope: String,
    /// The word that they were given.
    pub(crate) key: String,
}

struct Entry {
    pipeline: String,
    /// Name of who opened it.
    opener: Arc<str>,
    shared: Option<SharedKey>,
    control: mpsc::Sender<Control>,
    stage: Arc<Stage>,
    opened_at: Timestamp,
    /// Tells it once that the gateway drains.
    drain: Option<oneshot::Sender<Duration>>,
}

/// A taken slot; given back when dropped.
pub(crate) struct Slot {
    table: Arc<Table>,
    id: String,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// An empty table for at most `limit` sessions.
    pub(crate) fn new(limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a limit on sessions is far below 2^52"
        )]
        metrics
            .gauge("tidegate_sessions_limit", Vec::new())
            .set(limit as f64);
        metrics.gauge("tidegate_sessions_taken", Vec::new()).set(0);
        // Series that begin with the first session would hide it from rates.
        for transport in Transport::SERVED {
            let transport = || label("transport", transport.as_str());
            let active = metrics.gauge("tidegate_sessions_active", vec![transport()]);
            active.set(0);
            for outcome in [End::Finished, End::Left, End::Deleted] {
                let labels = vec![transport(), label("outcome", outcome.outcome().label)];
                let ended = metrics.counter("tidegate_sessions_total", labels);
                ended.increment(0);
            }
        }
        Arc::new(Self {
            inner: Mutex::default(),
            metrics,
            limit,
            drain: watch::Sender::new(false),
            empty: Notify::new(),
        })
    }

    /// Takes a slot for a new session.
    ///
    /// # Errors
    /// All slots are taken, or the gateway drains.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Slot, Error> {
        let mut inner = self.lock();
        if inner.draining.is_some() {
            let text = "the gateway is shutting down; use another one";
            return Err(Error::new(Code::Draining, text));
        }
        if inner.taken >= self.limit {
            let text = format!(
                "all {} session slots are taken; try again later, or raise 'limits.sessions' there",
                self.limit
            );
            return Err(Error::new(Code::Overloaded, text));
        }
        inner.taken += 1;
        drop(inner);
        self.taken().increment(1);
        Ok(Slot {
            table: Arc::clone(self),
            id: new_id(),
        })
    }

    fn taken(&self) -> metrics::Gauge {
        self.metrics.gauge("tidegate_sessions_taken", Vec::new())
    }

    /// Counts an opening that failed.
    pub(crate) fn refused(&self, code: Code) {
        let labels = vec![label("code", code.as_str())];
        self.metrics
            .counter("tidegate_sessions_refused_total", labels)
            .increment(1);
    }

    /// Makes a session reachable whose opening began now.
    ///
    /// # Errors
    /// A shared session with this key came first; the caller joins that one instead.
    pub(crate) fn insert(
        &self,
        slot: &Slot,
        now: Timestamp,
        (pipeline, opener): (&str, &Arc<str>),
        shared: Option<SharedKey>,
    ) -> Result<(Handle, Inbox), Handle> {
        let mut inner = self.lock();
        if let Some(shared) = &shared {
            if let Some(id) = inner.shared.get(shared)
                && let Some(entry) = inner.sessions.get(id).filter(|e| e.is_open())
            {
                return Err(entry.handle(id));
            }
            inner.shared.insert(shared.clone(), slot.id.clone());
        }
        let (control, receiver) = mpsc::channel(CONTROL);
        let (drain, drained) = oneshot::channel();
        let inbox = Inbox::new(receiver).drained_by(drained);
        let mut entry = Entry {
            pipeline: pipeline.to_owned(),
            opener: Arc::clone(opener),
            shared,
            control,
            stage: inbox.stage(),
            opened_at: now,
            drain: Some(drain),
        };
        if let Some(grace) = inner.draining {
            // It was admitted just before; it is told like the others.
            entry.drain(grace);
        }
        let handle = entry.handle(&slot.id);
        inner.sessions.insert(slot.id.clone(), entry);
        Ok((handle, inbox))
    }

    /// The shared session with a key, if it runs.
    pub(crate) fn find(&self, shared: &SharedKey) -> Option<Handle> {
        let inner = self.lock();
        let id = inner.shared.get(shared)?;
        let entry = inner.sessions.get(id).filter(|entry| entry.is_open())?;
        Some(entry.handle(id))
    }

    /// The session with an id.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn get(&self, id: &str) -> Result<Handle, Error> {
        let inner = self.lock();
        let entry = inner.sessions.get(id);
        entry.map(|entry| entry.handle(id)).ok_or_else(|| {
            let text = "no session has this id; it may have ended";
            Error::new(Code::UnknownSession, text)
        })
    }

    /// All sessions, the oldest first.
    pub(crate) fn all(&self) -> Vec<Handle> {
        let inner = self.lock();
        let mut all: Vec<_> = inner
            .sessions
            .iter()
            .map(|(id, entry)| entry.handle(id))
            .collect();
        all.sort_unstable_by(|a, b| (a.opened_at, &a.id).cmp(&(b.opened_at, &b.id)));
        all
    }

    /// Slots taken and slots there are.
    pub(crate) fn occupancy(&self) -> (usize, usize) {
        (self.lock().taken, self.limit)
    }

    /// Waits until no slot is taken. Cancel safe.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            if self.lock().taken == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Whether new sessions are taken.
    pub(crate) fn ready(&self) -> bool {
        let inner = self.lock();
        inner.draining.is_none() && inner.taken < self.limit
    }

    /// Whether the gateway is shutting down.
    pub(crate) fn draining(&self) -> bool {
        self.lock().draining.is_some()
    }

    /// Follows [`Table::draining`].
    pub(crate) fn watch_drain(&self) -> watch::Receiver<bool> {
        self.drain.subscribe()
    }

    /// Refuses new sessions and tells the running ones how long they have.
    pub(crate) fn drain(&self, grace: Duration) {
        let mut inner = self.lock();
        inner.draining = Some(grace);
        for entry in inner.sessions.values_mut() {
            entry.drain(grace);
        }
        drop(inner);
        self.drain.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether clients may still join.
    fn is_open(&self) -> bool {
        !self.control.is_closed() && !self.stage.is_ending()
    }

    /// Tells it that the gateway drains.
    fn drain(&mut self, grace: Duration) {
        if let Some(drain) = self.drain.take() {
            // One that has ended meanwhile needs to know no more.
            drain.send(grace).ok();
        }
    }

    fn handle(&self, id: &str) -> Handle {
        Handle {
            id: id.to_owned(),
            pipeline: self.pipeline.clone(),
            opener: Arc::clone(&self.opener),
            key: self.shared.as_ref().map(|shared| shared.key.clone()),
            opened_at: self.opened_at,
            stage: Arc::clone(&self.stage),
            control: self.control.clone(),
        }
    }
}

impl Slot {
    /// The id of the session that has this slot.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.table.taken().decrement(1);
        let mut inner = self.table.lock();
        inner.taken -= 1;
        if inner.taken == 0 {
            self.table.empty.notify_waiters();
        }
        if let Some(entry) = inner.sessions.remove(&self.id)
            && let Some(shared) = entry.shared
            && inner.shared.get(&shared) == Some(&self.id)
        {
            inner.shared.remove(&shared);
        }
    }
}

/// An id that cannot be guessed: 128 random bits.
pub(crate) fn new_id() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn every_transport_has_its_series_before_its_first_session() {
        let metrics = Arc::new(Metrics::new());
        let _table = Table::new(1, Arc::clone(&metrics));
        let text = metrics.render(crate::metrics::page::Format::Text);
        for line in [
            r#"tidegate_sessions_active{transport="webrtc"} 0"#,
            r#"tidegate_sessions_active{transport="grpc"} 0"#,
            r#"tidegate_sessions_total{transport="websocket",outcome="finished"} 0"#,
            r#"tidegate_sessions_total{transport="http",outcome="left"} 0"#,
        ] {
            assert!(text.lines().any(|got| got == line), "{line} in {text}");
        }
    }

    #[test]
    fn who_waits_for_the_last_session_is_told_when_its_slot_is_given_back() {
        let table = Table::new(2, Arc::new(Metrics::new()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(table.emptied()).poll(&mut cx).is_ready());
        let slots = [table.admit().expect("room"), table.admit().expect("room")];
        let mut emptied = pin!(table.emptied());
        assert!(emptied.as_mut().poll(&mut cx).is_pending());
        let [first, second] = slots;
        drop(first);
        assert!(emptied.as_mut().poll(&mut cx).is_pending());
        drop(second);
        assert!(emptied.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn a_session_hears_of_the_drain_even_where_its_messages_wait() {
        let table = Table::new(1, Arc::new(Metrics::new()));
        let slot = table.admit().expect("room");
        let new = table.insert(&slot, Timestamp::ZERO, ("test", &Arc::from("")), None);
        let (handle, mut inbox) = new.unwrap_or_else(|_| panic!("it is not shared"));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..CONTROL {
            assert!(pin!(handle.end_if_empty()).poll(&mut cx).is_ready());
        }
        table.drain(Duration::from_secs(5));
        let heard: Vec<_> = std::iter::from_fn(|| match inbox.poll_recv(&mut cx) {
            Poll::Ready(control) => control,
            Poll::Pending => None,
        })
        .collect();
        let drains = heard
            .iter()
            .filter(|control| matches!(control, Control::Drain { .. }));
        assert_eq!((drains.count(), heard.len()), (1, CONTROL + 1));
    }

    #[test]
    fn sessions_are_listed_with_the_oldest_first() {
        let table = Table::new(20, Arc::new(Metrics::new()));
        let slots: Vec<_> = (0..20).map(|_| table.admit().expect("room")).collect();
        for (at, slot) in slots.iter().enumerate() {
            let now = Timestamp::from_nanos(at as u64);
            drop(table.insert(slot, now, ("test", &Arc::from("")), None));
        }
        let ids: Vec<_> = table.all().into_iter().map(|handle| handle.id).collect();
        let opened: Vec<_> = slots.iter().map(|slot| slot.id.clone()).collect();
        assert_eq!(ids, opened);
    }
}
