//! The protocol's messages over gRPC. Requests and responses are written with raw contents, and read with either.

use std::collections::HashMap;

use bytes::{BufMut as _, Bytes};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use serde_json::{Map, Value};
use tidegate_media::Dtype;

use super::strings::check_count;
use super::{
    Data, Datatype, InferRequest, InferResponse, Named, Result, TENSORS, Wanted, numbers,
    shape_from, shape_to,
};
use crate::WireMessageError;
use crate::error::at_most;
use crate::inference as pb;
use crate::inference::infer_parameter::ParameterChoice;
use crate::limits::{PARAMETERS_VALUES, STRING_BYTES};

/// A request that came, as its bytes.
///
/// # Errors
/// It is none, or a field has a value that cannot be.
pub fn decode_request_bytes(message: Bytes) -> Result<InferRequest> {
    let message = pb::ModelInferRequest::decode(message).map_err(|error| {
        let problem = format!("is no ModelInferRequest ({error})");
        WireMessageError::invalid("the message", problem, "send protobuf of inference.v2")
    })?;
    decode_request(message)
}

/// A request that came.
///
/// # Errors
/// A field has a value that cannot be; the text names it.
pub fn decode_request(message: pb::ModelInferRequest) -> Result<InferRequest> {
    check_string("id", &message.id)?;
    check_tensors("outputs", message.outputs.len())?;
    let inputs = message.inputs.into_iter().map(Parts::from).collect();
    let outputs = message.outputs.into_iter().map(|output| Wanted {
        name: output.name,
        binary: None,
    });
    Ok(InferRequest {
        model: message.model_name,
        version: message.model_version,
        id: message.id,
        parameters: parameters_from("parameters", message.parameters)?,
        inputs: tensors_from(
            "inputs",
            "raw_input_contents",
            inputs,
            message.raw_input_contents,
        )?,
        outputs: outputs.collect(),
    })
}

/// A response that came.
///
/// # Errors
/// A field has a value that cannot be; the text names it.
pub fn decode_response(message: pb::ModelInferResponse) -> Result<InferResponse> {
    let outputs = message.outputs.into_iter().map(Parts::from).collect();
    let raw = message.raw_output_contents;
    Ok(InferResponse {
        model: message.model_name,
        version: message.model_version,
        id: message.id,
        parameters: parameters_from("parameters", message.parameters)?,
        outputs: tensors_from("outputs", "raw_output_contents", outputs, raw)?,
    })
}

/// A request that goes.
#[must_use]
pub fn encode_request(request: InferRequest) -> pb::ModelInferRequest {
    let mut raw = Vec::new();
    let input = |named: Named| pb::model_infer_request::InferInputTensor {
        name: named.name,
        datatype: named.data.datatype().as_str().to_owned(),
        shape: shape_to(named.data.shape()),
        parameters: parameters_to(named.parameters),
        contents: {
            raw.push(named.data.into_raw());
            None
        },
    };
    let inputs = request.inputs.into_iter().map(input).collect();
    let output = |wanted: Wanted| pb::model_infer_request::InferRequestedOutputTensor {
        name: wanted.name,
        parameters: HashMap::new(),
    };
    pb::ModelInferRequest {
        model_name: request.model,
        model_version: request.version,
        id: request.id,
        parameters: parameters_to(request.parameters),
        inputs,
        outputs: request.outputs.into_iter().map(output).collect(),
        raw_input_contents: raw,
    }
}

/// A response that goes.
#[must_use]
pub fn encode_response(response: InferResponse) -> pb::ModelInferResponse {
    let mut raw = Vec::new();
    let output = |named: Named| pb::model_infer_response::InferOutputTensor {
        name: named.name,
        datatype: named.data.datatype().as_str().to_owned(),
        shape: shape_to(named.data.shape()),
        parameters: parameters_to(named.parameters),
        contents: {
            raw.push(named.data.into_raw());
            None
        },
    };
    pb::ModelInferResponse {
        outputs: response.outputs.into_iter().map(output).collect(),
        model_name: response.model,
        model_version: response.version,
        id: response.id,
        parameters: parameters_to(response.parameters),
        raw_output_contents: raw,
    }
}

/// `ModelInferResponse.raw_output_contents`, which has the highest number and is therefore written last.
const RAW: u32 = 6;
/// `ModelStreamInferResponse.infer_response`, likewise.
const RESPONSE: u32 = 2;

/// A response's encoding as pieces: what is said of the tensors, and each one's raw contents, which are not copied. `streamed`: as
/// the message of `ModelStreamInfer`, in which a response is wrapped.
#[must_use]
pub fn response_pieces(response: InferResponse, streamed: bool) -> Vec<Bytes> {
    let mut message = encode_response(response);
    let raw = std::mem::take(&mut message.raw_output_contents);
    let contents: usize = raw
        .iter()
        .map(|raw| key_len(RAW) + encoded_len_varint(raw.len() as u64) + raw.len())
        .sum();
    let length = message.encoded_len() + contents;
    let mut head = Vec::with_capacity(message.encoded_len() + 32);
    if streamed {
        encode_key(RESPONSE, WireType::LengthDelimited, &mut head);
        encode_varint(length as u64, &mut head);
    }
    message.encode_raw(&mut head);
    let mut pieces = Vec::with_capacity(2 * raw.len() + 1);
    for raw in raw {
        encode_key(RAW, WireType::LengthDelimited, &mut head);
        encode_varint(raw.len() as u64, &mut head);
        pieces.push(Bytes::from(std::mem::take(&mut head)));
        pieces.push(raw);
    }
    if !head.is_empty() {
        pieces.push(Bytes::from(head));
    }
    pieces
}

/// The message of `ModelStreamInfer` that says what is wrong with a request.
#[must_use]
pub fn error_pieces(id: String, error_message: String) -> Vec<Bytes> {
    let message = pb::ModelStreamInferResponse {
        error_message,
        infer_response: Some(pb::ModelInferResponse {
            id,
            ..pb::ModelInferResponse::default()
        }),
    };
    vec![message.encode_to_vec().into()]
}

/// What an input and an output have in common.
struct Parts {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    parameters: HashMap<String, pb::InferParameter>,
    contents: Option<pb::InferTensorContents>,
}

impl From<pb::model_infer_request::InferInputTensor> for Parts {
    fn from(tensor: pb::model_infer_request::InferInputTensor) -> Self {
        Self {
            name: tensor.name,
            datatype: tensor.datatype,
            shape: tensor.shape,
            parameters: tensor.parameters,
            contents: tensor.contents,
        }
    }
}

impl From<pb::model_infer_response::InferOutputTensor> for Parts {
    fn from(tensor: pb::model_infer_response::InferOutputTensor) -> Self {
        Self {
            name: tensor.name,
            datatype: tensor.datatype,
            shape: tensor.shape,
            parameters: tensor.parameters,
            contents: tensor.contents,
        }
    }
}

fn tensors_from(
    list: &str,
    raw_list: &str,
    tensors: Vec<Parts>,
    raw: Vec<Bytes>,
) -> Result<Vec<Named>> {
    check_tensors(list, tensors.len())?;
    let is_raw = !raw.is_empty();
    if is_raw && raw.len() != tensors.len() {
        return Err(WireMessageError::invalid(
            raw_list,
            format!("has {} entries for {} {list}", raw.len(), tensors.len()),
            "give one for each tensor, in their order, or none",
        ));
    }
    let mut raw = raw.into_iter();
    let one = |tensor: Parts| {
        let field = super::clip(&tensor.name);
        let field = format!("{list}[{field}]");
        let kind = Datatype::at(&field, &tensor.datatype)?;
        let shape = shape_from(&field, &tensor.shape)?;
        let data = match (raw.next(), tensor.contents) {
            (Some(_), Some(contents)) if contents != pb::InferTensorContents::default() => {
                Err(WireMessageError::invalid(
                    format!("{field}.contents"),
                    format!("is there beside {raw_list}"),
                    "give one or the other",
                ))
            }
            (Some(raw), _) => Data::raw(&field, kind, &shape, raw),
            (None, contents) => typed(&field, kind, &shape, contents.unwrap_or_default()),
        };
        Ok(Named {
            data: data?,
            parameters: parameters_from(&format!("{field}.parameters"), tensor.parameters)?,
            name: tensor.name,
        })
    };
    tensors.into_iter().map(one).collect()
}

/// The elements of typed contents.
fn typed(
    field: &str,
    kind: Datatype,
    shape: &[u64],
    contents: pb::InferTensorContents,
) -> Result<Data> {
    if kind.is_raw_only() {
        return Err(WireMessageError::invalid(
            field,
            format!("is of {}, which has no typed contents", kind.as_str()),
            "send it as raw_input_contents",
        ));
    }
    let Datatype::Number(dtype) = kind else {
        check_count(field, contents.bytes_contents.len())?;
        return Data::of_strings(field, shape, contents.bytes_contents);
    };
    let range = |_| {
        let problem = format!("has a value that {} does not hold", kind.as_str());
        WireMessageError::invalid(field, problem, "send values in range")
    };
    let data: Vec<u8> = match dtype {
        Dtype::Bool => contents
            .bool_contents
            .iter()
            .map(|b| u8::from(*b))
            .collect(),
        Dtype::I8 => fold(&contents.int_contents, |v| {
            i8::try_from(v).map(i8::to_le_bytes)
        })
        .map_err(range)?,
        Dtype::I16 => fold(&contents.int_contents, |v| {
            i16::try_from(v).map(i16::to_le_bytes)
        })
        .map_err(range)?,
        Dtype::U8 => fold(&contents.uint_contents, |v| {
            u8::try_from(v).map(u8::to_le_bytes)
        })
        .map_err(range)?,
        Dtype::U16 => fold(&contents.uint_contents, |v| {
            u16::try_from(v).map(u16::to_le_bytes)
        })
        .map_err(range)?,
        Dtype::I32 => bytes_of(&contents.int_contents, i32::to_le_bytes),
        Dtype::U32 => bytes_of(&contents.uint_contents, u32::to_le_bytes),
        Dtype::I64 => bytes_of(&contents.int64_contents, i64::to_le_bytes),
        Dtype::U64 => bytes_of(&contents.uint64_contents, u64::to_le_bytes),
        Dtype::F32 => bytes_of(&contents.fp32_contents, f32::to_le_bytes),
        Dtype::F64 => bytes_of(&contents.fp64_contents, f64::to_le_bytes),
        Dtype::F16 | Dtype::Bf16 => Vec::new(),
    };
    numbers(field, dtype, shape, data.into())
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

fn fold<T: Copy, E, const N: usize>(
    values: &[T],
    bytes: impl Fn(T) -> std::result::Result<[u8; N], E>,
) -> std::result::Result<Vec<u8>, E> {
    let mut data = Vec::with_capacity(values.len() * N);
    for &value in values {
        data.put_slice(&bytes(value)?);
    }
    Ok(data)
}

fn check_tensors(list: &str, count: usize) -> Result<()> {
    at_most(list, count, TENSORS, "tensors")
}

fn check_string(field: &str, text: &str) -> Result<()> {
    at_most(field, text.len(), STRING_BYTES, "bytes")
}

fn parameters_from(
    field: &str,
    parameters: HashMap<String, pb::InferParameter>,
) -> Result<Map<String, Value>> {
    at_most(field, parameters.len(), PARAMETERS_VALUES, "values")?;
    let value = |parameter: pb::InferParameter| match parameter.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Value::from(value),
        Some(ParameterChoice::Int64Param(value)) => Value::from(value),
        Some(ParameterChoice::StringParam(value)) => Value::from(value),
        Some(ParameterChoice::DoubleParam(value)) => Value::from(value),
        Some(ParameterChoice::Uint64Param(value)) => Value::from(value),
        None => Value::Null,
    };
    let parameters = parameters.into_iter();
    Ok(parameters.map(|(name, p)| (name, value(p))).collect())
}

fn parameters_to(parameters: Map<String, Value>) -> HashMap<String, pb::InferParameter> {
    let choice = |value: Value| match value {
        Value::Bool(value) => Some(ParameterChoice::BoolParam(value)),
        Value::String(value) => Some(ParameterChoice::StringParam(value)),
        Value::Number(number) => Some(match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => ParameterChoice::Int64Param(value),
            (None, Some(value)) => ParameterChoice::Uint64Param(value),
            (None, None) => ParameterChoice::DoubleParam(number.as_f64().unwrap_or_default()),
        }),
        // The protocol has no lists and no objects: their text.
        Value::Null => None,
        other => Some(ParameterChoice::StringParam(other.to_string())),
    };
    let parameters = parameters.into_iter();
    let parameters = parameters.map(|(name, value)| {
        let parameter_choice = choice(value);
        (name, pb::InferParameter { parameter_choice })
    });
    parameters.collect()
}
