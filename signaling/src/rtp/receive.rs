//! What is known of one received RTP stream: order, loss, jitter, and what to ask for again.
//!
//! Figures follow RFC 3550 A.1 (sequence), A.3 (loss) and A.8 (jitter). Time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::RtpHeader;
use super::feedback::Block;

/// A jump of more than this is a sender that started over, not loss (RFC 3550 A.1).
const MAX_DROPOUT: u64 = 3000;
/// Lost packets remembered for asking: beyond it, a key frame is the cheaper repair.
const MAX_MISSING: usize = 128;
/// Times that one packet is asked for.
const MAX_ASKS: u8 = 5;
/// Before the first ask (packets overtake each other) and between asks.
const ASK_AFTER: Duration = Duration::from_millis(10);
const ASK_AGAIN: Duration = Duration::from_millis(60);

#[derive(Debug, Clone, Copy)]
struct Missing {
    sequence: u64,
    asks: u8,
    at: Instant,
}

/// State of one SSRC that the peer sends.
#[derive(Debug)]
pub(crate) struct ReceiveStream {
    pub(crate) ssrc: u32,
    clock_rate: u32,
    /// Ask for lost packets (the codec negotiated `nack`).
    repairs: bool,
    /// First sequence number of this run, and the packets counted before it.
    base: u64,
    packets_before_base: u64,
    lost_before_base: i64,
    highest: Option<u64>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    transit: Option<i64>,
    /// In RTP units times 16 (RFC 3550 A.8).
    jitter16: i64,
    started: Instant,
    expected_before: u64,
    received_before: u64,
    last_report: Option<(u32, Instant)>,
    missing: VecDeque<Missing>,
}

impl ReceiveStream {
    pub(crate) fn new(now: Instant, ssrc: u32, clock_rate: u32, repairs: bool) -> Self {
        Self {
            ssrc,
            clock_rate,
            repairs,
            base: 0,
            packets_before_base: 0,
            lost_before_base: 0,
            highest: None,
            packets: 0,
            bytes: 0,
            transit: None,
            jitter16: 0,
            started: now,
            expected_before: 0,
            received_before: 0,
            last_report: None,
            missing: VecDeque::new(),
        }
    }

    /// Counts a packet and returns its sequence number extended to 64 bits, which never wraps.
    pub(crate) fn on_packet(&mut self, now: Instant, header: &RtpHeader, bytes: usize) -> u64 {
        let sequence = self.extend(header.sequence);
        match self.highest {
            None => self.start_at(sequence),
            Some(highest) if sequence.abs_diff(highest) > MAX_DROPOUT => self.start_at(sequence),
            Some(highest) if sequence > highest => {
                self.note_missing(now, highest + 1, sequence);
                self.highest = Some(sequence);
            }
            Some(_) => self.missing.retain(|missing| missing.sequence != sequence),
        }
        self.packets += 1;
        self.bytes += bytes as u64;
        self.note_jitter(now, header.timestamp);
        sequence
    }

    fn extend(&self, sequence: u16) -> u64 {
        // Starting one cycle up leaves room for packets from before the first.
        let Some(highest) = self.highest else {
            return (1 << 16) | u64::from(sequence);
        };
        let cycle = highest & !0xFFFF;
        let here = cycle | u64::from(sequence);
        [here.saturating_sub(1 << 16), here, here + (1 << 16)]
            .into_iter()
            .min_by_key(|candidate| candidate.abs_diff(highest))
            .unwrap_or(here)
    }

    fn start_at(&mut self, sequence: u64) {
        self.lost_before_base = self.lost_ever();
        self.base = sequence;
        self.packets_before_base = self.packets;
        self.highest = Some(sequence);
        self.expected_before = 0;
        self.received_before = self.packets;
        self.missing.clear();
        self.transit = None;
    }

    fn note_missing(&mut self, now: Instant, from: u64, to: u64) {
        if !self.repairs {
            return;
        }
        for sequence in from..to {
            if self.missing.len() == MAX_MISSING {
                self.missing.pop_front();
            }
            self.missing.push_back(Missing {
                sequence,
                asks: 0,
                at: now + ASK_AFTER,
            });
        }
    }

    fn note_jitter(&mut self, now: Instant, timestamp: u32) {
        let micros = i64::try_from(now.saturating_duration_since(self.started).as_micros())
            .unwrap_or(i64::MAX / 1_000_000);
        let arrival = micros.saturating_mul(i64::from(self.clock_rate)) / 1_000_000;
        let transit = arrival - i64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let step = (transit - before).abs();
            // A wrapped or restarted timestamp is not jitter.
            if step < i64::from(self.clock_rate) * 8 {
                self.jitter16 += step - ((self.jitter16 + 8) >> 4);
            }
        }
    }

    /// Notes a sender report: the middle 32 bits of its NTP time.
    pub(crate) fn on_sender_report(&mut self, now: Instant, ntp_middle: u32) {
        self.last_report = Some((ntp_middle, now));
    }

    fn expected(&self) -> u64 {
        self.highest.map_or(0, |highest| highest - self.base + 1)
    }

    /// Packets that never came, of all runs.
    pub(crate) fn lost_ever(&self) -> i64 {
        self.lost_before_base + self.lost()
    }

    /// Packets of this run that never came, duplicates counted against them.
    pub(crate) fn lost(&self) -> i64 {
        let received = self.packets - self.packets_before_base;
        i64::try_from(self.expected()).unwrap_or(i64::MAX)
            - i64::try_from(received).unwrap_or(i64::MAX)
    }

    pub(crate) fn jitter(&self) -> Duration {
        let units = u64::try_from(self.jitter16 >> 4).unwrap_or(0);
        Duration::from_micros(units.saturating_mul(1_000_000) / u64::from(self.clock_rate.max(1)))
    }

    /// The reception report since the last one (RFC 3550 §6.4.1).
    pub(crate) fn report(&mut self, now: Instant) -> Option<Block> {
        let highest = self.highest?;
        let lost = self.lost();
        let expected = self.expected();
        let expected_now = expected - self.expected_before.min(expected);
        let received_now = self.packets - self.received_before.min(self.packets);
        self.expected_before = expected;
        self.received_before = self.packets;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now * 256)
            .checked_div(expected_now)
            .unwrap_or(0)
            .min(255);
        let (last_report, delay) = self.last_report.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (ntp, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        Some(Block {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(255),
            lost: u32::try_from(lost.clamp(0, 0x7F_FFFF)).unwrap_or(0),
            highest: extended(highest),
            jitter: u32::try_from(self.jitter16 >> 4).unwrap_or(0),
            last_report,
            delay,
        })
    }

    /// When something is due to be asked for.
    pub(crate) fn next_ask(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.at).min()
    }

    /// Sequence numbers to ask for now; those asked for too often are given up.
    pub(crate) fn take_asks(&mut self, now: Instant) -> Vec<u16> {
        let mut asks = Vec::new();
        self.missing.retain_mut(|missing| {
            if missing.at > now {
                return true;
            }
            if missing.asks == MAX_ASKS {
                return false;
            }
            missing.asks += 1;
            missing.at = now + ASK_AGAIN;
            asks.push(u16::try_from(missing.sequence & 0xFFFF).unwrap_or(0));
            true
        });
        asks
    }
}

/// The extended highest sequence number as reports have it (RFC 3550 A.1): cycles count from zero,
/// ours from one.
fn extended(highest: u64) -> u32 {
    let cycle = (highest >> 16).saturating_sub(1);
    let number = (cycle << 16) | (highest & 0xFFFF);
    u32::try_from(number & 0xFFFF_FFFF).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader::plain(false, 0, sequence, timestamp, 1)
    }

    fn run(sequences: &[u16]) -> ReceiveStream {
        let now = crate::clock::start();
        let mut stream = ReceiveStream::new(now, 1, 8000, true);
        for (index, sequence) in (0u32..).zip(sequences) {
            stream.on_packet(
                now + Duration::from_millis(20) * index,
                &header(*sequence, 160 * index),
                10,
            );
        }
        stream
    }

    #[test]
    fn sequence_numbers_go_on_over_a_wrap_and_reordering_around_it() {
        let now = crate::clock::start();
        let mut stream = ReceiveStream::new(now, 1, 8000, false);
        let extended: Vec<u64> = [65_534, 0, 65_535, 1]
            .map(|sequence| stream.on_packet(now, &header(sequence, 0), 1))
            .to_vec();
        assert_eq!(extended, [131_070, 131_072, 131_071, 131_073]);
        assert_eq!(stream.lost(), 0);
    }

    #[test]
    fn loss_is_counted_and_a_late_packet_takes_it_back() {
        assert_eq!(run(&[1, 2, 5]).lost(), 2);
        assert_eq!(run(&[1, 2, 5, 4]).lost(), 1);
    }

    #[test]
    fn a_report_tells_the_loss_since_the_one_before() {
        let now = crate::clock::start();
        let mut stream = run(&[1, 2, 4, 5]);
        let block = stream.report(now).unwrap();
        assert_eq!((block.lost, block.fraction_lost), (1, 51));
        for sequence in 6..10 {
            stream.on_packet(now, &header(sequence, 0), 1);
        }
        let block = stream.report(now).unwrap();
        assert_eq!((block.lost, block.fraction_lost), (1, 0));
    }

    #[test]
    fn a_report_counts_cycles_from_zero() {
        let now = crate::clock::start();
        let highest = |stream: &mut ReceiveStream| stream.report(now).unwrap().highest;
        assert_eq!(highest(&mut run(&[7, 8])), 8);
        assert_eq!(highest(&mut run(&[65_535, 0])), 1 << 16);
        assert_eq!(highest(&mut run(&[100, 60_000])), 60_000);
    }

    #[test]
    fn a_sender_that_starts_over_is_not_loss() {
        let stream = run(&[1, 2, 40_000, 40_001]);
        assert_eq!((stream.lost(), stream.lost_ever()), (0, 0));
        let stream = run(&[1, 3, 40_000, 40_001]);
        assert_eq!((stream.lost(), stream.lost_ever()), (0, 1));
    }

    #[test]
    fn an_even_sender_has_no_jitter_and_an_uneven_one_has() {
        assert_eq!(run(&[1, 2, 3, 4, 5]).jitter(), Duration::ZERO);
        let now = crate::clock::start();
        let mut uneven = ReceiveStream::new(now, 1, 8000, false);
        for index in 0..50u16 {
            let late = Duration::from_millis(if index % 2 == 0 { 0 } else { 10 });
            let at = now + Duration::from_millis(20) * u32::from(index) + late;
            uneven.on_packet(at, &header(index, 160 * u32::from(index)), 1);
        }
        assert!(
            uneven.jitter() > Duration::from_millis(5),
            "{:?}",
            uneven.jitter()
        );
    }

    #[test]
    fn a_lost_packet_is_asked_for_a_bounded_number_of_times() {
        let now = crate::clock::start();
        let mut stream = ReceiveStream::new(now, 1, 90_000, true);
        stream.on_packet(now, &header(1, 0), 1);
        stream.on_packet(now, &header(3, 0), 1);
        let mut asked = 0;
        while let Some(at) = stream.next_ask() {
            asked += stream.take_asks(at).len();
        }
        assert_eq!(asked, usize::from(MAX_ASKS));
    }

    #[test]
    fn a_packet_that_comes_after_all_is_not_asked_for() {
        let now = crate::clock::start();
        let mut stream = ReceiveStream::new(now, 1, 90_000, true);
        for sequence in [1, 3, 2] {
            stream.on_packet(now, &header(sequence, 0), 1);
        }
        assert_eq!(stream.next_ask(), None);
    }
}
