//! A stream to one worker, beside what the hop keeps over several.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_media::Timestamp;

use super::Action;
use crate::exchange::Exchange;
use crate::pool::Permit;
use crate::replay::{Cursor, Ring};

/// How often the latency of a stream's outputs is told to its pool, which other sessions use too.
const OBSERVE_EVERY: Duration = Duration::from_millis(100);

/// Tells streams of one hop apart, also those that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId(pub(super) u64);

/// Where an attempt goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) tier: usize,
    /// `None`: the tier has no pool.
    pub(super) permit: Option<Permit>,
    /// As configured.
    pub(super) endpoint: Arc<str>,
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) place: Place,
    pub(super) exchange: Exchange,
    pub(super) cursor: Cursor,
    /// Equal input gives equal output.
    pub(super) deterministic: bool,
    pub(super) opened: Timestamp,
    /// Frames sent and outputs received.
    pub(super) sent: u64,
    pub(super) outputs: u64,
    /// It gave an output or acknowledged something: it is worth as much as one that never failed.
    pub(super) proven: bool,
    /// It acknowledged all that it was sent; of a call.
    pub(super) consumed: bool,
    observe_at: Timestamp,
}

impl Stream {
    pub(super) fn new(
        now: Timestamp,
        id: StreamId,
        place: Place,
        exchange: Exchange,
        deterministic: Option<bool>,
    ) -> Self {
        Self {
            id,
            place,
            deterministic: deterministic.unwrap_or_else(|| exchange.is_deterministic()),
            exchange,
            cursor: Cursor::default(),
            opened: now,
            sent: 0,
            outputs: 0,
            proven: false,
            consumed: false,
            observe_at: Timestamp::ZERO,
        }
    }

    /// Sends the next frame of a port.
    pub(super) fn send_frame(
        &mut self,
        now: Timestamp,
        ring: &mut Ring,
        port: usize,
        actions: &mut VecDeque<Action>,
    ) {
        self.sent += 1;
        let frame = ring.take(&mut self.cursor, port, now);
        let sent = frame.and_then(|frame| self.exchange.frame(now, port, frame));
        actions.extend(sent.map(|(message, place)| Action::Send {
            stream: self.id,
            message,
            place: Some(place),
        }));
    }

    /// Sends the end of a port, once.
    pub(super) fn send_end(&mut self, now: Timestamp, port: usize, actions: &mut VecDeque<Action>) {
        let sent = self.exchange.end(now, port);
        actions.extend(sent.map(|message| Action::Send {
            stream: self.id,
            message,
            place: None,
        }));
    }

    /// Whether the latency of the output that came now is to be told.
    pub(super) fn is_observed(&mut self, now: Timestamp) -> bool {
        let due = self.observe_at <= now;
        if due {
            self.observe_at = now + OBSERVE_EVERY;
        }
        due
    }
}
