//! How long the worker may take, as arithmetic on instants.
//!
//! A wait runs while something that was sent is neither answered (an output's `caused_by`) nor acknowledged. It is a wait for
//! the first output until the stream, or the utterance of the newest input, has had one; afterwards it is a gap. Each output and each
//! acknowledgement of something new starts it again; more input does not.
//!
//! The call is the time from an utterance's last input to its final output, or to the acknowledgement of that input. A worker that
//! does not acknowledge cannot say that an utterance came to nothing, so it is held to the call only until its first output. Once all
//! input has ended, the end is awaited like an output.
//!
//! A worker that is sent a call owes nothing before it has all of it, but to take it: what is held up there is awaited. So it is where
//! a stream is heard by utterances ([`Watch::by_utterance`]): a server that says nothing while somebody speaks is well, and its first output is
//! awaited from the utterance's end.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_nodes::Phase;

use crate::config::Timeouts;

/// Utterances whose end is awaited at once; of more, the oldest are.
const CALLS_MAX: usize = 64;

/// The waits of one stream.
#[derive(Debug)]
pub(crate) struct Watch {
    timeouts: Timeouts,
    /// The worker acknowledges.
    acks: bool,
    /// Per input port.
    ports: Vec<Numbers>,
    /// Since when something is awaited.
    since: Option<Timestamp>,
    /// The utterance of the newest input, and whether an output came since it began.
    utterance: u64,
    had_output: bool,
    ever_had_output: bool,
    /// All input has ended, so that the end is awaited.
    ending: bool,
    /// What was sent is a part of a call.
    gathering: bool,
    /// An answer is owed for utterances as a whole.
    by_utterance: bool,
    /// Since when the worker takes nothing of what waits to be sent.
    held: Option<Timestamp>,
    /// Nothing may be sent, though all that was sent is void: credit is awaited.
    starving: bool,
    /// Last inputs of utterances, and when they were sent.
    calls: VecDeque<Due>,
    /// Those of the streams before, until they are sent here too.
    inherited: VecDeque<Due>,
    /// Since when something was awaited as it ended, and since when the oldest utterance was.
    waited: (Option<Timestamp>, Option<Timestamp>),
}

/// The last input of an utterance, by its port and number, and when a worker was first sent it.
pub(crate) type Due = (usize, u64, Timestamp);

/// The newest numbers of an input port.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    sent: u64,
    /// Up to here an answer is owed.
    owed: u64,
    /// Answered or acknowledged.
    settled: u64,
}

/// A frame that went to the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentFrame {
    pub(crate) port: usize,
    pub(crate) seq: u64,
    pub(crate) utterance: u64,
    pub(crate) is_final: bool,
    /// It is no part of a longer utterance.
    pub(crate) is_whole: bool,
}

impl Watch {
    pub(crate) fn new(timeouts: Timeouts, ports: usize, acks: bool) -> Self {
        Self {
            timeouts,
            acks,
            ports: vec![Numbers::default(); ports],
            since: None,
            utterance: 0,
            had_output: false,
            ever_had_output: false,
            ending: false,
            gathering: false,
            by_utterance: false,
            held: None,
            starving: false,
            calls: VecDeque::new(),
            inherited: VecDeque::new(),
            waited: (None, None),
        }
    }

    /// An answer is owed for utterances as a whole, once they have ended.
    pub(crate) fn by_utterance(&mut self) {
        self.by_utterance = true;
    }

    /// The utterances that are not done, for the stream that takes over.
    pub(crate) fn calls(&mut self) -> VecDeque<Due> {
        let mut calls = std::mem::take(&mut self.calls);
        calls.append(&mut self.inherited);
        calls.truncate(CALLS_MAX);
        calls
    }

    /// What the stream before had not done: its time runs on.
    pub(crate) fn inherit(&mut self, calls: VecDeque<Due>) {
        self.inherited = calls;
    }

    /// A frame went to the worker.
    pub(crate) fn sent(&mut self, now: Timestamp, frame: SentFrame) {
        if self.by_utterance {
            self.sent_part(now, frame);
        } else {
            self.sent_whole(now, frame);
        }
        if frame.is_final && frame.utterance > 0 && self.calls.len() < CALLS_MAX {
            let same = |&(port, seq, _): &Due| (port, seq) == (frame.port, frame.seq);
            let before = self.inherited.iter().position(same);
            let before = before.and_then(|index| self.inherited.remove(index));
            let since = before.map_or(now, |(.., since)| since);
            self.calls.push_back((frame.port, frame.seq, since));
        }
    }

    fn sent_whole(&mut self, now: Timestamp, frame: SentFrame) {
        if frame.utterance != self.utterance {
            self.utterance = frame.utterance;
            self.had_output = false;
        }
        if let Some(port) = self.ports.get_mut(frame.port) {
            port.sent = port.sent.max(frame.seq);
            port.owed = port.sent;
        }
        if self.gathering {
            // It takes the call.
            self.since = None;
        } else {
            self.since.get_or_insert(now);
        }
    }

    /// Only the end of an utterance owes something, which is its last frame or the first of another.
    fn sent_part(&mut self, now: Timestamp, frame: SentFrame) {
        let before = std::mem::replace(&mut self.utterance, frame.utterance);
        let Some(port) = self.ports.get_mut(frame.port) else {
            return;
        };
        let cut = before > 0 && before != frame.utterance && !frame.is_whole;
        let up_to = match frame.is_final || frame.is_whole {
            true => frame.seq,
            false if cut => port.sent,
            false => port.owed,
        };
        port.sent = port.sent.max(frame.seq);
        port.owed = port.owed.max(up_to);
        if port.owed > port.settled && self.since.is_none() {
            self.since = Some(now);
            // What came while somebody spoke was not asked for.
            self.had_output = false;
        }
    }

    /// Whether the worker takes nothing of what waits to be sent; where an answer is owed for utterances as a whole.
    pub(crate) fn held(&mut self, now: Timestamp, held: bool) {
        self.held = (held && self.by_utterance).then(|| self.held.unwrap_or(now));
    }

    /// What was sent so far is a part of a call; `held`: no more of it is taken.
    pub(crate) fn gathers(&mut self, now: Timestamp, held: bool) {
        let still = self.gathering && self.since.is_some();
        self.gathering = true;
        if !(held && still) {
            self.since = held.then_some(now);
        }
    }

    /// It was sent to its end.
    pub(crate) fn gathered(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.gathering) {
            self.since = Some(now);
        }
    }

    /// An output came, caused by this input; `None`: it does not say. Where the worker does not acknowledge, the other ports count as
    /// answered too, since nothing else would ever say so.
    pub(crate) fn output(&mut self, now: Timestamp, cause: Option<(usize, u64)>, is_final: bool) {
        self.had_output = true;
        self.ever_had_output = true;
        for port in 0..self.ports.len() {
            match cause {
                Some((caused, seq)) if caused == port => self.settle(port, seq),
                Some(_) if !self.acks => self.settle(port, u64::MAX),
                _ => false,
            };
        }
        if let Some(cause) = cause
            && (is_final || !self.acks)
        {
            self.called(cause);
        }
        self.restart(now);
    }

    /// The worker has consumed a port up to a number.
    pub(crate) fn acknowledged(&mut self, now: Timestamp, port: usize, seq: u64) {
        if self.settle(port, seq) {
            self.called((port, seq));
            self.restart(now);
        }
    }

    /// All input has ended.
    pub(crate) fn ending(&mut self, now: Timestamp) {
        self.ending = true;
        self.since.get_or_insert(now);
    }

    /// What was sent is void, so nothing of it is awaited; but credit is, where there is none.
    pub(crate) fn interrupted(&mut self, now: Timestamp, starving: bool) {
        for port in &mut self.ports {
            port.settled = port.sent;
        }
        self.held = None;
        self.starving = starving;
        if starving {
            self.since.get_or_insert(now);
        } else if !self.ending {
            self.since = None;
        }
        self.calls.clear();
        self.inherited.clear();
    }

    /// The worker takes more.
    pub(crate) fn credited(&mut self, now: Timestamp) {
        if std::mem::replace(&mut self.starving, false) {
            self.restart(now);
        }
    }

    /// Nobody listened to the worker for so long: what is awaited may come so much later.
    pub(crate) fn forgive(&mut self, by: Duration) {
        let calls = self.calls.iter_mut().chain(&mut self.inherited);
        let calls = calls.map(|(.., since)| since);
        for since in self.since.iter_mut().chain(&mut self.held).chain(calls) {
            *since += by;
        }
    }

    /// Nothing more is awaited but the end.
    pub(crate) fn ended(&mut self) {
        let oldest = self.calls.front().map(|(.., since)| *since);
        self.waited = (self.since, oldest.or(self.since));
        self.ending = false;
        let calls = self.calls();
        self.interrupted(Timestamp::ZERO, false);
        // Not awaited here, but still of whoever takes over.
        self.inherited = calls;
    }

    /// Since when that was awaited for want of which the stream ended; `phase`: which wait had run out.
    pub(crate) const fn waited_since(&self, phase: Option<Phase>) -> Option<Timestamp> {
        let (since, call) = self.waited;
        match phase {
            Some(Phase::Call) => call,
            _ => since,
        }
    }

    /// When [`Watch::expired`] has something to say.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let wait = self.wait().map(|(at, _)| at);
        wait.into_iter().chain(self.call()).min()
    }

    /// The wait that has run out, with its limit.
    pub(crate) fn expired(&self, now: Timestamp) -> Option<(Phase, Duration)> {
        let call = self.call().map(|at| (at, Phase::Call));
        let (until, phase) = self
            .wait()
            .into_iter()
            .chain(call)
            .min_by_key(|(at, _)| *at)?;
        (until <= now).then(|| (phase, self.limit(phase).unwrap_or_default()))
    }

    /// Until when the oldest utterance must be done.
    fn call(&self) -> Option<Timestamp> {
        let oldest = self.calls.front().map(|(.., since)| *since);
        let call = oldest.filter(|_| self.acks || !self.ever_had_output);
        let end = self.since.filter(|_| self.ending || self.gathering);
        Some(call.or(end).or(self.held)? + self.timeouts.call?)
    }

    /// Utterances of a port that end at or before a number are done.
    fn called(&mut self, (port, seq): (usize, u64)) {
        self.calls
            .retain(|(at, last, _)| *at != port || *last > seq);
    }

    fn wait(&self) -> Option<(Timestamp, Phase)> {
        let phase = if self.had_output {
            Phase::Gap
        } else {
            Phase::FirstOutput
        };
        let since = self.since.into_iter().chain(self.held).min();
        Some((since? + self.limit(phase)?, phase))
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
        let Some(port) = self.ports.get_mut(port) else {
            return false;
        };
        let seq = seq.min(port.sent);
        let newer = seq > port.settled;
        port.settled = seq.max(port.settled);
        newer
    }

    fn restart(&mut self, now: Timestamp) {
        if self.gathering {
            self.since = None;
            return;
        }
        self.held = self.held.map(|_| now);
        let awaited = self.ports.iter().any(|port| port.owed > port.settled);
        self.since = (awaited || self.ending || self.starving).then_some(now);
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
        Watch::new(timeouts, 1, true)
    }

    const fn frame(seq: u64, utterance: u64) -> SentFrame {
        SentFrame {
            port: 0,
            seq,
            utterance,
            is_final: false,
            is_whole: utterance == 0,
        }
    }

    #[test]
    fn nothing_is_awaited_before_something_was_sent() {
        let watch = watch();
        assert_eq!(watch.next(), None);
        assert_eq!(watch.expired(at(1_000_000)), None);
    }

    #[test]
    fn the_first_output_is_awaited_from_the_first_input() {
        let mut watch = watch();
        watch.sent(at(10), frame(1, 0));
        watch.sent(at(90), frame(2, 0));
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
        watch.sent(at(0), frame(1, 0));
        watch.sent(at(0), frame(2, 0));
        watch.output(at(20), Some((0, 1)), false);
        assert_eq!(
            watch.expired(at(50)).map(|(phase, _)| phase),
            Some(Phase::Gap)
        );
        watch.output(at(40), Some((0, 2)), false);
        assert_eq!(watch.next(), None);
        watch.sent(at(60), frame(3, 0));
        assert_eq!(watch.next(), Some(at(90)));
    }

    #[test]
    fn what_nobody_listened_to_is_not_late_by_that() {
        let mut watch = watch();
        let last = SentFrame {
            is_final: true,
            ..frame(1, 1)
        };
        watch.sent(at(0), last);
        watch.forgive(Duration::from_secs(60));
        assert_eq!(watch.next(), Some(at(60_100)));
        watch.output(at(60_050), Some((0, 1)), false);
        assert_eq!(
            watch.next(),
            Some(at(70_000)),
            "the call was to be done in ten seconds"
        );
        assert_eq!(
            watch.expired(at(70_000)).map(|(phase, _)| phase),
            Some(Phase::Call)
        );
    }

    #[test]
    fn a_new_utterance_has_a_first_output_again() {
        let mut watch = watch();
        watch.sent(at(0), frame(1, 1));
        watch.output(at(5), Some((0, 1)), false);
        watch.sent(at(10), frame(2, 2));
        assert_eq!(
            watch.expired(at(110)).map(|(phase, _)| phase),
            Some(Phase::FirstOutput)
        );
    }

    #[test]
    fn acknowledgements_count_as_answers_only_if_they_are_new() {
        let mut watch = watch();
        watch.sent(at(0), frame(1, 0));
        watch.sent(at(0), frame(2, 0));
        watch.acknowledged(at(50), 0, 1);
        assert_eq!(watch.next(), Some(at(150)));
        watch.acknowledged(at(99), 0, 1);
        assert_eq!(watch.next(), Some(at(150)));
        watch.acknowledged(at(99), 0, 2);
        assert_eq!(watch.next(), None);
    }

    #[test]
    fn an_utterance_is_awaited_from_its_last_input_to_its_final_output() {
        let mut watch = watch();
        watch.timeouts.first_output = None;
        watch.timeouts.gap = None;
        watch.sent(at(0), frame(1, 7));
        assert_eq!(watch.next(), None);
        let last = SentFrame {
            is_final: true,
            ..frame(2, 7)
        };
        watch.sent(at(10), last);
        watch.output(at(20), Some((0, 2)), false);
        assert_eq!(watch.next(), Some(at(10_010)));
        assert_eq!(
            watch.expired(at(10_010)),
            Some((Phase::Call, Duration::from_secs(10)))
        );
        watch.output(at(30), Some((0, 2)), true);
        assert_eq!(watch.next(), None);
    }

    #[test]
    fn what_was_awaited_at_the_end_is_known_after_it() {
        let mut watch = watch();
        let last = SentFrame {
            is_final: true,
            ..frame(2, 7)
        };
        watch.sent(at(10), frame(1, 7));
        watch.sent(at(20), last);
        watch.output(at(35), Some((0, 1)), false);
        watch.ended();
        assert_eq!(watch.waited_since(Some(Phase::Gap)), Some(at(35)));
        assert_eq!(watch.waited_since(Some(Phase::Call)), Some(at(20)));
        assert_eq!(watch.waited_since(None), Some(at(35)));
    }

    #[test]
    fn an_interrupt_ends_every_wait() {
        let mut watch = watch();
        watch.sent(at(0), frame(1, 0));
        watch.interrupted(at(1), false);
        assert_eq!(watch.next(), None);
    }

    #[test]
    fn who_listens_to_an_utterance_owes_nothing_before_its_end() {
        let mut watch = watch();
        watch.by_utterance();
        let last = SentFrame {
            is_final: true,
            ..frame(3, 1)
        };
        watch.sent(at(0), frame(1, 1));
        watch.sent(at(10), frame(2, 1));
        assert_eq!(watch.next(), None, "somebody speaks");
        watch.output(at(20), Some((0, 2)), false);
        assert_eq!(watch.next(), None, "nor does a partial result owe the next");
        watch.sent(at(500), last);
        assert_eq!(watch.next(), Some(at(600)), "the first output from its end");
        assert_eq!(
            watch.expired(at(600)).map(|(phase, _)| phase),
            Some(Phase::FirstOutput)
        );
        // The next one begins while the answer is awaited, and changes nothing of that.
        watch.sent(at(550), frame(4, 2));
        assert_eq!(watch.next(), Some(at(600)));
        watch.acknowledged(at(560), 0, 3);
        assert_eq!(watch.next(), None);
        // An utterance that another one cuts off has ended, too.
        watch.sent(at(700), frame(5, 3));
        assert_eq!(watch.next(), Some(at(800)));
    }

    #[test]
    fn what_was_interrupted_is_not_owed_when_another_utterance_begins() {
        let mut watch = watch();
        watch.by_utterance();
        watch.sent(at(0), frame(1, 1));
        watch.interrupted(at(1), false);
        watch.sent(at(2), frame(2, 2));
        assert_eq!(watch.next(), None);
    }

    #[test]
    fn who_takes_nothing_of_an_utterance_is_awaited_all_the_same() {
        let mut watch = watch();
        watch.by_utterance();
        watch.sent(at(0), frame(1, 1));
        watch.held(at(10), true);
        watch.held(at(50), true);
        assert_eq!(watch.next(), Some(at(110)));
        watch.held(at(60), false);
        assert_eq!(watch.next(), None);
    }
}
