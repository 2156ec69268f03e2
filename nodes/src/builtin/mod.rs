//! The node types that come with Tidegate.
//!
//! One file a family. Each type describes its parameters as a struct, from which both the check and the published schema come,
//! so that the two cannot differ. Nothing here reads a clock; only `tap` touches files.

mod adapt;
mod channels;
mod decode;
mod dejitter;
mod denoise;
mod encode;
mod filter;
mod gain;
mod gather;
mod identity;
mod json;
mod log_mel;
mod mix;
mod params;
mod pcm;
mod resample;
mod segment;
mod slices;
mod tap;
mod tensor;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod tone;
mod turn;
mod typed;
mod vad;

use std::path::PathBuf;

use crate::registry::Registry;

impl Registry {
    /// Every node type that comes with Tidegate; `tap` is known, but nothing can be recorded.
    #[must_use]
    pub fn builtin() -> Self {
        Self::with_recordings(None)
    }

    /// Every node type that comes with Tidegate; `tap` records to files in `folder`, which is there already.
    #[must_use]
    pub fn builtin_recording(folder: PathBuf) -> Self {
        Self::with_recordings(Some(folder))
    }

    fn with_recordings(folder: Option<PathBuf>) -> Self {
        let mut registry = Self::empty();
        typed::add(&mut registry, identity::Identity);
        typed::add(&mut registry, gain::Gain);
        typed::add(&mut registry, channels::Channels);
        typed::add(&mut registry, pcm::Pcm);
        typed::add(&mut registry, resample::Resample);
        typed::add(&mut registry, decode::Decode);
        typed::add(&mut registry, encode::Encode);
        typed::add(&mut registry, denoise::Denoise);
        typed::add(&mut registry, tone::Tone);
        typed::add(&mut registry, vad::Vad);
        typed::add(&mut registry, dejitter::Dejitter);
        typed::add(&mut registry, mix::Mix);
        typed::add(&mut registry, log_mel::LogMel);
        typed::add(&mut registry, tensor::Cast);
        typed::add(&mut registry, tensor::Stack);
        typed::add(&mut registry, tensor::Summary);
        typed::add(&mut registry, tensor::Window);
        typed::add(&mut registry, segment::Segment);
        typed::add(&mut registry, filter::Filter);
        typed::add(&mut registry, json::Pick);
        typed::add(&mut registry, text::Constant);
        typed::add(&mut registry, text::Template);
        typed::add(&mut registry, turn::Turn);
        typed::add(&mut registry, tap::Tap(folder));
        registry
    }
}
