//! Turns of a session: which frames belong to one utterance of the client's and to the answer to it, for its trace.
//!
//! A state machine without I/O, fed from what passes between the driver and its hops and clients. The first hop that is given an
//! utterance cuts the turns: each of its utterances begins one. Everything after belongs to a turn by when the input that caused it
//! had arrived, which every frame says. A hop that finds the utterances itself (it is given plain sound) cuts them by what it answers.
//!
//! Only sampled sessions have one of these.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_media::{Frame, Kind, Meta, Timestamp};

/// A turn in which nothing happens for this long is over.
const QUIET: Duration = Duration::from_secs(10);
/// Turns that are open at a time; the oldest is closed for another.
const OPEN_MAX: usize = 8;
/// Frames without an utterance that are remembered by hop, to know when what caused an answer had arrived.
const SENT_MAX: usize = 512;

/// The turns of one session.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    cut_by: Option<Cut>,
    open: VecDeque<Turn>,
    begun: u64,
    /// Hop, port, number and arrival of frames without an utterance.
    sent: VecDeque<(usize, usize, u64, Timestamp)>,
}

/// Whose utterances are turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Those that a hop is given on a port.
    Given(usize, usize),
    /// Those that a hop answers with.
    Answered(usize, usize),
    /// Those of an output, in a pipeline whose hops are all in place.
    Output(usize),
}

/// What tells a turn from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Utterance(u64),
    /// A text that is one by itself.
    Text(u64),
}

/// One turn.
#[derive(Debug, PartialEq)]
pub(crate) struct Turn {
    /// From 1.
    pub(crate) number: u64,
    name: Name,
    /// When its first frame had arrived.
    pub(crate) began: Timestamp,
    /// When its last had.
    pub(crate) heard: Option<Timestamp>,
    pub(crate) hops: Vec<TurnHop>,
    pub(crate) outputs: Vec<TurnOutput>,
    /// When something last happened.
    pub(crate) last: Timestamp,
    pub(crate) interrupted: bool,
}

/// A hop's part in a turn.
#[derive(Debug, PartialEq)]
pub(crate) struct TurnHop {
    pub(crate) hop: usize,
    /// Port and number of the first frames that it was sent.
    first: Vec<(usize, u64)>,
    pub(crate) began: Timestamp,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) answered: Option<Timestamp>,
    pub(crate) last: Timestamp,
    /// Of its first output.
    pub(crate) parts: Split,
}

/// Where the time of an output went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) queue: Duration,
    pub(crate) wire: Duration,
    pub(crate) service: Duration,
}

/// An output's part in a turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TurnOutput {
    pub(crate) output: usize,
    pub(crate) frames: u64,
    /// When the first frame left.
    pub(crate) first: Timestamp,
    /// When the first left after all of the turn's input had come.
    pub(crate) answer: Option<Timestamp>,
}

impl Turns {
    /// A hop is sent a frame.
    pub(crate) fn sent(&mut self, now: Timestamp, hop: usize, port: usize, frame: &Frame) {
        let meta = &frame.meta;
        let name = match (meta.utterance, frame.kind()) {
            (0, Kind::Text) => Some(Name::Text(meta.seq)),
            (0, _) => None,
            (utterance, _) => Some(Name::Utterance(utterance)),
        };
        match name {
            Some(name) => {
                let last = meta.is_final || matches!(name, Name::Text(_));
                self.cut(now, Cut::Given(hop, port), name, meta.ingress, last);
            }
            None => {
                if self.sent.len() == SENT_MAX {
                    self.sent.pop_front();
                }
                self.sent.push_back((hop, port, meta.seq, meta.ingress));
            }
        }
        let Some(turn) = self.at(meta.ingress) else {
            return;
        };
        turn.last = now;
        let known = turn.hops.iter_mut().find(|known| known.hop == hop);
        let Some(known) = known else {
            turn.hops.push(TurnHop {
                hop,
                first: vec![(port, meta.seq)],
                began: now,
                frames_in: 1,
                frames_out: 0,
                answered: None,
                last: now,
                parts: Split::default(),
            });
            return;
        };
        known.frames_in += 1;
        if !known.first.iter().any(|(other, _)| *other == port) {
            known.first.push((port, meta.seq));
        }
    }

    /// A hop gives out a frame. Its `caused_by` counts what the hop was sent.
    pub(crate) fn answered(
        &mut self,
        now: Timestamp,
        hop: usize,
        port: usize,
        meta: &Meta,
        parts: Split,
    ) {
        let caused = usize::from(meta.caused_port).checked_sub(1);
        let of_port = |other: usize| caused.is_none_or(|port| port == other);
        if meta.utterance != 0 {
            let mut sent = self.sent.iter().rev();
            let cause = sent.find(|(other, at, seq, _)| {
                *other == hop && of_port(*at) && *seq <= meta.caused_by
            });
            if let Some((.., ingress)) = cause.copied() {
                let name = Name::Utterance(meta.utterance);
                let cut = Cut::Answered(hop, port);
                self.cut(now, cut, name, ingress, meta.is_final);
                // A hop that cuts was sent what is in the turn before that began.
                if let Some(turn) = self.at(ingress)
                    && turn.hops.iter().all(|known| known.hop != hop)
                {
                    turn.hops.push(TurnHop {
                        hop,
                        first: vec![(caused.unwrap_or(0), meta.caused_by)],
                        began: ingress,
                        frames_in: 0,
                        frames_out: 0,
                        answered: None,
                        last: now,
                        parts: Split::default(),
                    });
                }
            }
        }
        let turns = self.open.iter_mut().rev();
        let of_turn = turns.filter_map(|turn| {
            let at = turn.hops.iter().position(|known| known.hop == hop)?;
            let mut first = turn.hops[at].first.iter();
            let within = first.any(|(port, seq)| of_port(*port) && *seq <= meta.caused_by);
            (within || meta.caused_by == 0).then_some((turn, at))
        });
        let mut of_turn = of_turn;
        let Some((turn, at)) = of_turn.next() else {
            return;
        };
        turn.last = now;
        let known = &mut turn.hops[at];
        known.frames_out += 1;
        known.last = now;
        if known.answered.is_none() {
            known.answered = Some(now);
            known.parts = parts;
        }
    }

    /// A frame leaves for a client.
    pub(crate) fn departed(&mut self, now: Timestamp, output: usize, meta: &Meta) {
        if meta.utterance != 0 {
            let name = Name::Utterance(meta.utterance);
            self.cut(now, Cut::Output(output), name, meta.ingress, meta.is_final);
        }
        let Some(turn) = self.at(meta.ingress) else {
            return;
        };
        turn.last = now;
        let heard = turn.heard.is_some_and(|heard| heard <= meta.ingress);
        let answer = heard.then_some(now);
        let known = turn.outputs.iter_mut();
        match known.into_iter().find(|known| known.output == output) {
            Some(known) => {
                known.frames += 1;
                known.answer = known.answer.or(answer);
            }
            None => turn.outputs.push(TurnOutput {
                output,
                frames: 1,
                first: now,
                answer,
            }),
        }
    }

    /// A hop is to forget what it was sent.
    pub(crate) fn interrupted(&mut self, hop: usize) {
        let turns = self.open.iter_mut();
        let cut_off = turns.filter(|turn| turn.hops.iter().any(|known| known.hop == hop));
        cut_off.for_each(|turn| turn.interrupted = true);
    }

    /// A turn that is over by now.
    pub(crate) fn poll_over(&mut self, now: Timestamp) -> Option<Turn> {
        let quiet = self.open.front()?.last + QUIET <= now;
        if quiet || self.open.len() > OPEN_MAX {
            return self.open.pop_front();
        }
        None
    }

    /// When [`Self::poll_over`] must be asked again even if nothing happens.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        Some(self.open.front()?.last + QUIET)
    }

    /// All that are open: the session is over.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = Turn> {
        std::mem::take(&mut self.open).into_iter()
    }

    /// How many have begun.
    pub(crate) const fn begun(&self) -> u64 {
        self.begun
    }

    /// A frame of an utterance: begins a turn, if utterances of that place do.
    fn cut(&mut self, now: Timestamp, place: Cut, name: Name, ingress: Timestamp, last: bool) {
        if *self.cut_by.get_or_insert(place) != place {
            return;
        }
        let known = self.open.back().filter(|turn| turn.name == name);
        if known.is_none() {
            self.begun += 1;
            self.open.push_back(Turn {
                number: self.begun,
                name,
                began: ingress,
                heard: None,
                hops: Vec::new(),
                outputs: Vec::new(),
                last: now,
                interrupted: false,
            });
        }
        if let (true, Some(turn)) = (last, self.open.back_mut()) {
            turn.heard = Some(ingress);
        }
    }

    /// The newest turn that had begun when an input arrived.
    fn at(&mut self, ingress: Timestamp) -> Option<&mut Turn> {
        let mut turns = self.open.iter_mut().rev();
        turns.find(|turn| turn.began <= ingress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_media::{MediaTime, Payload, Text};

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(1_000 + millis)
    }

    fn frame(seq: u64, utterance: u64, ingress: u64, last: bool) -> Frame {
        let payload = Payload::Binary(bytes::Bytes::from_static(b"x"));
        let mut frame = Frame::new(MediaTime::default(), payload);
        frame.meta.seq = seq;
        frame.meta.utterance = utterance;
        frame.meta.ingress = at(ingress);
        frame.meta.is_final = last;
        frame
    }

    fn answer(caused_by: u64, utterance: u64) -> Meta {
        let mut frame = frame(0, utterance, 0, false);
        frame.meta.caused_by = caused_by;
        frame.meta.caused_port = 1;
        frame.meta
    }

    const STT: usize = 1;
    const TTS: usize = 4;

    #[test]
    fn a_turn_is_an_utterance_and_all_that_it_caused() {
        let mut turns = Turns::default();
        for (seq, utterance, ingress, last) in [(1, 1, 0, false), (2, 1, 200, true)] {
            let frame = frame(seq, utterance, ingress, last);
            turns.sent(at(ingress), STT, 0, &frame);
        }
        let parts = Split {
            service: Duration::from_millis(80),
            ..Split::default()
        };
        turns.answered(at(300), STT, 0, &answer(2, 1), parts);
        turns.sent(at(301), TTS, 0, &frame(1, 1, 200, true));
        // The next utterance begins while the answer to the first is still being made.
        turns.sent(at(320), STT, 0, &frame(3, 2, 320, false));
        turns.answered(at(350), TTS, 0, &answer(1, 1), Split::default());
        turns.departed(at(351), 0, &frame(9, 0, 200, false).meta);
        turns.departed(at(371), 0, &frame(10, 0, 200, true).meta);

        assert_eq!(turns.poll_over(at(9_000)), None);
        let first = turns.poll_over(at(10_371)).expect("the first is over");
        assert_eq!(
            (first.number, first.began, first.heard),
            (1, at(0), Some(at(200)))
        );
        let hops: Vec<_> = first
            .hops
            .iter()
            .map(|hop| (hop.hop, hop.frames_in, hop.frames_out, hop.answered))
            .collect();
        let expected = [(STT, 2, 1, Some(at(300))), (TTS, 1, 1, Some(at(350)))];
        assert_eq!(hops, expected);
        assert_eq!(first.hops[0].parts, parts);
        assert_eq!(first.outputs[0].answer, Some(at(351)));
        assert_eq!((first.outputs[0].frames, first.last), (2, at(371)));
        let left: Vec<_> = turns.finish().map(|turn| turn.number).collect();
        assert_eq!((left, turns.begun()), (vec![2], 2));
    }

    #[test]
    fn a_hop_that_finds_utterances_itself_cuts_by_its_answers() {
        let mut turns = Turns::default();
        (1..=40_u32).for_each(|n| {
            let n = u64::from(n);
            turns.sent(at(n * 20), STT, 0, &frame(n, 0, n * 20, false));
        });
        for (now, cause, utterance) in [(300, 10, 1), (420, 15, 1), (800, 30, 2)] {
            turns.answered(at(now), STT, 0, &answer(cause, utterance), Split::default());
        }
        turns.departed(at(430), 0, &frame(1, 1, 300, true).meta);
        let seen: Vec<_> = turns
            .finish()
            .map(|turn| (turn.began, turn.hops[0].frames_out, turn.outputs.len()))
            .collect();
        assert_eq!(seen, [(at(200), 2, 1), (at(600), 1, 0)]);
    }

    #[test]
    fn each_text_is_a_turn_and_only_so_many_are_open() {
        let mut turns = Turns::default();
        for n in 1..=20 {
            let mut text = frame(n, 0, n, false);
            text.payload = Payload::Text(Text::from("hello".to_owned()));
            turns.sent(at(n), STT, 0, &text);
            turns.interrupted(STT);
            let _over = turns.poll_over(at(n));
        }
        assert_eq!(turns.begun(), 20);
        let open: Vec<_> = turns.finish().collect();
        assert_eq!(open.len(), OPEN_MAX);
        assert!(open.iter().all(|turn| turn.interrupted));
    }
}
