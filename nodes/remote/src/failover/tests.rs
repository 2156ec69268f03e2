//! Single steps of the failover, told by hand, in virtual time: what the histories of the simulation seldom meet.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_media::{Kind, Timestamp};
use tidegate_nodes::{DropReason, HopCommand, HopEvent, HopNote, StreamFormat};
use tidegate_proto::message::{Ack, Direction, Mode, Opened, Port};
use tidegate_proto::{ClientMessage, PortName, ServerMessage};

use super::simulation::frame;
use super::{Action, Failover, Setup, StreamId, Way};
use crate::config::{HopPorts, Timeouts};
use crate::error::RemoteError;
use crate::link::Counts;
use crate::pool::{Pool, PoolConfig};
use crate::replay::ReplayLimits;

/// A hop with one input and one output, and one endpoint in each of two tiers.
struct Hop {
    failover: Failover,
    now: Timestamp,
    /// Streams that wait to be opened, with their tier.
    opening: Vec<(StreamId, usize)>,
    closed: Vec<StreamId>,
    /// Frames that went out: stream, number there, whether marked as sent again.
    sent: Vec<(StreamId, u64, bool)>,
    tiers: Vec<usize>,
    seq: u64,
    /// Frames that the graph may send.
    credit: u64,
    gaps: u32,
    failed: Option<tidegate_nodes::Error>,
    may_fail: bool,
}

fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

impl Hop {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let port = |name: &str| (name.to_owned(), Some(StreamFormat::Binary));
        let mut setup = Setup {
            ports: HopPorts {
                hop: "far".into(),
                inputs: vec![port("in")],
                outputs: vec![port("out")],
            },
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                first_output: None,
                gap: None,
                call: None,
            },
            mode: Mode::Waits,
            unary: false,
            by_utterance: false,
            attempts: 4,
            deterministic: None,
            partial: None,
            cache: None,
            replay: ReplayLimits::default(),
        };
        change(&mut setup);
        let pool = |endpoint: &str| {
            let config = PoolConfig {
                health: None,
                ..PoolConfig::new([endpoint.to_owned()])
            };
            Way::Pool(Arc::new(Mutex::new(Pool::new(config, 1))))
        };
        let now = Timestamp::ZERO + Duration::from_secs(1);
        let ways = vec![pool("http://first:1"), pool("http://second:1")];
        let mut hop = Self {
            failover: Failover::new(now, setup, ways),
            now,
            opening: Vec::new(),
            closed: Vec::new(),
            sent: Vec::new(),
            tiers: Vec::new(),
            seq: 0,
            credit: 0,
            gaps: 0,
            failed: None,
            may_fail: false,
        };
        hop.act();
        hop
    }

    fn act(&mut self) {
        while let Some(action) = self.failover.poll_action() {
            match action {
                Action::Open { stream, tier, .. } => self.opening.push((stream, tier)),
                Action::Send {
                    stream,
                    message,
                    place,
                } => {
                    if let Some(place) = place {
                        let mut counts = Counts::default();
                        counts.add(place);
                        self.failover.taken(self.now, stream, &counts);
                    }
                    if let ClientMessage::Frame { frame, .. } = message {
                        self.sent
                            .push((stream, frame.meta.seq, frame.meta.replayed));
                    }
                }
                Action::Discard { .. } => {}
                Action::Close { stream } => self.closed.push(stream),
            }
        }
        while let Some(event) = self.failover.poll_event() {
            match event {
                HopEvent::Note(HopNote::Tier(tier)) => self.tiers.push(tier),
                HopEvent::Failed(error) => {
                    assert!(self.may_fail, "{error}");
                    self.failed = Some(error);
                }
                HopEvent::Credit { frames, .. } => self.credit += u64::from(frames),
                HopEvent::Dropped { reason, frames } => {
                    assert_eq!(reason, DropReason::Gap);
                    self.gaps += frames;
                }
                _ => {}
            }
        }
    }

    /// Answers the oldest opening; gives its stream and tier.
    fn answer(&mut self, stands: bool) -> (StreamId, usize) {
        self.answer_with(stands, &["acks"])
    }

    fn answer_with(&mut self, stands: bool, features: &[&str]) -> (StreamId, usize) {
        let (stream, tier) = self.opening.remove(0);
        let port = |text, direction| Port {
            name: name(text),
            direction,
            kind: Kind::Binary,
            format: None,
        };
        let opened = Opened {
            ports: vec![port("in", Direction::Input), port("out", Direction::Output)],
            features: features.iter().map(|&text| text.to_owned()).collect(),
            ..Opened::default()
        };
        let opened = if stands {
            Ok(&opened)
        } else {
            Err(RemoteError::Network("refused".into()))
        };
        self.failover.opened(self.now, stream, opened);
        self.act();
        (stream, tier)
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.failover.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.failover.handle_timeout(self.now);
            self.act();
        }
        self.now = until;
    }

    /// The graph sends a frame; the worker has done with the one before it.
    fn speak(&mut self, to: StreamId) {
        self.seq += 1;
        let mut frame = frame(self.seq);
        frame.meta.seq = self.seq;
        let command = HopCommand::Frame { port: 0, frame };
        self.failover.command(self.now, command);
        let ack = Ack {
            port: name("in"),
            seq: self.seq - 1,
        };
        if ack.seq > 0 {
            self.failover.message(self.now, to, ServerMessage::Ack(ack));
        }
        self.act();
    }
}

#[test]
fn a_stream_that_never_pauses_is_back_at_its_primary_ten_seconds_after_that_is_ready() {
    let mut hop = Hop::new();
    assert_eq!(hop.answer(false).1, 0);
    let (second, tier) = hop.answer(true);
    assert_eq!(tier, 1);
    hop.speak(second);
    // The primary is looked at after a second, and stands.
    hop.pass(Duration::from_secs(1));
    let (first, tier) = hop.answer(true);
    assert_eq!((tier, &hop.tiers[..]), (0, &[1][..]));
    // Something is unanswered all the time, and these workers' repetitions could not be recognised.
    for _ in 0..99 {
        hop.speak(second);
        hop.pass(Duration::from_millis(100));
    }
    assert!(hop.sent.iter().all(|(stream, ..)| *stream == second));
    assert_eq!(hop.tiers, [1]);
    hop.pass(Duration::from_millis(100));
    assert_eq!(hop.tiers, [1, 0]);
    assert_eq!(hop.closed.last(), Some(&second));
    // What was unanswered is sent again.
    assert_eq!(hop.sent.last(), Some(&(first, 1, true)));
    hop.speak(first);
    assert_eq!(hop.sent.last(), Some(&(first, 2, false)));
}

#[test]
fn a_pause_lets_the_primary_take_over_at_once() {
    let mut hop = Hop::new();
    hop.answer(false);
    let (second, _) = hop.answer(true);
    hop.speak(second);
    hop.pass(Duration::from_secs(1));
    let (first, _) = hop.answer(true);
    assert_eq!(hop.tiers, [1]);
    let ack = Ack {
        port: name("in"),
        seq: 1,
    };
    hop.failover
        .message(hop.now, second, ServerMessage::Ack(ack));
    hop.act();
    assert_eq!(hop.tiers, [1, 0]);
    hop.speak(first);
    assert_eq!(hop.sent.last(), Some(&(first, 1, false)));
}

/// A hop that makes calls, with a ring for so many frames, each of eight bytes, and as many times eight bytes.
fn calling(mode: Mode, frames: usize, bytes: usize) -> Hop {
    Hop::with(|setup| {
        (setup.unary, setup.mode) = (true, mode);
        setup.replay = ReplayLimits { frames, bytes };
        setup.timeouts.first_output = Some(Duration::from_secs(10));
        setup.timeouts.call = Some(Duration::from_secs(30));
    })
}

impl Hop {
    /// The graph sends the next frame of the only utterance, for which it has credit.
    fn utter(&mut self, is_final: bool) {
        self.credit = self.credit.checked_sub(1).expect("credit for a frame");
        self.seq += 1;
        let mut frame = frame(self.seq);
        (frame.meta.seq, frame.meta.utterance, frame.meta.is_final) = (self.seq, 1, is_final);
        let command = HopCommand::Frame { port: 0, frame };
        self.failover.command(self.now, command);
        self.act();
    }

    /// The worker has taken all of the call, says something, and is done.
    fn done(&mut self, by: StreamId, frames: u64) {
        let (port, seq) = (name("in"), frames);
        let mut output = frame(1);
        (output.meta.seq, output.meta.caused_by) = (1, frames);
        let said = [
            ServerMessage::Frame {
                port: name("out"),
                caused_port: None,
                frame: output,
            },
            ServerMessage::Ack(Ack { port, seq }),
            ServerMessage::Ended {
                reason: String::new(),
            },
        ];
        for message in said {
            self.failover.message(self.now, by, message);
        }
        self.act();
    }

    fn numbers(&self, to: StreamId) -> Vec<u64> {
        let to = self.sent.iter().filter(|(stream, ..)| *stream == to);
        to.map(|(_, seq, _)| *seq).collect()
    }
}

#[test]
fn a_call_longer_than_what_may_wait_is_sent_and_made_again_whole() {
    let mut hop = calling(Mode::Waits, 1_024, 8 << 20);
    hop.utter(false);
    let (first, _) = hop.answer(true);
    for _ in 1..499 {
        hop.utter(false);
    }
    assert_eq!(hop.numbers(first).len(), 499);
    let broke = RemoteError::Network("it broke".into());
    hop.failover.broken(hop.now, first, Some(broke));
    hop.act();
    let (second, _) = hop.answer(true);
    hop.utter(true);
    assert_eq!(hop.numbers(second), (1..=500).collect::<Vec<_>>());
    hop.done(second, 500);
    assert_eq!((hop.gaps, hop.closed.last()), (0, Some(&second)));
}

#[test]
fn a_call_larger_than_the_ring_is_made_once() {
    // Too many frames, or too many bytes; of the last not even one has room.
    for (frames, bytes) in [(16, 8 << 20), (1_024, 160), (1_024, 4)] {
        let mut hop = calling(Mode::Waits, frames, bytes);
        hop.utter(false);
        let (stream, _) = hop.answer(true);
        for _ in 1..99 {
            hop.utter(false);
        }
        hop.utter(true);
        assert_eq!(hop.numbers(stream), (1..=100).collect::<Vec<_>>());
        hop.done(stream, 100);
        assert_eq!(hop.closed, [stream]);
    }
}

#[test]
fn a_call_of_which_a_part_was_forgotten_is_no_call_for_another_worker() {
    for (mode, again) in [(Mode::Waits, false), (Mode::Live, true)] {
        let mut hop = calling(mode, 16, 8 << 20);
        hop.may_fail = !again;
        hop.utter(false);
        let (stream, _) = hop.answer(true);
        for _ in 1..40 {
            hop.utter(false);
        }
        let broke = RemoteError::Network("it broke".into());
        hop.failover.broken(hop.now, stream, Some(broke));
        hop.act();
        if again {
            // Who cannot wait goes on with what there is, and hears of what there is not.
            let (second, _) = hop.answer(true);
            hop.utter(true);
            let numbers = hop.numbers(second);
            assert_eq!(numbers.len() + hop.gaps as usize, 41, "{numbers:?}");
            hop.done(second, numbers.len() as u64);
            assert_eq!(hop.closed.last(), Some(&second));
        } else {
            let error = hop.failed.expect("a failure");
            assert!(error.message.contains("it broke: "), "{error}");
            assert!(error.message.contains("'replay.frames'"), "{error}");
            assert_eq!(hop.opening, []);
        }
    }
}

#[test]
fn what_a_caller_takes_to_send_a_call_is_not_the_workers_time() {
    let mut hop = calling(Mode::Live, 1_024, 8 << 20);
    hop.may_fail = true;
    hop.utter(false);
    let (stream, _) = hop.answer(true);
    for _ in 0..60 {
        hop.pass(Duration::from_secs(1));
        hop.utter(false);
    }
    assert_eq!((hop.closed.len(), hop.failed.is_none()), (0, true));
    hop.utter(true);
    hop.pass(Duration::from_millis(9_999));
    assert_eq!(hop.closed, []);
    hop.pass(Duration::from_millis(1));
    assert_eq!(hop.closed, [stream], "no first output within ten seconds");
    // The whole has thirty, whoever is asked.
    let (second, _) = hop.answer(true);
    let (port, seq) = (name("in"), 1);
    hop.pass(Duration::from_secs(9));
    hop.failover
        .message(hop.now, second, ServerMessage::Ack(Ack { port, seq }));
    hop.act();
    hop.pass(Duration::from_secs(9));
    assert_eq!(hop.closed, [stream]);
    let (port, seq) = (name("in"), 2);
    hop.failover
        .message(hop.now, second, ServerMessage::Ack(Ack { port, seq }));
    hop.pass(Duration::from_secs(2));
    assert_eq!(
        (&hop.closed[..], hop.failed.is_some()),
        (&[stream, second][..], true)
    );
}

#[test]
fn a_worker_that_takes_no_more_of_a_call_is_left() {
    let mut hop = calling(Mode::Waits, 1_024, 8 << 20);
    hop.utter(false);
    let (stream, _) = hop.answer_with(true, &["acks", "credits"]);
    hop.pass(Duration::from_millis(9_999));
    assert_eq!(hop.closed, []);
    hop.pass(Duration::from_millis(1));
    assert_eq!(hop.closed, [stream]);
}

#[test]
fn an_utterance_has_one_time_limit_whoever_is_asked() {
    let mut hop = Hop::with(|setup| setup.timeouts.call = Some(Duration::from_secs(30)));
    hop.may_fail = true;
    let (first, _) = hop.answer(true);
    hop.utter(true);
    hop.pass(Duration::from_secs(20));
    let broke = RemoteError::Network("it broke".into());
    hop.failover.broken(hop.now, first, Some(broke));
    hop.act();
    let (second, _) = hop.answer(true);
    assert_eq!(hop.numbers(second), [1]);
    hop.pass(Duration::from_millis(9_999));
    assert!(hop.failed.is_none());
    // Also the first endpoint, which is looked at again, could not be in time.
    let asked = hop.opening.len();
    hop.pass(Duration::from_millis(1));
    let error = hop.failed.expect("a failure");
    assert!(error.message.contains("timeout.call"), "{error}");
    // All of the caller's wait, though the second stream stood for ten seconds of it only.
    assert_eq!(error.elapsed, Some(Duration::from_secs(30)));
    assert_eq!(hop.opening.len(), asked, "nobody is asked any more");
}

#[test]
fn the_time_that_an_error_tells_is_what_the_caller_has_waited() {
    let limit = Duration::from_millis(300);
    let idle = || {
        let mut hop = Hop::with(|setup| {
            (setup.attempts, setup.timeouts.first_output) = (1, Some(limit));
        });
        hop.may_fail = true;
        hop.pass(Duration::from_millis(40));
        let (stream, _) = hop.answer(true);
        // Nobody says anything, so nobody waits.
        hop.pass(Duration::from_secs(8));
        hop.utter(true);
        (hop, stream)
    };
    let elapsed = |mut hop: Hop, more: Duration| {
        hop.pass(more);
        hop.answer(false);
        hop.failed.expect("a failure").elapsed
    };
    // A stall: since the wait began, and what the next one took to refuse.
    let (mut hop, _) = idle();
    hop.pass(limit);
    let more = Duration::from_millis(20);
    assert_eq!(elapsed(hop, more), Some(limit + more));
    // A stream that breaks while something is awaited.
    let (mut hop, stream) = idle();
    hop.pass(Duration::from_millis(100));
    let broke = RemoteError::Network("it broke".into());
    hop.failover.broken(hop.now, stream, Some(broke));
    hop.act();
    assert_eq!(elapsed(hop, more), Some(Duration::from_millis(120)));
}

#[test]
fn an_utterance_larger_than_the_ring_is_heard_and_is_none_for_another_worker() {
    for mode in [Mode::Waits, Mode::Live] {
        let mut hop = Hop::with(|setup| {
            (setup.by_utterance, setup.mode) = (true, mode);
            setup.replay.frames = 16;
            setup.timeouts.first_output = Some(Duration::from_millis(100));
        });
        hop.may_fail = mode == Mode::Waits;
        let (first, _) = hop.answer(true);
        // It does not wait for a worker who owes nothing before the end.
        for _ in 0..40 {
            hop.pass(Duration::from_millis(20));
            hop.utter(false);
        }
        assert_eq!(hop.numbers(first), (1..=40).collect::<Vec<_>>());
        let broke = RemoteError::Network("it broke".into());
        hop.failover.broken(hop.now, first, Some(broke));
        hop.act();
        if mode == Mode::Live {
            // Who cannot wait goes on with what there is, and hears of what there is not.
            let (second, _) = hop.answer(true);
            assert_eq!(hop.numbers(second).len() + hop.gaps as usize, 40);
        } else {
            let error = hop.failed.expect("a failure");
            assert!(error.message.contains("'replay.frames'"), "{error}");
            assert_eq!(hop.opening, []);
        }
    }
}

#[test]
fn who_hears_an_utterance_is_awaited_from_its_end() {
    let mut hop = Hop::with(|setup| {
        setup.by_utterance = true;
        setup.timeouts.first_output = Some(Duration::from_secs(1));
    });
    let (first, _) = hop.answer(true);
    for _ in 0..9 {
        hop.utter(false);
        hop.pass(Duration::from_secs(5));
    }
    assert_eq!(hop.closed, []);
    hop.utter(true);
    hop.pass(Duration::from_millis(999));
    assert_eq!(hop.closed, []);
    hop.pass(Duration::from_millis(1));
    assert_eq!(hop.closed, [first]);
    let (second, _) = hop.answer(true);
    assert_eq!(hop.numbers(second), (1..=10).collect::<Vec<_>>());
}
