//! Node types: what can be named in a manifest's `type`.
//!
//! A type says which ports it has for given parameters, what comes out for exact input formats, and makes the node. It does no
//! I/O except in `build` of types that say so in [`Caps::files`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidegate_media::Kind;

use crate::node::Node;
use crate::plan::Placement;
use crate::stream::{Accepts, StreamFormat};

/// A kind of node.
pub trait NodeType: Send + Sync {
    /// The name in manifests, such as `audio.gain`.
    fn name(&self) -> &'static str;

    /// One sentence on what it does.
    fn summary(&self) -> &'static str;

    /// What a frame costs, measured, and on what: text for people.
    fn cost(&self) -> &'static str;

    /// JSON Schema of its parameters.
    fn schema(&self) -> Value;

    /// Parameters with which it can be used; its ports are shown for these.
    fn example(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }

    /// Where its work is done.
    fn placement(&self) -> Placement {
        Placement::InPlace
    }

    /// What it touches besides its frames.
    fn caps(&self) -> Caps {
        Caps::default()
    }

    /// Whether a replay makes the same again, for these parameters and exact input formats.
    fn replay(&self, params: &Value, inputs: &[Option<StreamFormat>]) -> Replay {
        let _ = (params, inputs);
        Replay::Differs
    }

    /// What a replay makes: text for people.
    fn replay_doc(&self) -> &'static str {
        Replay::Differs.as_str()
    }

    /// Its ports for these parameters.
    ///
    /// # Errors
    /// A parameter is missing, unknown, of the wrong type or out of range.
    fn ports(&self, params: &Value) -> Result<Ports, ParamError>;

    /// The exact format of each output for the exact format of each input (`None`: not joined), in port order.
    ///
    /// # Errors
    /// As for [`NodeType::ports`], or the formats do not go together.
    fn outputs(
        &self,
        params: &Value,
        inputs: &[Option<StreamFormat>],
    ) -> Result<Vec<StreamFormat>, ParamError>;

    /// Makes the node for exact input formats.
    ///
    /// # Errors
    /// As for [`NodeType::outputs`].
    fn build(
        &self,
        params: &Value,
        inputs: &[Option<StreamFormat>],
    ) -> Result<Box<dyn Node>, ParamError>;
}

/// What a node type touches besides its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Reads or writes files: refused in a stranger's manifest.
    pub files: bool,
}

/// What becomes of a node's output when its input is replayed into a new node from where [`Node::holds`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replay {
    /// The same, byte for byte, wherever it begins.
    Same,
    /// The same where it counts from: in a pipeline that is one line, so that nothing else says where a replay begins.
    SameInLine,
    /// The same, in sound that is cut into utterances. In sound that is not, what it kept (a filter's memory, the rest of a packet)
    /// begins anew, which is some milliseconds that differ.
    SameInUtterances,
    /// Something else: its state reaches back further than any replay, or it acts on time or chance.
    Differs,
}

impl Replay {
    /// What it means, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "makes the same again",
            Self::SameInLine => "makes the same again in a pipeline without branches",
            Self::SameInUtterances => "makes the same again of sound in utterances",
            Self::Differs => "does not make the same again",
        }
    }
}

/// A parameter that does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .mend.as_deref().map(|mend| format!("; {mend}")).unwrap_or_default())]
pub struct ParamError {
    /// Path of the parameter below `params`, such as `queue.frames`; empty for the whole.
    pub path: String,
    /// What is wrong; and after its last colon how to mend it, unless `mend` says that.
    pub message: String,
    /// How to mend it.
    pub mend: Option<String>,
}

impl ParamError {
    /// An error at a parameter.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            mend: None,
        }
    }

    /// An error at a parameter whose mend may hold any text.
    #[must_use]
    pub fn mended(
        path: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            mend: Some(mend.into()),
            ..Self::new(path, message)
        }
    }
}

/// Ports of a node, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Input ports.
    pub inputs: Vec<Port>,
    /// Output ports.
    pub outputs: Vec<Port>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in edges.
    pub name: String,
    /// Inputs: what it accepts. Outputs: `Kind` where it is known before formats are, else `Anything`.
    pub accepts: Accepts,
    /// Whether an edge must be joined to it (inputs only).
    pub required: bool,
    /// One sentence for people.
    pub doc: &'static str,
}

impl Port {
    /// An input port that must be joined.
    #[must_use]
    pub fn input(name: impl Into<String>, accepts: Accepts, doc: &'static str) -> Self {
        Self {
            name: name.into(),
            accepts,
            required: true,
            doc,
        }
    }

    /// An output port of a kind.
    #[must_use]
    pub fn output(name: impl Into<String>, kind: Kind, doc: &'static str) -> Self {
        Self {
            name: name.into(),
            accepts: Accepts::Kind(kind),
            required: false,
            doc,
        }
    }
}

/// The node types that manifests may name.
#[derive(Clone, Default)]
pub struct Registry {
    types: BTreeMap<&'static str, Arc<dyn NodeType>>,
}

impl Registry {
    /// A registry without types.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds a type; replaces one of the same name.
    pub fn add(&mut self, node_type: impl NodeType + 'static) {
        self.types.insert(node_type.name(), Arc::new(node_type));
    }

    /// Adds a type that another registry holds as well; replaces one of the same name.
    pub fn add_shared(&mut self, node_type: Arc<dyn NodeType>) {
        self.types.insert(node_type.name(), node_type);
    }

    /// The type with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn NodeType>> {
        self.types.get(name)
    }

    /// All types by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn NodeType>> {
        self.types.values()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.types.keys()).finish()
    }
}
