//! A link: one client's way into a session, whatever its transport.
//!
//! A session's driver polls its links in its own task, so a frame passes from socket to graph and back without another task in
//! between. A link never blocks and holds a bounded amount; when it cannot take more it says so by its [`window`](Link::window).

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_media::{Frame, Timestamp};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Accepts, Error, StreamFormat};

use super::network::WebrtcStats;
use super::ports::PortFacts;

/// Transports, as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Webrtc,
    Websocket,
    Grpc,
    Http,
    Wyoming,
    Local,
}

impl Transport {
    /// Those that the gateway serves, beside what runs in this process.
    pub(crate) const SERVED: [Self; 5] = [
        Self::Webrtc,
        Self::Websocket,
        Self::Grpc,
        Self::Http,
        Self::Wyoming,
    ];

    /// The label's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Webrtc => "webrtc",
            Self::Websocket => "websocket",
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Wyoming => "wyoming",
            Self::Local => "local",
        }
    }
}

/// What a client asks for before it has a place. Links of the native stream have these from its `open`.
pub(crate) trait Wishes {
    /// The ports that the client named; empty: whatever is free.
    fn wanted_ports(&self) -> &[String] {
        &[]
    }

    /// The format in which it would feed an input, or `None` if it cannot feed it.
    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat>;

    /// How it would listen to an output, or `None` if it cannot.
    fn listens(&self, port: &PortFacts) -> Option<Accepts>;

    /// Whether its sender can be told to wait.
    fn mode(&self) -> Mode;

    /// Whether it plays what it hears, so that live audio comes to it by media time. A gateway that gives it to a client of its own does
    /// not.
    fn plays(&self) -> bool {
        true
    }

    /// Whether it carries sound and pictures by tracks, each of which is one port: such a client has use for one seat.
    fn has_tracks(&self) -> bool {
        false
    }

    /// Whether it has no way to feed anything.
    fn only_listens(&self) -> bool {
        false
    }

    /// Refuses a session in which it would feed these inputs and hear these outputs, and no others.
    ///
    /// # Errors
    /// What it has frames for, or said that it would send or take in a way of its own, and why it cannot.
    fn fits(&self, inputs: &[&PortFacts], outputs: &[&PortFacts]) -> Result<(), Error> {
        let _ = (inputs, outputs);
        Ok(())
    }

    /// Which of the protocol's features it uses.
    fn features(&self) -> Features {
        Features::default()
    }
}

/// One client's way into a session.
pub(crate) trait Link: Send {
    /// What kind it is.
    fn transport(&self) -> Transport;

    /// What the client asks for.
    fn wishes(&self) -> &dyn Wishes;

    /// The next event from the client. With `read` false a frame that has not been read yet stays unread, which the client's
    /// transport feels; events that need no room may still come. Also drives what the transport needs besides.
    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp, read: bool) -> Poll<LinkEvent>;

    /// Takes a message for the client. Frames only within [`Link::window`], and at most as many again where several outputs speak at
    /// once; the others are few and always taken.
    fn send(&mut self, now: Timestamp, message: LinkMessage);

    /// How many frames the link takes now; `u32::MAX` for one that never waits.
    fn window(&self) -> u32;

    /// Moves what was sent towards the network. Ready when nothing is held back; after the last word, when the client has taken it
    /// or is gone.
    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<()>;

    /// How much the client has taken so far, in a unit of the link's own: it grows in [`Link::poll_flush`] while the client reads,
    /// however slowly.
    fn taken(&self) -> u64;

    /// Frames that were sent and that the client's network has not taken: lost if the link is dropped now.
    fn unsent(&self) -> u64;

    /// When [`Link::poll_event`] must be called again even if nothing comes.
    fn timeout(&self) -> Option<Timestamp> {
        None
    }

    /// Reception figures of its own, if it has a network to measure.
    fn webrtc_stats(&self) -> Option<WebrtcStats> {
        None
    }
}

/// What a client did.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// A frame for a pipeline input.
    Frame { input: usize, frame: Frame },
    /// An input ends; all of the client's if none is named.
    End { input: Option<usize> },
    /// The listener wants silence.
    Interrupt,
    /// The client takes this much more of an output (feature `credits`).
    Credit { output: usize, frames: u32 },
    /// The client consumed an output up to this number.
    Ack,
    /// A listener of an encoded stream cannot go on without a key frame.
    KeyFrameWanted { output: usize },
    /// From here on it feeds an input in another format.
    FeedsOtherwise { input: usize, format: StreamFormat },
    /// From here on it hears an output in another way.
    ListensOtherwise { output: usize, accepts: Accepts },
    /// The client left in good order.
    Closed,
    /// The client broke the protocol or its connection broke.
    Failed(Error),
}

/// What a client is told.
#[derive(Clone, Debug)]
pub(crate) enum LinkMessage {
    /// The session stands; the first message.
    Opened(Box<OpenedInfo>),
    /// A frame of an output.
    Frame { output: usize, frame: Frame },
    /// An output's audio ended before its time.
    Interrupted { output: usize },
    /// No more frames of an output will come.
    OutputEnded { output: usize },
    /// An input takes this much more (feature `credits`).
    Credit {
        input: usize,
        frames: u32,
        bytes: u64,
    },
    /// All that was made of an input's frames up to this number was sent before (features `acks` and `credits`).
    Ack { input: usize, seq: u64 },
    /// A replay of this input would have to begin here, although later frames were acknowledged; one above these takes that back
    /// (feature `acks`).
    ReplayFrom { input: usize, seq: u64 },
    /// Whoever feeds this input is asked for a key frame.
    KeyFrameWanted { input: usize },
    /// Figures per hop (feature `stats`).
    Stats(Vec<HopFigures>),
    /// The session will be ended after this time.
    Draining { deadline: Duration },
    /// What went wrong; the session, or this client's part of it, ends.
    Error(Error),
    /// The end; nothing follows.
    Ended { reason: &'static str },
}

/// Facts of a session that has been opened, for one of its clients.
#[derive(Clone, Debug)]
pub(crate) struct OpenedInfo {
    pub(crate) session_id: String,
    pub(crate) pipeline: String,
    /// Inputs that this client feeds: index, name, format it sends.
    pub(crate) inputs: Vec<(usize, String, StreamFormat)>,
    /// Outputs that this client hears: index, name, format it gets.
    pub(crate) outputs: Vec<(usize, String, StreamFormat)>,
    /// The same input from a replay point on gives the same outputs.
    pub(crate) deterministic: bool,
    pub(crate) message_bytes: u64,
    pub(crate) session_limit: Option<Duration>,
    pub(crate) idle_limit: Option<Duration>,
}

/// One hop's figures in a `stats` message.
#[derive(Clone, Debug)]
pub(crate) struct HopFigures {
    pub(crate) hop: String,
    pub(crate) node_type: String,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    /// Frames that did not go on, by reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    pub(crate) queue_frames: u32,
    pub(crate) queue: Option<crate::metrics::window::Percentiles>,
    pub(crate) service: Option<crate::metrics::window::Percentiles>,
    pub(crate) wire: Option<crate::metrics::window::Percentiles>,
}

/// Features of the native protocol (docs/stream.md) that a client named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// Frames flow by `credit` messages instead of the transport's own flow control.
    pub(crate) credits: bool,
    /// `stats` messages once a second.
    pub(crate) stats: bool,
    /// `ack` and `replay_from` for inputs.
    pub(crate) acks: bool,
}
