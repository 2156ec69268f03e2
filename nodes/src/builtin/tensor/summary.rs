//! `tensor.summary`: what a tensor is, as JSON.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_media::{Dtype, Json, Kind, Payload, Tensor};

use super::super::adapt::map;
use super::super::typed::{Inputs, Typed};
use crate::node::{DropReason, Node};
use crate::registry::{ParamError, Ports, Replay};
use crate::stream::StreamFormat;

pub(in super::super) struct Summary;

/// It has no parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Params {}

impl Typed for Summary {
    type Params = Params;

    const NAME: &'static str = "tensor.summary";
    const SUMMARY: &'static str = "What a tensor is, as JSON: dtype, shape, and of its finite values the least, the greatest and the mean.";
    const COST: &'static str = "3 µs for 800 elements, 0.7 ms a MiB of f32";
    const REPLAY: Replay = Replay::Same;

    fn ports(&self, _: &Params) -> Ports {
        super::ports(
            "Tensors.",
            Kind::Json,
            "`{dtype, shape, elements, finite, min, max, mean}`; the last three are null without finite values.",
        )
    }

    fn outputs(&self, _: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Json])
    }

    fn build(&self, _: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(map(|frame| match &frame.payload {
            Payload::Tensor(tensor) => Ok(Payload::Json(Json::from(&summary(tensor)?))),
            _ => Err(DropReason::Undecodable),
        }))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^52 are exact")]
fn summary(tensor: &Tensor) -> Result<Value, DropReason> {
    let wide = tensor
        .cast(Dtype::F64)
        .map_err(|_| DropReason::Undecodable)?;
    let values = wide
        .elements::<f64>()
        .map_err(|_| DropReason::Undecodable)?;
    let (mut finite, mut min, mut max, mut sum) = (0_u64, f64::INFINITY, f64::NEG_INFINITY, 0.0);
    for &value in values.iter().filter(|value| value.is_finite()) {
        finite += 1;
        min = min.min(value);
        max = max.max(value);
        sum += value;
    }
    let of = |value: f64| (finite > 0).then_some(value);
    Ok(json!({
        "dtype": tensor.dtype().as_str(),
        "shape": tensor.shape(),
        "elements": values.len(),
        "finite": finite,
        "min": of(min),
        "max": of(max),
        "mean": of(sum / finite.max(1) as f64),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_media::{Frame, MediaTime};

    use super::super::super::testing::Bench;
    use super::*;

    fn told(tensor: Tensor) -> Value {
        let mut cast = Bench::new(
            "tensor.cast",
            json!({"dtype": "f16"}),
            &[StreamFormat::Tensor],
        );
        let mut bench = Bench::new("tensor.summary", json!({}), &cast.formats);
        let frame = Frame::new(MediaTime::from_micros(5), Payload::Tensor(tensor));
        let made = bench.frames(cast.frame(frame));
        assert_eq!(made[0].meta.media_time.as_micros(), 5);
        match &made[0].payload {
            Payload::Json(json) => json.to_value(),
            other => panic!("{}", other.kind()),
        }
    }

    #[test]
    fn a_tensor_is_cast_and_described() {
        let tensor = Tensor::from_vec(&[2, 2], vec![1_i32, -3, 2, 4]).expect("a tensor");
        assert_eq!(
            told(tensor),
            json!({"dtype": "f16", "shape": [2, 2], "elements": 4, "finite": 4, "min": -3.0, "max": 4.0, "mean": 1.0})
        );
    }

    #[test]
    fn values_that_are_none_are_left_out() {
        let tensor = Tensor::from_vec(&[3], vec![f32::NAN, 0.5, f32::INFINITY]).expect("a tensor");
        let told = told(tensor);
        assert_eq!((&told["finite"], &told["max"]), (&json!(1), &json!(0.5)));
        let empty = Tensor::from_vec::<f32>(&[0, 80], Vec::new()).expect("a tensor");
        assert_eq!(
            super::super::summary::summary(&empty).expect("told")["mean"],
            Value::Null
        );
    }
}
