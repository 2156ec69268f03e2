//! A session's driver: the one task that owns a graph, its clients' links and its hops, and carries messages between them.
//!
//! It holds no lock across anything and waits for nothing but its wakers: sockets, hops, the control channel, one timer. Each poll
//! handles a bounded amount of work and then lets other sessions run. The graph decides; the driver only carries.

mod clients;
mod dispatch;
mod join;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod traced;
mod turn;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use slab::Slab;
use tidegate_media::Timestamp;
use tidegate_nodes::graph::{EgressId, Graph, Input};
use tidegate_nodes::node::Reception;
use tidegate_nodes::{Code, Error, Plan};
use tokio::time::Sleep;
use tracing::Level;

use self::traced::Traced;
use super::control::{End, Inbox, Outcome};
use super::figures::Figures;
use super::hops::Hop;
use super::link::LinkMessage;
use super::link::Transport;
use super::slot::{LAST_WORDS, Slot};
use crate::clock::Clock;
use crate::trace::SessionTrace;

/// Rounds of work before other sessions get their turn.
const ROUNDS: usize = 16;
/// Events taken from one link or hop in a round, so that none starves the others.
const BURST: usize = 32;
/// How stale the counters on `/metrics` may be while frames flow.
const FLUSH: Duration = Duration::from_millis(250);

/// Limits of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    /// Longest life.
    pub(crate) session: Option<Duration>,
    /// Longest time in which no client sends anything and nothing is sent to one.
    pub(crate) idle: Option<Duration>,
    /// Longest time in which a client takes nothing although something waits for it, its last messages included.
    pub(crate) stalled: Duration,
    /// How long a shared session without clients is kept for the next.
    pub(crate) vacant: Duration,
    /// Most clients at a time.
    pub(crate) clients: usize,
    /// Largest message.
    pub(crate) message_bytes: u64,
}

impl SessionLimits {
    /// The same, for a session whose client gives it only so much time.
    pub(crate) fn within(mut self, deadline: Option<Duration>) -> Self {
        self.session = [self.session, deadline].into_iter().flatten().min();
        self
    }
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) id: String,
    pub(crate) shared: bool,
    pub(crate) plan: Arc<Plan>,
    pub(crate) graph: Graph,
    pub(crate) hops: Vec<(usize, Box<dyn Hop>)>,
    pub(crate) figures: Figures,
    pub(crate) limits: SessionLimits,
    pub(crate) clock: Clock,
    pub(crate) control: Inbox,
    pub(crate) metrics: Arc<crate::metrics::Metrics>,
    pub(crate) trace: Option<SessionTrace>,
}

/// The driver of one session.
pub(crate) struct Driver {
    parts: Parts,
    slots: Slab<Slot>,
    /// Which client hears an egress.
    egresses: Vec<(EgressId, usize)>,
    opened_at: Timestamp,
    last_activity: Timestamp,
    /// Since when a shared session has had no client.
    vacant_since: Option<Timestamp>,
    /// A client has been in it.
    joined: bool,
    /// What of the jitter buffers' figures has reached the counters.
    reported: Reception,
    drain_until: Option<Timestamp>,
    flush_at: Option<Timestamp>,
    end: Option<End>,
    /// The graph panicked; until when clients may take what they were told of it.
    broken_until: Option<Timestamp>,
    sleep: Pin<Box<Sleep>>,
    sleep_at: Timestamp,
    /// Of a session whose spans are exported.
    traced: Option<Box<Traced>>,
}

impl Driver {
    /// A driver without clients; they come through its control channel. `transport` is the first one's.
    pub(crate) fn new(parts: Parts, transport: Transport) -> Self {
        let now = parts.clock.now();
        let at = parts.clock.instant(now);
        Self {
            traced: Traced::new(parts.trace.as_ref(), transport, now),
            parts,
            slots: Slab::new(),
            egresses: Vec::new(),
            opened_at: now,
            last_activity: now,
            vacant_since: Some(now),
            joined: false,
            reported: Reception::default(),
            drain_until: None,
            flush_at: None,
            end: None,
            broken_until: None,
            sleep: Box::pin(tokio::time::sleep_until(at.into())),
            sleep_at: now,
        }
    }

    /// Runs the session to its end. A panic in a node or in the graph ends this session and no other.
    pub(crate) async fn run(mut self) -> Outcome {
        let mut broken = false;
        let end = poll_fn(|cx| {
            if !broken {
                let polled = catch_unwind(AssertUnwindSafe(|| self.poll(cx)));
                if let Ok(polled) = polled {
                    return polled;
                }
                broken = true;
                self.say_broken();
            }
            self.poll_broken(cx)
        })
        .await;
        let outcome = end.outcome();
        // After a panic the graph may not be whole: only reading its totals is tried.
        let closed = catch_unwind(AssertUnwindSafe(|| {
            self.report_webrtc();
            self.parts.figures.close(&self.parts.graph);
            self.trace_end(&end);
        }));
        if closed.is_err() {
            tracing::error!("the session's last figures are lost");
        }
        // Which session it is says the span that this runs in.
        if let End::Failed(error) = &end {
            let (code, hop) = (error.code, error.hop.as_deref());
            match End::severity(error) {
                Level::WARN => tracing::warn!(%code, hop, %error, "session failed"),
                _ => tracing::info!(%code, hop, %error, "session ended"),
            }
        } else {
            tracing::debug!(reason = end.reason(), "session ended");
        }
        outcome
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let began = self.parts.clock.now();
        let mut now = began;
        for round in 0..ROUNDS {
            if round > 0 {
                now = self.parts.clock.now();
                if turn::is_over(now, began) {
                    break;
                }
            }
            // Who looks at a session keeps it from being idle no more than who does not.
            let asked = self.poll_control(cx, now);
            let mut progress = self.end.is_none() && self.carry(cx, now);
            if progress {
                self.last_activity = now;
            }
            // Before links are flushed: nothing else wakes the session for what is said to clients here.
            self.check_limits(now);
            let open = self.end.is_none();
            if self.flush_links(cx, now) {
                self.last_activity = now;
                progress = true;
            }
            // A client that was left may have ended it, which the others were told.
            progress |= asked || open && self.end.is_some();
            if progress {
                self.flush_at.get_or_insert(now + FLUSH);
            }
            if let Some(end) = self.over(now) {
                return Poll::Ready(end);
            }
            if !progress && !self.wait(cx, now) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Brings what clients and hops say to the graph, and what that says to them. Not after the end, of which all were told.
    fn carry(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut progress = self.poll_links(cx, now);
        progress |= self.poll_hops(cx, now);
        if self.parts.graph.poll_timeout().is_some_and(|at| at <= now) {
            self.parts.graph.handle_timeout(now);
            progress = true;
        }
        progress | self.dispatch(now)
    }

    /// Tells every client that the session panicked. The graph may not be whole, so nothing asks it any more.
    fn say_broken(&mut self) {
        let now = self.parts.clock.now();
        let text = "the session's graph broke an invariant and was ended";
        let end = End::Failed(Error::new(Code::Internal, text));
        for (_, slot) in &mut self.slots {
            slot.farewell(now, &end);
        }
        self.end = Some(end);
        self.broken_until = Some(now + LAST_WORDS);
    }

    /// As [`Self::poll`] after a panic: the clients take their last messages, or their time is up.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let now = self.parts.clock.now();
        self.slots
            .retain(|_, slot| slot.link.poll_flush(cx, now).is_pending());
        let until = self.broken_until.unwrap_or(now);
        let until = self.parts.clock.instant(until).into();
        self.sleep.as_mut().reset(until);
        if self.sleep.as_mut().poll(cx).is_pending() && !self.slots.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(self.end.take().unwrap_or(End::Left))
    }

    fn poll_hops(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut progress = false;
        let Parts {
            hops,
            graph,
            figures,
            plan,
            clock,
            ..
        } = &mut self.parts;
        for (index, hop) in hops {
            let id = &plan.hops[*index].id;
            let mut looks = turn::Looks::new();
            for _ in 0..BURST {
                if !graph.hop_ready(*index) {
                    hop.hold(now);
                    break;
                }
                let Poll::Ready(event) = hop.poll_event(cx, now) else {
                    break;
                };
                // Before the event counts: it may be the first output of whom the hop has moved to.
                figures.follow(graph, id, hop.as_mut());
                let bytes = match &event {
                    tidegate_nodes::HopEvent::Frame { frame, .. } => frame.payload.size(),
                    _ => 0,
                };
                let answer = self.traced.is_some().then(|| traced::answer(&event));
                turn::feed(graph, now, Input::Hop { hop: *index, event });
                if let Some(answer) = answer.flatten() {
                    let split = traced::newest(graph, figures, id);
                    if let Some(traced) = &mut self.traced {
                        traced.answered(now, *index, &answer, split);
                    }
                }
                progress = true;
                if looks.end(*clock, now, bytes) {
                    break;
                }
            }
            figures.follow(graph, id, hop.as_mut());
        }
        progress
    }

    /// Sets the timer for the earliest thing that is due; true if that is now.
    fn wait(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let Some(due) = self.next_due(now) else {
            return false;
        };
        if due <= now {
            return true;
        }
        // A timer that is set too early costs one idle poll; moving it costs a lock on every frame.
        if due < self.sleep_at || self.sleep_at <= now {
            self.sleep
                .as_mut()
                .reset(self.parts.clock.instant(due).into());
            self.sleep_at = due;
        }
        let fired = self.sleep.as_mut().poll(cx).is_ready();
        if fired {
            self.sleep_at = Timestamp::ZERO;
        }
        fired
    }

    /// The earliest thing that is due.
    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let limits = &self.parts.limits;
        let slots = self.slots.iter();
        let leaving = slots.filter_map(|(_, slot)| slot.leaves_at(now, limits.stalled));
        let leaving = leaving.chain(self.flush_at);
        if self.end.is_some() {
            return leaving.chain(self.cut_at()).min();
        }
        // Nothing but taking its last messages is expected of a client that was told to leave.
        let staying = || self.slots.iter().filter(|(_, slot)| !slot.closing);
        let links = staying().filter_map(|(_, slot)| slot.link.timeout());
        let stats = staying()
            .filter(|(_, slot)| slot.features.stats)
            .map(|(_, slot)| slot.stats_at);
        // One whose events do not fit is not asked for them before there is room.
        let graph = &self.parts.graph;
        let hops = self.parts.hops.iter();
        let hops = hops.filter(|(index, _)| graph.hop_ready(*index));
        let hops = hops.filter_map(|(_, hop)| hop.timeout());
        let due = [
            self.parts.graph.poll_timeout(),
            self.drain_until,
            limits.session.map(|limit| self.opened_at + limit),
            limits.idle.map(|limit| self.last_activity + limit),
            self.vacant_since.map(|since| since + limits.vacant),
            self.traced
                .as_ref()
                .and_then(|traced| traced.poll_timeout()),
        ];
        let due = due
            .into_iter()
            .flatten()
            .chain(links)
            .chain(stats)
            .chain(leaving)
            .chain(hops);
        due.min()
    }

    /// Ends what has lived, idled or stalled for too long, and brings counters up to date.
    fn check_limits(&mut self, now: Timestamp) {
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush_at = None;
            self.parts.figures.flush(&self.parts.graph);
            self.report_webrtc();
        }
        self.trace_turns(now);
        if self.end.is_some() {
            return;
        }
        let limits = self.parts.limits;
        let since = |at: Timestamp| now.saturating_since(at);
        if limits
            .session
            .is_some_and(|limit| since(self.opened_at) >= limit)
        {
            let text = "the session has lived for as long as its deadline or this gateway allows; open a new one";
            self.finish(now, End::Failed(Error::new(Code::SessionExpired, text)));
        } else if limits
            .idle
            .is_some_and(|limit| since(self.last_activity) >= limit)
        {
            let text = "nothing was sent or received for too long; open a new session";
            self.finish(now, End::Failed(Error::new(Code::SessionExpired, text)));
        } else if self.drain_until.is_some_and(|at| at <= now) {
            let text = "the gateway is shutting down and the grace period is over";
            self.finish(now, End::Failed(Error::new(Code::Draining, text)));
        } else if self
            .vacant_since
            .is_some_and(|at| since(at) >= limits.vacant)
        {
            self.finish(now, End::Left);
        }
        self.send_stats(now);
    }

    /// When a gateway that shuts down waits no longer for clients that still take what they were sent.
    fn cut_at(&self) -> Option<Timestamp> {
        self.drain_until.map(|at| at + LAST_WORDS)
    }

    /// Begins the end: every client is told, and gets what was sent to it as long as it goes on taking.
    fn finish(&mut self, now: Timestamp, end: End) {
        if self.end.is_some() {
            return;
        }
        self.parts.control.end();
        self.send_last_stats(now);
        if matches!(end, End::Finished) {
            // A session that ends with unanswered input looks like one that was lost.
            self.answer_inputs(now, true);
        }
        for (_, slot) in &mut self.slots {
            slot.farewell(now, &end);
        }
        self.end = Some(end);
    }

    /// The end, once the clients have taken their last messages or their time is up.
    fn over(&mut self, now: Timestamp) -> Option<End> {
        self.end.as_ref()?;
        if self.cut_at().is_some_and(|at| at <= now) {
            (0..self.slots.capacity()).for_each(|key| self.leave(now, key));
        }
        if self.slots.is_empty() {
            return self.end.take();
        }
        None
    }
}

impl Slot {
    /// The last words to a client.
    fn farewell(&mut self, now: Timestamp, end: &End) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.hurried = matches!(end, End::Failed(error) if error.code == Code::Draining);
        // Its time to take them begins now.
        self.last_progress = now;
        if let End::Failed(error) = end {
            self.link.send(now, LinkMessage::Error(error.clone()));
        }
        self.link.send(
            now,
            LinkMessage::Ended {
                reason: end.reason(),
            },
        );
    }
}
