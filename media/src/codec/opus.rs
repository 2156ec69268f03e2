//! Opus (RFC 6716) by libopus: a decoder straight to the rate and channels wanted, and an encoder that re-frames.

use std::time::Duration;

use bytes::Bytes;
use opus::{Bitrate, Channels, Decoder, Encoder};
use serde::{Deserialize, Serialize};

use super::packet::{OPUS_CLOCK, OPUS_SAMPLES_MAX, opus_carries_fec, opus_is_dtx, opus_samples};
use super::{AudioDecoder, AudioEncoder, CodecError};
use crate::format::{AudioFormat, Codec};
use crate::frame::Audio;
use crate::reframe::Reframer;
use crate::time::MediaTime;

const RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];

/// What the encoder is tuned for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Application {
    /// Intelligible speech at few bits: the speech layer (SILK) works up to about 64 kbit/s, at three times the cost of
    /// [`Application::Audio`]; a look-ahead of 6.5 ms.
    Voip,
    /// Faithful sound; speech at few bits, or with losses to be repaired by FEC, gets the speech layer all the same. A look-ahead
    /// of 6.5 ms.
    #[default]
    Audio,
    /// Least delay: a look-ahead of 2.5 ms, without the speech layer and in-band FEC.
    LowDelay,
}

/// How the encoder works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusSettings {
    /// What it is tuned for.
    pub application: Application,
    /// Bits a second, 500 to 512,000; `None` lets libopus choose by rate and channels.
    pub bitrate: Option<u32>,
    /// 0 (cheap) to 10 (best): 10 costs three times what 0 costs.
    pub complexity: u8,
    /// In-band forward error correction: each packet carries a coarse copy of the one before, as far as `loss` asks for it.
    pub fec: bool,
    /// Share of packets that are expected to be lost, in percent.
    pub loss: u8,
    /// Discontinuous transmission: no packets during silence.
    pub dtx: bool,
    /// Playing time of a packet in milliseconds: 5, 10, 20, 40 or 60.
    pub packet_ms: u8,
}

impl Default for OpusSettings {
    fn default() -> Self {
        Self {
            application: Application::default(),
            bitrate: None,
            complexity: 5,
            fec: true,
            loss: 0,
            dtx: false,
            packet_ms: 20,
        }
    }
}

fn channels(count: u8) -> Result<Channels, CodecError> {
    match count {
        1 => Ok(Channels::Mono),
        2 => Ok(Channels::Stereo),
        channels => Err(CodecError::Channels {
            codec: "opus",
            channels,
            allowed: "1 or 2",
        }),
    }
}

fn check_rate(rate: u32) -> Result<(), CodecError> {
    if RATES.contains(&rate) {
        return Ok(());
    }
    Err(CodecError::Rate {
        codec: "opus",
        rate,
        allowed: "8000, 12000, 16000, 24000 or 48000",
    })
}

fn failed(operation: &'static str) -> impl Fn(opus::Error) -> CodecError {
    move |error| CodecError::Library {
        operation,
        reason: error.description(),
    }
}

/// Decodes Opus packets to float PCM at a rate and channel count of choice, whatever they were made with.
#[derive(Debug)]
pub struct OpusDecoder {
    inner: Decoder,
    output: AudioFormat,
}

impl OpusDecoder {
    /// A decoder to `rate` Hz (8,000, 12,000, 16,000, 24,000 or 48,000) with 1 or 2 channels.
    ///
    /// # Errors
    /// Another rate or channel count.
    pub fn new(rate: u32, channel_count: u8) -> Result<Self, CodecError> {
        check_rate(rate)?;
        let inner =
            Decoder::new(rate, channels(channel_count)?).map_err(failed("make a decoder"))?;
        Ok(Self {
            inner,
            output: AudioFormat::pcm_f32(rate, channel_count),
        })
    }

    /// Scales the output by `gain` in units of 1/256 dB (RFC 7845 §5.1, output gain).
    ///
    /// # Errors
    /// Never for any 16-bit value, by libopus's word.
    pub fn set_gain(&mut self, gain: i16) -> Result<(), CodecError> {
        self.inner
            .set_gain(i32::from(gain))
            .map_err(failed("set the gain"))
    }

    /// Runs the decoder for `samples` samples. `packet` is empty for concealment.
    fn run(
        &mut self,
        packet: &[u8],
        samples: u32,
        fec: bool,
        out: &mut Vec<f32>,
    ) -> Result<u32, opus::Error> {
        let channels = usize::from(self.output.channels);
        let start = out.len();
        out.resize(start + samples as usize * channels, 0.0);
        let made = self.inner.decode_float(packet, &mut out[start..], fec);
        let kept = *made.as_ref().unwrap_or(&0);
        out.truncate(start + kept * channels);
        made.map(|made| u32::try_from(made).unwrap_or(0))
    }

    /// Runs the decoder without a packet, or on the copy in the next one, in the steps that it demands: multiples of
    /// 2.5 ms, of 120 ms at most. What remains is silence.
    fn make_up(&mut self, next: Option<&[u8]>, samples: u32, out: &mut Vec<f32>) {
        let channels = usize::from(self.output.channels);
        let target = out.len() + samples as usize * channels;
        let quantum = self.output.sample_rate / 400;
        let longest = self.output.sample_rate / 25 * 3;
        // The copy covers what lies right before the packet; what lies further back is concealed first.
        let covered = next
            .and_then(|next| self.packet_samples(next).ok())
            .map_or(0, |packet| packet.min(samples) / quantum * quantum);
        let mut left = (samples - covered) / quantum * quantum;
        while left > 0 {
            let step = left.min(longest);
            if self.run(&[], step, false, out).is_err() {
                break;
            }
            left -= step;
        }
        if let Some(next) = next.filter(|_| covered > 0) {
            let _recovered = self.run(next, covered, true, out);
        }
        out.resize(target, 0.0);
    }
}

impl AudioDecoder for OpusDecoder {
    fn output(&self) -> AudioFormat {
        self.output
    }

    fn packet_samples(&self, packet: &[u8]) -> Result<u32, CodecError> {
        let clock = opus_samples(packet).ok_or(CodecError::Packet {
            codec: "opus",
            bytes: packet.len(),
        })?;
        Ok(clock / (OPUS_CLOCK / self.output.sample_rate))
    }

    fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<u32, CodecError> {
        let samples = self.packet_samples(packet)?;
        self.run(packet, samples, false, out)
            .map_err(|_| CodecError::Packet {
                codec: "opus",
                bytes: packet.len(),
            })
    }

    fn carries_fec(&self, packet: &[u8]) -> bool {
        opus_carries_fec(packet)
    }

    fn recover(&mut self, next: &[u8], samples: u32, out: &mut Vec<f32>) {
        self.make_up(Some(next), samples, out);
    }

    fn conceal(&mut self, samples: u32, out: &mut Vec<f32>) {
        self.make_up(None, samples, out);
    }

    fn reset(&mut self) {
        // Resetting an existing decoder cannot fail: it allocates nothing.
        let _reset = self.inner.reset_state();
    }
}

/// Encodes float PCM into Opus packets.
#[derive(Debug)]
pub struct OpusEncoder {
    inner: Encoder,
    reframer: Reframer,
    rate: u32,
    channels: u8,
    packet_samples: u32,
    lookahead: u32,
    dtx: bool,
}

impl OpusEncoder {
    /// Largest packet that is made: three frames of 1,275 bytes and their header (RFC 6716 §3.4).
    const BYTES_MAX: usize = 3 * 1_275 + 7;

    /// An encoder for `channel_count` (1 or 2) channels at `rate` Hz (8,000, 12,000, 16,000, 24,000 or 48,000).
    ///
    /// # Errors
    /// Another rate or channel count, or a setting outside of its range.
    pub fn new(rate: u32, channel_count: u8, settings: &OpusSettings) -> Result<Self, CodecError> {
        check_rate(rate)?;
        check_settings(settings)?;
        let application = match settings.application {
            Application::Voip => opus::Application::Voip,
            Application::Audio => opus::Application::Audio,
            Application::LowDelay => opus::Application::LowDelay,
        };
        let mut inner = Encoder::new(rate, channels(channel_count)?, application)
            .map_err(failed("make an encoder"))?;
        configure(&mut inner, settings).map_err(failed("apply the settings"))?;
        let lookahead = inner
            .get_lookahead()
            .map_err(failed("tell its look-ahead"))?;
        let packet_samples = rate / 1_000 * u32::from(settings.packet_ms);
        Ok(Self {
            inner,
            reframer: Reframer::new(rate, channel_count, packet_samples as usize),
            rate,
            channels: channel_count,
            packet_samples,
            lookahead: u32::try_from(lookahead).unwrap_or(0),
            dtx: settings.dtx,
        })
    }

    /// The look-ahead in samples of the input's rate: what an Ogg header calls pre-skip, at 48 kHz (RFC 7845 §4.2).
    #[must_use]
    pub const fn lookahead_samples(&self) -> u32 {
        self.lookahead
    }

    /// Samples of each channel that wait for the rest of their packet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.reframer.pending()
    }

    /// Runs `feed` on the re-framer and encodes each frame that it hands out; the first failure is kept.
    fn encode_each(
        &mut self,
        emit: &mut dyn FnMut(MediaTime, Audio),
        feed: impl FnOnce(&mut Reframer, &mut dyn FnMut(MediaTime, &[f32])),
    ) -> Result<(), CodecError> {
        let format = self.output();
        let samples = self.packet_samples * (OPUS_CLOCK / self.rate);
        let (inner, dtx) = (&mut self.inner, self.dtx);
        let mut result = Ok(());
        feed(&mut self.reframer, &mut |at, frame| {
            let mut buffer = [0; Self::BYTES_MAX];
            match inner.encode_float(frame, &mut buffer) {
                Ok(bytes) if dtx && opus_is_dtx(&buffer[..bytes]) => {}
                Ok(bytes) => {
                    let data = Bytes::copy_from_slice(&buffer[..bytes]);
                    let rtp = None;
                    emit(
                        at,
                        Audio {
                            format,
                            samples,
                            data,
                            rtp,
                        },
                    );
                }
                Err(error) => result = Err(failed("encode a packet")(error)),
            }
        });
        result
    }
}

fn check_settings(settings: &OpusSettings) -> Result<(), CodecError> {
    let bitrate = settings.bitrate.unwrap_or(32_000);
    let checks = [
        (
            "bitrate",
            bitrate,
            (500..=512_000).contains(&bitrate),
            "500 to 512000",
        ),
        (
            "complexity",
            settings.complexity.into(),
            settings.complexity <= 10,
            "0 to 10",
        ),
        (
            "loss",
            settings.loss.into(),
            settings.loss <= 100,
            "0 to 100",
        ),
        (
            "packet_ms",
            settings.packet_ms.into(),
            [5, 10, 20, 40, 60].contains(&settings.packet_ms),
            "5, 10, 20, 40 or 60",
        ),
    ];
    match checks.into_iter().find(|check| !check.2) {
        None => Ok(()),
        Some((name, value, _, allowed)) => Err(CodecError::Setting {
            name,
            value,
            allowed,
        }),
    }
}

fn configure(inner: &mut Encoder, settings: &OpusSettings) -> opus::Result<()> {
    let bitrate = settings.bitrate.and_then(|bits| i32::try_from(bits).ok());
    inner.set_bitrate(bitrate.map_or(Bitrate::Auto, Bitrate::Bits))?;
    inner.set_complexity(i32::from(settings.complexity))?;
    inner.set_inband_fec(settings.fec)?;
    inner.set_packet_loss_perc(i32::from(settings.loss))?;
    inner.set_dtx(settings.dtx)
}

impl AudioEncoder for OpusEncoder {
    fn input(&self) -> AudioFormat {
        AudioFormat::pcm_f32(self.rate, self.channels)
    }

    fn output(&self) -> AudioFormat {
        AudioFormat {
            codec: Codec::Opus,
            sample_rate: OPUS_CLOCK,
            channels: self.channels,
        }
    }

    fn lookahead(&self) -> Duration {
        self.input().duration_of(self.lookahead)
    }

    fn packet_duration(&self) -> Duration {
        self.input().duration_of(self.packet_samples)
    }

    fn push(
        &mut self,
        at: MediaTime,
        samples: &[f32],
        emit: &mut dyn FnMut(MediaTime, Audio),
    ) -> Result<(), CodecError> {
        self.encode_each(emit, |reframer, encode| reframer.push(at, samples, encode))
    }

    fn flush(&mut self, emit: &mut dyn FnMut(MediaTime, Audio)) -> Result<(), CodecError> {
        self.encode_each(emit, |reframer, encode| {
            reframer.flush(encode);
        })
    }

    fn set_loss(&mut self, percent: u8) {
        // Only a value outside of 0..=100 is refused.
        let _set = self.inner.set_packet_loss_perc(i32::from(percent.min(100)));
    }
}

const _: () = assert!(OPUS_SAMPLES_MAX == OPUS_CLOCK / 25 * 3);
