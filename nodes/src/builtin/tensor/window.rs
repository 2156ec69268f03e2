//! `tensor.window`: a stream of rows becomes windows of equally many, which may overlap.

use std::collections::VecDeque;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Frame, Kind, MediaTime, Meta, Payload, Tensor};

use super::super::params::within;
use super::super::typed::{Inputs, Typed};
use super::Anchor;
use crate::emitted::check_made;
use crate::node::{Context, DropReason, Hold, Node, NodeError};
use crate::registry::{ParamError, Ports, Replay};
use crate::stream::StreamFormat;

pub(in super::super) struct Window;

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Params {
    /// Rows of a window, 1 to 65536.
    size: usize,
    /// Rows from one window to the next; by default `size`, so that they don't overlap.
    #[serde(default)]
    step: Option<usize>,
    /// At the end of an utterance or of the stream the rows that no window had are filled up with zeros to a window; else they
    /// are dropped.
    #[serde(default)]
    pad: bool,
}

impl Params {
    fn step(&self) -> usize {
        self.step.unwrap_or(self.size)
    }
}

impl Typed for Window {
    type Params = Params;

    const NAME: &'static str = "tensor.window";
    const EXAMPLE: &'static str = r#"{"size": 10}"#;
    const SUMMARY: &'static str = "Cuts a stream of tensors along their first axis into windows of equally many rows, which may overlap.";
    const COST: &'static str = "a copy: about 30 µs a MiB";
    const REPLAY: Replay = Replay::SameInLine;
    const REPLAY_DOC: &'static str = "makes the same again in a pipeline without branches, except with `pad` and windows that overlap";

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within("size", params.size, 1..=65_536)?;
        within("step", params.step(), 1..=params.size)
    }

    fn ports(&self, _: &Params) -> Ports {
        super::ports(
            "Tensors [rows, …] whose other axes are alike.",
            Kind::Tensor,
            "Tensors [size, …]; the media time is that of the tensor in which the first row came.",
        )
    }

    fn outputs(&self, _: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Tensor])
    }

    fn replay(&self, params: &Params, _: Inputs<'_>) -> Replay {
        if params.pad && params.step() < params.size {
            // Rows that were in a window are padded to another if they come again without it.
            return Replay::Differs;
        }
        Self::REPLAY
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Sliding::new(params)))
    }
}

/// Rows that came in one tensor; a row has no memory of its own.
struct Run {
    /// Media time of the tensor.
    at: MediaTime,
    /// Where it came from, if a replay would begin with it.
    since: Option<u64>,
    /// The tensor's bytes.
    data: Bytes,
    /// Rows in it.
    rows: usize,
    /// How many of these no window needs any more.
    gone: usize,
}

struct Sliding {
    params: Params,
    /// A tensor of the stream: dtype and shape of a row.
    like: Option<Tensor>,
    /// Bytes of a row.
    row_bytes: usize,
    /// What the next window needs: each has a row at least.
    runs: VecDeque<Run>,
    /// Rows in these.
    held: usize,
    /// Where a window began for the last time with what a replay could begin with.
    since: Anchor,
    /// Of the rows, the newest that no window had.
    fresh: usize,
    /// Marks of the newest input.
    meta: Meta,
}

impl Sliding {
    fn new(params: Params) -> Self {
        Self {
            params,
            like: None,
            row_bytes: 0,
            runs: VecDeque::new(),
            held: 0,
            since: Anchor::default(),
            fresh: 0,
            meta: Meta::default(),
        }
    }

    /// Emits a window of so many rows; what is not there is zeros.
    fn emit(&self, cx: &mut Context<'_>, size: usize, is_final: bool) -> Result<(), NodeError> {
        let Some(like) = &self.like else {
            return Ok(());
        };
        let mut data = Vec::with_capacity(size * self.row_bytes);
        for run in &self.runs {
            let left = size * self.row_bytes - data.len();
            let rows = &run.data[run.gone * self.row_bytes..];
            data.extend_from_slice(&rows[..rows.len().min(left)]);
        }
        data.resize(size * self.row_bytes, 0);
        let shape = [&[size as u64], &like.shape()[1..]].concat();
        let media_time = self.runs.front().map_or(self.meta.media_time, |run| run.at);
        let meta = Meta {
            media_time,
            is_final,
            ..self.meta
        };
        cx.emit(0, super::joined(meta, like, &shape, data)?);
        Ok(())
    }

    /// Lets go of the oldest rows.
    fn pass(&mut self, mut rows: usize) {
        self.held = self.held.saturating_sub(rows);
        while let Some(run) = self.runs.front_mut() {
            let left = run.rows - run.gone;
            if left > rows {
                run.gone += rows;
                return;
            }
            rows -= left;
            self.runs.pop_front();
        }
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.held = 0;
        self.fresh = 0;
    }

    /// Emits every window that is complete; the last is final if it closes the utterance.
    fn advance(&mut self, cx: &mut Context<'_>, closes: bool) -> Result<(), NodeError> {
        let mut closed = false;
        while self.held >= self.params.size {
            let left = self.held - self.params.size;
            let more = left >= self.params.step() || (self.params.pad && left > 0);
            self.fresh = left;
            closed = closes && !more;
            self.emit(cx, self.params.size, closed)?;
            if cx.exceeded() {
                return Ok(());
            }
            self.pass(self.params.step());
        }
        // Not in between: what a replay from there would begin with has been emitted.
        let whole = self.runs.front().filter(|run| run.gone == 0);
        if let Some(since) = whole.and_then(|run| run.since) {
            self.since.set(since);
        }
        if closes {
            self.close(cx, !closed)?;
        }
        Ok(())
    }

    /// Ends a run: pads what is left to a window, or drops it. Closes the utterance if asked to, by a window without rows if
    /// there is no other.
    fn close(&mut self, cx: &mut Context<'_>, closes: bool) -> Result<(), NodeError> {
        if self.fresh > 0 {
            if self.params.pad {
                self.emit(cx, self.params.size, closes)?;
            } else {
                cx.drop_frame(DropReason::Condition);
            }
        }
        let padded = self.fresh > 0 && self.params.pad;
        self.clear();
        if closes && !padded {
            self.emit(cx, 0, true)?;
        }
        Ok(())
    }
}

impl Node for Sliding {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        let Payload::Tensor(tensor) = &frame.payload else {
            return Ok(());
        };
        let Some((&count, row_shape)) = tensor.shape().split_first() else {
            cx.drop_frame(DropReason::Condition);
            return Ok(());
        };
        let fits =
            |like: &Tensor| like.dtype() == tensor.dtype() && like.shape()[1..] == *row_shape;
        if self.meta.utterance != frame.meta.utterance || !self.like.as_ref().is_none_or(fits) {
            self.close(cx, false)?;
        }
        self.like = Some(tensor.clone());
        self.meta = frame.meta;
        let count = usize::try_from(count).unwrap_or(0);
        let row_bytes = tensor.data().len().checked_div(count).unwrap_or(0);
        let first = self.since.is_first(&frame.meta);
        if first && self.runs.is_empty() {
            self.since.set(frame.meta.since);
        }
        if row_bytes > 0 {
            // A window that could not be made is not collected either.
            check_made(self.params.size.saturating_mul(row_bytes))?;
            self.row_bytes = row_bytes;
            self.runs.push_back(Run {
                at: frame.meta.media_time,
                since: first.then_some(frame.meta.since),
                data: tensor.data().clone(),
                rows: count,
                gone: 0,
            });
            self.held += count;
            self.fresh += count;
        } else if count > 0 {
            // Rows of nothing: a shape of a few bytes could ask for any number of windows.
            cx.drop_frame(DropReason::Condition);
        }
        self.advance(cx, frame.meta.is_final)
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        self.close(cx, false)
    }

    fn holds(&self) -> Hold {
        self.since.hold(self.runs.is_empty())
    }

    fn on_interrupt(&mut self, _: &mut Context<'_>) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::testing::{Bench, error};
    use super::*;

    fn bench(params: Value) -> Bench {
        Bench::new("tensor.window", params, &[StreamFormat::Tensor])
    }

    /// Rows of one number.
    fn rows(at: i64, values: &[u8]) -> Frame {
        let shape = [values.len() as u64, 1];
        let tensor = Tensor::from_vec(&shape, values.to_vec()).expect("a tensor");
        Frame::new(MediaTime::from_micros(at), Payload::Tensor(tensor))
    }

    fn of(frames: &[Frame]) -> Vec<(i64, Vec<u8>)> {
        let of = |frame: &Frame| match &frame.payload {
            Payload::Tensor(tensor) => {
                assert_eq!(tensor.shape(), [tensor.data().len() as u64, 1]);
                (frame.meta.media_time.as_micros(), tensor.data().to_vec())
            }
            other => panic!("{}", other.kind()),
        };
        frames.iter().map(of).collect()
    }

    #[test]
    fn rows_of_any_number_become_windows_that_overlap() {
        let mut bench = bench(json!({"size": 3, "step": 2}));
        let mut made = bench.frames(vec![rows(0, &[1, 2]), rows(20, &[3, 4, 5, 6])]);
        made.extend(bench.frame(rows(60, &[7])));
        let expected = [(0, vec![1, 2, 3]), (20, vec![3, 4, 5]), (20, vec![5, 6, 7])];
        assert_eq!(of(&made), expected);
        assert!(bench.end().is_empty());
        assert_eq!(bench.drops, [], "every row was in a window");
    }

    #[test]
    fn what_is_left_at_the_end_is_padded_or_dropped() {
        let mut padding = bench(json!({"size": 3, "pad": true}));
        let mut input = rows(0, &[1, 2, 3, 4]);
        input.meta.is_final = true;
        let made = padding.frame(input.clone());
        assert_eq!(of(&made), [(0, vec![1, 2, 3]), (0, vec![4, 0, 0])]);
        let finals: Vec<_> = made.iter().map(|frame| frame.meta.is_final).collect();
        assert_eq!(finals, [false, true]);
        let mut dropping = bench(json!({"size": 3}));
        let made = dropping.frame(input);
        assert!(made.len() == 1 && made[0].meta.is_final);
        assert_eq!(dropping.drops, [(DropReason::Condition, 1)]);
    }

    #[test]
    fn an_utterance_is_closed_even_without_a_window() {
        let mut bench = bench(json!({"size": 3}));
        let mut input = rows(0, &[1]);
        input.meta.is_final = true;
        let made = bench.frame(input);
        assert!(made[0].meta.is_final);
        assert_eq!(of(&made), [(0, vec![])]);
    }

    #[test]
    fn utterances_do_not_share_a_window() {
        let mut bench = bench(json!({"size": 2}));
        bench.frame(rows(0, &[1]));
        let mut other = rows(10, &[2, 3]);
        other.meta.utterance = 1;
        assert_eq!(of(&bench.frame(other)), [(10, vec![2, 3])]);
    }

    #[test]
    fn a_step_beyond_the_window_is_refused() {
        let params = json!({"size": 2, "step": 3});
        let refused = error("tensor.window", params, &[StreamFormat::Tensor]);
        assert_eq!(refused.path, "step");
    }

    #[test]
    fn rows_of_nothing_make_no_windows() {
        let mut bench = bench(json!({"size": 1}));
        let tensor = Tensor::from_vec::<u8>(&[1 << 40, 0], Vec::new()).expect("a tensor");
        let frame = Frame::new(MediaTime::ZERO, Payload::Tensor(tensor));
        assert!(bench.frame(frame).is_empty());
        assert_eq!(bench.drops, [(DropReason::Condition, 1)]);
    }

    #[test]
    fn a_row_that_waits_takes_no_memory_of_its_own() {
        let params: Params =
            serde_json::from_value(json!({"size": 65_536})).expect("good parameters");
        let mut node = Sliding::new(params);
        let mut effects = crate::node::Effects::default();
        let mut cx = Context::new(tidegate_media::Timestamp::ZERO, &mut effects);
        let frame = rows(0, &[7; 65_535]);
        node.on_frame(&mut cx, 0, frame).expect("the node goes on");
        assert_eq!((node.held, node.runs.len()), (65_535, 1));
    }

    #[test]
    fn more_windows_than_fit_into_the_memory_end_the_node() {
        let mut few = bench(json!({"size": 100, "step": 1}));
        assert_eq!(few.frame(rows(0, &[0; 1_000])).len(), 901);
        let mut many = bench(json!({"size": 65_536, "step": 1}));
        let why = many.fails(rows(0, &[0; 3 * 65_536]));
        assert!(why.contains("64 MiB"), "{why}");
        let mut long = bench(json!({"size": 65_536}));
        let tensor = Tensor::from_vec::<u8>(&[1, 4_096], vec![0; 4_096]).expect("a tensor");
        let why = long.fails(Frame::new(MediaTime::ZERO, Payload::Tensor(tensor)));
        assert!(
            why.contains("64 MiB"),
            "what cannot be a window is not collected: {why}"
        );
    }
}
