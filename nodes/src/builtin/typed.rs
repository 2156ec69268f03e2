//! From a node type with typed parameters to the untyped one that the registry holds.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tidegate_media::AudioFormat;

use crate::node::Node;
use crate::plan::Placement;
use crate::registry::{Caps, NodeType, ParamError, Ports, Registry, Replay};
use crate::stream::StreamFormat;

/// Exact formats of a node's inputs in port order; `None` where nothing is joined.
pub(super) type Inputs<'a> = &'a [Option<StreamFormat>];

/// A node type whose parameters are a struct.
pub(super) trait Typed: Send + Sync + 'static {
    /// Its parameters; the doc comments of its fields are published.
    type Params: DeserializeOwned + JsonSchema;

    const NAME: &'static str;
    const SUMMARY: &'static str;
    const COST: &'static str;
    /// As [`NodeType::example`], in JSON.
    const EXAMPLE: &'static str = "{}";
    const PLACEMENT: Placement = Placement::InPlace;
    const CAPS: Caps = Caps { files: false };
    /// What a replay makes, unless [`Typed::replay`] knows better.
    const REPLAY: Replay = Replay::Differs;
    const REPLAY_DOC: &'static str = Self::REPLAY.as_str();

    /// What the struct's types cannot say: ranges, and what goes together.
    fn check(&self, params: &Self::Params) -> Result<(), ParamError> {
        let _ = params;
        Ok(())
    }

    /// Ports for parameters that were checked.
    fn ports(&self, params: &Self::Params) -> Ports;

    /// Output formats for parameters that were checked.
    fn outputs(
        &self,
        params: &Self::Params,
        inputs: Inputs<'_>,
    ) -> Result<Vec<StreamFormat>, ParamError>;

    /// As [`NodeType::replay`], for parameters that were checked.
    fn replay(&self, params: &Self::Params, inputs: Inputs<'_>) -> Replay {
        let _ = (params, inputs);
        Self::REPLAY
    }

    /// The node, for parameters that were checked.
    fn build(&self, params: Self::Params, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError>;
}

/// Adds a type to a registry.
pub(super) fn add<T: Typed>(registry: &mut Registry, node_type: T) {
    registry.add(Untyped(node_type));
}

struct Untyped<T>(T);

impl<T: Typed> Untyped<T> {
    fn params(&self, value: &Value) -> Result<T::Params, ParamError> {
        let params = read(value)?;
        self.0.check(&params)?;
        Ok(params)
    }
}

impl<T: Typed> NodeType for Untyped<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn summary(&self) -> &'static str {
        T::SUMMARY
    }

    fn cost(&self) -> &'static str {
        T::COST
    }

    fn example(&self) -> Value {
        // The reference of node types, which a test writes, is made with each of them.
        serde_json::from_str(T::EXAMPLE).unwrap_or_default()
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(T::Params).to_value()
    }

    fn placement(&self) -> Placement {
        T::PLACEMENT
    }

    fn caps(&self) -> Caps {
        T::CAPS
    }

    fn replay(&self, params: &Value, inputs: Inputs<'_>) -> Replay {
        let params = self.params(params);
        params.map_or(Replay::Differs, |params| self.0.replay(&params, inputs))
    }

    fn replay_doc(&self) -> &'static str {
        T::REPLAY_DOC
    }

    fn ports(&self, params: &Value) -> Result<Ports, ParamError> {
        Ok(self.0.ports(&self.params(params)?))
    }

    fn outputs(&self, params: &Value, inputs: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        self.0.outputs(&self.params(params)?, inputs)
    }

    fn build(&self, params: &Value, inputs: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        self.0.build(self.params(params)?, inputs)
    }
}

/// Reads parameters; absent ones are an empty object.
fn read<P: DeserializeOwned>(value: &Value) -> Result<P, ParamError> {
    let empty = Value::Object(Map::new());
    let value = if value.is_null() { &empty } else { value };
    if !value.is_object() {
        let message = "parameters are a map, such as {name: value}";
        return Err(ParamError::new("", message));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string() {
            whole if whole == "." => String::new(),
            path => path,
        };
        ParamError::new(path, error.into_inner().to_string())
    })
}

/// The audio format of an input port that must be joined.
pub(super) fn audio_input(inputs: Inputs<'_>, port: usize) -> Result<AudioFormat, ParamError> {
    inputs
        .get(port)
        .copied()
        .flatten()
        .and_then(|format| format.audio_format())
        .ok_or_else(|| ParamError::new("", "needs audio on its input: join an edge to it"))
}
