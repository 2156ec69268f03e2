//! Parameters between `google.protobuf.Struct` and JSON.
//!
//! A `Struct` knows one kind of number, a double. Whole numbers that a double holds exactly become JSON integers again, since a
//! parameter declared as an integer would refuse `16000.0`.

use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

use crate::error::{WireMessageError, at_most};
use crate::limits::PARAMETERS_DEPTH;
use crate::validate;

type Result<T> = std::result::Result<T, WireMessageError>;

/// Whole numbers up to here are exact in a double (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn decode(
    field: &str,
    parameters: Option<prost_types::Struct>,
) -> Result<Map<String, Value>> {
    let map = object(field, parameters.unwrap_or_default(), 1)?;
    validate::parameters(field, &map)?;
    Ok(map)
}

fn object(field: &str, object: prost_types::Struct, depth: usize) -> Result<Map<String, Value>> {
    let entries = object.fields.into_iter();
    entries
        .map(|(key, item)| Ok((key, value(field, item, depth)?)))
        .collect()
}

fn value(field: &str, item: prost_types::Value, depth: usize) -> Result<Value> {
    at_most(field, depth, PARAMETERS_DEPTH, "levels")?;
    Ok(match item.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(number)) => number_value(field, number)?,
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::StructValue(inner)) => Value::Object(object(field, inner, depth + 1)?),
        Some(Kind::ListValue(list)) => {
            let items = list.values.into_iter();
            let items: Result<_> = items.map(|item| value(field, item, depth + 1)).collect();
            Value::Array(items?)
        }
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the number is whole and within 2^53"
)]
fn number_value(field: &str, number: f64) -> Result<Value> {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Ok(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number).ok_or_else(|| {
        WireMessageError::invalid(
            field,
            format!("has the number {number}"),
            "JSON has finite numbers only",
        )
    })
}

pub(super) fn encode(parameters: Map<String, Value>) -> Option<prost_types::Struct> {
    (!parameters.is_empty()).then(|| encode_object(parameters))
}

fn encode_object(map: Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct {
        fields: map
            .into_iter()
            .map(|(key, item)| (key, encode_value(item)))
            .collect(),
    }
}

fn encode_value(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.into_iter().map(encode_value).collect(),
        }),
        Value::Object(map) => Kind::StructValue(encode_object(map)),
    };
    prost_types::Value { kind: Some(kind) }
}
