//! Files read back: the tone that was put in, in full length and at its place.
//!
//! The fixtures hold 0.5 s of 440 Hz at half of full scale, made with other encoders (`media/fixtures/make.py`).

use std::io::Cursor;

use super::*;
use crate::codec::OpusSettings;
use crate::format::{AudioFormat, Codec};
use crate::frame::{Audio, Frame, Payload, quantise};
use crate::testing::{Rng, fit, tone};
use crate::time::MediaTime;

const FLAC: &[u8] = include_bytes!("../../fixtures/tone.flac");
const MP3: &[u8] = include_bytes!("../../fixtures/tone.mp3");
const ADTS: &[u8] = include_bytes!("../../fixtures/tone.aac");
const M4A: &[u8] = include_bytes!("../../fixtures/tone.m4a");
const OPUS: &[u8] = include_bytes!("../../fixtures/tone.opus");
const WAV24: &[u8] = include_bytes!("../../fixtures/tone24.wav");

fn open(bytes: &[u8]) -> Result<AudioFile<Cursor<Vec<u8>>>, FileError> {
    AudioFile::open(Cursor::new(bytes.to_vec()), None, FileLimits::default())
}

/// Reads a whole file: its format, and the first channel; checks that the frames join.
fn read(bytes: &[u8]) -> (AudioFormat, Vec<f32>) {
    let file = open(bytes).expect("opens");
    let format = file.format();
    let mut mono = Vec::new();
    for frame in file {
        let frame = frame.expect("reads");
        let at = MediaTime::from_samples(mono.len() as u64, format.sample_rate);
        assert_eq!(frame.meta.media_time, at);
        let Payload::Audio(audio) = &frame.payload else {
            panic!("a file gives audio");
        };
        assert_eq!(audio.format, format);
        assert!(audio.samples <= format.sample_rate / 50);
        mono.extend(audio.to_f32().iter().step_by(usize::from(format.channels)));
    }
    (format, mono)
}

#[test]
fn files_of_every_format_give_the_tone_they_hold() {
    // The encoders of MP3 and AAC delay the sound; those that say by how much are trimmed.
    type Case = (&'static str, &'static [u8], u32, u8, f64, usize);
    let cases: [Case; 6] = [
        ("flac", FLAC, 16_000, 1, 60.0, 0),
        ("mp3", MP3, 44_100, 1, 25.0, 3_000),
        ("adts", ADTS, 44_100, 2, 25.0, 4_000),
        ("m4a", M4A, 44_100, 1, 25.0, 4_000),
        // Its encoder counts its look-ahead twice in the last page.
        ("opus", OPUS, 48_000, 2, 25.0, 312),
        ("wav24", WAV24, 8_000, 1, 60.0, 0),
    ];
    for (name, bytes, rate, channels, least, surplus) in cases {
        let (format, sound) = read(bytes);
        assert_eq!(format, AudioFormat::pcm_f32(rate, channels), "{name}");
        let expected = rate as usize / 2;
        assert!(
            sound.len() >= expected && sound.len() <= expected + surplus,
            "{name}: {} samples for {expected}",
            sound.len()
        );
        let (from, to) = (sound.len() / 4, sound.len() * 3 / 4);
        let (snr, late) = fit(440.0, rate, from, &sound[from..to]);
        assert!(snr > least, "{name}: {snr:.1} dB");
        if surplus < 1_000 {
            assert!(late.abs() < 1e-4, "{name}: off by {late} s");
        }
    }
}

fn pcm(rate: u32, channels: u8, samples: &[f32]) -> Audio {
    let spread = samples
        .iter()
        .flat_map(|&s| std::iter::repeat_n(s, usize::from(channels)))
        .collect();
    Audio::from_f32(rate, channels, spread)
}

#[test]
fn a_wav_file_gives_back_what_was_written() {
    let sound = tone(440.0, 16_000, 0, 4_321);
    for (codec, seekable) in [
        (Codec::PcmS16, true),
        (Codec::PcmS16, false),
        (Codec::PcmF32, true),
    ] {
        let format = AudioFormat {
            codec,
            sample_rate: 16_000,
            channels: 2,
        };
        let mut writer = WavWriter::new(Cursor::new(Vec::new()), format).expect("PCM");
        for chunk in sound.chunks(500) {
            writer.write(&pcm(16_000, 2, chunk)).expect("writes");
        }
        let file = if seekable {
            writer.finish_seekable()
        } else {
            writer.finish()
        };
        let bytes = file.expect("writes").into_inner();
        assert_eq!(
            u16::from(bytes[20]),
            if codec == Codec::PcmS16 { 1 } else { 3 }
        );
        let (read_format, back) = read(&bytes);
        assert_eq!((read_format.sample_rate, read_format.channels), (16_000, 2));
        let expected: Vec<i16> = sound.iter().map(|&s| quantise(s)).collect();
        assert_eq!(
            back.iter().map(|&s| quantise(s)).collect::<Vec<_>>(),
            expected
        );
    }
}

#[test]
fn an_opus_file_gives_back_as_much_as_was_written_and_at_its_place() {
    for (rate, samples) in [(48_000, 52_345), (16_000, 16_000), (24_000, 7)] {
        let sound = tone(440.0, rate, 0, samples);
        let settings = OpusSettings {
            bitrate: Some(64_000),
            ..OpusSettings::default()
        };
        let mut writer = OpusFile::new(Vec::new(), 7, rate, 1, &settings).expect("valid");
        for chunk in sound.chunks(777) {
            writer.write(&pcm(rate, 1, chunk)).expect("writes");
        }
        let bytes = writer.finish().expect("writes");
        let (format, back) = read(&bytes);
        assert_eq!(format, AudioFormat::pcm_f32(48_000, 1));
        let scale = 48_000 / rate as usize;
        assert_eq!(back.len(), samples * scale);
        if samples > 1_000 {
            let from = back.len() / 4;
            let (snr, late) = fit(440.0, 48_000, from, &back[from..from * 3]);
            assert!(snr > 20.0, "{rate}: {snr:.1} dB");
            assert!(late.abs() < 2e-4, "{rate}: off by {late} s");
        }
    }
}

#[test]
fn opus_packets_can_be_had_without_decoding() {
    let packets = OpusPackets::open(Cursor::new(OPUS), FileLimits::default()).expect("opens");
    let frames: Vec<Frame> = packets.map(|frame| frame.expect("reads")).collect();
    assert!(
        frames[0].meta.media_time.as_micros() < 0,
        "the lead-in lies before zero"
    );
    let mut expected = frames[0].meta.media_time;
    for frame in &frames {
        assert!((frame.meta.media_time.as_micros() - expected.as_micros()).abs() <= 1);
        expected = frame.meta.media_time + frame.duration();
    }
    assert!(expected.as_micros() >= 500_000);
}

#[test]
fn the_gain_in_an_opus_header_is_applied() {
    let loud = read(OPUS).1;
    let mut quiet = OPUS.to_vec();
    // Output gain lies 16 bytes into the header packet, behind the page header of 28 bytes; −6.02 dB is −1541/256.
    quiet[28 + 16..28 + 18].copy_from_slice(&(-1_541_i16).to_le_bytes());
    mend_checksum(&mut quiet[..28 + 19]);
    let quiet = read(&quiet).1;
    let ratio = crate::testing::energy(&quiet) / crate::testing::energy(&loud);
    assert!((ratio - 0.25).abs() < 0.01, "{ratio}");
}

/// Recomputes the checksum of one Ogg page (RFC 3533 §6): CRC-32, polynomial 0x04C11DB7, not reflected.
fn mend_checksum(page: &mut [u8]) {
    page[22..26].fill(0);
    let crc = page.iter().fold(0_u32, |crc, &byte| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn what_is_not_a_media_file_is_refused_with_the_formats_that_are() {
    for bytes in [
        &b""[..],
        b"hello",
        &[0; 5_000],
        b"OggS",
        b"RIFF\0\0\0\0WAVE",
    ] {
        let error = open(bytes).expect_err("no media");
        assert!(!error.to_string().is_empty());
    }
    let error = open(&[7; 9_000]).expect_err("no media").to_string();
    assert!(error.contains("flac"), "{error}");
}

#[test]
fn limits_hold_against_what_a_file_claims_and_contains() {
    let limits = FileLimits {
        duration: Duration::from_millis(0),
        ..FileLimits::default()
    };
    let long = WAV24.to_vec();
    let mut sound = Vec::new();
    for _ in 0..3 {
        sound.extend(tone(440.0, 8_000, 0, 8_000));
    }
    let mut writer = WavWriter::new(Vec::new(), AudioFormat::pcm_s16(8_000, 1)).expect("PCM");
    writer.write(&pcm(8_000, 1, &sound)).expect("writes");
    let bytes = writer.finish().expect("writes");
    let file = AudioFile::open(Cursor::new(bytes), None, limits);
    let broke = match file {
        Ok(file) => file
            .into_iter()
            .any(|frame| matches!(frame, Err(FileError::Limit { .. }))),
        Err(error) => matches!(error, FileError::Limit { .. }),
    };
    assert!(broke);
    let limits = FileLimits {
        rate_max: 4_000,
        ..FileLimits::default()
    };
    let error = AudioFile::open(Cursor::new(long), None, limits).expect_err("too high a rate");
    assert!(error.to_string().contains("8000"), "{error}");
    let limits = FileLimits {
        channels_max: 1,
        ..FileLimits::default()
    };
    assert!(AudioFile::open(Cursor::new(OPUS), None, limits).is_err());
}

#[test]
fn damaged_files_end_in_an_error_or_early_but_never_in_a_panic() {
    // Sixty-four channels: the WAV reader shifts by as many bits.
    let mut bytes = WAV24.to_vec();
    bytes[22] = 64;
    assert!(open(&bytes).is_err());
    let mut rng = Rng::new(11);
    for original in [FLAC, MP3, ADTS, M4A, OPUS, WAV24] {
        for round in 0..30 {
            let mut bytes = original.to_vec();
            if round % 3 == 0 {
                bytes.truncate(usize::try_from(rng.below(original.len() as u64)).expect("small"));
            }
            for _ in 0..rng.below(12) {
                let at = usize::try_from(rng.below(bytes.len().max(1) as u64)).expect("small");
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.next().to_le_bytes()[0];
                }
            }
            let frames = open(&bytes).map_or(0, |file| file.take(10_000).count());
            assert!(frames < 10_000);
        }
    }
}

#[test]
fn frames_of_another_format_do_not_get_into_a_file() {
    let mut wav = WavWriter::new(Vec::new(), AudioFormat::pcm_s16(8_000, 1)).expect("PCM");
    let error = wav
        .write(&pcm(16_000, 1, &[0.0; 160]))
        .expect_err("other rate");
    assert!(error.to_string().contains("pcm_f32/16000/1"), "{error}");
    assert!(WavWriter::new(Vec::new(), AudioFormat::WEBRTC_OPUS).is_err());
    let mut ogg = OggOpusWriter::new(Vec::new(), 1, 1, 312, 48_000).expect("writes");
    assert!(ogg.write(pcm(48_000, 1, &[0.0; 960])).is_err());
}

#[test]
fn flac_gives_back_every_sample() {
    let samples: Vec<i16> = tone(440.0, 24_000, 0, 10_000)
        .into_iter()
        .map(quantise)
        .collect();
    let mut writer = FlacWriter::new(Vec::new(), 24_000, 1).expect("a header");
    for part in samples.chunks(480) {
        let audio = Audio::from_s16(24_000, 1, part.to_vec());
        writer.write(&audio).expect("memory takes it");
    }
    let file = writer.finish().expect("memory takes it");
    assert!(file.len() < samples.len() * 2, "it is compressed");
    let (format, sound) = read(&file);
    assert_eq!((format.sample_rate, format.channels), (24_000, 1));
    let got: Vec<_> = sound.into_iter().map(quantise).collect();
    assert_eq!(got, samples);
}

/// A second of a tone in parts of 20 ms.
fn parts() -> impl Iterator<Item = Audio> {
    let sound: Vec<_> = tone(440.0, 24_000, 0, 24_000);
    let sound: Vec<_> = sound.into_iter().map(quantise).collect();
    let parts: Vec<_> = sound.chunks(480).map(<[i16]>::to_vec).collect();
    parts
        .into_iter()
        .map(|part| Audio::from_s16(24_000, 1, part))
}

/// That a file is that second, with what a coder adds to it.
fn is_the_second(file: &[u8]) {
    let (format, got) = read(file);
    assert_eq!(format, AudioFormat::pcm_f32(24_000, 1));
    assert!(got.len() >= 24_000 && got.len() < 28_000, "{}", got.len());
    let (snr, _) = fit(440.0, 24_000, 10_000, &got[10_000..20_000]);
    assert!(snr > 25.0, "{snr:.1} dB");
}

#[test]
fn mp3_sounds_as_what_was_written() {
    let mut writer = Mp3Writer::new(Vec::new());
    for part in parts() {
        writer.write(&part).expect("it fits");
    }
    is_the_second(&writer.finish().expect("memory takes it"));
    let silence = Mp3Writer::new(Vec::new()).finish();
    assert!(silence.expect("memory takes it").is_empty());
}

#[test]
fn mp3_that_is_written_as_it_comes_is_the_same_as_one_that_is_written_whole() {
    use oxideav_mp3::ChannelMode;
    use oxideav_mp3::stream_encoder::Mp3Encoder;

    // Noise that grows to full scale, with a tone in it: what a coder has most to do with.
    let mut rng = Rng::new(7);
    let pitch = tone(440.0, 24_000, 0, 40_000).into_iter().map(quantise);
    let samples: Vec<i16> = pitch
        .enumerate()
        .map(|(at, tone)| {
            let [low, high, ..] = rng.next().to_le_bytes();
            let quiet = i16::try_from(1 + (40_000 - at) / 1_000).expect("it is small");
            (i16::from_le_bytes([low, high]) / quiet).saturating_add(tone)
        })
        .collect();
    let mut whole = Mp3Encoder::new(64, 24_000, ChannelMode::SingleChannel).expect("an encoder");
    whole.push_samples(&samples).expect("it fits");
    whole.push_samples(&[0; 2 * 576]).expect("it fits");
    let mut expected = Vec::new();
    whole.finish(&mut expected).expect("memory takes it");

    for size in [1, 479, 480, 24_000] {
        let mut writer = Mp3Writer::new(Vec::new());
        for part in samples.chunks(size) {
            let audio = Audio::from_s16(24_000, 1, part.to_vec());
            writer.write(&audio).expect("it fits");
        }
        let file = writer.finish().expect("memory takes it");
        assert!(file == expected, "in parts of {size}");
    }
}

#[test]
fn aac_sounds_as_what_was_written() {
    let mut writer = AacWriter::new(Vec::new(), 24_000, 1).expect("an encoder");
    for part in parts() {
        writer.write(&part).expect("it fits");
    }
    let file = writer.finish().expect("memory takes it");
    assert!(file.len() < 12_000, "{} bytes a second", file.len());
    is_the_second(&file);
    let silence = AacWriter::new(Vec::new(), 24_000, 1).expect("an encoder");
    assert!(silence.finish().expect("memory takes it").is_empty());
    assert!(AacWriter::new(Vec::new(), 12_345, 1).is_err());
}
