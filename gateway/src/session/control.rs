//! What the rest of the gateway says to a session's driver, and how a session ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_nodes::node::Reception;
use tidegate_nodes::{Code, Error, Fault};
use tokio::sync::{mpsc, oneshot};
use tracing::Level;

use super::figures::HopReport;
use super::link::Link;
use super::network::WebrtcStats;
use crate::metrics::window::Percentiles;

/// A message to a driver.
pub(crate) enum Control {
    /// A client wants in.
    Join {
        link: Box<dyn Link>,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// The admin API wants to see it.
    Snapshot(oneshot::Sender<Snapshot>),
    /// It is to end.
    End(End),
    /// It is to end if it has no client.
    EndIfEmpty,
    /// The gateway shuts down; it may go on for this long.
    Drain { grace: Duration },
}

/// How far a session has come, for those who only look.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// Its driver runs; before that nobody answers.
    begun: AtomicBool,
    /// It only says its last words: whoever comes with its key gets a new one.
    ending: AtomicBool,
}

impl Stage {
    /// Whether its driver runs.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether it takes no more clients.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// A driver's end of the way in.
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Control>,
    /// The drain has a way of its own: it must arrive even where the messages wait in a full queue.
    drain: Option<oneshot::Receiver<Duration>>,
    stage: Arc<Stage>,
}

impl Inbox {
    pub(crate) fn new(receiver: mpsc::Receiver<Control>) -> Self {
        Self {
            receiver,
            drain: None,
            stage: Arc::default(),
        }
    }

    /// With the way by which it is told, once, that the gateway drains.
    pub(crate) fn drained_by(mut self, drain: oneshot::Receiver<Duration>) -> Self {
        self.drain = Some(drain);
        self
    }

    /// The next message. Cancel safe.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Control>> {
        if let Some(drain) = &mut self.drain
            && let Poll::Ready(told) = Pin::new(drain).poll(cx)
        {
            self.drain = None;
            if let Ok(grace) = told {
                return Poll::Ready(Some(Control::Drain { grace }));
            }
        }
        self.receiver.poll_recv(cx)
    }

    /// How far the session has come.
    pub(crate) fn stage(&self) -> Arc<Stage> {
        Arc::clone(&self.stage)
    }

    /// The session's driver runs.
    pub(crate) fn begin(&self) {
        self.stage.begun.store(true, Ordering::Relaxed);
    }

    /// The session takes no more clients.
    pub(crate) fn end(&self) {
        self.stage.ending.store(true, Ordering::Relaxed);
    }
}

/// Why a session ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Every output ended.
    Finished,
    /// The last client left.
    Left,
    /// An operator or the client's `DELETE` ended it.
    Deleted,
    /// Something failed.
    Failed(Error),
}

impl End {
    /// The reason as `ended` gives it.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Left => "left",
            Self::Deleted => "deleted",
            Self::Failed(error) => error.code.as_str(),
        }
    }

    /// How loud a session's failure is logged: what a client did or its deadline brought is no affair of the operator's, and a drain
    /// is their own doing.
    pub(crate) fn severity(error: &Error) -> Level {
        let expected = matches!(
            error.code,
            Code::Draining | Code::SessionExpired | Code::Cancelled
        );
        // A hop's parameters may be the manifest's own, though its worker takes them for the client's.
        let by_client = error.fault == Fault::Client && error.hop.is_none();
        if expected || by_client {
            Level::INFO
        } else {
            Level::WARN
        }
    }

    /// The end as `tidegate_sessions_total` counts it.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::Finished | Self::Left | Self::Deleted => Outcome {
                label: self.reason(),
            },
            Self::Failed(error) => Outcome {
                label: error.code.as_str(),
            },
        }
    }
}

/// How a session ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) label: &'static str,
}

/// A session as the admin API shows it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) transports: Vec<&'static str>,
    pub(crate) clients: usize,
    /// A client has been in it.
    pub(crate) joined: bool,
    pub(crate) ending: bool,
    pub(crate) draining: bool,
    pub(crate) age: Duration,
    /// How long it may live, from its opening.
    pub(crate) limit: Option<Duration>,
    pub(crate) hops: Vec<HopReport>,
    pub(crate) session_latency: Option<Percentiles>,
    pub(crate) webrtc: Option<WebrtcStats>,
    pub(crate) reception: Option<Reception>,
    /// Inputs, outputs and edges.
    pub(crate) shape: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_operator_can_mend_is_a_warning() {
        let level = |code| End::severity(&Error::new(code, "why"));
        for code in [Code::Draining, Code::SessionExpired, Code::BadRequest] {
            assert_eq!(level(code), Level::INFO, "{code}");
        }
        for code in [Code::NodeFailed, Code::Network, Code::Internal] {
            assert_eq!(level(code), Level::WARN, "{code}");
        }
        let refused = Error {
            hop: Some("stt".into()),
            ..Error::new(Code::BadRequest, "no such language")
        };
        assert_eq!(End::severity(&refused), Level::WARN);
    }
}
