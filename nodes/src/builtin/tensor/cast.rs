//! `tensor.cast`: the same values as another element type.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tidegate_media::{Dtype, Kind, Payload};

use super::super::adapt::map;
use super::super::typed::{Inputs, Typed};
use crate::node::{DropReason, Node};
use crate::registry::{ParamError, Ports, Replay};
use crate::stream::StreamFormat;

pub(in super::super) struct Cast;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Params {
    /// The wanted element type.
    #[schemars(schema_with = "dtypes")]
    dtype: Dtype,
}

fn dtypes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let names: Vec<_> = Dtype::ALL.iter().map(|dtype| dtype.as_str()).collect();
    let schema = json!({"type": "string", "enum": names});
    schemars::Schema::try_from(schema).unwrap_or_default()
}

impl Typed for Cast {
    type Params = Params;

    const NAME: &'static str = "tensor.cast";
    const EXAMPLE: &'static str = r#"{"dtype": "f16"}"#;
    const SUMMARY: &'static str = "The same values as another element type: floats are rounded towards narrower floats and towards zero into \
                                   integers, what is out of range saturates.";
    const COST: &'static str = "3 µs for 800 elements, 1 ms a MiB of f32 to f16";
    const REPLAY: Replay = Replay::Same;

    fn ports(&self, _: &Params) -> Ports {
        super::ports(
            "Tensors.",
            Kind::Tensor,
            "The same values in the wanted type.",
        )
    }

    fn outputs(&self, _: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Tensor])
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(map(move |frame| match &frame.payload {
            Payload::Tensor(tensor) => tensor
                .cast(params.dtype)
                .map(Payload::Tensor)
                .map_err(|_| DropReason::Undecodable),
            _ => Err(DropReason::Undecodable),
        }))
    }
}
