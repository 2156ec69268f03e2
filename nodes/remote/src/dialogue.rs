//! Calls of protocols that talk: for each call a connection, and both sides speak on it as they like.
//!
//! What a call does is one future, polled where the hop is; giving the call up drops it, and with it the connection. Absent: what is
//! said ([`crate::wyoming`], [`crate::websocket`]).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use tidegate_media::{Frame, MediaTime, Payload, Timestamp};
use tidegate_nodes::Phase;
use tidegate_proto::PortName;
use tidegate_proto::message::{Execute, WireError};

use crate::calls::{Answer, Caller};
use crate::dial::{self, Place, Stream};
use crate::error::RemoteError;

/// A call under way.
pub(crate) type Call = Pin<Box<dyn Future<Output = Result<(), RemoteError>> + Send>>;

/// One protocol.
pub(crate) trait Talk: Send {
    /// What a call does. Its answers go to `answers`; it is done when the future is.
    ///
    /// # Errors
    /// The input is none that the protocol takes.
    fn call(&mut self, execute: Execute, answers: Answers) -> Result<Call, RemoteError>;
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

    fn push(&self, answer: Answer) {
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
    answers: Answers,
    failed: Option<RemoteError>,
}

impl<T: Talk> Dialogue<T> {
    pub(crate) fn new(talk: T) -> Self {
        Self {
            talk,
            call: None,
            answers: Answers::default(),
            failed: None,
        }
    }
}

impl<T: Talk> Caller for Dialogue<T> {
    fn call(&mut self, execute: Execute, _: Timestamp) -> Result<(), RemoteError> {
        // What a call that was given up still said is nobody's.
        self.cancel();
        self.call = Some(self.talk.call(execute, self.answers.clone())?);
        Ok(())
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
        let (phase, limit) = (Phase::Connect, self.connect);
        let dialled = tokio::time::timeout(limit, dial::connect(&self.place, self.tls.clone()));
        let late = |_| Err(RemoteError::Timeout { phase, limit });
        dialled.await.unwrap_or_else(late)
    }
}

/// The frames of a call's one input.
pub(crate) fn frames(execute: &Execute) -> &[Frame] {
    let input = execute.inputs.first();
    input.map_or(&[], |(_, frames)| frames.as_slice())
}

/// The place of a call's newest input in the stream.
pub(crate) fn media_time(execute: &Execute) -> MediaTime {
    let last = frames(execute).last();
    last.map_or(MediaTime::default(), |frame| frame.meta.media_time)
}

/// A text that grows, as answers of which each supersedes the one before.
pub(crate) struct Transcript {
    answers: Answers,
    port: PortName,
    at: MediaTime,
    revision: u32,
    last: String,
}

impl Transcript {
    pub(crate) fn new(answers: Answers, port: PortName, at: MediaTime) -> Self {
        Self {
            answers,
            port,
            at,
            revision: 0,
            last: String::new(),
        }
    }

    /// What is understood so far.
    pub(crate) async fn partial(&mut self, text: &str) {
        if !text.is_empty() && text != self.last {
            text.clone_into(&mut self.last);
            self.give(text, false).await;
        }
    }

    /// What was understood; also where that is nothing, since the utterance is over.
    pub(crate) async fn whole(mut self, text: &str) {
        self.give(text, true).await;
    }

    async fn give(&mut self, text: &str, is_final: bool) {
        self.revision += 1;
        let mut frame = Frame::new(self.at, Payload::Text(text.into()));
        (frame.meta.revision, frame.meta.is_final) = (self.revision, is_final);
        let answer = Answer::Output {
            port: self.port.clone(),
            caused_port: None,
            frame,
        };
        self.answers.give(answer).await;
    }
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
    RemoteError::Network("server closed the connection before it had answered".to_owned())
}
