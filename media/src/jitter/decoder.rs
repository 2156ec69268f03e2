//! A jitter buffer with its decoder: frames with RTP packets in, frames of float PCM out.

use std::time::Duration;

use super::buffer::JitterBuffer;
use super::step::{Correction, Packet, Step};
use super::stretch::{Effort, Stretcher};
use super::{JitterFigures, JitterSettings};
use crate::codec::packet::opus_is_dtx;
use crate::codec::{AudioDecoder, CodecError, decoder};
use crate::format::{AudioFormat, Codec};
use crate::frame::{Audio, Frame, Meta, Payload};
use crate::time::Timestamp;
use crate::timeline::Timeline;

/// A frame that has no place in a jitter buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a jitter buffer takes audio frames with RTP numbers, this one is {0}")]
pub struct NotRtp(&'static str);

/// Turns received packets into a continuous stream of float PCM on the gateway's clock.
///
/// Frames come out packet-sized, 20 ms as a rule; a pitch period more or less when the delay is corrected; 10 or 20 ms
/// when made up. Media times count the samples that came out, from the first packet's media time: one frame begins where
/// the one before it ended, and leaps only after the sender was silent for [`JitterSettings::idle_after`].
pub struct JitterDecoder {
    buffer: JitterBuffer,
    decoder: Box<dyn AudioDecoder>,
    stretcher: Stretcher,
    codec: Codec,
    clock: u32,
    output: AudioFormat,
    line: Timeline,
    /// Of the newest packet that was played.
    meta: Meta,
    figures: JitterFigures,
}

impl JitterDecoder {
    /// For packets of `format`, giving PCM at `rate` Hz with `channels` channels where the codec can do so by itself
    /// (Opus), else in the format's own: see [`Self::output`].
    ///
    /// # Errors
    /// As [`decoder`].
    pub fn new(
        format: AudioFormat,
        rate: u32,
        channels: u8,
        settings: JitterSettings,
    ) -> Result<Self, CodecError> {
        let decoder = decoder(format, rate, channels)?;
        Ok(Self::with_decoder(format, decoder, settings))
    }

    /// The same with a decoder of one's own for packets of `format`, whose sample rate is the RTP clock.
    #[must_use]
    pub fn with_decoder(
        format: AudioFormat,
        decoder: Box<dyn AudioDecoder>,
        settings: JitterSettings,
    ) -> Self {
        let output = decoder.output();
        Self {
            buffer: JitterBuffer::new(format.sample_rate, settings),
            stretcher: Stretcher::new(output.sample_rate, output.channels),
            decoder,
            codec: format.codec,
            clock: format.sample_rate.max(1),
            line: Timeline::new(output.sample_rate),
            output,
            meta: Meta::default(),
            figures: JitterFigures::default(),
        }
    }

    /// The PCM that comes out.
    #[must_use]
    pub const fn output(&self) -> AudioFormat {
        self.output
    }

    /// Takes a frame that came at `now`; poll afterwards. Malformed packets are counted and go no further.
    ///
    /// # Errors
    /// [`NotRtp`] if it is not audio with RTP numbers.
    pub fn insert(&mut self, now: Timestamp, frame: Frame) -> Result<(), NotRtp> {
        let Payload::Audio(audio) = frame.payload else {
            return Err(NotRtp(frame.payload.kind().as_str()));
        };
        let rtp = audio.rtp.ok_or(NotRtp("audio without them"))?;
        let Ok(samples) = self.decoder.packet_samples(&audio.data) else {
            self.figures.malformed += 1;
            return Ok(());
        };
        let packet = Packet {
            rtp,
            samples: self.at_clock(samples),
            fec: self.decoder.carries_fec(&audio.data),
            pause: self.codec == Codec::Opus && opus_is_dtx(&audio.data),
            payload: audio.data,
            meta: frame.meta,
        };
        self.buffer.insert(now, packet);
        Ok(())
    }

    /// The next frame that is to go on by `now`. Call again until it gives `None`, then at [`Self::poll_timeout`].
    pub fn poll(&mut self, now: Timestamp) -> Option<Frame> {
        loop {
            let step = self.buffer.poll(now)?;
            let leap = self.buffer.take_leap();
            if self.line.has_begun() && !leap.is_zero() {
                self.line.restart(self.line.position() + leap);
            }
            let mut out = Vec::new();
            self.play(step, &mut out);
            let made = out.len() / usize::from(self.output.channels.max(1));
            if made == 0 {
                continue;
            }
            self.figures.samples += made as u64;
            let media_time = self.line.position();
            self.line.advance(made as u64);
            let audio = Audio::from_f32(self.output.sample_rate, self.output.channels, out);
            let meta = Meta {
                media_time,
                ..self.meta
            };
            return Some(Frame {
                meta,
                payload: Payload::Audio(audio),
            });
        }
    }

    /// When to call [`Self::poll`] again, if nothing is inserted before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.buffer.poll_timeout()
    }

    /// Packets that wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// What it has seen and done.
    #[must_use]
    pub fn figures(&self) -> JitterFigures {
        let mine = self.figures;
        JitterFigures {
            malformed: mine.malformed,
            samples: mine.samples,
            concealed_samples: mine.concealed_samples,
            recovered_samples: mine.recovered_samples,
            silence_samples: mine.silence_samples,
            inserted_samples: mine.inserted_samples,
            removed_samples: mine.removed_samples,
            ..self.buffer.figures()
        }
    }

    fn play(&mut self, step: Step, out: &mut Vec<f32>) {
        match step {
            Step::Decode(packet) => self.decode(&packet, out),
            Step::Fec {
                next,
                covers,
                samples,
            } => {
                let (covers, samples) = (self.at_output(covers), self.at_output(samples));
                self.decoder.recover(&next, covers, out);
                let surplus = (covers - samples) as usize * usize::from(self.output.channels);
                out.drain(..surplus.min(out.len()));
                self.figures.recovered_samples += u64::from(samples);
            }
            Step::Conceal { samples } => {
                let samples = self.at_output(samples);
                self.decoder.conceal(samples, out);
                self.figures.concealed_samples += u64::from(samples);
            }
            // Concealment fades into the codec's own comfort noise: silence that does not click.
            Step::Silence { samples } => {
                let samples = self.at_output(samples);
                self.decoder.conceal(samples, out);
                self.figures.silence_samples += u64::from(samples);
            }
        }
    }

    fn decode(&mut self, packet: &Packet, out: &mut Vec<f32>) {
        if !self.line.has_begun() {
            self.line.restart(packet.meta.media_time);
        }
        self.meta = packet.meta;
        if self.decoder.decode(&packet.payload, out).is_err() {
            self.figures.malformed += 1;
            let samples = self.at_output(packet.samples);
            self.decoder.conceal(samples, out);
            self.figures.concealed_samples += u64::from(samples);
            return;
        }
        match self.buffer.correction() {
            Correction::None => {}
            Correction::Shrink(by) => {
                let removed = self.stretcher.shrink(out, self.samples_in(by), effort(by));
                self.figures.removed_samples += removed as u64;
                self.buffer.stretched(-self.units(removed));
            }
            Correction::Grow(by) => {
                let inserted = self.stretcher.grow(out, self.samples_in(by), effort(by));
                self.figures.inserted_samples += inserted as u64;
                self.buffer.stretched(self.units(inserted));
            }
        }
    }

    fn samples_in(&self, duration: Duration) -> usize {
        self.output.samples_in(duration) as usize
    }

    /// Output samples as RTP clock units.
    fn units(&self, samples: usize) -> i64 {
        let units = samples as u64 * u64::from(self.clock) / u64::from(self.output.sample_rate);
        i64::try_from(units).unwrap_or(i64::MAX)
    }

    fn at_clock(&self, samples: u32) -> u32 {
        scale(samples, self.output.sample_rate, self.clock)
    }

    fn at_output(&self, units: u32) -> u32 {
        scale(units, self.clock, self.output.sample_rate)
    }
}

impl std::fmt::Debug for JitterDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JitterDecoder")
            .field("buffer", &self.buffer)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// A delay far off is corrected even where it can be heard.
fn effort(by: Duration) -> Effort {
    if by > Duration::from_millis(80) {
        Effort::Urgent
    } else {
        Effort::Careful
    }
}

fn scale(count: u32, from: u32, to: u32) -> u32 {
    let scaled = u64::from(count) * u64::from(to) / u64::from(from.max(1));
    u32::try_from(scaled).unwrap_or(u32::MAX)
}
