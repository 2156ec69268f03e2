//! What Tidegate moves and what it does to it: frames, time, bounded queues, codecs, the jitter buffer, resampling, sentences and files.
//!
//! Nothing here knows networks, an async runtime, or the wire. Nothing here reads a clock: time is an argument.

pub mod codec;
pub mod file;
pub mod format;
pub mod frame;
pub mod jitter;
pub mod queue;
pub mod reframe;
pub mod resample;
pub mod sentences;
pub mod tensor;
#[cfg(test)]
mod testing;
pub mod time;
pub mod timeline;
pub mod video;

pub use codec::{AudioDecoder, AudioEncoder, CodecError};
pub use format::{AudioFormat, Codec, Kind, SAMPLE_RATES, VideoCodec, VideoFormat};
pub use frame::{Audio, Frame, Json, Meta, Payload, Rtp, Text, Video};
pub use jitter::{JitterDecoder, JitterFigures, JitterSettings};
pub use queue::{BoundedQueue, DropReason, Pop, Push, QueueLimits, Shed, WhenFull};
pub use reframe::Reframer;
pub use resample::{ResampleError, Resampler};
pub use sentences::Sentences;
pub use tensor::{Dtype, Element, Tensor, TensorError, View};
pub use time::{MediaTime, Timestamp};
