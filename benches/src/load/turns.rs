//! A caller that takes turns: says a recording, waits for the answer, hears it to its end, and says it again.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opus::{Application, Channels, Decoder, Encoder};
use tidegate_media::Payload;
use tidegate_media::file::{AudioFile, FileLimits};

use super::speech::{LOUD, loudness};
use crate::Failure;

/// A frame of a recording that is louder than this holds speech: −40 dBFS.
const SPEECH: f32 = 0.01;
/// Silent packets behind the speech that are encoded anew; the last of them is then repeated.
const TAIL: usize = 10;
/// An answer has ended when nothing loud came for so long.
const PAUSE: Duration = Duration::from_millis(700);
/// An answer that has not begun by then is none.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Speech in Opus packets of 20 ms, without silence behind it.
#[derive(Clone, Debug)]
pub struct Recording {
    speech: Arc<[Vec<u8>]>,
    silence: Arc<[Vec<u8>]>,
}

impl Recording {
    /// Reads and encodes a recording of one channel at 8, 16, 24 or 48 kHz.
    ///
    /// # Errors
    /// If it cannot be read, or holds no speech.
    pub fn open(file: &Path) -> Result<Self, Failure> {
        let opened = AudioFile::open(File::open(file)?, None, FileLimits::default())?;
        let rate = opened.format().sample_rate;
        let mut frames = Vec::new();
        for frame in opened {
            if let Payload::Audio(audio) = frame?.payload {
                frames.push(audio.to_f32().into_owned());
            }
        }
        let last = frames.iter().rposition(|frame| loudness(frame) > SPEECH);
        frames.truncate(last.ok_or("no speech in the recording")? + 1);
        let mut encoder = Encoder::new(rate, Channels::Mono, Application::Voip)?;
        let mut encode = |samples: &[f32]| {
            let mut whole = samples.to_vec();
            whole.resize(rate as usize / 50, 0.0);
            encoder.encode_vec_float(&whole, 400)
        };
        let speech = frames.iter().map(|frame| encode(frame));
        let speech = speech.collect::<Result<Vec<_>, _>>()?;
        let silence = (0..TAIL).map(|_| encode(&[]));
        let silence = silence.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            speech: speech.into(),
            silence: silence.into(),
        })
    }
}

/// One caller's turns.
#[derive(Debug)]
pub(super) struct Turns {
    recording: Recording,
    decoder: Decoder,
    doing: Doing,
    missed: u32,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Silent for so many packets yet.
    Pausing(u32),
    /// The next packet of the recording.
    Speaking(usize),
    /// Since its last packet was sent.
    Waiting { since: Instant, silent: usize },
    /// Since something loud was heard last.
    Listening { heard: Instant, silent: usize },
}

impl Turns {
    /// Begins after so many silent packets.
    pub(super) fn new(recording: Recording, after: u32) -> Result<Self, Failure> {
        Ok(Self {
            recording,
            decoder: Decoder::new(48_000, Channels::Mono)?,
            doing: Doing::Pausing(after),
            missed: 0,
        })
    }

    pub(super) const fn missed(&self) -> u32 {
        self.missed
    }

    /// The next packet.
    pub(super) fn say(&mut self, now: Instant) -> Vec<u8> {
        self.turn(now);
        let Recording { speech, silence } = &self.recording;
        let quiet = |at: usize| silence[at.min(silence.len() - 1)].clone();
        match &mut self.doing {
            Doing::Pausing(left) => {
                *left = left.saturating_sub(1);
                quiet(TAIL)
            }
            Doing::Speaking(at) => {
                let packet = speech[*at].clone();
                *at += 1;
                if *at == speech.len() {
                    let (since, silent) = (now, 0);
                    self.doing = Doing::Waiting { since, silent };
                }
                packet
            }
            Doing::Waiting { silent, .. } | Doing::Listening { silent, .. } => {
                *silent += 1;
                quiet(*silent - 1)
            }
        }
    }

    /// What came back; how long the answer took, with its first sound.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        packet: &[u8],
    ) -> Result<Option<Duration>, Failure> {
        let mut samples = [0.0; 5760];
        let count = self.decoder.decode_float(packet, &mut samples, false)?;
        if loudness(&samples[..count]) < LOUD {
            return Ok(None);
        }
        match self.doing {
            Doing::Waiting { since, silent } => {
                self.doing = Doing::Listening { heard: now, silent };
                Ok(Some(now - since))
            }
            Doing::Listening { silent, .. } => {
                self.doing = Doing::Listening { heard: now, silent };
                Ok(None)
            }
            Doing::Pausing(_) | Doing::Speaking(_) => Ok(None),
        }
    }

    fn turn(&mut self, now: Instant) {
        match self.doing {
            Doing::Pausing(0) => self.doing = Doing::Speaking(0),
            Doing::Listening { heard, .. } if now - heard > PAUSE => {
                self.doing = Doing::Speaking(0);
            }
            Doing::Waiting { since, .. } if now - since > ANSWER_MAX => {
                self.missed += 1;
                self.doing = Doing::Speaking(0);
            }
            _ => {}
        }
    }
}
