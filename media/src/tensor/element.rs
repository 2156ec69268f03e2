//! Rust types that tensor elements have, and how values go from one to another.

use bytemuck::Pod;
use half::{bf16, f16};

use super::Dtype;

/// A value of any element type on its way to another: integers stay exact.
#[derive(Clone, Copy, Debug)]
pub enum Wide {
    /// Of an integer or boolean.
    Int(i128),
    /// Of a float.
    Float(f64),
}

/// A type that a tensor can be viewed as.
pub trait Element: Pod + PartialEq + Send + Sync + std::fmt::Debug {
    /// The element type that arrays of it become.
    const DTYPE: Dtype;

    /// Whether elements of `dtype` can be read as it.
    #[must_use]
    fn reads(dtype: Dtype) -> bool {
        dtype == Self::DTYPE
    }

    /// The value.
    #[must_use]
    fn widen(self) -> Wide;

    /// The nearest value: floats are rounded to even towards narrower floats and towards zero into integers, numbers out
    /// of range saturate, NaN becomes zero in integers.
    #[must_use]
    fn narrow(value: Wide) -> Self;
}

macro_rules! integers {
    ($($type:ty => $dtype:ident),*) => {$(
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;

            fn widen(self) -> Wide {
                Wide::Int(i128::from(self))
            }

            #[expect(clippy::cast_possible_truncation, reason = "float-to-int casts saturate, as documented")]
            fn narrow(value: Wide) -> Self {
                match value {
                    Wide::Int(int) => {
                        let clamped = int.clamp(i128::from(Self::MIN), i128::from(Self::MAX));
                        Self::try_from(clamped).unwrap_or_default()
                    }
                    Wide::Float(float) => float as Self,
                }
            }
        }
    )*};
}

integers!(i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64);

/// Booleans are read as bytes: 0 and 1.
impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;

    fn reads(dtype: Dtype) -> bool {
        matches!(dtype, Dtype::U8 | Dtype::Bool)
    }

    fn widen(self) -> Wide {
        Wide::Int(i128::from(self))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "float-to-int casts saturate, as documented"
    )]
    fn narrow(value: Wide) -> Self {
        match value {
            Wide::Int(int) => Self::try_from(int.clamp(0, 255)).unwrap_or_default(),
            Wide::Float(float) => float as Self,
        }
    }
}

macro_rules! floats {
    ($($type:ty => $dtype:ident, $narrow:expr);*) => {$(
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;

            fn widen(self) -> Wide {
                Wide::Float(f64::from(self))
            }

            fn narrow(value: Wide) -> Self {
                $narrow(as_float(value))
            }
        }
    )*};
}

floats!(
    f16 => F16, f16::from_f64;
    bf16 => Bf16, bf16::from_f64;
    f32 => F32, narrow_f32;
    f64 => F64, std::convert::identity
);

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to the nearest is what a cast is for"
)]
const fn narrow_f32(value: f64) -> f32 {
    value as f32
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rounding to the nearest is what a cast is for"
)]
const fn as_float(value: Wide) -> f64 {
    match value {
        Wide::Int(int) => int as f64,
        Wide::Float(float) => float,
    }
}
