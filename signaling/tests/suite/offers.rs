//! Offers as Chromium, Firefox, aiortc and OBS write them, and everything that is almost one.
//!
//! Those of Chromium 156, aiortc 1.16 and libdatachannel (which is OBS's stack, told to offer what OBS
//! does) were recorded; Firefox's follows what its source writes.

use proptest::prelude::*;
use tidegate_signaling::{
    AudioCodec, Capabilities, Certificate, Codec, Peer, PeerConfig, Role, SignalingError,
    VideoCodec,
};

use crate::clock;
const CHROMIUM_VOICE: &str = include_str!("offers/chromium_voice.sdp");
const CHROMIUM_VIDEO: &str = include_str!("offers/chromium_video.sdp");
const FIREFOX: &str = include_str!("offers/firefox.sdp");
const AIORTC: &str = include_str!("offers/aiortc.sdp");
const OBS: &str = include_str!("offers/obs.sdp");
const ALL: [&str; 5] = [CHROMIUM_VOICE, CHROMIUM_VIDEO, FIREFOX, AIORTC, OBS];

fn config() -> PeerConfig {
    let candidates = ["192.0.2.1:5004", "[2001:db8::1]:5004"];
    let candidates = candidates.map(|text| text.parse().unwrap()).to_vec();
    PeerConfig::new(Certificate::generate().unwrap(), candidates)
}

fn answer(
    offer: &str,
    role: Role,
    capabilities: &Capabilities,
) -> Result<(Peer, String), SignalingError> {
    Peer::accept(&config(), offer, role, capabilities, clock::start())
}

/// Media sections as `kind port direction`.
fn sections(answer: &str) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in answer.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            sections.push(media.split(' ').take(2).collect::<Vec<_>>().join(" "));
        } else if let Some(name) = line.strip_prefix("a=")
            && ["sendrecv", "sendonly", "recvonly", "inactive"].contains(&name)
            && let Some(last) = sections.last_mut()
        {
            last.push(' ');
            last.push_str(name);
        }
    }
    sections
}

fn codecs(peer: &Peer) -> Vec<(Codec, u8)> {
    peer.tracks()
        .map(|track| (track.codec, track.payload_type))
        .collect()
}

const OPUS: Codec = Codec::Audio(AudioCodec::Opus);
const VP8: Codec = Codec::Video(VideoCodec::Vp8);
const H264: Codec = Codec::Video(VideoCodec::H264);

#[test]
fn a_voice_offer_is_answered_both_ways_with_all_candidates_and_data() {
    for offer in [CHROMIUM_VOICE, AIORTC, FIREFOX] {
        let (peer, answer) = answer(offer, Role::Whip, &Capabilities::voice()).unwrap();
        let sections = sections(&answer);
        assert_eq!(sections[0], "audio 9 sendrecv");
        assert_eq!(sections.last().unwrap(), "application 9");
        assert_eq!(codecs(&peer)[0].0, OPUS);
        assert!(answer.contains("useinbandfec=1"));
        for line in [
            "a=candidate:1 1 udp 2130706431 192.0.2.1 5004 typ host\r\n",
            "a=candidate:2 1 udp 2130706175 2001:db8::1 5004 typ host\r\n",
            "a=end-of-candidates\r\n",
            "a=setup:active\r\n",
            "a=rtcp-mux\r\n",
        ] {
            assert!(answer.contains(line), "{line:?} is not in {answer}");
        }
    }
}

#[test]
fn sections_without_a_pipeline_are_refused_one_by_one_and_leave_the_bundle() {
    let (peer, answer) = answer(CHROMIUM_VIDEO, Role::Whip, &Capabilities::voice()).unwrap();
    let expected = ["audio 9 sendrecv", "video 0 inactive", "application 9"];
    assert_eq!(sections(&answer), expected);
    assert!(answer.contains("a=group:BUNDLE 0 2\r\n"));
    assert_eq!(codecs(&peer), [(OPUS, 111)]);
}

#[test]
fn video_is_answered_with_the_first_wanted_codec_and_its_feedback() {
    let (peer, text) = answer(CHROMIUM_VIDEO, Role::Whip, &Capabilities::everything()).unwrap();
    assert_eq!(codecs(&peer), [(OPUS, 111), (VP8, 96)]);
    for feedback in ["nack", "nack pli", "ccm fir", "goog-remb"] {
        assert!(
            text.contains(&format!("a=rtcp-fb:96 {feedback}\r\n")),
            "{feedback}"
        );
    }
    assert!(!text.contains("transport-cc") && !text.contains("rtx"));
    let only_h264 = Capabilities {
        video_codecs: vec![VideoCodec::H264],
        ..Capabilities::everything()
    };
    let (peer, text) = answer(CHROMIUM_VIDEO, Role::Whip, &only_h264).unwrap();
    assert_eq!(codecs(&peer)[1].0, H264);
    assert!(text.contains("packetization-mode=1"));
}

#[test]
fn obs_is_answered_receive_only_with_its_payload_types() {
    let (peer, text) = answer(OBS, Role::Whip, &Capabilities::everything()).unwrap();
    assert_eq!(sections(&text), ["audio 9 recvonly", "video 9 recvonly"]);
    assert_eq!(codecs(&peer), [(OPUS, 111), (H264, 96)]);
    assert!(text.contains("a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n"));
    assert!(peer.tracks().all(|track| track.receives && !track.sends));
}

#[test]
fn a_whep_offer_is_answered_send_only() {
    let offer = CHROMIUM_VOICE.replace("a=sendrecv", "a=recvonly");
    for offer in [offer.as_str(), CHROMIUM_VOICE] {
        let (peer, text) = answer(offer, Role::Whep, &Capabilities::voice()).unwrap();
        assert_eq!(sections(&text)[0], "audio 9 sendonly");
        assert!(peer.tracks().all(|track| track.sends && !track.receives));
    }
}

#[test]
fn a_pipeline_without_output_makes_sendrecv_receive_only() {
    let capabilities = Capabilities {
        send_audio: false,
        ..Capabilities::voice()
    };
    let (_, text) = answer(CHROMIUM_VOICE, Role::Whip, &capabilities).unwrap();
    assert_eq!(sections(&text)[0], "audio 9 recvonly");
}

#[test]
fn the_offerers_order_of_codecs_decides_among_those_wanted() {
    let offer = CHROMIUM_VOICE.replace("SAVPF 111 63 9 0 8", "SAVPF 8 0 111 63 9");
    let (peer, _) = answer(&offer, Role::Whip, &Capabilities::voice()).unwrap();
    assert_eq!(codecs(&peer), [(Codec::Audio(AudioCodec::Pcma), 8)]);
}

#[test]
fn static_payload_types_need_no_rtpmap() {
    let lines = AIORTC
        .lines()
        .filter(|line| !line.starts_with("a=rtpmap:0 "));
    let offer: String = lines.flat_map(|line| [line, "\r\n"]).collect();
    let pcmu = Capabilities {
        audio_codecs: vec![AudioCodec::Pcmu],
        ..Capabilities::voice()
    };
    let (peer, _) = answer(&offer, Role::Whip, &pcmu).unwrap();
    assert_eq!(codecs(&peer), [(Codec::Audio(AudioCodec::Pcmu), 0)]);
}

fn check_status(offer: &str, status: u16, says: &str) {
    let error = answer(offer, Role::Whip, &Capabilities::voice()).unwrap_err();
    assert_eq!(error.http_status(), status, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn malformed_offers_are_bad_requests_that_say_what_is_wrong() {
    let swap = |from: &str, to: &str| {
        assert!(CHROMIUM_VOICE.contains(from), "{from}");
        CHROMIUM_VOICE.replace(from, to)
    };
    let without = |start: &str| {
        let lines = CHROMIUM_VOICE
            .lines()
            .filter(|line| !line.starts_with(start));
        lines.flat_map(|line| [line, "\n"]).collect::<String>()
    };
    check_status("", 400, "malformed offer");
    check_status("v=0", 400, "malformed offer");
    check_status("{\"sdp\": \"v=0\"}", 400, "malformed offer");
    check_status(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
        400,
        "no media section",
    );
    check_status(&without("a=ice-ufrag"), 400, "ice-ufrag");
    check_status(&without("a=ice-pwd"), 400, "ice-pwd");
    check_status(&without("a=fingerprint"), 400, "fingerprint is missing");
    check_status(&swap("a=ice-ufrag:", "a=ice-ufrag:é "), 400, "ice-ufrag");
    check_status(
        &swap("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 ZZ:"),
        400,
        "hex pairs",
    );
    check_status(&swap("a=setup:actpass", "a=setup:maybe"), 400, "setup");
    check_status(&swap("a=mid:1", "a=mid:0"), 400, "two sections");
    check_status(
        &swap("a=max-message-size:262144", "a=max-message-size:-1"),
        400,
        "number",
    );
}

#[test]
fn offers_of_which_nothing_can_be_served_are_not_acceptable_and_say_what_would_be() {
    let swap = |from: &str, to: &str| CHROMIUM_VOICE.replace(from, to);
    let no_data = Capabilities {
        data_channels: false,
        ..Capabilities::voice()
    };
    let refuse = |offer: &str| {
        let error = answer(offer, Role::Whip, &no_data).unwrap_err();
        assert_eq!(error.http_status(), 406, "{error}");
        error.to_string()
    };
    let says = refuse(
        &swap("opus/48000/2", "speex/8000")
            .replace("PCM", "XYZ")
            .replace("SAVPF 111 63 9 0 8", "SAVPF 111 63 9"),
    );
    assert!(
        says.contains("served are audio sendrecv [opus PCMU PCMA]"),
        "{says}"
    );
    assert!(refuse(&swap("a=rtcp-mux\n", "")).contains("no rtcp-mux"));
    refuse(&swap("a=sendrecv", "a=inactive"));
    refuse(&swap("UDP/TLS/RTP/SAVPF", "RTP/AVP"));
    refuse(&swap("sha-256 ", "sha-1 "));
}

#[test]
fn an_offer_over_the_limit_is_too_large_before_it_is_read() {
    let long = format!("{CHROMIUM_VOICE}a=x:{}\n", "y".repeat(70_000));
    check_status(&long, 413, "more than the limit of 65536");
}

/// One way to damage a text.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    DropLine(usize),
    DoubleLine(usize),
    SwapLines(usize, usize),
    Replace(usize, u8),
    Insert(usize, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        any::<usize>().prop_map(Damage::DropLine),
        any::<usize>().prop_map(Damage::DoubleLine),
        any::<(usize, usize)>().prop_map(|(a, b)| Damage::SwapLines(a, b)),
        any::<(usize, u8)>().prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<usize>(), "\\PC{0,12}").prop_map(|(at, text)| Damage::Insert(at, text)),
    ]
}

fn apply(text: &str, damages: &[Damage]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        let count = lines.len();
        match damage {
            Damage::Cut(at) => bytes.truncate(at % bytes.len()),
            Damage::Replace(at, byte) => {
                let at = at % bytes.len();
                bytes[at] = *byte;
            }
            Damage::Insert(at, text) => {
                let at = at % bytes.len();
                bytes.splice(at..at, text.bytes());
            }
            Damage::DropLine(at) => {
                lines.remove(at % count);
                bytes = lines.join(&b'\n');
            }
            Damage::DoubleLine(at) => {
                let line = lines[at % count].clone();
                lines.insert(at % count, line);
                bytes = lines.join(&b'\n');
            }
            Damage::SwapLines(a, b) => {
                lines.swap(a % count, b % count);
                bytes = lines.join(&b'\n');
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_offer_is_answered_section_by_section_or_refused_and_never_panics(
        index in 0..ALL.len(),
        damages in proptest::collection::vec(damage(), 1..6),
        whep: bool,
    ) {
        thread_local! {
            static CONFIG: PeerConfig = config();
        }
        let offer = apply(ALL[index], &damages);
        let role = if whep { Role::Whep } else { Role::Whip };
        let result = CONFIG.with(|config| {
            Peer::accept(config, &offer, role, &Capabilities::everything(), clock::start())
        });
        match result {
            Ok((_, text)) => {
                let lines = offer.split('\n').map(|line| line.trim_start_matches('\r'));
                let offered = lines.filter(|line| line.starts_with("m=")).count();
                prop_assert_eq!(sections(&text).len(), offered);
                prop_assert!(text.ends_with("\r\n"));
                prop_assert!(text.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
            }
            Err(error) => prop_assert!(matches!(error.http_status(), 400 | 406 | 413), "{}", error),
        }
    }
}
