//! Packet-loss concealment for codecs that have none: the idea of ITU-T G.711 Appendix I.
//!
//! What was heard last is searched for its pitch, and its last period is repeated, fading to silence in 60 ms; the first
//! good samples after a loss are blended in. Works on any rate; adds no delay.

/// Concealment for one stream of interleaved float samples.
#[derive(Clone, Debug)]
pub struct Concealer {
    channels: usize,
    rate: usize,
    /// The newest samples heard, interleaved: at most [`Self::history_len`].
    history: Vec<f32>,
    /// The period that is repeated during a loss, interleaved; empty when there is none.
    period: Vec<f32>,
    /// Samples of each channel made up in this loss.
    made: usize,
}

impl Concealer {
    /// Shortest and longest pitch period in samples a second: 400 Hz to 66 Hz.
    const PITCH: (usize, usize) = (400, 66);
    /// Loss until the fade begins, as a fraction of a second: 10 ms.
    const HOLD: usize = 100;
    /// Loss until silence: 60 ms, in thousandths of a second.
    const SILENT_AFTER_MS: usize = 60;
    /// Blend at the end of a loss, as a fraction of a second: 5 ms.
    const BLEND: usize = 200;

    /// For `channels` channels at `rate` Hz.
    #[must_use]
    pub fn new(rate: u32, channels: u8) -> Self {
        Self {
            channels: usize::from(channels.max(1)),
            rate: rate as usize,
            history: Vec::new(),
            period: Vec::new(),
            made: 0,
        }
    }

    /// Takes note of decoded samples; after a loss, blends their start with the sound made up.
    pub fn heard(&mut self, samples: &mut [f32]) {
        if !self.period.is_empty() {
            let blend = (self.rate / Self::BLEND).min(samples.len() / self.channels);
            for i in 0..blend {
                let share = ratio(i + 1, blend + 1);
                for channel in 0..self.channels {
                    let made_up = self.made_up(self.made + i, channel);
                    let sample = &mut samples[i * self.channels + channel];
                    *sample = *sample * share + made_up * (1.0 - share);
                }
            }
            self.period.clear();
        }
        self.made = 0;
        self.history.extend_from_slice(samples);
        let surplus = self.history.len().saturating_sub(self.history_len());
        self.history.drain(..surplus);
    }

    /// Appends `samples` of made-up sound to `out`.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<f32>) {
        if self.period.is_empty() && self.made == 0 {
            self.period = self.last_period();
        }
        out.reserve(samples * self.channels);
        for i in self.made..self.made + samples {
            out.extend((0..self.channels).map(|channel| self.made_up(i, channel)));
        }
        self.made += samples;
    }

    /// Three of the longest pitch periods.
    const fn history_len(&self) -> usize {
        3 * (self.rate / Self::PITCH.1) * self.channels
    }

    /// The `i`th made-up sample of a channel.
    fn made_up(&self, i: usize, channel: usize) -> f32 {
        let silent = self.rate * Self::SILENT_AFTER_MS / 1_000;
        let hold = self.rate / Self::HOLD;
        let frames = self.period.len() / self.channels;
        if frames == 0 || i >= silent {
            return 0.0;
        }
        let gain = if i < hold {
            1.0
        } else {
            ratio(silent - i, silent - hold)
        };
        gain * self.period[(i % frames) * self.channels + channel]
    }

    /// The last pitch period, made seamless: its end leads over to its own beginning.
    fn last_period(&self) -> Vec<f32> {
        let frames = self.history.len() / self.channels;
        let lag = self.pitch(frames);
        if frames < 2 * lag || lag == 0 {
            return Vec::new();
        }
        let at = |frame: usize, channel: usize| self.history[frame * self.channels + channel];
        let blend = lag / 4;
        let mut period = Vec::with_capacity(lag * self.channels);
        for i in 0..lag {
            // Share of the period before: rises over the last quarter.
            let share = ratio((i + 1 + blend).saturating_sub(lag), blend + 1);
            for channel in 0..self.channels {
                let (last, before) = (
                    at(frames - lag + i, channel),
                    at(frames - 2 * lag + i, channel),
                );
                period.push(last * (1.0 - share) + before * share);
            }
        }
        period
    }

    /// The lag, in samples, at which the first channel resembles itself best; 0 when there is too little of it.
    fn pitch(&self, frames: usize) -> usize {
        let (shortest, longest) = (self.rate / Self::PITCH.0, self.rate / Self::PITCH.1);
        let mono: Vec<f32> = self
            .history
            .iter()
            .step_by(self.channels)
            .copied()
            .collect();
        if frames < 2 * longest || shortest == 0 {
            return 0;
        }
        let window = &mono[frames - longest..];
        let mut best = (shortest, f32::MIN);
        for lag in shortest..=longest {
            let before = &mono[frames - longest - lag..frames - lag];
            let (mut cross, mut power) = (0.0, 1e-9);
            for (a, b) in window.iter().zip(before) {
                cross += a * b;
                power += b * b;
            }
            let likeness = cross / f32::sqrt(power);
            // A multiple of the period is as good as the period: take the shorter unless the longer is clearly better.
            if likeness > best.1 * 1.02 || best.1 == f32::MIN {
                best = (lag, likeness);
            }
        }
        best.0
    }
}

/// `part` of `whole` as a float; both are sample counts far below 2^24.
fn ratio(part: usize, whole: usize) -> f32 {
    let small = |n: usize| f32::from(u16::try_from(n).unwrap_or(u16::MAX));
    small(part) / small(whole.max(1))
}
