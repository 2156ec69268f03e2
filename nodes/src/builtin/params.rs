//! Types that parameters of several node types share.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::registry::ParamError;

/// A length of time as manifests write it: `200ms`, `1.5s`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(pub(super) Duration);

impl Span {
    pub(super) const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim_start() {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        let micros = Duration::try_from_secs_f64(number * factor)
            .ok()?
            .as_nanos();
        // Rounded to the microsecond, the unit of media time, so that 1.1ms is not 1.0999 ms.
        let micros = u64::try_from((micros + 500) / 1_000).ok()?;
        Some(Self(Duration::from_micros(micros)))
    }

    /// Refuses what lies outside of a range.
    pub(super) fn within(self, path: &str, range: RangeInclusive<Self>) -> Result<(), ParamError> {
        if range.contains(&self) {
            return Ok(());
        }
        let (from, to) = range.into_inner();
        let message = format!("{self} is out of range: use {from} to {to}");
        Err(ParamError::new(path, message))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match () {
            () if micros.is_multiple_of(1_000_000) => write!(f, "{}s", micros / 1_000_000),
            () if micros.is_multiple_of(1_000) => write!(f, "{}ms", micros / 1_000),
            () => write!(f, "{micros}us"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time with its unit, such as 200ms or 1.5s")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(us|ms|s|m|h)$"})
    }
}

/// Refuses a length of time outside of a range in milliseconds.
pub(super) fn within_span(path: &str, span: Span, from: u64, to: u64) -> Result<(), ParamError> {
    span.within(path, Span::millis(from)..=Span::millis(to))
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
    Err(ParamError::new(
        path,
        format!("{value} is out of range: use {from} to {to}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_as_manifests_do() {
        for (text, micros, shown) in [
            ("20ms", 20_000, "20ms"),
            ("1.5s", 1_500_000, "1500ms"),
            ("2m", 120_000_000, "120s"),
            ("2.5ms", 2_500, "2500us"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = serde_json::from_value(text.into()).expect("a span");
            assert_eq!(span.0, Duration::from_micros(micros), "{text}");
            assert_eq!(span.to_string(), shown);
        }
        for bad in [
            "",
            "ms",
            "20",
            "-1s",
            "1e3s",
            "20 parsecs",
            "99999999999999999999h",
        ] {
            let read: Result<Span, _> = serde_json::from_value(bad.into());
            assert!(read.is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_out_of_range_says_the_range() {
        let error = Span::millis(5)
            .within("frame", Span::millis(10)..=Span::millis(1_000))
            .expect_err("too short");
        assert_eq!(error.path, "frame");
        assert_eq!(error.message, "5ms is out of range: use 10ms to 1s");
        assert!(within("n", 3, 1..=3).is_ok());
        assert!(within("x", f64::NAN, 0.0..=1.0).is_err());
    }
}
