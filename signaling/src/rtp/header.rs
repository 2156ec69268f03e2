//! The RTP header, read in place (RFC 3550 §5.1, RFC 8285).
//!
//! The library's parser copies every extension into a buffer of its own, for every packet; media
//! runs 50 packets a second a session, so this one only says where things are.

/// Where things are in an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtpHeader {
    pub(crate) marker: bool,
    pub(crate) padding: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// Bytes of the header, sources and extensions included; a multiple of four.
    pub(crate) len: usize,
    /// Profile, start and end of the extension block.
    extensions: Option<(u16, usize, usize)>,
}

impl RtpHeader {
    /// Bytes of the part that every header has.
    pub(crate) const FIXED: usize = 12;
    const ONE_BYTE: u16 = 0xBEDE;
    const TWO_BYTE: u16 = 0x1000;

    /// Reads the header of `packet`, if it is one.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let fixed: &[u8; Self::FIXED] = packet.first_chunk()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let sources = usize::from(fixed[0] & 0x0F);
        let mut len = Self::FIXED + 4 * sources;
        let mut extensions = None;
        if fixed[0] & 0x10 != 0 {
            let block: &[u8; 4] = packet.get(len..)?.first_chunk()?;
            let profile = u16::from_be_bytes([block[0], block[1]]);
            let words = usize::from(u16::from_be_bytes([block[2], block[3]]));
            extensions = Some((profile, len + 4, len + 4 + 4 * words));
            len += 4 + 4 * words;
        }
        (packet.len() >= len).then(|| Self {
            marker: fixed[1] & 0x80 != 0,
            padding: fixed[0] & 0x20 != 0,
            payload_type: fixed[1] & 0x7F,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            len,
            extensions,
        })
    }

    /// A header without sources or extensions, to be written.
    pub(crate) const fn plain(
        marker: bool,
        payload_type: u8,
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
    ) -> Self {
        Self {
            marker,
            padding: false,
            payload_type,
            sequence,
            timestamp,
            ssrc,
            len: Self::FIXED,
            extensions: None,
        }
    }

    /// The bytes of a [`Self::plain`] header.
    pub(crate) fn to_bytes(self) -> [u8; Self::FIXED] {
        let mut bytes = [0; Self::FIXED];
        bytes[0] = 0x80;
        bytes[1] = (u8::from(self.marker) << 7) | self.payload_type;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }

    /// The value of extension `id` in `packet`, the packet that this header was read from.
    pub(crate) fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        let (profile, start, end) = self.extensions?;
        let mut block = packet.get(start..end)?;
        while let [first, rest @ ..] = block {
            if *first == 0 {
                block = rest;
                continue;
            }
            let (found, length, values) = match profile {
                Self::ONE_BYTE if first >> 4 == 15 => return None,
                Self::ONE_BYTE => (first >> 4, usize::from(first & 0x0F) + 1, rest),
                profile if profile & 0xFFF0 == Self::TWO_BYTE => {
                    let (length, values) = rest.split_first()?;
                    (*first, usize::from(*length), values)
                }
                _ => return None,
            };
            let value = values.get(..length)?;
            if found == id {
                return Some(value);
            }
            block = &values[length..];
        }
        None
    }

    /// The payload's range in a decrypted `packet`, padding taken off. `None` if padding lies.
    pub(crate) fn payload_end(&self, packet: &[u8]) -> Option<usize> {
        if !self.padding {
            return Some(packet.len());
        }
        let padding = usize::from(*packet.last()?);
        let end = packet.len().checked_sub(padding)?;
        (padding > 0 && end >= self.len).then_some(end)
    }
}

/// Whether a packet that looks like RTP is RTCP (RFC 5761 §4).
pub(crate) fn is_rtcp(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|kind| (192..=223).contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plain_header_reads_back_as_written() {
        let header = RtpHeader::plain(true, 111, 65_535, 0xDEAD_BEEF, 7);
        assert_eq!(RtpHeader::parse(&header.to_bytes()), Some(header));
    }

    #[test]
    fn extensions_of_both_forms_are_found_behind_padding_and_others() {
        let mut packet = RtpHeader::plain(false, 0, 1, 2, 3).to_bytes().to_vec();
        packet[0] |= 0x10;
        let mut two = packet.clone();
        packet.extend([0xBE, 0xDE, 0, 2, 0x10, 0xAA, 0, 0x31, 1, 2, 0, 0, 9]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.len, 24);
        assert_eq!(header.extension(&packet, 3), Some(&[1, 2][..]));
        assert_eq!(header.extension(&packet, 4), None);
        two.extend([0x10, 0x00, 0, 1, 20, 1, 0x55, 0]);
        let header = RtpHeader::parse(&two).unwrap();
        assert_eq!(header.extension(&two, 20), Some(&[0x55][..]));
    }

    #[test]
    fn padding_longer_than_the_payload_is_refused() {
        let mut packet = RtpHeader::plain(false, 0, 1, 2, 3).to_bytes().to_vec();
        packet[0] |= 0x20;
        packet.extend([1, 2, 3, 200]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.payload_end(&packet), None);
        packet[15] = 2;
        assert_eq!(header.payload_end(&packet), Some(14));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), id: u8) {
            if let Some(header) = RtpHeader::parse(&bytes) {
                prop_assert!(header.len <= bytes.len());
                let _ = header.extension(&bytes, id);
                let _ = header.payload_end(&bytes);
            }
        }
    }
}
