//! `tensor.window`: a stream of rows becomes windows of equally many, which may overlap.

use std::collections::VecDeque;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Frame, Kind, MediaTime, Meta, Payload, Tensor};

use super::super::params::within;
use super::super::typed::{Inputs, Typed};
use super::Anchor;
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
        Ok(Box::new(Sliding {
            params,
            like: None,
            rows: VecDeque::new(),
            since: Anchor::default(),
            fresh: 0,
            meta: Meta::default(),
        }))
    }
}

struct Row {
    /// Media time of the tensor in which it came.
    at: MediaTime,
    /// Where that came from, if it is its first row and a replay would begin with it.
    since: Option<u64>,
    data: Bytes,
}

struct Sliding {
    params: Params,
    /// A tensor of the stream: dtype and shape of a row.
    like: Option<Tensor>,
    /// Rows that the next window needs.
    rows: VecDeque<Row>,
    /// Where a window began for the last time with what a replay could begin with.
    since: Anchor,
    /// Of these, the newest that no window had.
    fresh: usize,
    /// Marks of the newest input.
    meta: Meta,
}

impl Sliding {
    fn emit(&self, cx: &mut Context<'_>, size: usize, is_final: bool) -> Result<(), NodeError> {
        let Some(like) = &self.like else {
            return Ok(());
        };
        let rows = self.rows.iter().take(size);
        let data: Vec<u8> = rows.flat_map(|row| row.data.iter().copied()).collect();
        let shape = [&[size as u64], &like.shape()[1..]].concat();
        let media_time = self.rows.front().map_or(self.meta.media_time, |row| row.at);
        let meta = Meta {
            media_time,
            is_final,
            ..self.meta
        };
        cx.emit(0, super::joined(meta, like, &shape, data)?);
        Ok(())
    }

    /// Emits every window that is complete; the last is final if it closes the utterance.
    fn advance(&mut self, cx: &mut Context<'_>, closes: bool) -> Result<(), NodeError> {
        let mut closed = false;
        while self.rows.len() >= self.params.size {
            let left = self.rows.len() - self.params.size;
            let more = left >= self.params.step() || (self.params.pad && left > 0);
            self.fresh = left;
            closed = closes && !more;
            self.emit(cx, self.params.size, closed)?;
            self.rows.drain(..self.params.step());
        }
        // Not in between: what a replay from there would begin with has been emitted.
        if let Some(since) = self.rows.front().and_then(|row| row.since) {
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
            let row = self.rows.front().map_or(0, |row| row.data.len());
            if self.params.pad {
                let zeros = Bytes::from(vec![0; row]);
                let at = self.meta.media_time;
                let zeros = || Row {
                    at,
                    since: None,
                    data: zeros.clone(),
                };
                self.rows.resize_with(self.params.size, zeros);
                self.emit(cx, self.params.size, closes)?;
            } else {
                cx.drop_frame(DropReason::Condition);
            }
        }
        if closes && !(self.fresh > 0 && self.params.pad) {
            self.rows.clear();
            self.emit(cx, 0, true)?;
        }
        self.rows.clear();
        self.fresh = 0;
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
        let bytes = tensor.data().len().checked_div(count).unwrap_or(0);
        let first = self.since.is_first(&frame.meta);
        if first && self.rows.is_empty() {
            self.since.set(frame.meta.since);
        }
        for index in 0..count {
            self.rows.push_back(Row {
                at: frame.meta.media_time,
                since: (first && index == 0).then_some(frame.meta.since),
                data: tensor.data().slice(index * bytes..(index + 1) * bytes),
            });
        }
        self.fresh += count;
        self.advance(cx, frame.meta.is_final)
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        self.close(cx, false)
    }

    fn holds(&self) -> Hold {
        self.since.hold(self.rows.is_empty())
    }

    fn on_interrupt(&mut self, _: &mut Context<'_>) {
        self.rows.clear();
        self.fresh = 0;
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
}
