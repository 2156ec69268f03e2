//! Types and checks that parameters of several node types share.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(super) use crate::manifest::units::Span;
use crate::manifest::units::parse_size;
pub(super) use crate::manifest::units::show_duration as show;
use crate::registry::ParamError;

/// A count of bytes as manifests write it: `64KiB`, `1.5MB`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        parse_size(&text).map(Self).ok_or_else(|| {
            let expected = "a size with its unit, such as 64KiB or 1GB";
            de::Error::invalid_value(de::Unexpected::Str(&text), &expected)
        })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = [(1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")]
            .into_iter()
            .find(|(scale, _)| self.0.is_multiple_of(*scale));
        let (scale, unit) = whole.unwrap_or((1, "B"));
        serializer.collect_str(&format_args!("{}{unit}", self.0 / scale))
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^[0-9]+(\.[0-9]+)?\s*(B|kB|KiB|MB|MiB|GB|GiB)$";
        json_schema!({"type": "string", "pattern": pattern})
    }
}

/// A length of time given in milliseconds.
pub(super) const fn millis(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

/// Refuses a length of time outside of a range in milliseconds.
pub(super) fn within_span(path: &str, span: Span, from: u64, to: u64) -> Result<(), ParamError> {
    let (from, to) = (millis(from), millis(to));
    if (from..=to).contains(&span) {
        return Ok(());
    }
    let [span, from, to] = [span, from, to].map(|span| show(span.0));
    let message = format!("{span} is out of range: use {from} to {to}");
    Err(ParamError::new(path, message))
}

/// Refuses a number outside of a range.
pub(super) fn within<N: PartialOrd + fmt::Display>(
    path: &str,
    value: N,
    range: RangeInclusive<N>,
) -> Result<(), ParamError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (from, to) = range.into_inner();
    let message = format!("{value} is out of range: use {from} to {to}");
    Err(ParamError::new(path, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_says_the_range() {
        let error = within_span("frame", millis(5), 10, 1_000).expect_err("too short");
        assert_eq!(error.path, "frame");
        assert_eq!(error.message, "5ms is out of range: use 10ms to 1s");
        assert!(within("n", 3, 1..=3).is_ok());
        assert!(within("x", f64::NAN, 0.0..=1.0).is_err());
    }
}
