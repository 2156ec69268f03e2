//! Cuts a stream of PCM chunks of any size into frames of one size, with exact media times.
//!
//! Encoders and models want 20 ms, 480 samples or 256 samples; what comes is packet-sized. A hole in the input ends the
//! frame in the making: it is padded with silence and handed out, so that no sample is lost or shifted.

use crate::time::MediaTime;
use crate::timeline::{Joint, Timeline};

/// Re-framer of interleaved float samples.
#[derive(Clone, Debug)]
pub struct Reframer {
    channels: usize,
    /// Samples of each channel in a frame.
    size: usize,
    buffer: Vec<f32>,
    line: Timeline,
}

impl Reframer {
    /// Cuts into frames of `size` samples of each of `channels` channels at `rate` Hz. Zeros count as one.
    #[must_use]
    pub fn new(rate: u32, channels: u8, size: usize) -> Self {
        Self {
            channels: usize::from(channels.max(1)),
            size: size.max(1),
            buffer: Vec::new(),
            line: Timeline::new(rate),
        }
    }

    /// Takes a chunk that starts at `at` and hands every frame that is complete to `emit`, in order. The buffer never
    /// holds a whole frame afterwards.
    pub fn push(
        &mut self,
        at: MediaTime,
        samples: &[f32],
        mut emit: impl FnMut(MediaTime, &[f32]),
    ) {
        let pending = (self.buffer.len() / self.channels) as u64;
        if self.line.join(at, pending) == Joint::Leap {
            self.flush(&mut emit);
            self.line.restart(at);
        }
        let whole = self.size * self.channels;
        let mut rest = &samples[..samples.len() - samples.len() % self.channels];
        if !self.buffer.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(whole - self.buffer.len()));
            self.buffer.extend_from_slice(head);
            rest = tail;
            if self.buffer.len() < whole {
                return;
            }
            emit(self.line.position(), &self.buffer);
            self.line.advance(self.size as u64);
            self.buffer.clear();
        }
        let mut frames = rest.chunks_exact(whole);
        for frame in &mut frames {
            emit(self.line.position(), frame);
            self.line.advance(self.size as u64);
        }
        self.buffer.extend_from_slice(frames.remainder());
    }

    /// Ends the stream: what is left is padded with silence and handed out. Says how many samples of each channel of
    /// that frame are real; 0 means that nothing was left.
    pub fn flush(&mut self, mut emit: impl FnMut(MediaTime, &[f32])) -> usize {
        let real = self.pending();
        if real > 0 {
            self.buffer.resize(self.size * self.channels, 0.0);
            emit(self.line.position(), &self.buffer);
            self.line.advance(self.size as u64);
            self.buffer.clear();
        }
        real
    }

    /// Forgets everything, the place in time included.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.line.reset();
    }

    /// Samples of each channel that wait for the rest of their frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() / self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn ramp(from: u16, count: u16) -> Vec<f32> {
        (from..from + count).map(f32::from).collect()
    }

    #[test]
    fn chunks_of_any_size_become_equal_frames_without_a_lost_sample() {
        let mut rng = Rng::new(7);
        let mut reframer = Reframer::new(1_000, 2, 10);
        let input = ramp(0, 2_000);
        let (mut at, mut output) = (0_usize, Vec::new());
        while at < 1_000 {
            let count = usize::try_from(1 + rng.below(35))
                .expect("small")
                .min(1_000 - at);
            let time = MediaTime::from_samples(at as u64, 1_000);
            reframer.push(time, &input[2 * at..2 * (at + count)], |time, frame| {
                assert_eq!(frame.len(), 20);
                assert_eq!(time.as_micros(), output.len() as i64 / 2 * 1_000);
                output.extend_from_slice(frame);
            });
            at += count;
        }
        assert_eq!(output, input);
        assert_eq!(reframer.pending(), 0);
    }

    #[test]
    fn a_hole_ends_the_frame_with_silence_and_restarts_the_time() {
        let mut reframer = Reframer::new(1_000, 1, 20);
        let mut frames = Vec::new();
        let mut push = |reframer: &mut Reframer, ms: i64, samples: &[f32]| {
            reframer.push(
                MediaTime::from_micros(ms * 1_000),
                samples,
                |time, frame| {
                    frames.push((time.as_micros() / 1_000, frame.iter().sum::<f32>()));
                },
            );
        };
        push(&mut reframer, 0, &[1.0; 25]);
        push(&mut reframer, 100, &[1.0; 20]);
        assert_eq!(frames, [(0, 20.0), (20, 5.0), (100, 20.0)]);
    }

    #[test]
    fn a_flush_says_how_much_of_the_last_frame_is_real() {
        let mut reframer = Reframer::new(1_000, 1, 20);
        reframer.push(MediaTime::ZERO, &[1.0; 7], |_, _| panic!("incomplete"));
        let mut padded = Vec::new();
        assert_eq!(reframer.flush(|_, frame| padded = frame.to_vec()), 7);
        assert_eq!((padded.len(), padded.iter().sum::<f32>()), (20, 7.0));
        assert_eq!(reframer.flush(|_, _| panic!("nothing left")), 0);
    }
}
