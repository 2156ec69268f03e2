//! Single attributes of a description (RFC 8866 §6, RFC 8839, RFC 8122, RFC 8285).

use rtc::sdp::description::common::Attribute;

use super::candidate::parse_candidate;
use super::parse::{Direction, Format, Section, Setup, Transport};
use crate::codec::Codec;
use crate::dtls::Fingerprint;
use crate::error::SignalingError;

/// Payload types of one section, and SSRCs or fingerprints, that are looked at.
const MAX_FORMATS: usize = 128;
const MAX_SSRCS: usize = 16;
const MAX_FINGERPRINTS: usize = 8;

pub(super) fn read_attribute(
    what: &'static str,
    attribute: &Attribute,
    section: &mut Section,
) -> Result<(), SignalingError> {
    let value = attribute.value.as_deref().unwrap_or_default();
    match attribute.key.as_str() {
        "mid" => section.mid = Some(value.trim().to_owned()),
        "rtcp-mux" => section.rtcp_mux = true,
        "rtcp-rsize" => section.reduced_size = true,
        "candidate" => section.candidates.extend(parse_candidate(value)),
        "max-message-size" => {
            section.max_message = value.trim().parse().map_err(|_| {
                SignalingError::malformed(what, "a=max-message-size is not a number")
            })?;
        }
        "extmap" => read_extension(value, section),
        "ssrc" => {
            let ssrc = value
                .split_ascii_whitespace()
                .next()
                .and_then(|word| word.parse().ok());
            if let Some(ssrc) = ssrc
                && !section.ssrcs.contains(&ssrc)
                && section.ssrcs.len() < MAX_SSRCS
            {
                section.ssrcs.push(ssrc);
            }
        }
        key => {
            read_transport(what, key, value, &mut section.transport)?;
            read_direction(key, &mut section.direction);
        }
    }
    Ok(())
}

fn read_extension(value: &str, section: &mut Section) {
    let mut words = value.split_ascii_whitespace();
    let (Some(id), Some(uri)) = (words.next(), words.next()) else {
        return;
    };
    let id = id.split('/').next().and_then(|id| id.parse::<u8>().ok());
    // 15 is reserved in the one-byte form, the only one that we write (RFC 8285 §4.2).
    let Some(id) = id.filter(|id| (1..=14).contains(id)) else {
        return;
    };
    match uri {
        super::MID_URI => section.mid_extension = Some(id),
        super::AUDIO_LEVEL_URI => section.level_extension = Some(id),
        _ => {}
    }
}

pub(super) fn read_direction(key: &str, direction: &mut Direction) {
    let (send, receive) = match key {
        "sendrecv" => (true, true),
        "sendonly" => (true, false),
        "recvonly" => (false, true),
        "inactive" => (false, false),
        _ => return,
    };
    *direction = Direction { send, receive };
}

pub(super) fn read_transport(
    what: &'static str,
    key: &str,
    value: &str,
    transport: &mut Transport,
) -> Result<(), SignalingError> {
    let value = value.trim();
    match key {
        "ice-ufrag" => transport.ufrag = Some(ice_text(what, "ice-ufrag", value, 4)?),
        "ice-pwd" => transport.password = Some(ice_text(what, "ice-pwd", value, 22)?),
        "setup" => {
            transport.setup = Some(match value {
                "active" => Setup::Active,
                "passive" => Setup::Passive,
                "actpass" => Setup::ActPass,
                _ => {
                    return Err(SignalingError::malformed(
                        what,
                        "a=setup has an unknown value",
                    ));
                }
            });
        }
        "fingerprint" => read_fingerprint(what, value, transport)?,
        _ => {}
    }
    Ok(())
}

fn read_fingerprint(
    what: &'static str,
    value: &str,
    transport: &mut Transport,
) -> Result<(), SignalingError> {
    let Some((algorithm, value)) = value.split_once(' ') else {
        return Err(SignalingError::malformed(
            what,
            "a=fingerprint has no value",
        ));
    };
    // The one that every endpoint has to have (RFC 8122 §5), and the library's only one.
    if !algorithm.eq_ignore_ascii_case("sha-256") {
        transport.unknown_fingerprint = true;
        return Ok(());
    }
    let value = value.trim();
    let mut pairs = value.split(':');
    let is_hex = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if pairs.clone().count() != 32 || !pairs.all(is_hex) {
        return Err(SignalingError::malformed(
            what,
            "a=fingerprint is not 32 hex pairs",
        ));
    }
    if transport.fingerprints.len() < MAX_FINGERPRINTS {
        transport.fingerprints.push(Fingerprint {
            value: value.to_owned(),
        });
    }
    Ok(())
}

/// An ICE text of `min` to 256 letters (RFC 8839 §5.4).
pub(crate) fn ice_text(
    what: &'static str,
    name: &str,
    value: &str,
    min: usize,
) -> Result<String, SignalingError> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    // Some stacks write `-`, `_` and `=`; they harm nothing here.
    let lenient = |b: u8| letter(b) || matches!(b, b'-' | b'_' | b'=');
    if value.len() < min || value.len() > 256 || !value.bytes().all(lenient) {
        let reason = format!("a={name} needs {min} to 256 letters or digits");
        return Err(SignalingError::malformed(what, reason));
    }
    Ok(value.to_owned())
}

pub(super) fn read_codecs(formats: &[String], attributes: &[Attribute]) -> Vec<Format> {
    let with = |key: &'static str, payload_type: u8| {
        attributes
            .iter()
            .filter(move |a| a.key == key)
            .filter_map(move |a| {
                let (number, rest) = a.value.as_deref()?.trim().split_once(' ')?;
                let all = number == "*" && key == "rtcp-fb";
                (all || number.parse() == Ok(payload_type)).then(|| rest.trim())
            })
    };
    formats
        .iter()
        .take(MAX_FORMATS)
        .filter_map(|format| {
            let payload_type: u8 = format.parse().ok().filter(|number| *number < 128)?;
            let codec = match with("rtpmap", payload_type).next() {
                Some(map) => Codec::from_rtpmap(map)?,
                None => Codec::from_static_payload_type(payload_type)?,
            };
            Some(Format {
                payload_type,
                codec,
                parameters: with("fmtp", payload_type)
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                feedback: with("rtcp-fb", payload_type).map(str::to_owned).collect(),
            })
        })
        .collect()
}
