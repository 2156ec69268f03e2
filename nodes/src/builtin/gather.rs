//! Puts pieces of sound that follow each other into one frame, so that a node's inner block size does not multiply frames.

use tidegate_media::{Audio, MediaTime, Payload};

use super::adapt::Pieces;

/// Gathers what comes out during one call.
pub(super) struct Gather {
    rate: u32,
    channels: usize,
    start: MediaTime,
    samples: Vec<f32>,
    /// Runs that ended because the time leapt.
    done: Pieces,
}

impl Gather {
    pub(super) const fn new(rate: u32, channels: usize) -> Self {
        Self {
            rate,
            channels,
            start: MediaTime::ZERO,
            samples: Vec::new(),
            done: Pieces::new(),
        }
    }

    /// Adds interleaved samples that start at `at`.
    pub(super) fn push(&mut self, at: MediaTime, samples: &[f32]) {
        if self.samples.is_empty() {
            self.start = at;
        } else if self.end().as_micros().abs_diff(at.as_micros()) > 100 {
            self.close();
            self.start = at;
        }
        self.samples.extend_from_slice(samples);
    }

    /// Hands out what was gathered.
    pub(super) fn finish(mut self, out: &mut Pieces) {
        self.close();
        out.append(&mut self.done);
    }

    fn end(&self) -> MediaTime {
        let count = (self.samples.len() / self.channels) as u64;
        self.start + MediaTime::from_samples(count, self.rate).saturating_since(MediaTime::ZERO)
    }

    fn close(&mut self) {
        if !self.samples.is_empty() {
            let samples = std::mem::take(&mut self.samples);
            let channels = u8::try_from(self.channels).unwrap_or(u8::MAX);
            let audio = Audio::from_f32(self.rate, channels, samples);
            self.done.push((self.start, Payload::Audio(audio)));
        }
    }
}
