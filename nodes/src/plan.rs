//! A plan: a pipeline compiled and bound to the formats and parameters of one session. Immutable.
//!
//! Made by the compiler, run by the graph, drawn by `graph`. Indices are positions in the plan's own lists.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_media::Kind;

use crate::stream::{Accepts, StreamFormat};

/// Where a hop's work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// A call in the graph itself.
    InPlace,
    /// On a thread, behind a queue.
    Offload,
    /// In another process, behind a queue.
    Remote,
}

/// Whether a client stream can be told to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It cannot: WebRTC, telephony. What does not fit is shed and counted.
    #[default]
    Live,
    /// It can: files, `execute`. Every queue blocks, nothing is shed for its age.
    Waits,
}

/// A pipeline ready to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// What a client may send to, in manifest order.
    pub inputs: Vec<PlanInput>,
    /// What a client may listen to, in manifest order.
    pub outputs: Vec<PlanOutput>,
    /// Nodes, inserted conversions between nodes included; conversions at inputs and outputs belong to the client that is attached
    /// there and are made when it comes.
    pub hops: Vec<PlanHop>,
    /// What is joined to what.
    pub edges: Vec<PlanEdge>,
    /// What ends the listener's audio.
    pub interrupt: Option<PlanInterrupt>,
}

impl Plan {
    /// Whether something is made in it although nothing comes in: a node to which nothing is joined.
    #[must_use]
    pub fn generates(&self) -> bool {
        (0..self.hops.len()).any(|index| {
            let into = |edge: &PlanEdge| matches!(edge.to, Target::Hop { hop, .. } if hop == index);
            !self.edges.iter().any(into)
        })
    }
}

/// An input of the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanInput {
    /// Its name, which is also its id in edges.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The format that flows from it inside the graph. What a client sends is converted to this.
    pub format: StreamFormat,
}

/// An output of the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanOutput {
    /// Its name, which is also its id in edges.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The format that reaches it inside the graph. What a client receives is converted from this.
    pub format: StreamFormat,
    /// The input whose client is meant to hear it (a seat in a shared session).
    pub seat: Option<usize>,
    /// Released by media time (a listener plays it) rather than as fast as it comes.
    pub paced: bool,
    /// What it is to clients that know outputs by their part in a conversation.
    pub role: Option<OutputRole>,
    /// Bounds of each listener's egress queue.
    pub queue: Queue,
}

/// The part that an output has in a conversation, for interfaces whose clients do not know the names of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputRole {
    /// Text: what was understood of what the client said.
    InputTranscript,
    /// Text: what is answered, in words.
    OutputTranscript,
    /// JSON: when speech starts and stops, as `audio.vad` says it.
    SpeechEvents,
}

impl OutputRole {
    /// All, by their names in manifests.
    pub(crate) const NAMES: [(&str, Self); 3] = [
        ("input_transcript", Self::InputTranscript),
        ("output_transcript", Self::OutputTranscript),
        ("speech_events", Self::SpeechEvents),
    ];

    /// Its name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InputTranscript => "input_transcript",
            Self::OutputTranscript => "output_transcript",
            Self::SpeechEvents => "speech_events",
        }
    }

    /// What an output with this role gives.
    pub const fn kind(self) -> Kind {
        match self {
            Self::InputTranscript | Self::OutputTranscript => Kind::Text,
            Self::SpeechEvents => Kind::Json,
        }
    }
}

/// A hop: a node in its place.
#[derive(Clone, PartialEq, Serialize)]
pub struct PlanHop {
    /// Its id, unique in the plan; inserted conversions are named `<node>.<port>:<conversion>`.
    pub id: String,
    /// Its node type.
    #[serde(rename = "type")]
    pub node_type: String,
    /// Where its work is done.
    pub placement: Placement,
    /// Inserted by the compiler.
    pub inserted: bool,
    /// Parameters with references resolved; secrets are in here: never serialised, never shown.
    #[serde(skip)]
    pub params: Arc<serde_json::Value>,
    /// Input ports, in the type's order.
    pub inputs: Vec<PlanPort>,
    /// Output ports, in the type's order.
    pub outputs: Vec<PlanPort>,
}

impl fmt::Debug for PlanHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanHop")
            .field("id", &self.id)
            .field("node_type", &self.node_type)
            .field("placement", &self.placement)
            .field("inserted", &self.inserted)
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

/// A port of a hop with what flows through it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanPort {
    /// Its name.
    pub name: String,
    /// The exact format; `None` if nothing is joined to it.
    pub format: Option<StreamFormat>,
    /// Inputs: what it accepts. Outputs: the kind where it is known before formats are, else `Anything`.
    #[serde(skip)]
    pub accepts: Accepts,
}

/// Where an edge begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An input of the pipeline.
    Input(usize),
    /// An output port of a hop.
    Hop {
        /// The hop.
        hop: usize,
        /// Its output port.
        port: usize,
    },
}

/// Where an edge ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// An input port of a hop.
    Hop {
        /// The hop.
        hop: usize,
        /// Its input port.
        port: usize,
    },
    /// An output of the pipeline.
    Output(usize),
}

/// An edge. Its queue exists only before an offloaded or remote hop and at an output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanEdge {
    /// Where it begins.
    pub from: Source,
    /// Where it ends.
    pub to: Target,
    /// Bounds of its queue.
    pub queue: Queue,
    /// Whether the manifest gave the bounds, or they are the defaults.
    pub explicit: bool,
}

/// Bounds of a queue, and what happens when it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Most frames.
    pub frames: u32,
    /// Most payload bytes.
    pub bytes: u64,
    /// Longest wait of a frame; not applied under `waits`, nor with `block`.
    pub age: Option<Duration>,
    /// What happens when it is full.
    pub when_full: WhenFull,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            frames: 64,
            bytes: 4 << 20,
            age: None,
            when_full: WhenFull::Block,
        }
    }
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Makes whoever sends wait; reaches the transport, and that stops reading.
    #[default]
    Block,
    /// Forgets the frame that waited longest: the listener hears a gap, then what is new.
    DropOldest,
    /// Refuses the new frame: the listener hears what is old, then a gap.
    DropNewest,
}

/// What ends the listener's audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanInterrupt {
    /// A frame on this port interrupts, besides a client's `interrupt`.
    pub on: Option<Source>,
    /// Hops that forget what they hold; the others keep their data.
    pub flush: Vec<usize>,
}
