//! Single steps of the failover, told by hand, in virtual time: what the histories of the simulation seldom meet.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_media::{Kind, Timestamp};
use tidegate_nodes::{HopCommand, HopEvent, HopNote, StreamFormat};
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
}

fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

impl Hop {
    fn new() -> Self {
        let port = |name: &str| (name.to_owned(), Some(StreamFormat::Binary));
        let setup = Setup {
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
            attempts: 4,
            deterministic: None,
            partial: None,
            cache: None,
            replay: ReplayLimits::default(),
        };
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
                HopEvent::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// Answers the oldest opening; gives its stream and tier.
    fn answer(&mut self, stands: bool) -> (StreamId, usize) {
        let (stream, tier) = self.opening.remove(0);
        let port = |text, direction| Port {
            name: name(text),
            direction,
            kind: Kind::Binary,
            format: None,
        };
        let opened = Opened {
            ports: vec![port("in", Direction::Input), port("out", Direction::Output)],
            features: vec!["acks".to_owned()],
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
