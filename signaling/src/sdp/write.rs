//! Descriptions as text: the answer, and for clients the offer.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::parse::{Description, Section, Setup};
use super::plan::{MediaPlan, Plan, PlanKind};
use super::{AUDIO_LEVEL_URI, MID_URI};
use crate::ice::Credentials;

/// Appends one line. Writing to a `String` cannot fail.
macro_rules! line {
    ($text:expr, $($arguments:tt)*) => {{
        let _ = write!($text, $($arguments)*);
        $text.push_str("\r\n");
    }};
}

/// What all our sections say of this side.
pub(crate) struct LocalSide<'a> {
    pub(crate) session: u64,
    pub(crate) credentials: &'a Credentials,
    pub(crate) fingerprint: &'a str,
    pub(crate) setup: Setup,
    pub(crate) candidates: &'a [SocketAddr],
    pub(crate) cname: &'a str,
    pub(crate) max_message: u32,
}

/// The answer to `offer` as `plan` has it.
pub(crate) fn answer(offer: &Description, plan: &Plan, local: &LocalSide<'_>) -> String {
    let accepted = || {
        offer
            .sections
            .iter()
            .zip(&plan.sections)
            .filter(|(_, p)| !matches!(p, PlanKind::Rejected))
    };
    let mids = accepted().filter_map(|(section, _)| section.mid.as_deref());
    let bundle = if offer.bundle.is_empty() {
        String::new()
    } else {
        mids.collect::<Vec<_>>().join(" ")
    };
    let mut text = String::with_capacity(2048);
    head(&mut text, local, &bundle, offer.allows_mixed_extensions);
    let mut first = true;
    for (section, plan) in offer.sections.iter().zip(&plan.sections) {
        let start = Start {
            media: &section.media,
            protocol: &section.protocol,
            mid: section.mid.as_deref(),
        };
        match plan {
            PlanKind::Rejected => rejected(&mut text, section),
            PlanKind::Media(media) => {
                media_section(&mut text, &start, media, local);
                transport(&mut text, local, std::mem::take(&mut first));
            }
            PlanKind::Data { .. } => {
                data_section(&mut text, &start, local);
                transport(&mut text, local, std::mem::take(&mut first));
            }
        }
    }
    text
}

/// How a fragment about the bundle of this answer begins (RFC 8840 §9): the bundle and its first
/// section.
pub(crate) fn fragment_head(offer: &Description, plan: &Plan) -> String {
    let accepted: Vec<&Section> = offer
        .sections
        .iter()
        .zip(&plan.sections)
        .filter(|(_, kind)| !matches!(kind, PlanKind::Rejected))
        .map(|(section, _)| section)
        .collect();
    let mut text = String::new();
    let mids: Vec<&str> = accepted
        .iter()
        .filter_map(|section| section.mid.as_deref())
        .collect();
    if !offer.bundle.is_empty() {
        line!(text, "a=group:BUNDLE {}", mids.join(" "));
    }
    if let Some(first) = accepted.first() {
        let format = first.formats.first().map_or("0", String::as_str);
        line!(text, "m={} 9 {} {format}", first.media, first.protocol);
    }
    if let Some(mid) = mids.first() {
        line!(text, "a=mid:{mid}");
    }
    text
}

/// One section of an offer of ours.
#[cfg(any(test, feature = "client"))]
pub(crate) enum OfferSection {
    Media(MediaPlan),
    Data,
}

/// An offer with `sections`, named `0`, `1`, …
#[cfg(any(test, feature = "client"))]
pub(crate) fn offer(sections: &[OfferSection], local: &LocalSide<'_>) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|index| index.to_string()).collect();
    let mut text = String::with_capacity(2048);
    head(&mut text, local, &mids.join(" "), true);
    for (section, mid) in sections.iter().zip(&mids) {
        match section {
            OfferSection::Media(media) => {
                let name = match media.codec.kind() {
                    crate::codec::MediaKind::Audio => "audio",
                    crate::codec::MediaKind::Video => "video",
                };
                let start = Start {
                    media: name,
                    protocol: "UDP/TLS/RTP/SAVPF",
                    mid: Some(mid),
                };
                media_section(&mut text, &start, media, local);
            }
            OfferSection::Data => {
                let start = Start {
                    media: "application",
                    protocol: "UDP/DTLS/SCTP",
                    mid: Some(mid),
                };
                data_section(&mut text, &start, local);
            }
        }
        transport(&mut text, local, mid == "0");
    }
    text
}

/// How a section begins.
struct Start<'a> {
    media: &'a str,
    protocol: &'a str,
    mid: Option<&'a str>,
}

fn head(text: &mut String, local: &LocalSide<'_>, bundle: &str, mixed: bool) {
    line!(text, "v=0");
    line!(text, "o=- {} 1 IN IP4 127.0.0.1", local.session);
    line!(text, "s=-");
    line!(text, "t=0 0");
    if !bundle.is_empty() {
        line!(text, "a=group:BUNDLE {bundle}");
    }
    if mixed {
        line!(text, "a=extmap-allow-mixed");
    }
    line!(text, "a=msid-semantic: WMS *");
    line!(text, "a=ice-options:trickle");
}

fn rejected(text: &mut String, section: &Section) {
    let formats = section.formats.join(" ");
    line!(text, "m={} 0 {} {formats}", section.media, section.protocol);
    line!(text, "c=IN IP4 0.0.0.0");
    line!(text, "a=inactive");
    if let Some(mid) = &section.mid {
        line!(text, "a=mid:{mid}");
    }
}

fn media_section(text: &mut String, start: &Start<'_>, media: &MediaPlan, local: &LocalSide<'_>) {
    let payload_type = media.payload_type;
    line!(
        text,
        "m={} 9 {} {payload_type}",
        start.media,
        start.protocol
    );
    line!(text, "c=IN IP4 0.0.0.0");
    if let Some(mid) = start.mid {
        line!(text, "a=mid:{mid}");
    }
    line!(text, "a={}", media.direction.name());
    line!(text, "a=rtcp-mux");
    if media.reduced_size {
        line!(text, "a=rtcp-rsize");
    }
    line!(text, "a=rtpmap:{payload_type} {}", media.codec.rtpmap());
    if !media.parameters.is_empty() {
        line!(text, "a=fmtp:{payload_type} {}", media.parameters);
    }
    for (wanted, feedback) in [
        (media.nack, "nack"),
        (media.pli, "nack pli"),
        (media.fir, "ccm fir"),
        (media.remb, "goog-remb"),
    ] {
        if wanted {
            line!(text, "a=rtcp-fb:{payload_type} {feedback}");
        }
    }
    if let Some(id) = media.mid_extension {
        line!(text, "a=extmap:{id} {MID_URI}");
    }
    if let Some(id) = media.level_extension {
        line!(text, "a=extmap:{id} {AUDIO_LEVEL_URI}");
    }
    if media.direction.send {
        line!(text, "a=msid:tidegate {}", start.media);
        line!(text, "a=ssrc:{} cname:{}", media.local_ssrc, local.cname);
    }
}

fn data_section(text: &mut String, start: &Start<'_>, local: &LocalSide<'_>) {
    line!(
        text,
        "m={} 9 {} webrtc-datachannel",
        start.media,
        start.protocol
    );
    line!(text, "c=IN IP4 0.0.0.0");
    if let Some(mid) = start.mid {
        line!(text, "a=mid:{mid}");
    }
    line!(text, "a=sctp-port:5000");
    line!(text, "a=max-message-size:{}", local.max_message);
}

fn transport(text: &mut String, local: &LocalSide<'_>, with_candidates: bool) {
    line!(text, "a=ice-ufrag:{}", local.credentials.ufrag);
    line!(text, "a=ice-pwd:{}", local.credentials.password);
    line!(text, "a=fingerprint:sha-256 {}", local.fingerprint);
    let setup = match local.setup {
        Setup::Active => "active",
        Setup::Passive => "passive",
        Setup::ActPass => "actpass",
    };
    line!(text, "a=setup:{setup}");
    if with_candidates {
        text.push_str(&candidate_lines(local.candidates));
    }
}

/// Host candidates, the first wanted most (RFC 8445 §5.1.2.1), and the word that there are no more.
pub(crate) fn candidate_lines(candidates: &[SocketAddr]) -> String {
    let mut text = String::new();
    for (index, address) in (0u32..).zip(candidates) {
        let priority = (126 << 24) | ((65_535 - index.min(65_535)) << 8) | 255;
        let (foundation, ip, port) = (index + 1, address.ip(), address.port());
        line!(
            text,
            "a=candidate:{foundation} 1 udp {priority} {ip} {port} typ host"
        );
    }
    line!(text, "a=end-of-candidates");
    text
}
