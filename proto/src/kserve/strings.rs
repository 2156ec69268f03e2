//! Raw contents of `BYTES`: each string behind its length, four bytes, little-endian.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::Result;
use crate::WireMessageError;
use crate::error::at_most;

/// Most strings of a tensor: each becomes a frame, which costs more than the four bytes that an empty one has here.
pub(super) const STRINGS: usize = 65_536;
const LENGTH: usize = 4;

/// The strings, which share the memory of `raw`.
pub(super) fn split(field: &str, mut raw: Bytes) -> Result<Vec<Bytes>> {
    let mut elements = Vec::new();
    while raw.has_remaining() {
        let short = || {
            WireMessageError::invalid(
                field,
                "ends within a string",
                "write each string's length as four bytes, little-endian, before it",
            )
        };
        if raw.remaining() < LENGTH {
            return Err(short());
        }
        let length = usize::try_from(raw.get_u32_le()).unwrap_or(usize::MAX);
        if raw.remaining() < length {
            return Err(short());
        }
        check_count(field, elements.len() + 1)?;
        elements.push(raw.split_to(length));
    }
    Ok(elements)
}

/// Refuses more strings than a tensor may have.
pub(super) fn check_count(field: &str, count: usize) -> Result<()> {
    at_most(field, count, STRINGS, "strings")
}

/// The strings one after the other. One of 4 GiB, which no limit lets through, would be cut.
pub(super) fn join(elements: &[Bytes]) -> Bytes {
    let size = elements.iter().map(|element| element.len() + LENGTH).sum();
    let mut raw = BytesMut::with_capacity(size);
    for element in elements {
        let length = u32::try_from(element.len()).unwrap_or(u32::MAX);
        raw.put_u32_le(length);
        raw.put_slice(element);
    }
    raw.freeze()
}
