//! `tensor.stack`: several tensors of one shape become one with an axis more.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_media::{Frame, Kind, Meta, Payload, Tensor};

use super::super::params::within;
use super::super::typed::{Inputs, Typed};
use super::Anchor;
use crate::emitted::check_made;
use crate::node::{Context, DropReason, Hold, Node, NodeError};
use crate::registry::{ParamError, Ports, Replay};
use crate::stream::StreamFormat;

pub(in super::super) struct Stack;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Params {
    /// How many become one, 1 to 4096; fewer at the end of an utterance or of the stream.
    count: usize,
    /// Where the new axis stands, 0 (the default) to 7.
    #[serde(default)]
    axis: usize,
}

impl Typed for Stack {
    type Params = Params;

    const NAME: &'static str = "tensor.stack";
    const EXAMPLE: &'static str = r#"{"count": 2}"#;
    const SUMMARY: &'static str = "Joins tensors of one dtype and shape along a new axis. One that differs starts anew; what was collected is dropped.";
    const COST: &'static str = "a copy: about 30 µs a MiB";
    const REPLAY: Replay = Replay::SameInLine;

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        within("count", params.count, 1..=4_096)?;
        within("axis", params.axis, 0..=Tensor::MAX_RANK - 1)
    }

    fn ports(&self, _: &Params) -> Ports {
        super::ports(
            "Tensors of one shape.",
            Kind::Tensor,
            "Tensors with an axis more.",
        )
    }

    fn outputs(&self, _: &Params, _: Inputs<'_>) -> Result<Vec<StreamFormat>, ParamError> {
        Ok(vec![StreamFormat::Tensor])
    }

    fn build(&self, params: Params, _: Inputs<'_>) -> Result<Box<dyn Node>, ParamError> {
        Ok(Box::new(Pile {
            params,
            held: Vec::new(),
            since: Anchor::default(),
            bytes: 0,
            meta: Meta::default(),
        }))
    }
}

struct Pile {
    params: Params,
    held: Vec<Tensor>,
    /// Where the first that is held came from.
    since: Anchor,
    bytes: usize,
    /// Of the first that is held, with the marks of the newest.
    meta: Meta,
}

impl Pile {
    fn emit(&mut self, cx: &mut Context<'_>) -> Result<(), NodeError> {
        let held = std::mem::take(&mut self.held);
        self.bytes = 0;
        let Some(first) = held.first() else {
            return Ok(());
        };
        let axis = self.params.axis;
        let (outer, inner) = first.shape().split_at(axis);
        let outer_count = usize::try_from(outer.iter().product::<u64>()).unwrap_or(0);
        let piece = first.data().len().checked_div(outer_count).unwrap_or(0);
        // Of tensors without elements there is nothing to join, however long their other axes are said to be.
        let outer_count = if piece == 0 { 0 } else { outer_count };
        let mut data = Vec::with_capacity(first.data().len() * held.len());
        for index in 0..outer_count {
            for tensor in &held {
                data.extend_from_slice(&tensor.data()[index * piece..(index + 1) * piece]);
            }
        }
        let shape = [outer, &[held.len() as u64], inner].concat();
        cx.emit(0, super::joined(self.meta, first, &shape, data)?);
        Ok(())
    }

    fn drop_held(&mut self, cx: &mut Context<'_>) {
        let count = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        cx.drop_frames(DropReason::Condition, count);
        self.held.clear();
        self.bytes = 0;
    }
}

impl Node for Pile {
    fn on_frame(&mut self, cx: &mut Context<'_>, _: usize, frame: Frame) -> Result<(), NodeError> {
        let Payload::Tensor(tensor) = frame.payload else {
            return Ok(());
        };
        if tensor.shape().len() < self.params.axis || tensor.shape().len() == Tensor::MAX_RANK {
            cx.drop_frame(DropReason::Condition);
            return Ok(());
        }
        let (new, old) = (frame.meta, self.meta);
        if let Some(first) = self.held.first() {
            if new.utterance != old.utterance {
                self.emit(cx)?;
            } else if first.shape() != tensor.shape() || first.dtype() != tensor.dtype() {
                self.drop_held(cx);
            }
        }
        let first = self.since.is_first(&new);
        if self.held.is_empty() && first {
            self.since.set(new.since);
        }
        self.bytes += tensor.data().len();
        check_made(self.bytes)?;
        let media_time = if self.held.is_empty() {
            new.media_time
        } else {
            old.media_time
        };
        self.meta = Meta { media_time, ..new };
        self.held.push(tensor);
        if self.held.len() == self.params.count || new.is_final {
            self.emit(cx)?;
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut Context<'_>, _: usize) -> Result<(), NodeError> {
        self.emit(cx)
    }

    fn holds(&self) -> Hold {
        self.since.hold(self.held.is_empty())
    }

    fn on_interrupt(&mut self, _: &mut Context<'_>) {
        self.held.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_media::MediaTime;

    use super::super::super::testing::Bench;
    use super::*;

    fn bench(params: Value) -> Bench {
        Bench::new("tensor.stack", params, &[StreamFormat::Tensor])
    }

    fn tensor(at: i64, shape: &[u64], values: &[u8]) -> Frame {
        let tensor = Tensor::from_vec(shape, values.to_vec()).expect("a tensor");
        Frame::new(MediaTime::from_micros(at), Payload::Tensor(tensor))
    }

    fn of(frame: &Frame) -> (i64, Vec<u64>, Vec<u8>) {
        let Payload::Tensor(tensor) = &frame.payload else {
            panic!("not a tensor");
        };
        let at = frame.meta.media_time.as_micros();
        (at, tensor.shape().to_vec(), tensor.data().to_vec())
    }

    #[test]
    fn tensors_are_joined_along_any_axis() {
        for (axis, shape, values) in [
            (0, vec![2, 2, 2], vec![1, 2, 3, 4, 5, 6, 7, 8]),
            (1, vec![2, 2, 2], vec![1, 2, 5, 6, 3, 4, 7, 8]),
            (2, vec![2, 2, 2], vec![1, 5, 2, 6, 3, 7, 4, 8]),
        ] {
            let mut bench = bench(json!({"count": 2, "axis": axis}));
            assert!(bench.frame(tensor(7, &[2, 2], &[1, 2, 3, 4])).is_empty());
            let made = bench.frame(tensor(9, &[2, 2], &[5, 6, 7, 8]));
            assert_eq!(of(&made[0]), (7, shape, values), "axis {axis}");
        }
    }

    #[test]
    fn the_end_of_an_utterance_or_of_the_stream_gives_fewer() {
        let mut bench = bench(json!({"count": 3}));
        let mut last = tensor(0, &[1], &[1]);
        last.meta.is_final = true;
        let made = bench.frame(last);
        assert!(made[0].meta.is_final);
        assert_eq!(of(&made[0]).1, [1, 1]);
        bench.frame(tensor(1, &[1], &[2]));
        assert_eq!(of(&bench.end()[0]).2, [2]);
    }

    #[test]
    fn another_shape_starts_anew_and_is_counted() {
        let mut bench = bench(json!({"count": 2}));
        bench.frame(tensor(0, &[1], &[1]));
        assert!(bench.frame(tensor(1, &[2], &[2, 3])).is_empty());
        assert_eq!(bench.drops, [(DropReason::Condition, 1)]);
        let made = bench.frame(tensor(2, &[2], &[4, 5]));
        assert_eq!(of(&made[0]).2, [2, 3, 4, 5]);
    }

    #[test]
    fn axes_of_tensors_without_elements_are_not_walked_along() {
        let mut bench = bench(json!({"count": 2, "axis": 1}));
        assert!(bench.frame(tensor(0, &[1 << 40, 0], &[])).is_empty());
        let made = bench.frame(tensor(1, &[1 << 40, 0], &[]));
        assert_eq!(of(&made[0]).1, [1 << 40, 2, 0]);
    }
}
