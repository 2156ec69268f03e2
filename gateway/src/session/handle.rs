//! A session's way in: what the rest of the gateway asks of a driver.

use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tokio::sync::{mpsc, oneshot};

use super::control::{Control, End, Snapshot, Stage};
use super::link::Link;

/// How long a driver may take to answer. It answers between two frames; only a machine that stands still takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one that is still being opened may take until it lets others in: remote hops connect first, with retries.
const OPENING: Duration = Duration::from_secs(60);

/// A session's way in.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) id: String,
    pub(crate) pipeline: String,
    /// Name of who opened it.
    pub(crate) opener: Arc<str>,
    pub(crate) key: Option<String>,
    /// When its opening began.
    pub(crate) opened_at: Timestamp,
    pub(super) stage: Arc<Stage>,
    pub(super) control: mpsc::Sender<Control>,
}

impl Handle {
    /// Whether its driver does not run yet, so that nobody would answer.
    pub(crate) fn is_opening(&self) -> bool {
        !self.stage.has_begun()
    }

    /// Brings a client in.
    ///
    /// # Errors
    /// The session is ending, or has no ports for it.
    pub(crate) async fn join(&self, link: Box<dyn Link>) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Control::Join { link, reply }, answer, OPENING)
            .await?
    }

    /// The client that the session was opened for could not come in: it ends, unless others have come.
    pub(crate) async fn end_if_empty(&self) {
        // One that is gone already has ended.
        drop(self.control.send(Control::EndIfEmpty).await);
    }

    /// How the session stands.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Control::Snapshot(reply), answer, PATIENCE).await
    }

    /// Ends the session.
    ///
    /// # Errors
    /// It has ended already.
    pub(crate) async fn end(&self, end: End) -> Result<(), Error> {
        self.control
            .send(Control::End(end))
            .await
            .map_err(|_| ended())
    }

    async fn ask<T>(
        &self,
        control: Control,
        answer: oneshot::Receiver<T>,
        patience: Duration,
    ) -> Result<T, Error> {
        let asked = async {
            self.control.send(control).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())
        };
        let late = |_| Error::new(Code::Internal, "the session did not answer in time");
        tokio::time::timeout(patience, asked).await.map_err(late)?
    }
}

fn ended() -> Error {
    Error::new(Code::UnknownSession, "the session has just ended")
}
