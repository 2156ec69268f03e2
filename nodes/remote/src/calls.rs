//! A stream that is made of calls: what unary protocols are for a hop.
//!
//! Frames are gathered until a call is complete; then one call is made, and what it answers goes on as the messages that a stream
//! would have brought: numbered frames that say what caused them, acknowledgements, ends. Calls are made one after the other, so that
//! outputs keep their order. What waits for its turn is bounded by the hop's credit, what one call gathers by the size of a message.
//!
//! Where a protocol takes an utterance as it comes, a call *grows*: it begins with the first frame of an utterance, takes the others as
//! they come, is told when that was all, and may answer at any time. What it was handed and has not sent is bounded by the caller
//! ([`Caller::has_room`]). Nothing is acknowledged before the call says so or is done, so that all of it can be replayed.
//!
//! [`Gather`] is the part without I/O; a [`Caller`] knows one protocol.

use std::task::{Context, Poll};

use tidegate_media::{Frame, Timestamp};
use tidegate_proto::PortName;
use tidegate_proto::message::{Execute, Opened, Source};

use crate::error::RemoteError;

mod answered;
mod gather;
mod grow;
mod link;
#[cfg(test)]
mod tests;

pub(crate) use gather::Gather;
pub(crate) use link::{CallLink, Terms};

/// One way to make calls.
pub(crate) trait Caller: Send {
    /// Begins a call; the one before is done or cancelled.
    ///
    /// # Errors
    /// The call cannot be written, or is too large.
    fn call(&mut self, execute: Execute, now: Timestamp) -> Result<(), RemoteError>;

    /// More of a call that grows; only where [`Self::has_room`].
    ///
    /// # Errors
    /// The frame is none that the protocol takes, or its calls do not grow.
    fn more(&mut self, _frame: Frame) -> Result<(), RemoteError> {
        Err(RemoteError::Internal("a call that does not grow"))
    }

    /// Nothing more comes of the call. Calls that do not grow are complete as they begin.
    ///
    /// # Errors
    /// What the call is cannot be said.
    fn complete(&mut self) -> Result<(), RemoteError> {
        Ok(())
    }

    /// Whether a call that grows takes more now.
    fn has_room(&self) -> bool {
        true
    }

    /// What the call answers next. Cancel safe.
    fn poll(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<Result<Answer, RemoteError>>;

    /// Gives the call up.
    fn cancel(&mut self);
}

/// What a call answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// A frame of an output.
    Output {
        port: PortName,
        /// The input that `caused_by` counts on, if it is said.
        caused_port: Option<PortName>,
        frame: Frame,
    },
    /// All that comes of so many frames of a call that grows has come.
    Consumed(u64),
    /// All was said.
    Done,
}

/// What the worker would say on opening: nothing is open between calls, so it has exactly the ports that are joined here.
pub(crate) fn opened(gather: &Gather, source: &Source) -> Opened {
    let pipeline = match source {
        Source::Pipeline(name) => name.as_str(),
        Source::Manifest(_) => "inline",
    };
    Opened {
        ports: gather.ports(),
        features: vec![tidegate_proto::message::feature::ACKS.to_owned()],
        pipeline: pipeline.to_owned(),
        ..Opened::default()
    }
}
