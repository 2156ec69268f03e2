//! The VP8 payload descriptor (RFC 7741 §4.2), and what a picture starts with.
//!
//! Read here because the library's reader refuses payloads below four bytes, which the last piece of
//! a picture may well have.

/// What one packet's payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// The payload begins a picture.
    pub(super) start: bool,
    /// Bytes of the descriptor.
    pub(super) len: usize,
}

/// Reads the descriptor; `None` if there is no payload behind it.
pub(super) fn descriptor(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut len = 1;
    if first & 0x80 != 0 {
        let extensions = *payload.get(len)?;
        len += 1;
        if extensions & 0x80 != 0 {
            len += if payload.get(len)? & 0x80 != 0 { 2 } else { 1 };
        }
        if extensions & 0x40 != 0 {
            len += 1;
        }
        if extensions & 0x30 != 0 {
            len += 1;
        }
    }
    // The start of partition 0 is the start of the picture.
    let start = first & 0x10 != 0 && first & 0x07 == 0;
    (payload.len() > len).then_some(Descriptor { start, len })
}

/// Whether a picture is a key frame: the inverse of the first bit (RFC 7741 §4.3).
pub(super) fn is_key(picture: &[u8]) -> bool {
    picture.first().is_some_and(|first| first & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_all_shapes_are_skipped() {
        for (payload, start, len) in [
            (&[0x10, 1][..], true, 1),
            (&[0x00, 1], false, 1),
            (&[0x11, 1], false, 1),
            (&[0x90, 0x80, 0x05, 1], true, 3),
            (&[0x90, 0x80, 0x85, 0x06, 1], true, 4),
            (&[0x90, 0xE0, 0x85, 0x06, 7, 8, 1], true, 6),
            (&[0x80, 0x10, 7, 1], false, 3),
        ] {
            assert_eq!(
                descriptor(payload),
                Some(Descriptor { start, len }),
                "{payload:x?}"
            );
            for short in 0..=len {
                assert_eq!(descriptor(&payload[..short]), None);
            }
        }
    }
}
