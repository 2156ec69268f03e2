//! The messages of the native stream as the program speaks them: over frames, durations and checked names.
//!
//! The same on gRPC, WebSocket and data channels; [`crate::protobuf`] and [`crate::json`] carry them. What a message means is in
//! `tidegate/v1/gateway.proto`.

use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_media::{AudioFormat, Codec, Frame, Kind, VideoFormat};

use crate::name::PortName;

mod formats;
mod stats;

pub use formats::PortFormats;
pub use stats::{HopStats, Latency, Stats};

/// From whoever opens a session: a client, or a gateway to its worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// The first message; no other may come before it.
    Open(Box<Open>),
    /// A frame for an input. `meta.ingress` is when it was decoded.
    Frame {
        /// The input.
        port: PortName,
        /// The frame.
        frame: Frame,
    },
    /// The listener spoke over what it hears: forget what is on the way to it.
    Interrupt,
    /// No more frames will come.
    End {
        /// On this input; `None`: on all of this client's.
        port: Option<PortName>,
    },
    /// The client takes this much more of an output.
    Credit(Credit),
    /// The client has consumed an output up to a number.
    Ack(Ack),
}

/// From whoever runs the session.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    /// The answer to `open`.
    Opened(Box<Opened>),
    /// A frame of an output. `meta.ingress` is when it was decoded.
    Frame {
        /// The output.
        port: PortName,
        /// The input that `meta.caused_by` counts on; `None`: the only one. `meta.caused_port` does not travel.
        caused_port: Option<PortName>,
        /// The frame.
        frame: Frame,
    },
    /// An output's audio ended before its time; what was sent of it and is not played yet is void.
    Interrupted {
        /// The output; `None`: all of them.
        port: Option<PortName>,
        /// Why, for people.
        reason: String,
    },
    /// Something went wrong. Ends the session unless nothing else follows from it.
    Error(Box<WireError>),
    /// How long frames waited, computed and travelled.
    Stats(Box<Stats>),
    /// A replay of this input would have to begin here; its frames are to be kept from here on even if they are acknowledged.
    ReplayFrom(Ack),
    /// The server is shutting down and ends the session after this time.
    Draining {
        /// Time until then.
        deadline: Duration,
    },
    /// The session has ended well; nothing follows.
    Ended {
        /// Why, for people.
        reason: String,
    },
    /// The server takes this much more of an input.
    Credit(Credit),
    /// The server has consumed an input up to a number: all that comes of it on this stream was sent before (feature `acks`).
    Ack(Ack),
    /// One output has ended while others go on.
    End {
        /// The output.
        port: PortName,
    },
}

/// Asks for a session. By default a live one of nobody's, with no wishes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Open {
    /// What to run.
    pub source: Source,
    /// Values for the pipeline's parameters.
    pub parameters: Map<String, Value>,
    /// Whether the client can be told to wait.
    pub mode: Mode,
    /// Protocol features that the client understands; see [`feature`].
    pub features: Vec<String>,
    /// Joins, or creates, the shared session with this key.
    pub session: Option<String>,
    /// Ports of a shared session that this client takes; empty: all, or the first free seat where others may join.
    pub as_ports: Vec<PortName>,
    /// Formats of the audio and video that the client will send.
    pub inputs: Vec<(PortName, StreamSpec)>,
    /// Formats in which the client wants audio.
    pub outputs: Vec<(PortName, StreamSpec)>,
    /// Which ports raw binary messages carry (WebSocket with JSON only).
    pub raw: Option<Raw>,
    /// How many gateways stand before this one.
    pub hop_count: u32,
    /// The whole session's time limit from now.
    pub deadline: Option<Duration>,
}

/// Names of protocol features.
pub mod feature {
    /// Frames are sent only against `credit`.
    pub const CREDITS: &str = "credits";
    /// The server sends `stats`.
    pub const STATS: &str = "stats";
    /// The server sends `ack` for inputs of which everything has come out, and `replay_from` where that is not enough to go on with.
    pub const ACKS: &str = "acks";
}

/// What a session runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A pipeline that the server has, by name.
    Pipeline(String),
    /// A manifest's text, YAML or JSON.
    Manifest(String),
}

impl Default for Source {
    /// No pipeline is named.
    fn default() -> Self {
        Self::Pipeline(String::new())
    }
}

/// Whether a client can be told to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It cannot; queues shed by their rules.
    #[default]
    Live,
    /// It can; nothing is shed.
    Waits,
}

/// Ports that raw binary messages carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// Raw messages from the client are frames of this input.
    pub input: Option<PortName>,
    /// Frames of this output go out as raw messages.
    pub output: Option<PortName>,
}

/// The format of a port whose kind has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamSpec {
    /// Audio.
    Audio(AudioFormat),
    /// Video.
    Video(VideoFormat),
}

impl StreamSpec {
    /// What audio is unless somebody says otherwise: 16-bit PCM, 16 kHz, one channel.
    pub const DEFAULT_AUDIO: AudioFormat = AudioFormat {
        codec: Codec::PcmS16,
        sample_rate: 16_000,
        channels: 1,
    };
}

/// A session has begun.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    /// The session's id.
    pub session_id: String,
    /// The client's ports.
    pub ports: Vec<Port>,
    /// Features that both sides understand.
    pub features: Vec<String>,
    /// Limits that the client must keep.
    pub limits: Limits,
    /// The pipeline's name.
    pub pipeline: String,
    /// The server's version.
    pub gateway: String,
    /// The same input from a replay point on gives the same outputs.
    pub deterministic: bool,
}

/// A port of a pipeline as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: PortName,
    /// Which way frames go.
    pub direction: Direction,
    /// What they are.
    pub kind: Kind,
    /// Their format, where the kind has one and it is settled.
    pub format: Option<StreamSpec>,
}

/// Which way a port's frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    Input,
    /// To the client.
    Output,
}

/// Limits that a client must keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Largest message in bytes; 0: not told.
    pub message_bytes: u64,
    /// Longest life of a session.
    pub session: Option<Duration>,
    /// Longest silence of a client.
    pub idle: Option<Duration>,
}

/// Room that the receiver of a port's frames gives, on top of what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The port.
    pub port: PortName,
    /// Frames.
    pub frames: u32,
    /// Payload bytes; [`Credit::UNCOUNTED`]: only frames count.
    pub bytes: u64,
}

impl Credit {
    /// Bytes of a port that counts frames only.
    pub const UNCOUNTED: u64 = u64::MAX;
}

/// A place in a port's frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The port.
    pub port: PortName,
    /// The frame's number.
    pub seq: u64,
}

/// An error as it travels. Names stay strings: a newer peer has codes that this version lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireError {
    /// Stable name; an unknown one means `internal`.
    pub code: String,
    /// What, where and how to mend it.
    pub message: String,
    /// `client`, `gateway` or `worker`.
    pub fault: String,
    /// Whether the same request can succeed later.
    pub retryable: bool,
    /// The hop that it concerns.
    pub hop: Option<String>,
    /// The endpoint that it concerns.
    pub endpoint: Option<String>,
    /// Of a timeout: which wait ended.
    pub phase: Option<String>,
    /// When a retry may help.
    pub retry_after: Option<Duration>,
    /// Of a remote hop: how many attempts were made.
    pub attempt: Option<u32>,
    /// Of a remote hop: time spent on them.
    pub elapsed: Option<Duration>,
}

/// A whole pipeline run in one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Execute {
    /// What to run.
    pub source: Source,
    /// Values for the pipeline's parameters.
    pub parameters: Map<String, Value>,
    /// All frames of each input, numbered from 1 where the caller did not.
    pub inputs: Vec<(PortName, Vec<Frame>)>,
    /// Formats in which the caller wants audio.
    pub outputs: Vec<(PortName, StreamSpec)>,
    /// How many gateways stand before this one.
    pub hop_count: u32,
    /// The call's time limit from now.
    pub deadline: Option<Duration>,
}
