//! The compiler: parse, resolve, type-check, plan. All errors at once; then the result is immutable.

mod conversions;

pub use conversions::{Conversion, conversions};
