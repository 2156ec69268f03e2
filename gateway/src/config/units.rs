//! Durations and sizes as people write them: `500ms`, `30s`, `5m`, `1MiB`. A number without a unit is refused, unless it is zero.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address with a port.
///
/// # Errors
/// What it is instead, and how to write it.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        let whole = SocketAddr::new(ip, 8080);
        return Err(format!("'{text}' has no port: write one, as in {whole}"));
    }
    let port = text.strip_prefix("localhost:").map(str::parse::<u16>);
    Err(match port {
        Some(Ok(port)) => format!("'{text}' is a name: write its address, 127.0.0.1:{port}"),
        _ => format!(
            "'{text}' is no address with a port: write one such as 127.0.0.1:8080 or [::1]:8080"
        ),
    })
}

/// A duration; zero often means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    /// The duration, or `None` if it is zero.
    pub(crate) fn limit(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

/// A count of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) usize);

const SPANS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("B", 1),
];

/// The value of a text such as `30s`.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<u64>().ok()?;
    if unit.is_empty() && number == 0 {
        return Some(0);
    }
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.checked_mul(*factor)
}

struct Reader {
    units: &'static [(&'static str, u64)],
    expected: &'static str,
}

impl Visitor<'_> for Reader {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text, self.units).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        // Five what? Zero is the same in every unit.
        (value == 0)
            .then_some(0)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a duration such as 500ms, 30s, 5m or 1h";
        let millis = deserializer.deserialize_any(Reader {
            units: SPANS,
            expected,
        })?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a size such as 64KiB or 4MiB";
        let bytes = deserializer.deserialize_any(Reader {
            units: SIZES,
            expected,
        })?;
        usize::try_from(bytes).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) {
            serializer.collect_str(&format_args!("{}s", millis / 1000))
        } else {
            serializer.collect_str(&format_args!("{millis}ms"))
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (bytes, unit) = match self.0 {
            n if n > 0 && n % (1 << 20) == 0 => (n >> 20, "MiB"),
            n if n > 0 && n % (1 << 10) == 0 => (n >> 10, "KiB"),
            n => (n, "B"),
        };
        serializer.collect_str(&format_args!("{bytes}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_nonsense_is_not() {
        assert_eq!(parse("500ms", SPANS), Some(500));
        assert_eq!(parse("0", SPANS), Some(0));
        assert_eq!(parse("4 MiB", SIZES), Some(4 << 20));
        for text in ["", "s", "30", "3 parsecs", "-1s", "99999999999999999999h"] {
            assert_eq!(parse(text, SPANS), None, "{text}");
        }
    }
}
