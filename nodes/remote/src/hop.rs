//! A remote hop as a session's driver holds it: the `Failover` and the links and openings that it asks for.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tidegate_media::Timestamp;
use tidegate_nodes::compile::remote::HopMode;
use tidegate_nodes::{Error, HopCommand, HopEvent, HopNote};
use tidegate_proto::message::Opened;
use tokio::time::timeout;

use crate::cache::CacheLink;
use crate::config::{HopPorts, OpenContext};
use crate::connector::Connector;
use crate::error::RemoteError;
use crate::failover::{Action, Failover, Setup, StreamId, Way};
use crate::link::Link;
use crate::local::LocalLink;
use crate::pool::Member;
use crate::tiers::{HopConfig, Tier};
use crate::trace::TraceContext;
use crate::transport;

/// What the opening of a stream comes to.
type Opening = Pin<Box<dyn Future<Output = Result<(Box<dyn Link>, Opened), RemoteError>> + Send>>;

/// An open hop. Dropping it closes its streams, which ends the session at the worker.
///
/// It has no task of its own: whoever holds it polls it, from one task.
pub struct RemoteHop {
    failover: Failover,
    opener: Opener,
    /// At most one opens at a time.
    opening: Option<(StreamId, Opening)>,
    links: SmallVec<[(StreamId, Box<dyn Link>); 2]>,
    /// When a credential is looked at again.
    look_at: Option<Timestamp>,
    /// Since when the graph takes nothing.
    held: Option<Timestamp>,
}

/// What it takes to open a stream.
struct Opener {
    connector: Connector,
    tiers: Vec<Tier>,
    ports: Arc<HopPorts>,
    /// With no trace: that is beside it.
    context: OpenContext<'static>,
    trace: Option<TraceContext>,
}

/// Why a hop could not be opened, and what was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// What the session's client hears.
    pub error: Error,
    /// What happened on the way.
    pub notes: Vec<HopNote>,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

impl RemoteHop {
    /// Opens the hop's pipeline at one of its endpoints: as the pool chooses, with retries and fallback as `config` says. Waits at most
    /// `connect` for each attempt; `clock` tells the time that `context.now` was taken from. Cancel safe: dropping the future leaves
    /// nothing behind.
    ///
    /// # Errors
    /// The configuration cannot be used, no endpoint opened the pipeline, it does not fit `ports`
    /// ([`Code::Incompatible`](tidegate_nodes::Code::Incompatible), naming both sides), or the session passed too many gateways.
    pub async fn open(
        connector: &Connector,
        config: &HopConfig,
        ports: &HopPorts,
        context: OpenContext<'_>,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Self, Refused> {
        let mut hop = Self::begin(connector, config, ports, context);
        while !hop.failover.has_begun() {
            let due = hop.failover.poll_timeout();
            let begun = poll_fn(|cx| {
                while !hop.failover.has_begun() && hop.failover.poll_timeout() == due {
                    if !hop.drive(cx, clock()) {
                        // An attempt that failed is followed by a backoff, which ends before the attempt's time would have.
                        let moved = hop.failover.poll_timeout() != due;
                        return if moved {
                            Poll::Ready(())
                        } else {
                            Poll::Pending
                        };
                    }
                }
                Poll::Ready(())
            });
            match due {
                // Nothing comes of it but another look.
                Some(due) => drop(timeout(due.saturating_since(clock()), begun).await),
                None => begun.await,
            }
        }
        hop.refused().map_or(Ok(hop), Err)
    }

    fn begin(
        connector: &Connector,
        config: &HopConfig,
        ports: &HopPorts,
        context: OpenContext<'_>,
    ) -> Self {
        let setup = Setup {
            ports: ports.clone(),
            timeouts: config.timeouts,
            mode: context.mode,
            attempts: config.attempts,
            deterministic: config.deterministic,
            partial: config.partial,
            replay: config.replay,
            unary: config.mode == HopMode::Unary,
            by_utterance: config.mode == HopMode::Stream && config.hears_utterances(),
            cache: config.tiers.iter().find_map(|tier| match tier {
                Tier::Cache(cache) => Some(cache.clone()),
                _ => None,
            }),
        };
        let ways = config.tiers.iter().map(|tier| match tier {
            Tier::Remote(tier) => Way::Pool(Arc::clone(&tier.pool)),
            Tier::Local(_) => Way::Local,
            Tier::Cache(_) => Way::Cache,
            Tier::Error(text) => Way::Error(text.clone()),
        });
        Self {
            failover: Failover::new(context.now, setup, ways.collect()),
            opener: Opener {
                connector: connector.clone(),
                tiers: config.tiers.clone(),
                ports: Arc::new(ports.clone()),
                context: OpenContext {
                    trace: None,
                    ..context
                },
                trace: context.trace.cloned(),
            },
            opening: None,
            links: SmallVec::new(),
            look_at: None,
            held: None,
        }
    }

    /// Why nobody gave a first stream, if so.
    fn refused(&mut self) -> Option<Refused> {
        if !self.failover.is_over() {
            return None;
        }
        let mut notes = Vec::new();
        while let Some(event) = self.failover.poll_event() {
            match event {
                HopEvent::Note(note) => notes.push(note),
                HopEvent::Failed(error) => {
                    let error = self.placed(error);
                    return Some(Refused { error, notes });
                }
                _ => {}
            }
        }
        None
    }

    /// Takes a command. Never waits; frames come only within the credit that the hop gave, else the hop fails.
    pub fn send(&mut self, now: Timestamp, command: HopCommand) {
        // What is sent meanwhile is awaited from now on.
        if self.forgive(now) {
            self.held = Some(now);
        }
        self.failover.command(now, command);
        self.act(now);
    }

    /// The next event. After [`HopEvent::Failed`], or after the last output's end, it stays pending.
    pub fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<HopEvent> {
        self.forgive(now);
        loop {
            if let Some(event) = self.failover.poll_event() {
                return Poll::Ready(match event {
                    HopEvent::Failed(error) => HopEvent::Failed(self.placed(error)),
                    other => other,
                });
            }
            if !self.drive(cx, now) && !self.failover.has_events() {
                return Poll::Pending;
            }
        }
    }

    /// The graph takes nothing of the hop until it is polled again, since its listeners do not. That counts for none of the waits.
    pub fn hold(&mut self, now: Timestamp) {
        self.held.get_or_insert(now);
    }

    /// Whether it was held until now.
    fn forgive(&mut self, now: Timestamp) -> bool {
        let Some(since) = self.held.take() else {
            return false;
        };
        self.failover.forgive(now.saturating_since(since));
        true
    }

    /// When [`RemoteHop::poll_event`] must be called again even if nothing comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let links = self
            .links
            .iter()
            .filter_map(|(_, link)| link.poll_timeout());
        let failover = self.failover.poll_timeout();
        let due = failover.into_iter().chain(links).chain(self.look_at);
        due.min()
    }

    /// The endpoint of the newest stream, as configured.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.failover.endpoint()
    }

    /// Moves one thing on; false if there is nothing to do before something comes.
    fn drive(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        self.act(now);
        if self.failover.is_over() {
            self.links.clear();
            self.opening = None;
            return false;
        }
        if let Some((id, opening)) = &mut self.opening
            && let Poll::Ready(opened) = opening.as_mut().poll(cx)
        {
            let id = *id;
            self.opening = None;
            match opened {
                Ok((link, opened)) => {
                    self.links.push((id, link));
                    self.failover.opened(now, id, Ok(&opened));
                }
                Err(error) => self.failover.opened(now, id, Err(error)),
            }
            return true;
        }
        for (id, link) in &mut self.links {
            let taken = link.take_sent();
            if !taken.is_empty() {
                self.failover.taken(now, *id, &taken);
            }
            let received = link.poll_receive(cx, now);
            if let Some(port) = link.take_key_frame_wanted() {
                self.failover.key_frame_wanted(*id, port);
            }
            match received {
                Poll::Ready(Some(Ok(message))) => self.failover.message(now, *id, message),
                Poll::Ready(Some(Err(error))) => self.failover.broken(now, *id, Some(error)),
                Poll::Ready(None) => self.failover.broken(now, *id, None),
                Poll::Pending => continue,
            }
            return true;
        }
        self.look_at = None;
        for (id, link) in &mut self.links {
            if let Some(credential) = link.credential() {
                if credential.is_due(now) {
                    let by = credential.leave_by(now);
                    self.failover.expiring(now, *id, by);
                }
                let next = credential.poll_timeout();
                self.look_at = self.look_at.into_iter().chain(next).min();
            }
        }
        // Only now: what had come in time but was not yet read is not late.
        self.failover.handle_timeout(now);
        if self.failover.has_actions() {
            return true;
        }
        for (id, link) in &mut self.links {
            if self.failover.waits_for_transport(*id) {
                link.wake_when_taken(cx);
            }
        }
        false
    }

    /// Does what the failover asks for.
    fn act(&mut self, now: Timestamp) {
        while let Some(action) = self.failover.poll_action() {
            match action {
                Action::Open {
                    stream,
                    tier,
                    member,
                } => {
                    self.opening = self
                        .opener
                        .open(now, tier, member)
                        .map(|opening| (stream, opening))
                }
                Action::Send {
                    stream,
                    message,
                    place,
                } => {
                    if let Some((_, link)) = self.links.iter_mut().find(|(id, _)| *id == stream)
                        && let Err(error) = link.send(message, place, now)
                    {
                        self.failover.broken(now, stream, Some(error));
                    }
                }
                Action::Discard { stream } => {
                    if let Some((_, link)) = self.links.iter_mut().find(|(id, _)| *id == stream) {
                        let counts = link.discard_frames();
                        self.failover.discarded(stream, &counts);
                    }
                }
                Action::Close { stream } => {
                    self.links.retain(|(id, _)| *id != stream);
                    self.opening.take_if(|(id, _)| *id == stream);
                }
            }
        }
    }

    /// Adds where an error happened.
    fn placed(&self, error: Error) -> Error {
        let error = error.through_hop(&self.opener.ports.hop);
        if error.endpoint.is_some() || self.endpoint().is_empty() {
            return error;
        }
        error.at_endpoint(self.endpoint())
    }
}

impl Opener {
    fn open(&self, now: Timestamp, tier: usize, member: Option<Member>) -> Option<Opening> {
        let tier = match self.tiers.get(tier)? {
            Tier::Remote(tier) => tier,
            Tier::Local(local) => {
                let opened = LocalLink::open(local, &self.ports);
                return Some(at_once(opened));
            }
            Tier::Cache(cache) => {
                let opened = CacheLink::open(cache.clone(), &self.ports);
                return Some(at_once(opened));
            }
            Tier::Error(_) => return None,
        };
        let (config, ports) = (Arc::clone(&tier.config), Arc::clone(&self.ports));
        let (connector, member) = (self.connector.clone(), member?);
        let context = OpenContext {
            now,
            ..self.context
        };
        let trace = self.trace.clone();
        Some(Box::pin(async move {
            let context = OpenContext {
                trace: trace.as_ref(),
                ..context
            };
            transport::open(&connector, member, &config, &ports, context).await
        }))
    }
}

/// The opening of a link that is in this process.
fn at_once<L: Link + 'static>(opened: Result<(L, Opened), RemoteError>) -> Opening {
    let opened = opened.map(|(link, opened)| (Box::new(link) as Box<dyn Link>, opened));
    Box::pin(std::future::ready(opened))
}

impl std::fmt::Debug for RemoteHop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteHop")
            .field("failover", &self.failover)
            .finish_non_exhaustive()
    }
}
