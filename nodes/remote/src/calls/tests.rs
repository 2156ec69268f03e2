//! Calls by a caller that has a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::task::noop_waker;
use tidegate_media::{MediaTime, Payload, Text};
use tidegate_nodes::StreamFormat;
use tidegate_nodes::compile::remote::HopMode;
use tidegate_proto::message::{Ack, Source};
use tidegate_proto::{ClientMessage, ServerMessage};

use super::link::Terms;
use super::*;
use crate::auth::{Auth, Files};
use crate::config::HopPorts;
use crate::link::{FramePlace, Link};

/// Numbers and texts of a call's frames, by input.
type Asked = Vec<(String, Vec<(u64, String)>)>;

/// What a scripted caller was asked, and what it is to answer: one list for each call.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    asked: Vec<Asked>,
    answers: VecDeque<Vec<Answer>>,
    now: VecDeque<Answer>,
    cancelled: usize,
    /// What calls that grow were given: numbers, and 0 for the end.
    grown: Vec<u64>,
    /// No more fits.
    full: bool,
}

impl Caller for Script {
    fn call(&mut self, execute: Execute, _now: Timestamp) -> Result<(), RemoteError> {
        let mut inner = self.0.lock().expect("not poisoned");
        let inputs = execute.inputs.into_iter();
        let asked = inputs.map(|(port, frames)| {
            let frames = frames.iter().map(|frame| (frame.meta.seq, said(frame)));
            (port.into_string(), frames.collect())
        });
        inner.asked.push(asked.collect());
        inner.now = inner.answers.pop_front().unwrap_or_default().into();
        Ok(())
    }

    fn more(&mut self, frame: Frame) -> Result<(), RemoteError> {
        let mut inner = self.0.lock().expect("not poisoned");
        inner.grown.push(frame.meta.seq);
        Ok(())
    }

    fn complete(&mut self) -> Result<(), RemoteError> {
        self.0.lock().expect("not poisoned").grown.push(0);
        Ok(())
    }

    fn has_room(&self) -> bool {
        !self.0.lock().expect("not poisoned").full
    }

    fn poll(
        &mut self,
        _cx: &mut Context<'_>,
        _now: Timestamp,
    ) -> Poll<Result<Answer, RemoteError>> {
        let next = self.0.lock().expect("not poisoned").now.pop_front();
        next.map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
    }

    fn cancel(&mut self) {
        self.0.lock().expect("not poisoned").cancelled += 1;
    }
}

fn said(frame: &Frame) -> String {
    match &frame.payload {
        Payload::Text(text) => text.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn name(text: &str) -> PortName {
    PortName::new(text).expect("a name")
}

fn frame(seq: u64, utterance: u64, is_final: bool) -> Frame {
    let mut frame = Frame::new(MediaTime::ZERO, Payload::Text(Text::from(format!("{seq}"))));
    frame.meta.seq = seq;
    frame.meta.utterance = utterance;
    frame.meta.is_final = is_final;
    frame
}

fn answer(caused_by: u64) -> Answer {
    let mut frame = frame(9, 0, false);
    frame.meta.caused_by = caused_by;
    Answer::Output {
        port: name("words"),
        caused_port: None,
        frame,
    }
}

/// A side's ports; those that begin with `-` are declared and joined to nothing.
fn side(names: &[&str]) -> Vec<(String, Option<StreamFormat>)> {
    let text = |name: &&str| match name.strip_prefix('-') {
        Some(name) => (name.to_owned(), None),
        None => ((*name).to_owned(), Some(StreamFormat::Text)),
    };
    names.iter().map(text).collect()
}

struct Bench {
    link: CallLink<Script>,
    script: Script,
}

impl Bench {
    fn new(inputs: &[&str], mode: HopMode, answers: Vec<Vec<Answer>>) -> Self {
        Self::with_outputs(&[""], inputs, mode, answers)
    }

    fn with_outputs(
        outputs: &[&str],
        inputs: &[&str],
        mode: HopMode,
        answers: Vec<Vec<Answer>>,
    ) -> Self {
        Self::with(outputs, inputs, answers, |ports| {
            Gather::new(ports, mode, 100)
        })
    }

    fn with(
        outputs: &[&str],
        inputs: &[&str],
        answers: Vec<Vec<Answer>>,
        gather: impl FnOnce(&HopPorts) -> Result<Gather, RemoteError>,
    ) -> Self {
        let ports = HopPorts {
            hop: "h".into(),
            inputs: side(inputs),
            outputs: side(outputs),
        };
        let script = Script::default();
        script.0.lock().expect("not poisoned").answers = answers.into();
        let gather = gather(&ports).expect("names");
        let credential = Auth::default().read(&Files::default(), Timestamp::ZERO);
        let terms = Terms {
            source: Source::Pipeline("p".into()),
            parameters: serde_json::Map::new(),
            hop_count: 1,
            deadline: None,
        };
        let link = CallLink::new(script.clone(), terms, gather, credential.expect("none"));
        Self { link, script }
    }

    fn send(&mut self, port: &str, frame: Frame) {
        let place = FramePlace {
            port: 0,
            bytes: frame.payload.size(),
        };
        let port = name(port);
        let message = ClientMessage::Frame { port, frame };
        let sent = self.link.send(message, Some(place), Timestamp::ZERO);
        sent.expect("taken");
    }

    fn end(&mut self, port: &str) {
        let port = Some(name(port));
        let sent = self
            .link
            .send(ClientMessage::End { port }, None, Timestamp::ZERO);
        sent.expect("taken");
    }

    /// Everything that comes now, in short: outputs by number, cause and utterance; acks by port and number.
    fn poll(&mut self) -> Vec<String> {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut came = Vec::new();
        while let Poll::Ready(Some(message)) = self.link.poll_receive(&mut cx, Timestamp::ZERO) {
            came.push(match message {
                Ok(ServerMessage::Frame { frame, .. }) => format!(
                    "{} of {} in {}",
                    frame.meta.seq, frame.meta.caused_by, frame.meta.utterance
                ),
                Ok(ServerMessage::Ack(Ack { port, seq })) => format!("ack {port} {seq}"),
                Ok(ServerMessage::Ended { .. }) => "ended".to_owned(),
                Ok(other) => panic!("{other:?}"),
                Err(error) => error.to_string(),
            });
        }
        came
    }

    fn asked(&self) -> Vec<Asked> {
        self.script.0.lock().expect("not poisoned").asked.clone()
    }
}

fn call(port: &str, frames: &[&str]) -> Asked {
    let frames = (1..).zip(frames.iter().map(|text| (*text).to_owned()));
    vec![(port.to_owned(), frames.collect())]
}

#[test]
fn an_utterance_is_a_call_and_a_frame_of_none_is_one_too() {
    let answers = vec![
        vec![answer(1), answer(2), Answer::Done],
        vec![answer(0), Answer::Done],
        vec![answer(7), Answer::Done],
    ];
    let mut bench = Bench::new(&["in"], HopMode::Stream, answers);
    for (seq, utterance, is_final) in [(1, 5, false), (2, 5, true), (3, 0, false), (4, 6, false)] {
        bench.send("in", frame(seq, utterance, is_final));
    }
    assert_eq!(
        bench.poll(),
        [
            "1 of 1 in 5",
            "2 of 2 in 5",
            "ack in 2",
            "3 of 3 in 0",
            "ack in 3"
        ]
    );
    assert_eq!(
        bench.link.take_sent().iter().collect::<Vec<_>>(),
        [(0, 4, 4)]
    );
    bench.end("in");
    // What the worker counts too far is of the last frame that it had.
    assert_eq!(bench.poll(), ["4 of 4 in 6", "ack in 4", "ended"]);
    let expected = [
        call("in", &["1", "2"]),
        call("in", &["3"]),
        call("in", &["4"]),
    ];
    assert_eq!(bench.asked(), expected);
}

#[test]
fn an_utterance_that_is_never_closed_ends_where_the_next_begins() {
    let done = || vec![Answer::Done];
    let mut bench = Bench::new(&["in"], HopMode::Stream, vec![done(), done()]);
    bench.send("in", frame(1, 1, false));
    bench.send("in", frame(2, 2, true));
    assert_eq!(bench.poll(), ["ack in 1", "ack in 2"]);
    assert_eq!(bench.asked(), [call("in", &["1"]), call("in", &["2"])]);
}

#[test]
fn utterances_of_two_inputs_are_calls_of_their_own() {
    let done = || vec![Answer::Done];
    let mut bench = Bench::new(&["a", "b"], HopMode::Stream, vec![done(), done()]);
    bench.send("a", frame(1, 1, false));
    bench.send("b", frame(1, 1, true));
    assert_eq!(bench.poll(), ["ack b 1"]);
    bench.send("a", frame(2, 1, true));
    assert_eq!(bench.poll(), ["ack a 2"]);
    assert_eq!(bench.asked(), [call("b", &["1"]), call("a", &["1", "2"])]);
}

#[test]
fn a_unary_hop_with_several_inputs_makes_one_call_of_them() {
    let mut bench = Bench::new(
        &["a", "b"],
        HopMode::Unary,
        vec![vec![answer(0), Answer::Done]],
    );
    bench.send("a", frame(1, 1, true));
    bench.send("b", frame(1, 0, false));
    bench.end("a");
    assert!(bench.poll().is_empty() && bench.asked().is_empty());
    bench.end("b");
    assert_eq!(bench.poll(), ["1 of 1 in 1", "ack a 1", "ack b 1", "ended"]);
    assert_eq!(bench.asked().len(), 1);
}

#[test]
fn a_stream_without_input_ends_without_a_call() {
    let mut bench = Bench::new(&["in"], HopMode::Unary, Vec::new());
    bench.end("in");
    assert_eq!(bench.poll(), ["ended"]);
    assert!(bench.asked().is_empty());
}

#[test]
fn an_interrupt_gives_up_the_call_and_what_waits_and_counts_both_as_consumed() {
    let mut bench = Bench::new(
        &["in"],
        HopMode::Stream,
        vec![vec![answer(1)], vec![Answer::Done]],
    );
    bench.send("in", frame(1, 0, false));
    bench.send("in", frame(2, 0, false));
    assert_eq!(bench.poll(), ["1 of 1 in 0"]);
    let sent = bench
        .link
        .send(ClientMessage::Interrupt, None, Timestamp::ZERO);
    sent.expect("taken");
    assert_eq!(bench.poll(), ["ack in 2"]);
    assert_eq!(bench.script.0.lock().expect("not poisoned").cancelled, 1);
    bench.send("in", frame(3, 0, false));
    assert_eq!(bench.poll(), ["ack in 3"]);
    assert_eq!(bench.asked()[1], call("in", &["3"])[..]);
}

#[test]
fn what_is_not_gathered_yet_can_be_taken_back() {
    let mut bench = Bench::new(&["in"], HopMode::Stream, vec![Vec::new()]);
    bench.send("in", frame(1, 0, false));
    assert!(bench.poll().is_empty());
    bench.send("in", frame(2, 0, false));
    assert_eq!(
        bench.link.discard_frames().iter().collect::<Vec<_>>(),
        [(0, 1, 1)]
    );
    assert_eq!(
        bench.link.take_sent().iter().collect::<Vec<_>>(),
        [(0, 1, 1)]
    );
}

#[test]
fn a_call_that_becomes_too_large_says_so() {
    let mut bench = Bench::new(&["in"], HopMode::Stream, Vec::new());
    for seq in 1..=101 {
        bench.send("in", frame(seq, 1, false));
    }
    let came = bench.poll();
    assert!(
        came[0].starts_with("one call gathers more than 100 bytes"),
        "{came:?}"
    );
}

/// What a hop with these outputs hears of a call that is answered on `words`.
fn answered_on_words(outputs: &[&str], more: Vec<Answer>) -> Vec<String> {
    let answers = [vec![answer(1)], more, vec![Answer::Done]].concat();
    let mut bench = Bench::with_outputs(outputs, &["in"], HopMode::Stream, vec![answers]);
    bench.send("in", frame(1, 0, false));
    bench.poll()
}

#[test]
fn a_call_that_is_answered_only_where_nobody_listens_is_a_mistake_that_names_both() {
    assert_eq!(
        answered_on_words(&["text", "-score"], Vec::new()),
        [
            "worker answered on output 'words' only, which the node does not declare: declare 'words' in its 'outputs', or let the worker \
             answer on 'text' or 'score'"
        ]
    );
}

#[test]
fn a_worker_may_have_more_outputs_than_the_hop_declares_or_joins() {
    let Answer::Output { frame, .. } = answer(1) else {
        unreachable!("it is one")
    };
    let other = |port| Answer::Output {
        port: name(port),
        caused_port: None,
        frame: frame.clone(),
    };
    let text = answered_on_words(&["text"], vec![other("text")]);
    assert_eq!(text, ["1 of 1 in 0", "ack in 1"]);
    // What is declared and joined to nothing was asked for by nobody, and is no mistake either.
    let score = answered_on_words(&["text", "-score"], vec![other("score")]);
    assert_eq!(score, ["ack in 1"]);
    assert_eq!(
        answered_on_words(&["text", "-words"], Vec::new()),
        ["ack in 1"]
    );
    // Who joins nothing wants no answer.
    assert_eq!(answered_on_words(&["-text"], Vec::new()), ["ack in 1"]);
    assert_eq!(answered_on_words(&[], Vec::new()), ["ack in 1"]);
}

#[test]
fn a_hop_that_calls_in_turns_takes_a_frame_of_each_input_whichever_comes_first() {
    let answers = vec![
        vec![answer(0), Answer::Done],
        vec![answer(0), Answer::Done],
        vec![Answer::Done],
    ];
    let mut bench = Bench::with(&[""], &["a", "b"], answers, |ports| {
        Gather::new(ports, HopMode::Stream, 100).map(Gather::in_turns)
    });
    bench.send("a", frame(1, 0, false));
    bench.send("a", frame(2, 7, false));
    bench.send("a", frame(3, 7, true));
    assert!(bench.poll().is_empty() && bench.asked().is_empty());
    bench.send("b", frame(1, 0, false));
    assert_eq!(bench.poll(), ["1 of 1 in 0", "ack a 1", "ack b 1"]);
    bench.send("b", frame(2, 0, false));
    assert_eq!(bench.poll(), ["2 of 2 in 7", "ack a 2", "ack b 2"]);
    // What has no partner is asked all the same, once none can come.
    bench.end("b");
    bench.end("a");
    assert_eq!(bench.poll(), ["ack a 3", "ended"]);
    let both = |said: &str| [call("a", &[said]), call("b", &[said])].concat();
    assert_eq!(bench.asked(), [both("1"), both("2"), call("a", &["3"])]);
}

/// Calls that grow, of one input.
fn growing() -> Bench {
    Bench::with(&[""], &["in"], Vec::new(), |ports| {
        let gather = Gather::new(ports, HopMode::Stream, 100)?;
        Ok(gather.with_loose_frames_together().growing())
    })
}

impl Bench {
    /// What the call under way says now.
    fn says(&mut self, answer: Answer) -> Vec<String> {
        let mut inner = self.script.0.lock().expect("not poisoned");
        inner.now.push_back(answer);
        drop(inner);
        self.poll()
    }

    /// Numbers that the call was given since this was last asked.
    fn grown(&mut self) -> Vec<u64> {
        let mut inner = self.script.0.lock().expect("not poisoned");
        std::mem::take(&mut inner.grown)
    }
}

#[test]
fn a_call_that_grows_begins_with_its_first_frame_and_is_told_its_end() {
    let mut bench = growing();
    bench.send("in", frame(1, 4, false));
    assert_eq!(bench.poll(), [""; 0]);
    assert_eq!(bench.asked(), [call("in", &["1"])]);
    bench.send("in", frame(2, 4, false));
    assert_eq!(bench.says(answer(0)), ["1 of 2 in 4"], "before its end");
    bench.send("in", frame(3, 4, true));
    bench.send("in", frame(4, 5, false));
    assert_eq!(
        bench.poll(),
        [""; 0],
        "nothing is acknowledged before it is done"
    );
    assert_eq!(bench.grown(), [2, 3, 0]);
    assert_eq!(bench.says(Answer::Done), ["ack in 3"]);
    assert_eq!(bench.asked().len(), 2, "the next one begins then");
    // Another utterance ends one that is never closed, and so does the end.
    bench.send("in", frame(5, 6, false));
    assert_eq!(bench.says(Answer::Done), ["ack in 4"]);
    assert_eq!(bench.grown(), [0]);
    bench.end("in");
    assert_eq!(bench.says(Answer::Done), ["ack in 5", "ended"]);
    assert_eq!(bench.grown(), [0]);
}

#[test]
fn a_call_that_grows_is_given_no_more_than_it_has_room_for() {
    let mut bench = growing();
    bench.send("in", frame(1, 1, false));
    bench.poll();
    assert_eq!(
        bench
            .link
            .take_sent()
            .iter()
            .map(|(_, frames, _)| frames)
            .sum::<u64>(),
        1
    );
    bench.script.0.lock().expect("not poisoned").full = true;
    bench.send("in", frame(2, 1, true));
    bench.poll();
    assert!(
        bench.link.take_sent().is_empty(),
        "so the graph is given no credit"
    );
    bench.script.0.lock().expect("not poisoned").full = false;
    bench.poll();
    assert_eq!(bench.grown(), [2, 0]);
}

#[test]
fn parts_of_a_call_that_grows_are_consumed_before_it_is_done() {
    let mut bench = growing();
    for seq in 1..4 {
        bench.send("in", frame(seq, 0, false));
    }
    bench.poll();
    assert_eq!(bench.says(Answer::Consumed(2)), ["ack in 2"]);
    let message = ClientMessage::Interrupt;
    let sent = bench.link.send(message, None, Timestamp::ZERO);
    sent.expect("taken");
    assert_eq!(bench.poll(), ["ack in 3"]);
    assert_eq!(bench.script.0.lock().expect("not poisoned").cancelled, 1);
}
