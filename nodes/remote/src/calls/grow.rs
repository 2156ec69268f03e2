//! Calls that grow: what of the frames that come belongs to the call under way.

use tidegate_media::Frame;
use tidegate_proto::{PortName, ServerMessage};

use super::gather::{Gather, Input};

impl Gather {
    /// A call does not wait until it is complete: it begins with its first frame. Of one input only.
    pub(crate) fn growing(mut self) -> Self {
        self.grows = true;
        self
    }

    /// Whether more may come of the call under way.
    pub(super) fn is_open(&self) -> bool {
        let open = |input: &Input| input.call.is_some_and(|call| call.open);
        self.inputs.iter().any(open)
    }

    /// Whether a frame is of the call under way.
    pub(super) fn continues(&self, port: &PortName, frame: &Frame) -> bool {
        let mut inputs = self.inputs.iter();
        let input = inputs.find(|input| input.name == *port);
        let call = input.and_then(|input| input.call);
        call.is_some_and(|call| call.open && call.utterance == frame.meta.utterance)
    }

    /// Takes a further frame of the call under way, as that counts it.
    pub(super) fn grow(&mut self, port: &PortName, mut frame: Frame) -> Frame {
        let mut inputs = self.inputs.iter_mut();
        if let Some(input) = inputs.find(|input| input.name == *port) {
            input.newest = frame.meta.seq;
            if let Some(call) = &mut input.call {
                call.count += 1;
                call.open = !frame.meta.is_final;
                frame.meta.seq = call.count;
            }
        }
        frame
    }

    /// An input's end ends its call.
    pub(super) fn close_ended(&mut self) {
        for input in self.inputs.iter_mut().filter(|input| input.ended) {
            if let Some(call) = &mut input.call {
                call.open = false;
            }
        }
    }

    /// Nothing more comes of the call under way.
    pub(super) fn close(&mut self) {
        for call in self
            .inputs
            .iter_mut()
            .filter_map(|input| input.call.as_mut())
        {
            call.open = false;
        }
    }

    /// So many frames of the call under way are consumed.
    pub(super) fn consumed(&mut self, count: u64) -> Vec<ServerMessage> {
        self.acknowledge(|input| {
            let call = input.call.as_ref();
            call.map_or(0, |call| call.before + count.min(call.count))
        })
    }
}
