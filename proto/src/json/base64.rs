//! Bytes as base64 strings, decoded straight out of the text.

use std::fmt;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Bytes that were read from a base64 string.
#[derive(Default)]
pub(super) struct Base64(pub(super) Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64Visitor)
    }
}

struct Base64Visitor;

impl Visitor<'_> for Base64Visitor {
    type Value = Base64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes as a base64 string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Base64, E> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| E::custom(format_args!("not padded standard base64: {error}")))?;
        Ok(Base64(Bytes::from(bytes)))
    }
}

/// Appends bytes as base64, which needs no escapes.
pub(super) fn append(out: &mut String, bytes: &[u8]) {
    STANDARD.encode_string(bytes, out);
}
