//! What is said on a WebSocket, apart from the socket.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::ws::Message;
use tidegate_media::Timestamp;
use tidegate_nodes::Error;

use crate::session::link::{LinkEvent, LinkMessage, Wishes};

/// What is said on a socket: a state machine that knows messages and events, and neither sockets nor clocks.
pub(crate) trait Codec: Send {
    /// What the client asks for.
    fn wishes(&self) -> &dyn Wishes;

    /// Takes a text or binary message of the client's. What it means is asked for by [`Codec::event`], what it is answered goes
    /// into `out`.
    ///
    /// # Errors
    /// The message breaks a rule of the protocol; the client is told, and leaves.
    fn decode(&mut self, message: Message, now: Timestamp, out: &mut Outgoing)
    -> Result<(), Error>;

    /// The next thing that the messages so far mean; they hold few.
    fn event(&mut self) -> Option<LinkEvent>;

    /// Writes the session's words down.
    fn encode(&mut self, message: LinkMessage, now: Timestamp, out: &mut Outgoing);

    /// When [`Codec::passed`] has something to do.
    fn timeout(&self) -> Option<Timestamp> {
        None
    }

    /// How much of what it was sent the client has yet to play, if it tells when it has: a session that has said all leaves it only
    /// then.
    fn unplayed(&self) -> Option<Duration> {
        None
    }

    /// The time that [`Codec::timeout`] named has come, or something else has happened since.
    fn passed(&mut self, now: Timestamp, out: &mut Outgoing) {
        let _ = (now, out);
    }
}

/// Messages that wait for the socket.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Each with whether it is a frame.
    pub(super) queue: VecDeque<(bool, Message)>,
}

impl Outgoing {
    /// Adds a message that carries a frame, or a part of one.
    pub(crate) fn frame(&mut self, message: Message) {
        self.queue.push_back((true, message));
    }

    /// Adds another message.
    pub(crate) fn word(&mut self, message: Message) {
        self.queue.push_back((false, message));
    }

    /// What waits.
    #[cfg(test)]
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Message> {
        self.queue.drain(..).map(|(_, message)| message)
    }
}
