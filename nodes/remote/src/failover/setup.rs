//! What a failover is told, and what it asks of its driver.

use tidegate_proto::ClientMessage;
use tidegate_proto::message::Mode;

use super::stream::StreamId;
use crate::cache::CacheTier;
use crate::config::{HopPorts, Timeouts};
use crate::link::FramePlace;
use crate::pool::Member;
use crate::replay::ReplayLimits;
use crate::tiers::Partial;

/// What does not change.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) ports: HopPorts,
    pub(crate) timeouts: Timeouts,
    /// Whether the session's client can be told to wait: then nothing is forgotten that was not acknowledged.
    pub(crate) mode: Mode,
    /// A stream for each call.
    pub(crate) unary: bool,
    /// Workers hear by utterances: they owe nothing of one before its end, and are sent it whole if another has to go on.
    pub(crate) by_utterance: bool,
    pub(crate) attempts: u32,
    pub(crate) deterministic: Option<bool>,
    pub(crate) partial: Option<Partial>,
    pub(crate) replay: ReplayLimits,
    /// Where answers of calls are kept.
    pub(crate) cache: Option<CacheTier>,
}

/// What the driver is to do, in order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Open a stream; [`Failover::opened`] is told.
    Open {
        stream: StreamId,
        tier: usize,
        /// `None`: the tier has no pool.
        member: Option<Member>,
    },
    /// Send a message.
    Send {
        stream: StreamId,
        message: ClientMessage,
        place: Option<FramePlace>,
    },
    /// Take frames back that were not sent yet; [`Failover::discarded`] is told.
    Discard { stream: StreamId },
    /// Forget a stream, or its opening.
    Close { stream: StreamId },
}
