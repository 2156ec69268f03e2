//! What callers say and how they recognise it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use opus::{Application, Channels, Decoder, Encoder};
use tidegate_signaling::MediaPacket;

use super::turns::Turns;
use super::webrtc::{Speech, TICKS};
use crate::Failure;

/// Packets of a tone, and of the silence after it: 0.3 s in every 0.8 s.
const TONE_PACKETS: u32 = 15;
const BURST_PACKETS: u32 = 40;
/// Loudness of a packet that holds some of the tone: −36 dBFS. The tone has −9.
pub(super) const LOUD: f32 = 0.015;
/// Numbered packets on their way that are remembered: ten seconds.
const REMEMBERED: usize = 500;

pub(super) enum State {
    Numbered {
        sent: VecDeque<(u32, Instant)>,
    },
    Bursts {
        encoder: Encoder,
        decoder: Decoder,
        burst: Option<Instant>,
        quiet: u32,
    },
    Turns(Turns),
}

impl State {
    pub(super) fn new(speech: &Speech, number: usize) -> Result<Self, Failure> {
        Ok(match speech {
            Speech::Turns(recording, apart) => {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                Self::Turns(Turns::new(
                    recording.clone(),
                    number.saturating_mul(*apart),
                )?)
            }
            Speech::Numbered => Self::Numbered {
                sent: VecDeque::with_capacity(REMEMBERED),
            },
            Speech::Bursts => Self::Bursts {
                encoder: Encoder::new(48_000, Channels::Mono, Application::LowDelay)?,
                decoder: Decoder::new(48_000, Channels::Mono)?,
                burst: None,
                quiet: 0,
            },
        })
    }

    /// Turns that were not answered.
    pub(super) fn missed(&self) -> u32 {
        match self {
            Self::Turns(turns) => turns.missed(),
            _ => 0,
        }
    }

    /// The payload of packet `index`.
    pub(super) fn say(&mut self, now: Instant, index: u32) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Turns(turns) => Ok(turns.say(now)),
            Self::Numbered { sent } => {
                if sent.len() == REMEMBERED {
                    sent.pop_front();
                }
                sent.push_back((index, now));
                let mut payload = vec![7; 80];
                payload[..4].copy_from_slice(&index.to_be_bytes());
                Ok(payload)
            }
            Self::Bursts { encoder, burst, .. } => {
                let at = index % BURST_PACKETS;
                if at == 0 {
                    *burst = Some(now);
                }
                let level = if at < TONE_PACKETS { 0.5 } else { 0.0 };
                Ok(encoder.encode_vec_float(&tone(level), 400)?)
            }
        }
    }

    /// How long the packet took, if it tells: each numbered one does, and the first of a tone.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        packet: &MediaPacket,
    ) -> Result<Option<Duration>, Failure> {
        match self {
            Self::Turns(turns) => turns.hear(now, &packet.payload),
            Self::Numbered { sent } => {
                let Some(index) = packet.payload.first_chunk() else {
                    return Ok(None);
                };
                let index = u32::from_be_bytes(*index);
                let at = sent.iter().find(|(sent, _)| *sent == index);
                Ok(at.map(|(_, at)| now - *at))
            }
            Self::Bursts {
                decoder,
                burst,
                quiet,
                ..
            } => {
                let mut samples = [0.0; 5760];
                let count = decoder.decode_float(&packet.payload, &mut samples, false)?;
                if loudness(&samples[..count]) < LOUD {
                    *quiet += 1;
                    return Ok(None);
                }
                // Only a tone that comes after silence is the beginning of one.
                let first = std::mem::take(quiet) > 5;
                Ok(burst.filter(|_| first).map(|began| now - began))
            }
        }
    }
}

/// A packet of a tone of 1 kHz: a whole number of its periods, so that packets join smoothly.
#[expect(clippy::cast_precision_loss, reason = "a packet has 960 samples")]
fn tone(level: f32) -> Vec<f32> {
    let turn = std::f32::consts::TAU * 1_000.0 / 48_000.0;
    (0..TICKS)
        .map(|at| level * (turn * at as f32).sin())
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a packet has at most 5,760 samples"
)]
pub(super) fn loudness(samples: &[f32]) -> f32 {
    let power: f32 = samples.iter().map(|sample| sample * sample).sum();
    (power / samples.len().max(1) as f32).sqrt()
}
