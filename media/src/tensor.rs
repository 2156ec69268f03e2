//! Tensors: a dtype, a shape, and row-major little-endian bytes.
//!
//! The bytes are shared, never copied on clone. Typed views borrow them when they are aligned.

mod element;
mod view;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::element::{Element, Wide};
pub use self::view::View;

/// Type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 8-bit boolean, 0 or 1.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 64-bit integer.
    I64,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Dtype {
    /// All element types.
    pub const ALL: [Self; 13] = [
        Self::Bool,
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::U64,
        Self::I64,
        Self::F16,
        Self::Bf16,
        Self::F32,
        Self::F64,
    ];

    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The name that manifests and messages use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why bytes are not a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The byte count does not fit the shape.
    #[error("tensor of {dtype} with shape {shape:?} needs {expected} bytes but has {actual}")]
    Length {
        /// Element type.
        dtype: Dtype,
        /// Extent of each axis.
        shape: Vec<u64>,
        /// Bytes that the shape needs.
        expected: u64,
        /// Bytes that are there.
        actual: u64,
    },
    /// More axes than [`Tensor::MAX_RANK`].
    #[error("tensor has {0} axes, at most {max} are allowed", max = Tensor::MAX_RANK)]
    Rank(usize),
    /// The element count overflows.
    #[error("tensor shape {0:?} overflows")]
    Overflow(Vec<u64>),
    /// A view of another type was asked for.
    #[error("tensor holds {actual}, a view of {wanted} was asked for: cast it first (tensor.cast)")]
    Dtype {
        /// What the tensor holds.
        actual: Dtype,
        /// What was asked for.
        wanted: Dtype,
    },
}

/// A numeric array, row-major (C order), little-endian. Clones share the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    dtype: Dtype,
    shape: Arc<[u64]>,
    data: Bytes,
}

impl Tensor {
    /// Most axes that a tensor may have; `ndarray`'s own limit for static shapes is six, models use up to eight.
    pub const MAX_RANK: usize = 8;

    /// Makes a tensor of `data`, whose length must be the product of `shape` times the element's size.
    ///
    /// # Errors
    /// [`TensorError::Rank`], [`TensorError::Overflow`] or [`TensorError::Length`] when they disagree.
    pub fn new(dtype: Dtype, shape: &[u64], data: Bytes) -> Result<Self, TensorError> {
        if shape.len() > Self::MAX_RANK {
            return Err(TensorError::Rank(shape.len()));
        }
        let expected = shape
            .iter()
            .try_fold(dtype.size() as u64, |product, &axis| {
                product.checked_mul(axis)
            })
            .ok_or_else(|| TensorError::Overflow(shape.to_vec()))?;
        if expected != data.len() as u64 {
            return Err(TensorError::Length {
                dtype,
                shape: shape.to_vec(),
                expected,
                actual: data.len() as u64,
            });
        }
        Ok(Self {
            dtype,
            shape: shape.into(),
            data,
        })
    }

    /// Type of one element.
    #[must_use]
    pub const fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Extent of each axis, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The elements' bytes.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }
}
