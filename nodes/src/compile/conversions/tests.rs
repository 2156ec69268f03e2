//! Chains of conversions, as text.

use super::*;

const PACKETS: StreamFormat = StreamFormat::Audio {
    format: AudioFormat::WEBRTC_OPUS,
    packets: true,
};

fn pcm(rate: u32, channels: u8) -> StreamFormat {
    StreamFormat::audio(AudioFormat::pcm_f32(rate, channels))
}

fn check(from: StreamFormat, to: &Accepts, expected: &[(&str, &str)]) {
    let chain = conversions(from, to).expect("a chain");
    let got: Vec<_> = chain
        .iter()
        .map(|step| (step.name, step.output.to_string()))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, format)| (*name, (*format).to_owned()))
        .collect();
    assert_eq!(got, expected, "{from} -> {to}");
    if let Some(last) = chain.last() {
        assert!(to.admits(&last.output), "{} admitted by {to}", last.output);
    }
}

#[test]
fn what_is_admitted_needs_nothing() {
    check(PACKETS, &Accepts::Anything, &[]);
    check(pcm(16_000, 1), &Accepts::pcm_f32(), &[]);
    check(StreamFormat::Text, &Accepts::Kind(Kind::Text), &[]);
}

#[test]
fn packets_are_decoded_straight_to_the_wanted_rate() {
    let speech = Accepts::exactly(AudioFormat::pcm_f32(16_000, 1));
    check(PACKETS, &speech, &[("dejitter", "pcm_f32/16000/1")]);
    check(
        PACKETS,
        &Accepts::pcm_f32(),
        &[("dejitter", "pcm_f32/48000/1")],
    );
    check(
        PACKETS,
        &Accepts::Kind(Kind::Audio),
        &[("dejitter", "pcm_f32/48000/1")],
    );
}

#[test]
fn a_rate_that_the_decoder_lacks_is_resampled() {
    let cd = Accepts::exactly(AudioFormat::pcm_s16(44_100, 2));
    check(
        PACKETS,
        &cd,
        &[
            ("dejitter", "pcm_f32/48000/2"),
            ("resample", "pcm_f32/44100/2"),
            ("pcm", "pcm_s16/44100/2"),
        ],
    );
}

#[test]
fn channels_are_reduced_before_and_added_after_resampling() {
    let mono = Accepts::exactly(AudioFormat::pcm_f32(16_000, 1));
    check(
        pcm(48_000, 2),
        &mono,
        &[
            ("channels", "pcm_f32/48000/1"),
            ("resample", "pcm_f32/16000/1"),
        ],
    );
    let stereo = Accepts::exactly(AudioFormat::pcm_f32(48_000, 2));
    check(
        pcm(16_000, 1),
        &stereo,
        &[
            ("resample", "pcm_f32/48000/1"),
            ("channels", "pcm_f32/48000/2"),
        ],
    );
}

#[test]
fn a_webrtc_listener_gets_opus_from_any_rate_that_the_encoder_takes() {
    let webrtc = Accepts::exactly(AudioFormat::WEBRTC_OPUS);
    check(pcm(16_000, 1), &webrtc, &[("encode", "opus/48000/1")]);
    check(
        pcm(44_100, 1),
        &webrtc,
        &[("resample", "pcm_f32/48000/1"), ("encode", "opus/48000/1")],
    );
    let s16 = StreamFormat::audio(AudioFormat::pcm_s16(24_000, 1));
    check(
        s16,
        &webrtc,
        &[("pcm", "pcm_f32/24000/1"), ("encode", "opus/48000/1")],
    );
}

#[test]
fn telephony_is_decoded_and_encoded_at_its_own_rate() {
    let pcmu = AudioFormat {
        codec: Codec::Pcmu,
        sample_rate: 8_000,
        channels: 1,
    };
    check(
        StreamFormat::audio(pcmu),
        &Accepts::exactly(AudioFormat::pcm_f32(16_000, 1)),
        &[
            ("decode", "pcm_f32/8000/1"),
            ("resample", "pcm_f32/16000/1"),
        ],
    );
    check(
        pcm(48_000, 2),
        &Accepts::exactly(pcmu),
        &[
            ("channels", "pcm_f32/48000/1"),
            ("resample", "pcm_f32/8000/1"),
            ("encode", "pcmu/8000/1"),
        ],
    );
}

#[test]
fn other_kinds_are_never_converted() {
    for to in [Accepts::Kind(Kind::Text), Accepts::Kind(Kind::Json)] {
        let error = conversions(pcm(48_000, 1), &to).expect_err("kinds differ");
        assert_eq!(error.code, Code::Incompatible);
    }
    assert!(conversions(StreamFormat::Text, &Accepts::pcm_f32()).is_err());
}

#[test]
fn every_chain_ends_in_what_was_asked_for() {
    let rates = [8_000, 16_000, 22_050, 44_100, 48_000];
    for codec in Codec::ALL {
        for rate in rates {
            for channels in [1, 2] {
                for packets in [false, true] {
                    let format = AudioFormat {
                        codec,
                        sample_rate: rate,
                        channels,
                    };
                    let from = StreamFormat::Audio { format, packets };
                    for to_codec in Codec::ALL {
                        let sample_rate = if to_codec == Codec::Opus {
                            48_000
                        } else {
                            rate
                        };
                        let to = Accepts::exactly(AudioFormat {
                            codec: to_codec,
                            sample_rate,
                            channels: 1,
                        });
                        let chain = conversions(from, &to).expect("a chain");
                        let end = chain.last().map_or(from, |step| step.output);
                        assert!(to.admits(&end), "{from} -> {to} ended in {end}");
                        assert!(chain.len() <= 5, "{from} -> {to} took {}", chain.len());
                    }
                }
            }
        }
    }
}
