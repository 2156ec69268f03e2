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
use crate::node::NodeError;
use crate::registry::{Port, Ports};
use crate::stream::Accepts;

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
