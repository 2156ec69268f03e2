//! What sessions counted and measured.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use hdrhistogram::Histogram;
use tidegate_media::Timestamp;

/// Kinds of failure that are told apart; more are counted under the last.
const KINDS: usize = 16;
/// Frames whose time of sending is remembered.
pub(super) const REMEMBERED: usize = 1 << 16;
/// Longest latency that is told apart, in nanoseconds: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// Counts and latencies of one session, or of all.
pub(super) struct Tally {
    /// Only frames sent in this span count.
    span: (Timestamp, Timestamp),
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    /// Frames that came back and whose sending is known.
    pub(super) received: u64,
    /// Sessions that were opened.
    pub(super) opened: u32,
    /// Nanoseconds from a frame's sending to what it caused.
    pub(super) latency: Option<Histogram<u64>>,
    /// Nanoseconds from the request to the opened session, or to the first packet of media.
    pub(super) opening: Option<Histogram<u64>>,
    failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing yet; frames sent in this span count.
    pub(super) fn new(span: (Timestamp, Timestamp)) -> Self {
        // Three digits; bounds are constants that cannot fail.
        let histogram = || Histogram::new_with_bounds(1, LONGEST, 3).ok();
        Self {
            span,
            sent: 0,
            sent_bytes: 0,
            received: 0,
            opened: 0,
            latency: histogram(),
            opening: histogram(),
            failures: BTreeMap::new(),
        }
    }

    /// When no more frames are sent.
    pub(super) const fn end(&self) -> Timestamp {
        self.span.1
    }

    /// How long is measured.
    pub(super) fn measured(&self) -> Duration {
        self.span.1.saturating_since(self.span.0)
    }

    fn counts(&self, sent: Timestamp) -> bool {
        sent >= self.span.0 && sent < self.span.1
    }

    /// A frame was sent, or due, at this time.
    pub(super) fn sent(&mut self, at: Timestamp, bytes: usize) {
        if self.counts(at) {
            self.sent += 1;
            self.sent_bytes += bytes as u64;
        }
    }

    /// What a frame caused came back.
    pub(super) fn received(&mut self, sent: Timestamp, now: Timestamp) {
        if self.counts(sent) {
            self.received += 1;
            record(&mut self.latency, now.saturating_since(sent));
        }
    }

    /// A session stands, this long after it was asked for.
    pub(super) fn opened(&mut self, after: Duration) {
        self.opened += 1;
        record(&mut self.opening, after);
    }

    /// A session failed.
    pub(super) fn failed(&mut self, error: &dyn Display) {
        let text = if self.failures.len() < KINDS {
            error.to_string()
        } else {
            "others".to_owned()
        };
        *self.failures.entry(text).or_default() += 1;
    }

    /// How often sessions failed, by what they said.
    pub(super) const fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// Adds another session's.
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received += other.received;
        self.opened += other.opened;
        let pairs = [
            (&mut self.latency, &other.latency),
            (&mut self.opening, &other.opening),
        ];
        for (sum, more) in pairs {
            if let (Some(sum), Some(more)) = (sum, more)
                && let Err(error) = sum.add(more)
            {
                self.failures.insert(error.to_string(), 1);
            }
        }
        for (text, count) in &other.failures {
            let full = self.failures.len() >= KINDS && !self.failures.contains_key(text);
            let text = if full { "others" } else { text };
            *self.failures.entry(text.to_owned()).or_default() += count;
        }
    }
}

fn record(histogram: &mut Option<Histogram<u64>>, value: Duration) {
    if let Some(histogram) = histogram {
        histogram.saturating_record(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// When each of the last frames was sent, by its number from 1.
#[derive(Debug, Default)]
pub(super) struct Sent {
    times: std::collections::VecDeque<Timestamp>,
    /// Number of the first one remembered.
    first: u64,
}

impl Sent {
    /// Remembers the next frame's time; gives its number.
    pub(super) fn push(&mut self, at: Timestamp) -> u64 {
        if self.times.is_empty() && self.first == 0 {
            self.first = 1;
        }
        if self.times.len() == REMEMBERED {
            self.times.pop_front();
            self.first += 1;
        }
        self.times.push_back(at);
        self.first + self.times.len() as u64 - 1
    }

    /// When the frame with this number was sent, if that is still known.
    pub(super) fn at(&self, number: u64) -> Option<Timestamp> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.times.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn frames_sent_while_warming_up_do_not_count() {
        let mut tally = Tally::new((at(100), at(200)));
        for sent in [50, 150, 250] {
            tally.sent(at(sent), 10);
            tally.received(at(sent), at(sent + 1));
        }
        assert_eq!((tally.sent, tally.sent_bytes, tally.received), (1, 10, 1));
    }

    #[test]
    fn failures_are_bounded_in_number() {
        let mut tally = Tally::new((at(0), at(1)));
        for n in 0..100 {
            tally.failed(&format!("failure {n}"));
        }
        assert_eq!(tally.failures().len(), KINDS + 1);
        assert_eq!(tally.failures()["others"], 84);
    }

    #[test]
    fn only_the_last_frames_are_remembered() {
        let mut sent = Sent::default();
        assert_eq!(sent.at(0), None);
        assert_eq!(sent.push(at(1)), 1);
        assert_eq!(sent.push(at(2)), 2);
        assert_eq!(
            (sent.at(1), sent.at(2), sent.at(3)),
            (Some(at(1)), Some(at(2)), None)
        );
        for n in 3..=REMEMBERED as u64 + 1 {
            assert_eq!(sent.push(at(n)), n);
        }
        assert_eq!((sent.at(1), sent.at(2)), (None, Some(at(2))));
    }
}
