//! Calls of protocols that talk: for each call a connection, and both sides speak on it as they like.
//!
//! What a call does is one future, polled where the hop is; giving the call up drops it, and with it the connection. It is fed as its
//! input comes ([`Feed`], bounded). Absent: what is said ([`crate::wyoming`], [`crate::websocket`]).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::Phase;
use tidegate_proto::message::{Execute, WireError};

use crate::calls::{Answer, Caller};
use crate::dial::{self, Place, Stream};
use crate::error::RemoteError;

mod feed;
mod transcript;

pub(crate) use feed::Feed;
pub(crate) use transcript::{Found, Transcript};

/// A call under way.
pub(crate) type Call = Pin<Box<dyn Future<Output = Result<(), RemoteError>> + Send>>;

/// One protocol.
pub(crate) trait Talk: Send {
    /// What a call does that has begun. Its input comes by `feed`, its answers go to `answers`; it is done when the future is.
    ///
    /// # Errors
    /// The input is none that the protocol takes.
    fn call(
        &mut self,
        execute: &Execute,
        feed: Feed,
        answers: Answers,
    ) -> Result<Call, RemoteError>;
}

/// Where a call's answers go.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<VecDeque<Answer>>>);

impl Answers {
    /// Gives an answer, and lets it be taken before more is read.
    pub(crate) async fn give(&self, answer: Answer) {
        self.push(answer);
        let mut given = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut given, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Gives an answer that others follow.
    pub(crate) fn push(&self, answer: Answer) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push_back(answer);
    }

    fn pop(&self) -> Option<Answer> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.pop_front()
    }
}

/// Makes calls of a protocol.
pub(crate) struct Dialogue<T> {
    talk: T,
    call: Option<Call>,
    feed: Feed,
    answers: Answers,
    failed: Option<RemoteError>,
}

impl<T: Talk> Dialogue<T> {
    pub(crate) fn new(talk: T) -> Self {
        Self {
            talk,
            call: None,
            feed: Feed::default(),
            answers: Answers::default(),
            failed: None,
        }
    }
}

impl<T: Talk> Caller for Dialogue<T> {
    fn call(&mut self, execute: Execute, _: Timestamp) -> Result<(), RemoteError> {
        // What a call that was given up still said is nobody's.
        self.cancel();
        self.feed = Feed::of(&execute);
        let (feed, answers) = (self.feed.clone(), self.answers.clone());
        self.call = Some(self.talk.call(&execute, feed, answers)?);
        Ok(())
    }

    fn more(&mut self, frame: Frame) -> Result<(), RemoteError> {
        self.feed.push(frame);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), RemoteError> {
        self.feed.complete();
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.feed.has_room()
    }

    fn poll(&mut self, cx: &mut Context<'_>, _: Timestamp) -> Poll<Result<Answer, RemoteError>> {
        if let Some(answer) = self.answers.pop() {
            return Poll::Ready(Ok(answer));
        }
        if let Some(call) = &mut self.call
            && let Poll::Ready(done) = call.as_mut().poll(cx)
        {
            self.call = None;
            match done {
                Ok(()) => self.answers.push(Answer::Done),
                Err(error) => self.failed = Some(error),
            }
        }
        if let Some(answer) = self.answers.pop() {
            return Poll::Ready(Ok(answer));
        }
        match self.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    fn cancel(&mut self) {
        self.call = None;
        self.failed = None;
        self.answers = Answers::default();
    }
}

/// Where calls go.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) place: Place,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Longest wait for a connection.
    pub(crate) connect: Duration,
}

impl Server {
    /// Connects within the time that there is for it. Cancel safe.
    ///
    /// # Errors
    /// Nobody answers there in time.
    pub(crate) async fn dial(&self) -> Result<Stream, RemoteError> {
        self.within(dial::connect(&self.place, self.tls.clone()))
            .await
    }

    /// What must be done within the time that there is for a connection. Cancel safe if that is.
    ///
    /// # Errors
    /// It takes longer, or fails.
    pub(crate) async fn within<T>(
        &self,
        done: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        let (phase, limit) = (Phase::Connect, self.connect);
        let late = |_| Err(RemoteError::Timeout { phase, limit });
        tokio::time::timeout(limit, done).await.unwrap_or_else(late)
    }
}

/// Speaks while it hears; what is unsaid when all was heard is of no use any more.
pub(crate) async fn converse(
    speaking: impl Future<Output = Result<(), RemoteError>>,
    hearing: impl Future<Output = Result<(), RemoteError>>,
) -> Result<(), RemoteError> {
    tokio::pin!(hearing);
    tokio::select! {
        biased;
        heard = &mut hearing => return heard,
        sent = speaking => match sent {
            Ok(()) => {}
            // Of our own mistakes the server knows nothing.
            Err(error @ (RemoteError::Config(_) | RemoteError::Internal(_))) => return Err(error),
            // What it said before it closed comes first: it says why.
            Err(error) => return hearing.await.and(Err(error)),
        },
    }
    hearing.await
}

/// What the server says of a failure of its own.
pub(crate) fn failed(message: &str) -> RemoteError {
    RemoteError::Worker(Box::new(WireError {
        code: "remote_execution".to_owned(),
        message: crate::refusal::quote(message.as_bytes()),
        fault: "worker".to_owned(),
        retryable: true,
        ..WireError::default()
    }))
}

/// A server that closes before it has answered.
pub(crate) fn silent() -> RemoteError {
    let text = "server closed the connection before it had answered: look at its log";
    RemoteError::Network(text.to_owned())
}

/// A server that closes, or says that this was all, before it has heard all.
pub(crate) fn early() -> RemoteError {
    let text =
        "server ended the conversation before it had heard all of the utterance: look at its log";
    RemoteError::Network(text.to_owned())
}
