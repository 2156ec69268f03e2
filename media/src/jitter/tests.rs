//! The jitter decoder on simulated networks, in virtual time. Every run is seeded; a failure prints the seed.

use bytes::Bytes;

use super::*;
use crate::codec::{AudioEncoder, Law, OpusEncoder, OpusSettings, pcm};
use crate::format::{AudioFormat, Codec};
use crate::frame::{Audio, Frame, Payload, Rtp};
use crate::testing::{Rng, energy, vowel};
use crate::time::{MediaTime, Timestamp};

const PCMA: AudioFormat = AudioFormat {
    codec: Codec::Pcma,
    sample_rate: 8_000,
    channels: 1,
};

/// What a network does to packets of 20 ms.
#[derive(Clone, Copy, Debug)]
struct Network {
    seed: u64,
    packets: u64,
    /// Least transit time.
    transit: Duration,
    /// Extra delay, uniform up to this.
    jitter: Duration,
    /// Every so many packets the network stands still and then delivers at once what it held.
    stall: Option<(u64, Duration)>,
    loss: f64,
    duplicates: f64,
    /// The sender's clock runs faster by this.
    ppm: i64,
    /// Sequence number and timestamp of the first packet.
    first: (u16, u32),
}

impl Network {
    const CLEAN: Self = Self {
        seed: 1,
        packets: 500,
        transit: Duration::from_millis(30),
        jitter: Duration::from_micros(500),
        stall: None,
        loss: 0.0,
        duplicates: 0.0,
        ppm: 0,
        first: (0, 0),
    };

    /// Arrivals in order of time: when, and which packet.
    fn arrivals(&self) -> Vec<(Timestamp, u64)> {
        let mut rng = Rng::new(self.seed);
        let mut arrivals = Vec::new();
        let mut stalled_until = 0;
        for packet in 0..self.packets {
            let sent = packet * 20_000_000;
            let sent = sent
                .saturating_add_signed(-i64::try_from(sent).expect("small") / 1_000_000 * self.ppm);
            let sent = 1_000_000_000 + sent;
            if let Some((every, length)) = self.stall
                && packet % every == every - 1
            {
                stalled_until = sent + nanos(length);
            }
            let spread = rng.below(nanos(self.jitter) + 1);
            let at = (sent + nanos(self.transit) + spread).max(stalled_until);
            if !rng.chance(self.loss) {
                arrivals.push((Timestamp::from_nanos(at), packet));
            }
            if rng.chance(self.duplicates) {
                let again = at + rng.below(40_000_000);
                arrivals.push((Timestamp::from_nanos(again), packet));
            }
        }
        arrivals.sort();
        arrivals
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("short")
}

/// What a run gave.
struct Run {
    figures: JitterFigures,
    frames: Vec<Frame>,
    /// Longest time from a packet's arrival to its frame.
    held_max: Duration,
    /// Largest delay after the first ten seconds, or a third of the run.
    delay_max: Duration,
    /// How far the output's end lies from the clock's, once per packet, least and largest, in ms after that time.
    lead: (i64, i64),
    longest_queue: usize,
}

/// Runs packets over a network through a decoder. `payload` makes a packet by its number; `None` is a pause.
fn run(
    network: &Network,
    decoder: &mut JitterDecoder,
    format: AudioFormat,
    keep: bool,
    payload: impl Fn(u64) -> Option<Bytes>,
) -> Run {
    let mut run = Run {
        figures: JitterFigures::default(),
        frames: Vec::new(),
        held_max: Duration::ZERO,
        delay_max: Duration::ZERO,
        lead: (i64::MAX, i64::MIN),
        longest_queue: 0,
    };
    let settled = (network.packets / 3).min(500);
    let mut started: Option<Timestamp> = None;
    let mut ended = MediaTime::ZERO;
    for (at, number) in network.arrivals() {
        let Some(data) = payload(number) else {
            continue;
        };
        // Timers that fire before this packet comes.
        while let Some(due) = decoder.poll_timeout().filter(|&due| due < at) {
            while let Some(frame) = decoder.poll(due) {
                ended = frame.meta.media_time + frame.duration();
                if keep {
                    run.frames.push(frame);
                }
            }
            assert!(
                decoder.poll_timeout().is_none_or(|next| next > due),
                "no progress"
            );
        }
        started.get_or_insert(at);
        decoder
            .insert(at, packet(format, network.first, number, at, data))
            .expect("RTP");
        run.longest_queue = run.longest_queue.max(decoder.waiting());
        while let Some(frame) = decoder.poll(at) {
            let slip = frame.meta.media_time.as_micros() - ended.as_micros();
            assert!(slip.abs() <= 1 || slip > 1_900_000, "a hole of {slip} µs");
            ended = frame.meta.media_time + frame.duration();
            run.held_max = run.held_max.max(frame.age(at));
            if keep {
                run.frames.push(frame);
            }
        }
        if number > settled {
            run.delay_max = run.delay_max.max(decoder.figures().delay);
            let clock = (at - started.unwrap_or(at)).as_micros();
            let lead = (ended.as_micros() - i64::try_from(clock).expect("short")) / 1_000;
            run.lead = (run.lead.0.min(lead), run.lead.1.max(lead));
        }
    }
    run.figures = decoder.figures();
    run
}

#[expect(clippy::cast_possible_truncation, reason = "RTP numbers wrap")]
fn packet(
    format: AudioFormat,
    first: (u16, u32),
    number: u64,
    at: Timestamp,
    data: Bytes,
) -> Frame {
    let mut audio = Audio::encoded(format, data);
    audio.rtp = Some(Rtp {
        sequence: first.0.wrapping_add(number as u16),
        timestamp: first
            .1
            .wrapping_add((number * u64::from(format.sample_rate / 50)) as u32),
        marker: false,
    });
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Audio(audio));
    frame.meta.ingress = at;
    frame
}

/// A second of speech-like sound as A-law packets, repeated for ever.
fn speech() -> Vec<Bytes> {
    vowel(8_000, 0, 8_000)
        .chunks(160)
        .map(|chunk| {
            chunk
                .iter()
                .map(|&s| Law::A.compress(pcm::quantise(s)))
                .collect()
        })
        .collect()
}

fn telephone(network: &Network, settings: JitterSettings) -> Run {
    let speech = speech();
    let mut decoder = JitterDecoder::new(PCMA, 8_000, 1, settings).expect("valid format");
    run(network, &mut decoder, PCMA, false, |number| {
        let index = usize::try_from(number % 50).expect("small");
        Some(speech[index].clone())
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[test]
fn a_clean_network_costs_no_wait_and_keeps_twenty_milliseconds() {
    let run = telephone(&Network::CLEAN, JitterSettings::default());
    assert!(
        run.held_max < Duration::from_millis(1),
        "{:?}",
        run.held_max
    );
    assert_eq!(run.figures.target_delay, Duration::from_millis(20));
    assert!(
        run.delay_max <= Duration::from_millis(31),
        "{:?}",
        run.delay_max
    );
    assert_eq!((run.figures.concealed_samples, run.figures.lost), (0, 0));
    assert_eq!(run.figures.emitted, 500);
    assert!(run.longest_queue <= 2);
}

#[test]
fn a_paced_output_waits_for_its_time() {
    let settings = JitterSettings {
        early: Duration::ZERO,
        ..JitterSettings::default()
    };
    let network = Network {
        jitter: Duration::from_millis(8),
        ..Network::CLEAN
    };
    let run = telephone(&network, settings);
    assert!(
        run.held_max <= Duration::from_millis(40),
        "{:?}",
        run.held_max
    );
    assert_eq!(run.figures.concealed_samples, 0);
    let mean = run.figures.waited / 500;
    assert!(
        mean > Duration::from_millis(8) && mean < Duration::from_millis(35),
        "{mean:?}"
    );
}

#[test]
fn jitter_and_reordering_are_waited_for_no_longer_than_they_last() {
    for seed in 0..8 {
        let network = Network {
            seed,
            packets: 1_500,
            jitter: Duration::from_millis(70),
            duplicates: 0.02,
            ..Network::CLEAN
        };
        let run = telephone(&network, JitterSettings::default());
        let concealed = share(run.figures.concealed_samples, run.figures.samples);
        assert!(concealed < 0.01, "seed {seed}: {concealed} concealed");
        assert!(
            run.delay_max <= Duration::from_millis(130),
            "seed {seed}: {:?}",
            run.delay_max
        );
        assert!(
            run.figures.target_delay <= Duration::from_millis(75),
            "seed {seed}"
        );
        assert!(
            run.figures.reordered > 100 && run.figures.duplicates > 10,
            "seed {seed}"
        );
        assert!(
            share(run.figures.late, 1_500) < 0.01,
            "seed {seed}: {}",
            run.figures.late
        );
    }
}

#[test]
fn loss_is_concealed_and_nothing_more() {
    for (seed, loss) in [(1, 0.01), (2, 0.05), (3, 0.1), (4, 0.2)] {
        let network = Network {
            seed,
            packets: 2_000,
            loss,
            jitter: Duration::from_millis(10),
            ..Network::CLEAN
        };
        let run = telephone(&network, JitterSettings::default());
        let lost = share(run.figures.lost, 2_000);
        let concealed = share(run.figures.concealed_samples, run.figures.samples);
        assert!((lost - loss).abs() < 0.02, "seed {seed}: {lost} lost");
        assert!(
            concealed < 1.3 * loss + 0.005,
            "seed {seed}: {concealed} concealed for {loss}"
        );
        assert!(
            run.delay_max <= Duration::from_millis(80),
            "seed {seed}: {:?}",
            run.delay_max
        );
        assert_eq!(run.figures.late, 0, "seed {seed}");
    }
}

#[test]
fn a_stall_lengthens_the_delay_once_and_it_comes_back() {
    let network = Network {
        packets: 1_990,
        stall: Some((400, Duration::from_millis(180))),
        ..Network::CLEAN
    };
    let run = telephone(&network, JitterSettings::default());
    assert!(
        run.delay_max <= Duration::from_millis(250),
        "{:?}",
        run.delay_max
    );
    assert!(
        run.figures.delay <= Duration::from_millis(40),
        "{:?}",
        run.figures.delay
    );
    let concealed = share(run.figures.concealed_samples, run.figures.samples);
    assert!(concealed < 0.03, "{concealed}");
    assert_eq!(run.figures.discarded, 0);
}

/// An hour of a sender whose clock is off: the output keeps the gateway's pace and the delay its bounds.
fn drift(ppm: i64) {
    let network = Network {
        packets: 180_000,
        jitter: Duration::from_millis(5),
        ppm,
        first: (60_000, u32::MAX - 9_999),
        ..Network::CLEAN
    };
    let run = telephone(&network, JitterSettings::default());
    let figures = run.figures;
    assert!(
        run.delay_max <= Duration::from_millis(36),
        "{:?}",
        run.delay_max
    );
    assert!(
        run.lead.1 - run.lead.0 < 50,
        "the output strayed by {:?} ms",
        run.lead
    );
    assert!(figures.concealed_samples < 800, "{figures:?}");
    assert_eq!((figures.lost, figures.late, figures.discarded), (0, 0, 0));
    // An hour at 200 ppm is 720 ms: that much must have been taken out or put in.
    let moved = if ppm > 0 {
        figures.removed_samples
    } else {
        figures.inserted_samples
    };
    assert!((5_000..8_000).contains(&moved), "{moved} samples");
}

#[test]
fn a_sender_with_a_fast_clock_is_absorbed_for_an_hour() {
    drift(200);
}

#[test]
fn a_sender_with_a_slow_clock_is_absorbed_for_an_hour() {
    drift(-200);
}

#[test]
fn whatever_the_network_does_the_output_is_whole_and_in_time() {
    for seed in 100..140 {
        let mut rng = Rng::new(seed);
        let mut up_to = |ms: u64| Duration::from_millis(rng.below(ms));
        let network = Network {
            seed,
            packets: 700,
            transit: up_to(300),
            jitter: up_to(120),
            stall: Some((37 + seed, up_to(600))),
            loss: up_to(200).as_secs_f64(),
            duplicates: up_to(100).as_secs_f64(),
            ppm: i64::try_from(up_to(1_000).as_millis()).expect("small") - 500,
            first: (u16::MAX - 300, u32::MAX - 50_000),
        };
        let run = telephone(&network, JitterSettings::default());
        let figures = run.figures;
        let told = format!("seed {seed}: {network:?}: {figures:?}");
        assert!(run.delay_max < Duration::from_millis(900), "{told}");
        assert!(figures.delay < Duration::from_millis(520), "{told}");
        assert!(
            run.longest_queue < 40,
            "{told}: {} packets",
            run.longest_queue
        );
        assert!(
            run.lead.1 < 900 && run.lead.0 > -900,
            "{told}: {:?}",
            run.lead
        );
        let made_up = share(figures.concealed_samples, figures.samples);
        assert!(made_up < 1.5 * network.loss + 0.08, "{told}: {made_up}");
        let ten_seconds = figures.samples as i64 - 14 * 8_000;
        assert!(ten_seconds.abs() < 16_000, "{told}: {ten_seconds}");
    }
}

#[test]
fn pauses_of_the_sender_are_silence_and_cost_neither_loss_nor_delay() {
    let speech = speech();
    let network = Network {
        packets: 1_000,
        jitter: Duration::from_millis(15),
        ..Network::CLEAN
    };
    let mut decoder =
        JitterDecoder::new(PCMA, 8_000, 1, JitterSettings::default()).expect("valid format");
    let mut sequence = 0;
    let mut numbers = std::collections::HashMap::new();
    for number in 0..1_000_u64 {
        // Talk for a second, pause for half a second; sequence numbers don't count the pause.
        if number % 75 < 50 {
            numbers.insert(number, sequence);
            sequence += 1;
        }
    }
    let mut last = MediaTime::ZERO;
    let mut emitted = 0;
    for (at, number) in network.arrivals() {
        let Some(&sequence) = numbers.get(&number) else {
            continue;
        };
        while let Some(due) = decoder.poll_timeout().filter(|&due| due < at) {
            while let Some(frame) = decoder.poll(due) {
                assert_eq!(frame.meta.media_time, last, "the output has no holes");
                last = frame.meta.media_time + frame.duration();
            }
        }
        let index = usize::try_from(number % 50).expect("small");
        let mut frame = packet(PCMA, (0, 0), number, at, speech[index].clone());
        if let Payload::Audio(audio) = &mut frame.payload
            && let Some(rtp) = &mut audio.rtp
        {
            rtp.sequence = sequence;
        }
        decoder.insert(at, frame).expect("RTP");
        while let Some(frame) = decoder.poll(at) {
            assert_eq!(frame.meta.media_time, last, "the output has no holes");
            last = frame.meta.media_time + frame.duration();
            emitted += 1;
        }
    }
    let figures = decoder.figures();
    assert_eq!(
        (figures.lost, figures.late, figures.emitted),
        (0, 0, u64::from(sequence))
    );
    assert!(figures.silence_samples > 12 * 8_000 / 3, "{figures:?}");
    assert!(figures.delay < Duration::from_millis(60), "{figures:?}");
    assert!(emitted >= 670);
}

#[test]
fn a_sender_that_stops_leaves_silence_then_nothing_and_may_return() {
    let speech = speech();
    let mut decoder =
        JitterDecoder::new(PCMA, 8_000, 1, JitterSettings::default()).expect("valid format");
    let at = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
    for number in 0..10 {
        let now = at(1_000 + number * 20);
        let frame = packet(PCMA, (0, 0), number, now, speech[5].clone());
        decoder.insert(now, frame).expect("RTP");
        while decoder.poll(now).is_some() {}
    }
    let mut end = MediaTime::ZERO;
    while let Some(due) = decoder.poll_timeout() {
        while let Some(frame) = decoder.poll(due) {
            end = frame.meta.media_time + frame.duration();
        }
    }
    // 200 ms of sound, then 2 s until it is idle; without a timer from there on.
    assert_eq!(end.as_micros(), 2_200_000);
    // Ten seconds later it returns, its sequence numbers continued, its timestamps not.
    let now = at(13_000);
    let frame = packet(PCMA, (0, 0), 10, now, speech[5].clone());
    decoder.insert(now, frame).expect("RTP");
    let frame = decoder.poll(now).expect("it plays again");
    let leapt = frame.meta.media_time.as_micros();
    assert!((12_000_000..12_100_000).contains(&leapt), "{leapt}");
}

#[test]
fn memory_stays_bounded_whatever_is_sent() {
    let mut rng = Rng::new(9);
    let mut decoder =
        JitterDecoder::new(PCMA, 8_000, 1, JitterSettings::default()).expect("valid format");
    let mut now = Timestamp::from_nanos(1_000_000_000);
    let data = Bytes::from(vec![0; 1_200]);
    for number in 0..20_000_u64 {
        let mut frame = packet(PCMA, (0, 0), number, now, data.clone());
        if let Payload::Audio(audio) = &mut frame.payload
            && let Some(rtp) = &mut audio.rtp
        {
            match rng.below(4) {
                // A flood ahead of time, stray numbers, and packets that never come.
                0 => rtp.sequence = rtp.sequence.wrapping_add(500),
                1 => rtp.timestamp = u32::try_from(rng.below(1 << 32)).expect("32 bits"),
                _ => {}
            }
        }
        now += Duration::from_micros(rng.below(500));
        decoder.insert(now, frame).expect("RTP");
        assert!(decoder.waiting() <= 256);
        let mut frames = 0;
        while decoder.poll(now).is_some() {
            frames += 1;
            assert!(frames < 1_000, "one poll must not go on for ever");
        }
    }
    let figures = decoder.figures();
    assert!(figures.discarded > 1_000, "{figures:?}");
    assert!(figures.delay < Duration::from_secs(1), "{figures:?}");
}

#[test]
fn opus_with_copies_survives_loss_better_than_without() {
    let settings = OpusSettings {
        loss: 20,
        bitrate: Some(32_000),
        complexity: 0,
        ..OpusSettings::default()
    };
    let mut encoder = OpusEncoder::new(16_000, 1, &settings).expect("valid settings");
    let mut packets = Vec::new();
    let sound = vowel(16_000, 0, 10 * 16_000);
    encoder
        .push(MediaTime::ZERO, &sound, &mut |_, packet| {
            packets.push(packet.data)
        })
        .expect("encodes");
    let format = AudioFormat::WEBRTC_OPUS;
    let network = Network {
        packets: packets.len() as u64,
        loss: 0.1,
        jitter: Duration::from_millis(5),
        ..Network::CLEAN
    };
    let mut decoder =
        JitterDecoder::new(format, 16_000, 1, JitterSettings::default()).expect("valid format");
    let run = run(&network, &mut decoder, format, true, |number| {
        usize::try_from(number)
            .ok()
            .and_then(|i| packets.get(i).cloned())
    });
    let figures = run.figures;
    assert!(
        figures.recovered_samples > 2 * figures.concealed_samples,
        "{figures:?}"
    );
    assert!(
        figures.target_delay >= Duration::from_millis(25),
        "{figures:?}"
    );
    let out: Vec<f32> = run
        .frames
        .iter()
        .filter_map(|frame| match &frame.payload {
            Payload::Audio(audio) => Some(audio.to_f32().into_owned()),
            _ => None,
        })
        .flatten()
        .collect();
    assert!((energy(&out) / energy(&sound) - 1.0).abs() < 0.3);
    let mut expected = MediaTime::ZERO;
    for frame in &run.frames {
        assert!((frame.meta.media_time.as_micros() - expected.as_micros()).abs() <= 1);
        expected = frame.meta.media_time + frame.duration();
    }
}

#[test]
fn frames_without_rtp_numbers_are_refused() {
    let mut decoder =
        JitterDecoder::new(PCMA, 8_000, 1, JitterSettings::default()).expect("valid format");
    let audio = Audio::encoded(PCMA, Bytes::from_static(&[0; 160]));
    let frame = Frame::new(MediaTime::ZERO, Payload::Audio(audio));
    assert!(decoder.insert(Timestamp::ZERO, frame).is_err());
    let text = Frame::new(MediaTime::ZERO, Payload::Text("no".into()));
    assert!(decoder.insert(Timestamp::ZERO, text).is_err());
}
