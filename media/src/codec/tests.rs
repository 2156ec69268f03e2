//! Tests of the codecs by what comes out: energy, likeness, time.

use super::packet::{opus_carries_fec, opus_channels, opus_samples};
use super::*;
use crate::testing::{Rng, energy, fit, snr_db, tone, vowel};

fn encode(encoder: &mut dyn AudioEncoder, samples: &[f32]) -> Vec<(MediaTime, Audio)> {
    let mut packets = Vec::new();
    let mut keep = |at: MediaTime, packet: Audio| packets.push((at, packet));
    encoder
        .push(MediaTime::ZERO, samples, &mut keep)
        .expect("encodes");
    encoder.flush(&mut keep).expect("encodes");
    packets
}

fn opus(settings: OpusSettings, rate: u32, samples: &[f32]) -> Vec<Audio> {
    let mut encoder = OpusEncoder::new(rate, 1, &settings).expect("valid settings");
    let packets = encode(&mut encoder, samples);
    packets.into_iter().map(|packet| packet.1).collect()
}

#[test]
fn opus_carries_a_tone_to_every_rate_and_channel_count() {
    let packets = opus(
        OpusSettings::default(),
        48_000,
        &tone(440.0, 48_000, 0, 19_200),
    );
    assert_eq!(packets.len(), 20);
    for (rate, channels) in [
        (8_000, 1),
        (12_000, 1),
        (16_000, 2),
        (24_000, 1),
        (48_000, 2),
    ] {
        let mut decoder = OpusDecoder::new(rate, channels).expect("valid format");
        let mut out = Vec::new();
        for packet in &packets {
            let samples = decoder.decode(&packet.data, &mut out).expect("decodes");
            assert_eq!(samples, rate / 50);
        }
        let mono = pcm::map_channels(&out, channels, 1);
        let (snr, _) = fit(440.0, rate, 0, &mono[mono.len() / 2..]);
        assert!(snr > 20.0, "{rate}/{channels}: {snr:.1} dB");
    }
}

#[test]
fn opus_packets_have_exact_times_and_say_their_length() {
    for (rate, packet_ms) in [(16_000, 20), (48_000, 10), (8_000, 60)] {
        let settings = OpusSettings {
            packet_ms,
            ..OpusSettings::default()
        };
        let mut encoder = OpusEncoder::new(rate, 2, &settings).expect("valid settings");
        let packets = encode(&mut encoder, &vec![0.1; rate as usize / 2]);
        for (i, (at, packet)) in (0_i64..).zip(&packets) {
            assert_eq!(at.as_micros(), i * i64::from(packet_ms) * 1_000);
            assert_eq!(packet.samples, u32::from(packet_ms) * 48);
            assert_eq!(opus_samples(&packet.data), Some(packet.samples));
            assert_eq!(packet.duration(), encoder.packet_duration());
        }
        assert_eq!(packets.len(), 250_usize.div_ceil(usize::from(packet_ms)));
    }
}

#[test]
fn opus_look_ahead_is_told_truly() {
    for (application, most_ms) in [(Application::Audio, 6.5), (Application::LowDelay, 2.5)] {
        let settings = OpusSettings {
            application,
            bitrate: Some(96_000),
            ..OpusSettings::default()
        };
        let mut encoder = OpusEncoder::new(48_000, 1, &settings).expect("valid settings");
        let packets = encode(&mut encoder, &tone(200.0, 48_000, 0, 19_200));
        let mut decoder = OpusDecoder::new(48_000, 1).expect("valid format");
        let mut out = Vec::new();
        for (_, packet) in &packets {
            decoder.decode(&packet.data, &mut out).expect("decodes");
        }
        // A tone of 200 Hz tells its delay within a period of 5 ms.
        let (_, late) = fit(200.0, 48_000, 9_600, &out[9_600..]);
        let told = encoder.lookahead().as_secs_f64();
        assert!((told * 1e3 - most_ms).abs() < 0.01);
        assert!(
            ((late - told + 0.0025).rem_euclid(0.005) - 0.0025).abs() < 5e-4,
            "{late} for {told}"
        );
    }
}

#[test]
fn opus_recovers_a_lost_packet_from_the_copy_in_the_next() {
    let settings = OpusSettings {
        loss: 20,
        bitrate: Some(32_000),
        ..OpusSettings::default()
    };
    let packets = opus(settings, 16_000, &vowel(16_000, 0, 16_000));
    assert!(
        packets[10..40]
            .iter()
            .filter(|p| opus_carries_fec(&p.data))
            .count()
            > 20
    );
    let play = |lost: Option<bool>| {
        let mut decoder = OpusDecoder::new(16_000, 1).expect("valid format");
        let mut out = Vec::new();
        for (i, packet) in packets.iter().enumerate() {
            match lost {
                Some(fec) if i % 5 == 4 && i + 1 < packets.len() => {
                    if fec {
                        decoder.recover(&packets[i + 1].data, 320, &mut out);
                    } else {
                        decoder.conceal(320, &mut out);
                    }
                }
                _ => drop(decoder.decode(&packet.data, &mut out).expect("decodes")),
            }
        }
        out
    };
    let whole = play(None);
    let (recovered, concealed) = (
        snr_db(&whole, &play(Some(true))),
        snr_db(&whole, &play(Some(false))),
    );
    assert!(
        recovered > concealed + 3.0 && recovered > 5.0,
        "recovered {recovered:.1} dB, concealed {concealed:.1} dB"
    );
}

#[test]
fn opus_stops_sending_in_silence_when_told_to() {
    let settings = OpusSettings {
        dtx: true,
        ..OpusSettings::default()
    };
    let mut input = vowel(16_000, 0, 8_000);
    input.resize(40_000, 0.0);
    let packets = opus(settings, 16_000, &input);
    assert!(
        packets.len() > 25 && packets.len() < 60,
        "{}",
        packets.len()
    );
}

#[test]
fn opus_conceals_any_length_and_fades_out() {
    let packets = opus(OpusSettings::default(), 16_000, &vowel(16_000, 0, 6_080));
    let mut decoder = OpusDecoder::new(16_000, 1).expect("valid format");
    let mut out = Vec::new();
    for packet in &packets {
        decoder.decode(&packet.data, &mut out).expect("decodes");
    }
    let start = out.len();
    decoder.conceal(16_000, &mut out);
    decoder.conceal(17, &mut out);
    assert_eq!(out.len(), start + 16_017);
    let first = energy(&out[start..start + 320]);
    assert!(first > 0.1 * energy(&out[start - 320..start]));
    assert!(energy(&out[start + 15_000..]) < 0.01 * first);
}

#[test]
fn malformed_opus_gives_errors_and_leaves_the_buffer_alone() {
    let mut rng = Rng::new(3);
    let mut decoder = OpusDecoder::new(8_000, 1).expect("valid format");
    let mut out = Vec::new();
    let mut refused = 0;
    for _ in 0..300 {
        let packet: Vec<u8> = (0..rng.below(40))
            .map(|_| rng.next().to_le_bytes()[0])
            .collect();
        let before = out.len();
        match decoder.decode(&packet, &mut out) {
            Ok(samples) => assert_eq!(out.len(), before + samples as usize),
            Err(_) => {
                refused += 1;
                assert_eq!(out.len(), before);
            }
        }
        let _ = decoder.carries_fec(&packet);
        decoder.recover(&packet, 160, &mut out);
        out.clear();
    }
    assert!(refused > 10);
    assert_eq!(opus_channels(&[]), 0);
}

#[test]
fn unknown_rates_channels_and_settings_are_refused_with_the_mend() {
    let error = OpusDecoder::new(44_100, 1)
        .expect_err("no such rate")
        .to_string();
    assert!(error.contains("resample"), "{error}");
    assert!(OpusDecoder::new(48_000, 3).is_err());
    let settings = OpusSettings {
        packet_ms: 15,
        ..OpusSettings::default()
    };
    assert!(OpusEncoder::new(48_000, 1, &settings).is_err());
    let pcm = AudioFormat::pcm_s16(8_000, 1);
    assert!(matches!(
        decoder(pcm, 8_000, 1),
        Err(CodecError::NotCoded(_))
    ));
}

#[test]
fn g711_carries_speech_at_telephone_quality() {
    for law in [Law::Mu, Law::A] {
        let input = vowel(8_000, 0, 8_000);
        let mut encoder = G711Encoder::new(law, 8_000, 1).expect("valid format");
        let mut decoder = G711Decoder::new(law, 8_000, 1).expect("valid format");
        let mut out = Vec::new();
        for (at, packet) in encode(&mut encoder, &input) {
            assert_eq!((packet.data.len(), packet.samples), (160, 160));
            assert_eq!(
                at.as_micros() * 8 / 1_000,
                i64::try_from(out.len()).expect("small")
            );
            decoder.decode(&packet.data, &mut out).expect("decodes");
        }
        let snr = snr_db(&input, &out);
        assert!(snr > 35.0, "{law:?}: {snr:.1} dB");
    }
}

#[test]
fn g711_conceals_a_loss_with_the_pitch_heard_before() {
    let input = vowel(8_000, 0, 4_000);
    let codes: Vec<u8> = input
        .iter()
        .map(|&s| Law::A.compress(pcm::quantise(s)))
        .collect();
    let mut decoder = G711Decoder::new(Law::A, 8_000, 1).expect("valid format");
    let mut out = Vec::new();
    for (i, packet) in codes.chunks(160).enumerate() {
        if i == 18 {
            decoder.conceal(160, &mut out);
        } else {
            decoder.decode(packet, &mut out).expect("decodes");
        }
    }
    let start = 18 * 160;
    let snr = snr_db(&input[start..start + 40], &out[start..start + 40]);
    assert!(snr > 6.0, "{snr:.1} dB in the first 5 ms");
    let likeness = energy(&out[start..start + 160]) / energy(&input[start..start + 160]);
    assert!((0.4..1.5).contains(&likeness), "{likeness}");
    let seam = (out[start] - out[start - 1])
        .abs()
        .max((out[start + 160] - out[start + 159]).abs());
    let usual = input
        .windows(2)
        .map(|w| (w[1] - w[0]).abs())
        .fold(0.0, f32::max);
    assert!(seam < usual, "a click of {seam}, where steps reach {usual}");
    let mut silence = Vec::new();
    decoder.conceal(800, &mut silence);
    assert!(energy(&silence[..80]) > 0.0 && energy(&silence[480..]) < 1e-12);
    assert!(decoder.packet_samples(&[0; 9_000]).is_err() && decoder.packet_samples(&[]).is_err());
}
