//! How long the worker may take, as arithmetic on instants.
//!
//! A wait runs while something that was sent is neither answered (an output's `caused_by`) nor acknowledged. It is a wait for
//! the first output until the hop, or the utterance of the newest input, has had one; afterwards it is a gap. Each output and each
//! acknowledgement of something new starts it again; more input does not.

use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Phase;

use crate::config::Timeouts;

/// The waits of one open hop.
#[derive(Debug)]
pub(crate) struct Watch {
    timeouts: Timeouts,
    call_until: Option<Timestamp>,
    /// Newest number sent and newest number answered or acknowledged, per input port.
    ports: Vec<(u64, u64)>,
    /// Since when something is awaited.
    since: Option<Timestamp>,
    /// The utterance of the newest input, and whether an output came since it began.
    utterance: u64,
    had_output: bool,
}

impl Watch {
    pub(crate) fn new(timeouts: Timeouts, opened: Timestamp, ports: usize) -> Self {
        Self {
            timeouts,
            call_until: timeouts.call.map(|limit| opened + limit),
            ports: vec![(0, 0); ports],
            since: None,
            utterance: 0,
            had_output: false,
        }
    }

    /// A frame went to the worker.
    pub(crate) fn sent(&mut self, now: Timestamp, port: usize, seq: u64, utterance: u64) {
        if utterance != self.utterance {
            self.utterance = utterance;
            self.had_output = false;
        }
        if let Some((sent, _)) = self.ports.get_mut(port) {
            *sent = (*sent).max(seq);
        }
        self.since.get_or_insert(now);
    }

    /// An output came. `caused_by` may be meant for any of the ports; 0 says nothing of what it answers.
    pub(crate) fn output(&mut self, now: Timestamp, caused_by: u64) {
        self.had_output = true;
        for port in 0..self.ports.len() {
            self.settle(port, caused_by);
        }
        self.restart(now);
    }

    /// The worker has consumed a port up to a number.
    pub(crate) fn acknowledged(&mut self, now: Timestamp, port: usize, seq: u64) {
        if self.settle(port, seq) {
            self.restart(now);
        }
    }

    /// What was sent is void, so nothing of it is awaited.
    pub(crate) fn interrupted(&mut self) {
        for (sent, settled) in &mut self.ports {
            *settled = *sent;
        }
        self.since = None;
    }

    /// Nothing more is awaited but the end.
    pub(crate) fn ended(&mut self) {
        self.interrupted();
        self.call_until = None;
    }

    /// When [`Watch::expired`] has something to say.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let wait = self.wait().map(|(at, _)| at);
        wait.into_iter().chain(self.call_until).min()
    }

    /// The wait that has run out, with its limit.
    pub(crate) fn expired(&self, now: Timestamp) -> Option<(Phase, Duration)> {
        if let (Some(until), Some(limit)) = (self.call_until, self.timeouts.call)
            && until <= now
        {
            return Some((Phase::Call, limit));
        }
        let (until, phase) = self.wait()?;
        (until <= now).then(|| (phase, self.limit(phase).unwrap_or_default()))
    }

    fn wait(&self) -> Option<(Timestamp, Phase)> {
        let phase = if self.had_output {
            Phase::Gap
        } else {
            Phase::FirstOutput
        };
        Some((self.since? + self.limit(phase)?, phase))
    }

    const fn limit(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::FirstOutput => self.timeouts.first_output,
            Phase::Gap => self.timeouts.gap,
            Phase::Call => self.timeouts.call,
            Phase::Connect => Some(self.timeouts.connect),
        }
    }

    /// Whether something new was settled.
    fn settle(&mut self, port: usize, seq: u64) -> bool {
        let Some((sent, settled)) = self.ports.get_mut(port) else {
            return false;
        };
        let seq = seq.min(*sent);
        let newer = seq > *settled;
        *settled = seq.max(*settled);
        newer
    }

    fn restart(&mut self, now: Timestamp) {
        let awaited = self.ports.iter().any(|(sent, settled)| sent > settled);
        self.since = awaited.then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn watch() -> Watch {
        let timeouts = Timeouts {
            first_output: Some(Duration::from_millis(100)),
            gap: Some(Duration::from_millis(30)),
            call: Some(Duration::from_secs(10)),
            ..Timeouts::default()
        };
        Watch::new(timeouts, at(0), 1)
    }

    #[test]
    fn nothing_is_awaited_before_something_was_sent() {
        let watch = watch();
        assert_eq!(watch.next(), Some(at(10_000)));
        assert_eq!(watch.expired(at(9_999)), None);
        assert_eq!(
            watch.expired(at(10_000)),
            Some((Phase::Call, Duration::from_secs(10)))
        );
    }

    #[test]
    fn the_first_output_is_awaited_from_the_first_input() {
        let mut watch = watch();
        watch.sent(at(10), 0, 1, 0);
        watch.sent(at(90), 0, 2, 0);
        assert_eq!(watch.next(), Some(at(110)));
        assert_eq!(watch.expired(at(109)), None);
        assert_eq!(
            watch.expired(at(110)).map(|(phase, _)| phase),
            Some(Phase::FirstOutput)
        );
    }

    #[test]
    fn later_outputs_are_awaited_from_the_last_one() {
        let mut watch = watch();
        watch.sent(at(0), 0, 1, 0);
        watch.sent(at(0), 0, 2, 0);
        watch.output(at(20), 1);
        assert_eq!(
            watch.expired(at(50)).map(|(phase, _)| phase),
            Some(Phase::Gap)
        );
        watch.output(at(40), 2);
        assert_eq!(watch.next(), Some(at(10_000)));
        watch.sent(at(60), 0, 3, 0);
        assert_eq!(watch.next(), Some(at(90)));
    }

    #[test]
    fn a_new_utterance_has_a_first_output_again() {
        let mut watch = watch();
        watch.sent(at(0), 0, 1, 1);
        watch.output(at(5), 1);
        watch.sent(at(10), 0, 2, 2);
        assert_eq!(
            watch.expired(at(110)).map(|(phase, _)| phase),
            Some(Phase::FirstOutput)
        );
    }

    #[test]
    fn acknowledgements_count_as_answers_only_if_they_are_new() {
        let mut watch = watch();
        watch.sent(at(0), 0, 1, 0);
        watch.sent(at(0), 0, 2, 0);
        watch.acknowledged(at(50), 0, 1);
        assert_eq!(watch.next(), Some(at(150)));
        watch.acknowledged(at(99), 0, 1);
        assert_eq!(watch.next(), Some(at(150)));
        watch.acknowledged(at(99), 0, 2);
        assert_eq!(watch.next(), Some(at(10_000)));
    }

    #[test]
    fn an_interrupt_ends_every_wait_but_the_call() {
        let mut watch = watch();
        watch.sent(at(0), 0, 1, 0);
        watch.interrupted();
        assert_eq!(watch.next(), Some(at(10_000)));
        watch.ended();
        assert_eq!(watch.next(), None);
    }
}
