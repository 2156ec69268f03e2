//! A description as values.
//!
//! Attributes of a section fall back to those of the session (RFC 8859). Unknown attributes are
//! skipped; known ones that cannot be read are errors, since guessing at credentials or keys helps
//! nobody.

use std::io::Cursor;
use std::net::SocketAddr;

use rtc::sdp::description::media::MediaDescription;
use rtc::sdp::description::session::SessionDescription;

use super::attributes::{read_attribute, read_codecs, read_direction, read_transport};
use super::candidate::parse_candidate;
use crate::codec::Codec;
use crate::dtls::Fingerprint;
use crate::error::SignalingError;
use crate::ice::Credentials;

/// Bytes of a section's name.
const MAX_MID: usize = 32;

/// Who says hello in DTLS (RFC 5763 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    Active,
    Passive,
    ActPass,
}

/// A direction seen from the description's author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) send: bool,
    pub(crate) receive: bool,
}

impl Direction {
    /// The attribute of this direction.
    pub(crate) const fn name(self) -> &'static str {
        match (self.send, self.receive) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }
}

/// What a section is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    Audio,
    Video,
    Data,
    Other,
}

/// A payload type that a section offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) payload_type: u8,
    pub(crate) codec: Codec,
    pub(crate) parameters: String,
    pub(crate) feedback: Vec<String>,
}

/// What a description says of the transport; each section may have its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transport {
    pub(crate) ufrag: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// A fingerprint was there, and none whose algorithm is known.
    pub(crate) unknown_fingerprint: bool,
    pub(crate) setup: Option<Setup>,
}

/// One media section.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) kind: SectionKind,
    /// First word of the line: `audio`, `video`, `application`, …
    pub(crate) media: String,
    pub(crate) protocol: String,
    /// All formats as written.
    pub(crate) formats: Vec<String>,
    pub(crate) rejected: bool,
    pub(crate) mid: Option<String>,
    pub(crate) direction: Direction,
    pub(crate) rtcp_mux: bool,
    pub(crate) reduced_size: bool,
    pub(crate) codecs: Vec<Format>,
    pub(crate) mid_extension: Option<u8>,
    pub(crate) level_extension: Option<u8>,
    pub(crate) ssrcs: Vec<u32>,
    pub(crate) transport: Transport,
    pub(crate) candidates: Vec<SocketAddr>,
    /// `a=max-message-size`: 0 is "any", absent is 64 KiB (RFC 8841 §6.1).
    pub(crate) max_message: u32,
}

/// A whole description.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    pub(crate) transport: Transport,
    pub(crate) ice_lite: bool,
    pub(crate) allows_mixed_extensions: bool,
    /// The names of the sections that share a transport.
    pub(crate) bundle: Vec<String>,
    pub(crate) candidates: Vec<SocketAddr>,
    pub(crate) sections: Vec<Section>,
}

impl Description {
    /// The ICE credentials that hold for `section`.
    pub(crate) fn credentials(&self, section: &Section) -> Option<Credentials> {
        let ufrag = section
            .transport
            .ufrag
            .as_ref()
            .or(self.transport.ufrag.as_ref())?;
        let password = section
            .transport
            .password
            .as_ref()
            .or(self.transport.password.as_ref())?;
        Some(Credentials {
            ufrag: ufrag.clone(),
            password: password.clone(),
        })
    }

    /// The fingerprints that hold for `section`.
    pub(crate) fn fingerprints<'a>(&'a self, section: &'a Section) -> &'a [Fingerprint] {
        if section.transport.fingerprints.is_empty() {
            &self.transport.fingerprints
        } else {
            &section.transport.fingerprints
        }
    }

    /// The DTLS setup that holds for `section`.
    pub(crate) fn setup(&self, section: &Section) -> Option<Setup> {
        section.transport.setup.or(self.transport.setup)
    }
}

/// Reads a description of at most `max_bytes` and `max_sections`; `what` names it in errors.
///
/// # Errors
///
/// [`SignalingError::TooLarge`] or [`SignalingError::Malformed`].
pub(crate) fn parse(
    what: &'static str,
    text: &str,
    max_bytes: usize,
    max_sections: usize,
) -> Result<Description, SignalingError> {
    if text.len() > max_bytes {
        return Err(SignalingError::TooLarge {
            what,
            size: text.len(),
            limit: max_bytes,
        });
    }
    let parsed = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
        .map_err(|e| SignalingError::malformed(what, e.to_string()))?;
    let media = &parsed.media_descriptions;
    if media.is_empty() {
        return Err(SignalingError::malformed(what, "it has no media section"));
    }
    if media.len() > max_sections {
        let reason = format!("{} media sections, more than {max_sections}", media.len());
        return Err(SignalingError::malformed(what, reason));
    }
    let mut description = Description {
        transport: Transport::default(),
        ice_lite: false,
        allows_mixed_extensions: false,
        bundle: Vec::new(),
        candidates: Vec::new(),
        sections: Vec::with_capacity(media.len()),
    };
    let mut direction = Direction {
        send: true,
        receive: true,
    };
    for attribute in &parsed.attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        match attribute.key.as_str() {
            "ice-lite" => description.ice_lite = true,
            "extmap-allow-mixed" => description.allows_mixed_extensions = true,
            "candidate" => description.candidates.extend(parse_candidate(value)),
            "group" => {
                if let Some(names) = value.strip_prefix("BUNDLE") {
                    description.bundle =
                        names.split_ascii_whitespace().map(str::to_owned).collect();
                }
            }
            key => {
                read_transport(what, key, value, &mut description.transport)?;
                read_direction(key, &mut direction);
            }
        }
    }
    for media in media {
        description
            .sections
            .push(read_section(what, media, direction)?);
    }
    check_names(what, &description.sections)?;
    Ok(description)
}

fn check_names(what: &'static str, sections: &[Section]) -> Result<(), SignalingError> {
    for (index, section) in sections.iter().enumerate() {
        let Some(mid) = &section.mid else { continue };
        let token = |c: char| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]".contains(c);
        if mid.is_empty() || mid.len() > MAX_MID || !mid.chars().all(token) {
            return Err(SignalingError::malformed(
                what,
                "a=mid is not a token of at most 32 bytes",
            ));
        }
        if sections[..index]
            .iter()
            .any(|other| other.mid.as_ref() == Some(mid))
        {
            return Err(SignalingError::malformed(
                what,
                format!("two sections have a=mid:{mid}"),
            ));
        }
    }
    Ok(())
}

fn read_section(
    what: &'static str,
    media: &MediaDescription,
    direction: Direction,
) -> Result<Section, SignalingError> {
    let name = &media.media_name;
    let protocol = name.protos.join("/");
    let kind = match name.media.as_str() {
        "audio" => SectionKind::Audio,
        "video" => SectionKind::Video,
        "application" if protocol.ends_with("DTLS/SCTP") => SectionKind::Data,
        _ => SectionKind::Other,
    };
    let mut section = Section {
        kind,
        media: name.media.clone(),
        protocol,
        formats: name.formats.clone(),
        rejected: name.port.value == 0,
        mid: None,
        direction,
        rtcp_mux: false,
        reduced_size: false,
        codecs: Vec::new(),
        mid_extension: None,
        level_extension: None,
        ssrcs: Vec::new(),
        transport: Transport::default(),
        candidates: Vec::new(),
        max_message: 65_536,
    };
    // JSEP lets a section have port 0 and still be bundled (RFC 9143 §7.2.1).
    if media.attributes.iter().any(|a| a.key == "bundle-only") {
        section.rejected = false;
    }
    for attribute in &media.attributes {
        read_attribute(what, attribute, &mut section)?;
    }
    if matches!(kind, SectionKind::Audio | SectionKind::Video) {
        section.codecs = read_codecs(&section.formats, &media.attributes);
    }
    Ok(section)
}
