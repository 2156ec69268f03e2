//! Media types and signal work: frames, time, bounded queues, codecs, the jitter buffer, resampling and files.
//!
//! Nothing here knows networks, an async runtime, or the wire. Nothing here reads a clock: time is an argument.

pub mod format;
pub mod frame;
pub mod tensor;
pub mod time;

pub use format::{AudioFormat, Codec, Kind, VideoCodec, VideoFormat};
pub use frame::{Audio, Frame, Json, Meta, Payload, Rtp, Text, Video};
pub use tensor::{Dtype, Tensor};
pub use time::{MediaTime, Timestamp};
