//! Tensors: `tensor.window`, `tensor.stack`, `tensor.cast`, `tensor.summary`.

mod cast;
mod stack;
mod summary;
mod window;

use tidegate_media::{Frame, Kind, Meta, Payload, Tensor};

pub(super) use self::cast::Cast;
pub(super) use self::stack::Stack;
pub(super) use self::summary::Summary;
pub(super) use self::window::Window;
use crate::node::{Hold, NodeError};
use crate::registry::{Port, Ports};
use crate::stream::Accepts;

/// Where a node that counts would begin anew with the same count: at a frame with which the replay of its input begins. What comes
/// of one input in several frames, or of what others overlap with, can only be begun with the first of them.
#[derive(Debug, Default)]
struct Anchor {
    place: u64,
    newest: u64,
}

impl Anchor {
    /// Whether a replay of a frame's input begins with this frame.
    fn is_first(&mut self, meta: &Meta) -> bool {
        let first = meta.since > self.newest;
        self.newest = self.newest.max(meta.since);
        first
    }

    const fn set(&mut self, since: u64) {
        self.place = since;
    }

    const fn hold(&self, empty: bool) -> Hold {
        match (empty, self.newest) {
            (false, _) => Hold::From(self.place),
            (true, 0) => Hold::Nothing,
            (true, seen) => Hold::Counts {
                from: self.place,
                seen,
            },
        }
    }
}

/// One tensor in, one output of a kind.
fn ports(from: &'static str, kind: Kind, to: &'static str) -> Ports {
    Ports {
        inputs: vec![Port::input("in", Accepts::Kind(Kind::Tensor), from)],
        outputs: vec![Port::output("out", kind, to)],
    }
}

/// A frame with a tensor of joined bytes.
fn joined(meta: Meta, like: &Tensor, shape: &[u64], data: Vec<u8>) -> Result<Frame, NodeError> {
    let tensor = Tensor::new(like.dtype(), shape, data.into())
        .map_err(|error| NodeError::new(error.to_string()))?;
    Ok(Frame {
        meta,
        payload: Payload::Tensor(tensor),
    })
}
