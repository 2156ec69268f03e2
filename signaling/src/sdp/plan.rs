//! From an offer to what will be done: which sections, codecs and directions (RFC 9429 §5.3).
//!
//! One codec per section is taken, the offerer's first that we want, so that a pipeline's formats
//! are fixed once the answer is out. Sections that cannot be served are refused one by one; only an
//! offer of which nothing can be served is refused whole.

use std::net::SocketAddr;

use super::parse::{Description, Direction, Format, Section, SectionKind, Setup};
use crate::codec::{AudioCodec, Codec, VideoCodec};
use crate::config::{Capabilities, Role};
use crate::dtls::Fingerprint;
use crate::error::SignalingError;
use crate::ice::Credentials;

/// What becomes of one media section.
#[derive(Debug, Clone)]
pub(crate) struct MediaPlan {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) parameters: String,
    /// Ours: what we send and receive.
    pub(crate) direction: Direction,
    pub(crate) nack: bool,
    pub(crate) pli: bool,
    pub(crate) fir: bool,
    pub(crate) remb: bool,
    /// The peer may be sent feedback without a report around it (RFC 5506).
    pub(crate) reduced_size: bool,
    pub(crate) mid_extension: Option<u8>,
    pub(crate) level_extension: Option<u8>,
    /// The SSRCs that the peer announced.
    pub(crate) remote_ssrcs: Vec<u32>,
    /// Ours, if we send.
    pub(crate) local_ssrc: u32,
}

/// What becomes of a section.
#[derive(Debug, Clone)]
pub(crate) enum PlanKind {
    Media(MediaPlan),
    Data { max_message: u32 },
    Rejected,
}

/// What becomes of an offer.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// One per section of the offer, in its order.
    pub(crate) sections: Vec<PlanKind>,
    pub(crate) credentials: Credentials,
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) candidates: Vec<SocketAddr>,
    /// We say hello in DTLS.
    pub(crate) dtls_client: bool,
    /// The peer is an ICE-lite agent, so we check and nominate.
    pub(crate) remote_is_lite: bool,
}

/// Plans the answer to `offer`.
///
/// # Errors
///
/// [`SignalingError::NotAcceptable`] if nothing of it can be served, [`SignalingError::Malformed`] if
/// a section that could be served lacks credentials or a fingerprint.
pub(crate) fn plan(
    offer: &Description,
    role: Role,
    capabilities: &Capabilities,
) -> Result<Plan, SignalingError> {
    let mut sections: Vec<PlanKind> = offer
        .sections
        .iter()
        .map(|section| plan_section(section, role, capabilities))
        .collect();
    let main = sections
        .iter()
        .position(|section| !matches!(section, PlanKind::Rejected));
    let Some(main) = main else {
        return Err(SignalingError::not_acceptable(refusal(offer, capabilities)));
    };
    // One transport: what is not bundled with the first section has none.
    let is_bundled = |index: usize| {
        let mid = offer.sections[index].mid.as_ref();
        mid.is_some_and(|mid| offer.bundle.contains(mid))
    };
    for (index, section) in sections.iter_mut().enumerate() {
        if index != main && !(is_bundled(main) && is_bundled(index)) {
            *section = PlanKind::Rejected;
        }
    }
    let section = transport_section(offer, main);
    let credentials = offer
        .credentials(section)
        .ok_or_else(|| SignalingError::malformed("offer", "a=ice-ufrag or a=ice-pwd is missing"))?;
    let fingerprints = offer.fingerprints(section).to_vec();
    if fingerprints.is_empty() {
        let unknown = section.transport.unknown_fingerprint || offer.transport.unknown_fingerprint;
        return Err(if unknown {
            SignalingError::not_acceptable("a=fingerprint needs sha-256")
        } else {
            SignalingError::malformed("offer", "a=fingerprint is missing")
        });
    }
    let candidates = offer
        .sections
        .iter()
        .flat_map(|section| &section.candidates);
    Ok(Plan {
        sections,
        credentials,
        fingerprints,
        candidates: offer.candidates.iter().chain(candidates).copied().collect(),
        // An offer must leave the choice (RFC 8842 §5.2); who does not gets what it wants.
        dtls_client: offer.setup(section) != Some(Setup::Active),
        remote_is_lite: offer.ice_lite,
    })
}

/// Where the transport is described: the first section of the bundle has it for all (RFC 9143 §7.1.3).
fn transport_section(offer: &Description, main: usize) -> &Section {
    let own = &offer.sections[main];
    if offer.credentials(own).is_some() {
        return own;
    }
    let tagged = offer.bundle.first();
    let tagged = offer
        .sections
        .iter()
        .find(|s| s.mid.is_some() && s.mid.as_ref() == tagged);
    tagged
        .filter(|section| offer.credentials(section).is_some())
        .unwrap_or(own)
}

fn plan_section(section: &Section, role: Role, capabilities: &Capabilities) -> PlanKind {
    if section.rejected {
        return PlanKind::Rejected;
    }
    let (receive, send) = match section.kind {
        SectionKind::Audio => (capabilities.receive_audio, capabilities.send_audio),
        SectionKind::Video => (capabilities.receive_video, capabilities.send_video),
        SectionKind::Data => {
            let modern = section
                .formats
                .iter()
                .any(|format| format == "webrtc-datachannel");
            return if capabilities.data_channels && modern {
                PlanKind::Data {
                    max_message: section.max_message,
                }
            } else {
                PlanKind::Rejected
            };
        }
        SectionKind::Other => return PlanKind::Rejected,
    };
    let direction = Direction {
        send: send && section.direction.receive,
        receive: receive && section.direction.send && role == Role::Whip,
    };
    let wanted = section.protocol.ends_with("RTP/SAVPF") && section.rtcp_mux;
    let format = choose(section, capabilities);
    match format {
        Some(format) if wanted && (direction.send || direction.receive) => {
            PlanKind::Media(media(section, format, direction))
        }
        _ => PlanKind::Rejected,
    }
}

/// The offerer's first format that we want; for H.264 one that may be split (mode 1), if there is one.
fn choose<'a>(section: &'a Section, capabilities: &Capabilities) -> Option<&'a Format> {
    let wanted = |format: &&Format| match format.codec {
        Codec::Audio(codec) => {
            section.kind == SectionKind::Audio && capabilities.audio_codecs.contains(&codec)
        }
        Codec::Video(codec) => {
            section.kind == SectionKind::Video && capabilities.video_codecs.contains(&codec)
        }
    };
    let first = section.codecs.iter().find(wanted)?;
    if first.codec == Codec::Video(VideoCodec::H264) {
        let splits = |format: &&Format| {
            format.codec == first.codec && format.parameters.contains("packetization-mode=1")
        };
        return Some(section.codecs.iter().find(splits).unwrap_or(first));
    }
    Some(first)
}

fn media(section: &Section, format: &Format, direction: Direction) -> MediaPlan {
    let has = |feedback: &str| format.feedback.iter().any(|offered| offered == feedback);
    let video = section.kind == SectionKind::Video;
    MediaPlan {
        codec: format.codec,
        payload_type: format.payload_type,
        parameters: parameters(format),
        direction,
        nack: video && has("nack"),
        pli: video && has("nack pli"),
        fir: video && has("ccm fir"),
        remb: video && has("goog-remb"),
        reduced_size: section.reduced_size,
        mid_extension: section.mid_extension,
        level_extension: section.level_extension.filter(|_| !video),
        remote_ssrcs: section.ssrcs.clone(),
        // Zero is taken for "none" by some receivers.
        local_ssrc: rand::random::<u32>() | 1,
    }
}

/// Our format parameters: what we are ready to receive (RFC 7587 §7, RFC 6184 §8.2.2).
fn parameters(format: &Format) -> String {
    match format.codec {
        Codec::Audio(AudioCodec::Opus) => {
            let stereo = format
                .parameters
                .split(';')
                .any(|parameter| matches!(parameter.trim(), "stereo=1" | "sprop-stereo=1"));
            let stereo = if stereo { ";stereo=1" } else { "" };
            format!("minptime=10;useinbandfec=1{stereo}")
        }
        Codec::Audio(_) | Codec::Video(VideoCodec::Vp8) => String::new(),
        Codec::Video(VideoCodec::H264) => format.parameters.clone(),
    }
}

/// Says what was offered and what would be served.
fn refusal(offer: &Description, capabilities: &Capabilities) -> String {
    let offered: Vec<String> = offer
        .sections
        .iter()
        .map(|section| {
            let mut codecs: Vec<&str> = section.codecs.iter().map(|f| f.codec.name()).collect();
            codecs.dedup();
            let mux = if section.rtcp_mux || section.kind == SectionKind::Data {
                ""
            } else {
                ", no rtcp-mux"
            };
            format!(
                "{} {} [{}]{mux}",
                section.media,
                section.direction.name(),
                codecs.join(" ")
            )
        })
        .collect();
    let kind = |name, receive, send, codecs: Vec<&str>| {
        let direction = Direction { send, receive };
        format!("{name} {} [{}]", direction.name(), codecs.join(" "))
    };
    let audio = capabilities
        .audio_codecs
        .iter()
        .map(|c| Codec::Audio(*c).name())
        .collect();
    let video = capabilities
        .video_codecs
        .iter()
        .map(|c| Codec::Video(*c).name())
        .collect();
    format!(
        "it has {}; served are {} and {}",
        offered.join(", "),
        kind(
            "audio",
            capabilities.receive_audio,
            capabilities.send_audio,
            audio
        ),
        kind(
            "video",
            capabilities.receive_video,
            capabilities.send_video,
            video
        ),
    )
}
