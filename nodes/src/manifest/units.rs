//! Sizes (`64KiB`) and durations (`2s`) as manifests write them: a number with its unit, never a bare number.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units of size, in bytes.
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Units of time, in microseconds. `ms` and `us` stand before `s`, which they end in.
const TIMES: [(&str, u64); 5] = [
    ("ms", 1_000),
    ("us", 1),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// Reads a size such as `1MiB`, `64KiB`, `1.5MB` or `512B`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// Reads a duration such as `2s`, `500ms`, `1.5s`, `2m` or `1h`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &TIMES).map(Duration::from_micros)
}

/// Digits with an optional decimal part, then one of the units.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?.trim_end(), *scale)))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |s: &str| !s.is_empty() && s.len() <= 15 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let unit = 10_u64.pow(u32::try_from(part.len()).ok()?);
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(scale) / u128::from(unit);
    whole.checked_add(u64::try_from(part).ok()?)
}

/// Writes a duration so that [`parse_duration`] reads the same, to the microsecond.
pub(crate) fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    for (unit, scale) in [("s", 1_000_000), ("ms", 1_000)] {
        if micros.is_multiple_of(scale) {
            return format!("{}{unit}", micros / scale);
        }
    }
    format!("{micros}us")
}

/// A duration that serialises as manifests write it (`30s`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl de::Visitor<'_> for Written {
            type Value = Span;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time with its unit, such as 30s,")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                parse_duration(text).map(Span).ok_or_else(|| {
                    E::custom(format!(
                        "'{}' is not a duration: write a number with ms, s, m or h, such as 30s",
                        super::diagnostic::shown(text)
                    ))
                })
            }
        }
        deserializer.deserialize_str(Written)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|h)$",
            "description": "A duration, such as 30s, 500ms or 2m."
        })
    }
}

/// A count of bytes as manifests write it: `64KiB`, `1.5MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl de::Visitor<'_> for Written {
            type Value = Size;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a size with its unit, such as 64KiB or 1GB")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                let size = parse_size(text).map(Size);
                size.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Written)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_with_their_units() {
        assert_eq!(parse_size("1MiB"), Some(1 << 20));
        assert_eq!(parse_size("1.5kB"), Some(1_500));
        assert_eq!(parse_size("512 B"), Some(512));
        assert_eq!(parse_duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(parse_duration("1.25s"), Some(Duration::from_millis(1_250)));
        assert_eq!(parse_duration("10m"), Some(Duration::from_secs(600)));
        assert_eq!(parse_duration("20ms"), Some(Duration::from_millis(20)));
    }

    #[test]
    fn what_has_no_unit_or_no_number_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "MiB",
            "-1s",
            "1e3s",
            "1..2s",
            "1.s",
            ".5s",
            "99999999999999999s",
            "999999999999999GiB",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_shown_duration_reads_the_same() {
        for micros in [0, 1, 999, 1_000, 1_500, 1_000_000, 90_000_000] {
            let duration = Duration::from_micros(micros);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
    }
}
