//! The Open Inference Protocol ("KServe v2"): its tensors, and what they are as frames.
//!
//! Both directions use it: clients of the gateway that speak the protocol, and hops to servers that do. [`InferRequest`] and
//! [`InferResponse`] are the two messages, whatever carries them: [`grpc`] and [`json`] (REST, with the binary extension) put them on
//! the wire and take them off it, [`frames`] makes frames of tensors and tensors of frames. Raw contents are shared with the message
//! that they came in, never copied. Absent: models, sessions, and what a name means.

pub mod frames;
pub mod grpc;
pub mod json;
mod strings;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_media::{Dtype, Tensor};

use crate::WireMessageError;
use crate::error::at_most;

/// Parameter of a tensor, or of a request for all of its audio tensors: samples a second.
pub const SAMPLE_RATE: &str = "sample_rate";
/// Parameter of a streamed response: nothing more comes of its request (Triton's extension).
pub const FINAL_RESPONSE: &str = "triton_final_response";
/// Parameter of a streamed request: the end of what it brings shall be said by a response without tensors (Triton's extension).
pub const EMPTY_FINAL_RESPONSE: &str = "triton_enable_empty_final_response";
/// The version that every pipeline has.
pub const VERSION: &str = "1";

/// Most tensors of a message: more than any model has use for.
pub(crate) const TENSORS: usize = 256;

type Result<T> = std::result::Result<T, WireMessageError>;

/// A tensor's datatype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// A number or boolean.
    Number(Dtype),
    /// Strings of bytes of any length.
    Bytes,
}

/// All datatypes by name.
const NAMES: [(&str, Datatype); 14] = [
    ("BOOL", Datatype::Number(Dtype::Bool)),
    ("UINT8", Datatype::Number(Dtype::U8)),
    ("UINT16", Datatype::Number(Dtype::U16)),
    ("UINT32", Datatype::Number(Dtype::U32)),
    ("UINT64", Datatype::Number(Dtype::U64)),
    ("INT8", Datatype::Number(Dtype::I8)),
    ("INT16", Datatype::Number(Dtype::I16)),
    ("INT32", Datatype::Number(Dtype::I32)),
    ("INT64", Datatype::Number(Dtype::I64)),
    ("FP16", Datatype::Number(Dtype::F16)),
    ("BF16", Datatype::Number(Dtype::Bf16)),
    ("FP32", Datatype::Number(Dtype::F32)),
    ("FP64", Datatype::Number(Dtype::F64)),
    ("BYTES", Datatype::Bytes),
];

impl Datatype {
    /// The protocol's name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = NAMES.iter().find(|(_, datatype)| *datatype == self);
        found.map_or("BYTES", |(name, _)| name)
    }

    /// The datatype with a name.
    pub(crate) fn at(field: &str, name: &str) -> Result<Self> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, datatype)| *datatype).ok_or_else(|| {
            let known: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            WireMessageError::invalid(
                format!("{field}.datatype"),
                format!("'{}' is unknown", clip(name)),
                format!("use one of {}", known.join(", ")),
            )
        })
    }

    /// FP16 and BF16, for which the protocol has no typed contents and no JSON.
    pub(crate) const fn is_raw_only(self) -> bool {
        matches!(self, Self::Number(Dtype::F16 | Dtype::Bf16))
    }
}

/// What a tensor holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Numbers.
    Numbers(Tensor),
    /// Strings of bytes (`BYTES`), in row-major order.
    Strings {
        /// Extent of each axis.
        shape: Vec<u64>,
        /// As many as the shape has.
        elements: Vec<Bytes>,
    },
}

impl Data {
    /// Strings along one axis.
    #[must_use]
    pub fn strings(elements: Vec<Bytes>) -> Self {
        Self::Strings {
            shape: vec![elements.len() as u64],
            elements,
        }
    }

    /// Its datatype.
    #[must_use]
    pub const fn datatype(&self) -> Datatype {
        match self {
            Self::Numbers(tensor) => Datatype::Number(tensor.dtype()),
            Self::Strings { .. } => Datatype::Bytes,
        }
    }

    /// Extent of each axis, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        match self {
            Self::Numbers(tensor) => tensor.shape(),
            Self::Strings { shape, .. } => shape,
        }
    }

    /// Of raw contents.
    pub(crate) fn raw(field: &str, kind: Datatype, shape: &[u64], raw: Bytes) -> Result<Self> {
        match kind {
            Datatype::Number(dtype) => numbers(field, dtype, shape, raw),
            Datatype::Bytes => Self::of_strings(field, shape, strings::split(field, raw)?),
        }
    }

    pub(crate) fn of_strings(field: &str, shape: &[u64], elements: Vec<Bytes>) -> Result<Self> {
        let count = shape
            .iter()
            .try_fold(1_u64, |count, axis| count.checked_mul(*axis));
        if count != Some(elements.len() as u64) {
            return Err(WireMessageError::invalid(
                format!("{field}.shape"),
                format!("{shape:?} does not hold {} strings", elements.len()),
                "give as many as the shape has",
            ));
        }
        let shape = shape.to_vec();
        Ok(Self::Strings { shape, elements })
    }

    /// As raw contents.
    #[must_use]
    pub fn into_raw(self) -> Bytes {
        match self {
            Self::Numbers(tensor) => tensor.data().clone(),
            Self::Strings { elements, .. } => strings::join(&elements),
        }
    }
}

/// Numbers of a shape.
pub(crate) fn numbers(field: &str, dtype: Dtype, shape: &[u64], data: Bytes) -> Result<Data> {
    let tensor = Tensor::new(dtype, shape, data);
    tensor.map(Data::Numbers).map_err(|error| {
        let mend = "give the elements in row-major order, little-endian";
        WireMessageError::invalid(field, error.to_string(), mend)
    })
}

/// A tensor with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub data: Data,
    /// What is said beside.
    pub parameters: Map<String, Value>,
}

/// An output that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// REST: behind the JSON text rather than in it; `None`: as the request says for all.
    pub binary: Option<bool>,
}

/// One inference that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// The model.
    pub model: String,
    /// Its version; empty: whichever there is.
    pub version: String,
    /// The client's name for it, which its responses repeat.
    pub id: String,
    /// What is said beside the tensors.
    pub parameters: Map<String, Value>,
    /// The tensors.
    pub inputs: Vec<Named>,
    /// The outputs that are wanted; empty: all.
    pub outputs: Vec<Wanted>,
}

/// What an inference gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferResponse {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// The request's.
    pub id: String,
    /// What is said beside the tensors.
    pub parameters: Map<String, Value>,
    /// The tensors.
    pub outputs: Vec<Named>,
}

/// A shape as it came: every axis known.
pub(crate) fn shape_from(field: &str, shape: &[i64]) -> Result<Vec<u64>> {
    let axes = format!("{field}.shape");
    at_most(&axes, shape.len(), Tensor::MAX_RANK, "axes")?;
    let extents = shape.iter().map(|&axis| u64::try_from(axis));
    extents.collect::<std::result::Result<_, _>>().map_err(|_| {
        WireMessageError::invalid(
            format!("{field}.shape"),
            format!("{shape:?} has a negative axis"),
            "only metadata may leave an axis open with -1: say how long it is",
        )
    })
}

/// A shape as it goes; an axis is far below 2^63, since its elements are in memory.
pub(crate) fn shape_to(shape: &[u64]) -> Vec<i64> {
    let extents = shape
        .iter()
        .map(|&axis| i64::try_from(axis).unwrap_or(i64::MAX));
    extents.collect()
}

/// The part of a name that an error shows.
pub(crate) fn clip(name: &str) -> String {
    name.chars().take(64).collect()
}
