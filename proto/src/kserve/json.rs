//! The protocol over REST: JSON, and behind it the raw contents of tensors that say how long theirs are (the binary tensor data
//! extension; the header `Inference-Header-Content-Length` says where the JSON ends).

mod elements;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::elements::{Listed, put, walk};
use super::strings::{STRINGS, check_count};
use super::{
    Data, Datatype, InferRequest, InferResponse, Named, Result, TENSORS, Wanted, numbers,
    shape_from,
};
use crate::WireMessageError;
use crate::error::at_most;
use crate::validate;

/// The header that says how many bytes of a body are JSON.
pub const HEADER_LENGTH: &str = "inference-header-content-length";
/// Parameter of a tensor: bytes of its raw contents, which follow the JSON.
const BINARY_SIZE: &str = "binary_data_size";
/// Parameter of a wanted output: it shall be raw.
const BINARY: &str = "binary_data";
/// Parameter of a request: so shall all that do not say.
const BINARY_ALL: &str = "binary_data_output";

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    id: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// Not parsed before its datatype is known: a list of values takes many times the room of its text.
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// A request for `model`: a body of which the first `header` bytes are JSON, all of it without a header.
///
/// # Errors
/// The body is no such request; the text names what is wrong.
pub fn decode_request(
    model: &str,
    version: &str,
    body: &Bytes,
    header: Option<usize>,
) -> Result<InferRequest> {
    let header = header.unwrap_or(body.len());
    if header > body.len() {
        return Err(WireMessageError::invalid(
            HEADER_LENGTH,
            format!("is {header} for a body of {} bytes", body.len()),
            "say how many bytes of the body are JSON",
        ));
    }
    let mut binary = body.slice(header..);
    let request: Request = serde_json::from_slice(&body[..header]).map_err(|error| {
        let mend = "send {\"inputs\": [{\"name\", \"shape\", \"datatype\", \"data\"}]}";
        WireMessageError::invalid("the body", format!("is no request ({error})"), mend)
    })?;
    at_most("inputs", request.inputs.len(), TENSORS, "tensors")?;
    at_most("outputs", request.outputs.len(), TENSORS, "tensors")?;
    validate::parameters("parameters", &request.parameters)?;
    let all = request.parameters.get(BINARY_ALL).and_then(Value::as_bool);
    let wanted = request.outputs.into_iter().map(|output| Wanted {
        binary: output.parameters.get(BINARY).and_then(Value::as_bool),
        name: output.name,
    });
    let outputs = wanted.collect();
    let inputs = request.inputs.into_iter();
    let inputs: Result<Vec<_>> = inputs.map(|one| input(one, &mut binary)).collect();
    let inputs = inputs?;
    if !binary.is_empty() {
        return Err(WireMessageError::invalid(
            "the body",
            format!("has {} bytes behind its last tensor", binary.len()),
            "say with each tensor's binary_data_size how many are its own",
        ));
    }
    let mut parameters = request.parameters;
    parameters.remove(BINARY_ALL);
    Ok(InferRequest {
        model: model.to_owned(),
        version: version.to_owned(),
        id: validate::short("id", request.id)?,
        parameters,
        inputs,
        outputs,
    }
    .with_binary(all))
}

impl InferRequest {
    /// What the request says of all outputs, where it names some that say nothing.
    fn with_binary(mut self, all: Option<bool>) -> Self {
        for wanted in &mut self.outputs {
            wanted.binary = wanted.binary.or(all);
        }
        if self.outputs.is_empty() && all == Some(true) {
            self.parameters.insert(BINARY_ALL.to_owned(), true.into());
        }
        self
    }

    /// Takes whether outputs shall be raw that are not named.
    pub fn take_binary(&mut self) -> bool {
        self.parameters.remove(BINARY_ALL).is_some()
    }
}

fn input(input: Input, binary: &mut Bytes) -> Result<Named> {
    let field = format!("inputs[{}]", super::clip(&input.name));
    let kind = Datatype::at(&field, &input.datatype)?;
    let shape = shape_from(&field, &input.shape)?;
    validate::parameters(&field, &input.parameters)?;
    let mut parameters = input.parameters;
    let size = parameters.remove(BINARY_SIZE);
    let data = match (size, input.data) {
        (Some(size), None) => {
            let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
            let size = size.filter(|size| *size <= binary.len()).ok_or_else(|| {
                WireMessageError::invalid(
                    format!("{field}.{BINARY_SIZE}"),
                    format!("is no count of the {} bytes that are left", binary.len()),
                    format!("send the tensors' bytes behind the JSON, and {HEADER_LENGTH}"),
                )
            })?;
            Data::raw(&field, kind, &shape, binary.split_to(size))
        }
        (None, Some(data)) => parsed(&field, kind, &shape, data.get()),
        _ => Err(WireMessageError::invalid(
            &field,
            format!("has not exactly one of data and {BINARY_SIZE}"),
            "give one of them",
        )),
    };
    Ok(Named {
        data: data?,
        name: input.name,
        parameters,
    })
}

/// Elements that are JSON: a flat list, or nested as the shape is.
fn parsed(field: &str, kind: Datatype, shape: &[u64], data: &str) -> Result<Data> {
    if kind.is_raw_only() {
        return Err(WireMessageError::invalid(
            field,
            format!("is of {}, which JSON does not have", kind.as_str()),
            format!("send its bytes behind the JSON, with {BINARY_SIZE}"),
        ));
    }
    let Datatype::Number(dtype) = kind else {
        let mut elements = Vec::new();
        let mut count = 0_usize;
        walk(data, &mut |value| {
            count += 1;
            if count <= STRINGS {
                elements.push(Bytes::copy_from_slice(value.as_str()?.as_bytes()));
            }
            Some(())
        })
        .ok_or_else(|| wrong(field, kind))?;
        check_count(field, count)?;
        return Data::of_strings(field, shape, elements);
    };
    let mut bytes = BytesMut::new();
    walk(data, &mut |value| put(&mut bytes, dtype, value)).ok_or_else(|| wrong(field, kind))?;
    numbers(field, dtype, shape, bytes.freeze())
}

fn wrong(field: &str, kind: Datatype) -> WireMessageError {
    let problem = format!("has an element that is no {}", kind.as_str());
    WireMessageError::invalid(format!("{field}.data"), problem, "send a list of such")
}

#[derive(Serialize)]
struct Response {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    model_name: String,
    model_version: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    outputs: Vec<OutputTensor>,
}

#[derive(Serialize)]
struct OutputTensor {
    name: String,
    shape: Vec<u64>,
    datatype: &'static str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Listed>,
}

/// A response as JSON and the pieces behind it, which are not copied. Outputs for which `binary` says so are raw.
///
/// # Errors
/// An output is of FP16, BF16 or bytes that are no text, which JSON does not have, and is to be JSON.
pub fn encode_response(
    response: InferResponse,
    binary: impl Fn(&str) -> bool,
) -> Result<(String, Vec<Bytes>)> {
    let mut pieces = Vec::new();
    let output = |named: Named| {
        let datatype = named.data.datatype();
        let (shape, mut parameters) = (named.data.shape().to_vec(), named.parameters);
        let data = if binary(&named.name) {
            let raw = named.data.into_raw();
            parameters.insert(BINARY_SIZE.to_owned(), raw.len().into());
            pieces.push(raw);
            None
        } else {
            check_listed(&named.name, &named.data)?;
            Some(Listed(named.data))
        };
        Ok(OutputTensor {
            name: named.name,
            shape,
            datatype: datatype.as_str(),
            parameters,
            data,
        })
    };
    let outputs: Result<Vec<_>> = response.outputs.into_iter().map(output).collect();
    let response = Response {
        id: response.id,
        model_name: response.model,
        model_version: response.version,
        parameters: response.parameters,
        outputs: outputs?,
    };
    let text = serde_json::to_string(&response).map_err(|error| {
        WireMessageError::invalid("the answer", error.to_string(), "ask for binary_data")
    })?;
    Ok((text, pieces))
}

/// Refuses what JSON does not have.
fn check_listed(name: &str, data: &Data) -> Result<()> {
    let problem = match data {
        Data::Strings { elements, .. } => {
            let is_text = |bytes: &Bytes| std::str::from_utf8(bytes).is_ok();
            if elements.iter().all(is_text) {
                return Ok(());
            }
            "is no text, which JSON cannot carry".to_owned()
        }
        Data::Numbers(tensor) if data.datatype().is_raw_only() => {
            format!("is of {}, which JSON does not have", tensor.dtype())
        }
        Data::Numbers(_) => return Ok(()),
    };
    let field = format!("outputs[{}]", super::clip(name));
    let mend = "ask for it with binary_data true";
    Err(WireMessageError::invalid(field, problem, mend))
}
