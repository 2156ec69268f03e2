//! Session descriptions (RFC 8866, RFC 9429): what a peer's says, what we make of it, and ours.
//!
//! The library reads the lines; everything after that is here, because an answer has to mirror the
//! offer section by section, refused ones included, and because refusals need their own status.
//! Text in, values out: nothing here keeps state or knows transports.

mod attributes;
mod candidate;
mod parse;
mod plan;
mod write;

pub(crate) use attributes::ice_text as parse_ice_text;
pub(crate) use candidate::parse_candidate;
#[cfg(any(test, feature = "client"))]
pub(crate) use parse::{Description, Direction, SectionKind};
pub(crate) use parse::{Setup, parse};
pub(crate) use plan::{MediaPlan, PlanKind, plan};
pub(crate) use write::{LocalSide, answer, candidate_lines, fragment_head};
#[cfg(any(test, feature = "client"))]
pub(crate) use write::{OfferSection, offer};

/// Carries the `mid` of a packet's section (RFC 9143 §15.2).
pub(crate) const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// Carries the level of a packet's audio (RFC 6464).
pub(crate) const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
