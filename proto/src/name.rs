//! Names of ports as messages carry them.

use std::fmt;

use crate::error::WireMessageError;
use crate::limits::PORT_NAME_BYTES;

/// A port's name: `[a-z][a-z0-9_-]*`, at most [`PORT_NAME_BYTES`] long. Safe to print and to use as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortName(String);

impl PortName {
    /// Takes a name without copying it.
    ///
    /// # Errors
    /// It is empty, too long, or has characters that an id of a manifest cannot have.
    pub fn new(name: impl Into<String>) -> Result<Self, WireMessageError> {
        Self::at("port", name.into())
    }

    /// As [`PortName::new`], for the field at this path.
    pub(crate) fn at(field: &str, name: String) -> Result<Self, WireMessageError> {
        let bytes = name.as_bytes();
        let starts = bytes.first().is_some_and(u8::is_ascii_lowercase);
        let goes_on = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if starts && bytes.len() <= PORT_NAME_BYTES && bytes.iter().all(goes_on) {
            return Ok(Self(name));
        }
        Err(refused(field, &name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

#[cold]
fn refused(field: &str, name: &str) -> WireMessageError {
    if name.is_empty() {
        return WireMessageError::missing(field, "name a port of the pipeline");
    }
    let shown: String = name.chars().take(PORT_NAME_BYTES).collect();
    WireMessageError::invalid(
        field,
        format!("{shown:?} is not a port's name"),
        format!("names are [a-z][a-z0-9_-]* of at most {PORT_NAME_BYTES} bytes"),
    )
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for PortName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PortName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_manifests_are_names() {
        assert!(PortName::new("speech_start-2").is_ok());
        for wrong in ["", "Mic", "2mic", "a.b", "a\n", "ünder", &"a".repeat(65)] {
            assert!(PortName::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
