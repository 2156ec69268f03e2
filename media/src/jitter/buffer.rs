//! The jitter buffer's decisions: what is played next, and when waiting ends.
//!
//! Two time lines meet here. The sender's is in RTP clock units; the output's is the *playhead*, the instant at which the
//! next sample is due. What comes out moves the playhead by exactly its length, so the output keeps the gateway's pace.
//! Sound that is made up while nothing is known of the next packet has no place on the sender's time line: if that packet
//! was only late, it is played all the same and the delay has grown; if it was lost, the sound made up stands for it.

use std::time::Duration;

use super::arrivals::nanos;
use super::delay::{DelayControl, duration_nanos};
use super::packets::{Held, Insert, Numbers, Packets, Played, Unwrapper};
use super::step::{Correction, Packet, Pause, Step};
use super::{JitterFigures, JitterSettings};
use crate::time::Timestamp;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    settings: JitterSettings,
    delay: DelayControl,
    numbers: Unwrapper,
    packets: Packets,
    /// Whether sound is being put out.
    playing: bool,
    /// The packet that is to be played next, by its numbers.
    next_sequence: i64,
    next_timestamp: i64,
    /// Which of the packets before it were played.
    played: Played,
    /// When the next sample is due, in nanoseconds.
    playhead: i64,
    /// Clock units made up since the last packet that have no place on the sender's time line.
    made_up: i64,
    /// The last packet said that silence follows.
    pausing: bool,
    /// By how much the playhead has leapt, not yet told.
    leap: Duration,
    figures: JitterFigures,
}

impl JitterBuffer {
    /// Longest that a starved output is made up before it counts as silence.
    const CONCEAL_MAX: Duration = Duration::from_millis(120);

    /// An empty buffer for packets that count time in `clock` Hz (zero counts as 8,000).
    #[must_use]
    pub fn new(clock: u32, settings: JitterSettings) -> Self {
        Self {
            settings,
            delay: DelayControl::new(if clock == 0 { 8_000 } else { clock }, settings),
            numbers: Unwrapper::default(),
            packets: Packets::default(),
            playing: false,
            next_sequence: 0,
            next_timestamp: 0,
            played: Played::default(),
            playhead: 0,
            made_up: 0,
            pausing: false,
            leap: Duration::ZERO,
            figures: JitterFigures::default(),
        }
    }

    /// Takes a packet that came at `now`. What becomes of it shows in the figures.
    pub fn insert(&mut self, now: Timestamp, packet: Packet) {
        self.figures.received += 1;
        let (sequence, timestamp) = match self.numbers.unwrap(packet.rtp) {
            Numbers::Known(sequence, timestamp) => (sequence, timestamp),
            Numbers::Suspect => {
                self.figures.discarded += 1;
                return;
            }
            Numbers::Restart => {
                self.restart();
                // A fresh unwrapper takes any numbers as the first.
                let _first = self.numbers.unwrap(packet.rtp);
                (0, 0)
            }
        };
        if self.playing && sequence < self.next_sequence {
            if self.played.contains(self.next_sequence - sequence) {
                self.figures.duplicates += 1;
                return;
            }
            // Its relative delay still counts: the target grows so that the next one like it comes in time.
            self.delay.note_arrival(now, timestamp);
            self.figures.late += 1;
            return;
        }
        self.delay.note_copies(packet.fec);
        let arrived = now;
        let held = Held {
            sequence,
            timestamp,
            arrived,
            packet,
        };
        match self.packets.insert(held) {
            Insert::Duplicate => {
                self.figures.duplicates += 1;
                return;
            }
            Insert::Reordered => self.figures.reordered += 1,
            Insert::Appended => {}
        }
        self.delay.note_arrival(now, timestamp);
        while self.packets.len() > self.settings.packets_max.max(1)
            || (self.packets.bytes() > self.settings.bytes_max && self.packets.len() > 1)
        {
            self.skip_first();
        }
    }

    /// What is to be played by `now`, if anything. Call again until it gives `None`.
    pub fn poll(&mut self, now: Timestamp) -> Option<Step> {
        if !self.playing {
            self.start(now)?;
        }
        self.skip_stale();
        loop {
            let Some(first) = self.packets.first() else {
                return self.starve(now);
            };
            let missing = first.sequence - self.next_sequence;
            let gap = first.timestamp - self.next_timestamp;
            if gap <= 0 || (missing == 0 && gap <= self.made_up && !self.pausing) {
                return self.release(now);
            }
            if missing <= 0 || self.pausing {
                match self.end_pause(now) {
                    Pause::Over => {}
                    Pause::Fill(samples) => return Some(Step::Silence { samples }),
                    Pause::Wait => return None,
                }
            } else if nanos(now) < self.playhead {
                return None;
            } else if let Some(step) = self.give_up(missing, gap) {
                return Some(step);
            }
        }
    }

    /// When [`Self::poll`] has something to say again, if no packet comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let first = self.packets.first();
        if !self.playing {
            return first.map(|first| first.arrived);
        }
        let waits = first.is_none_or(|first| {
            first.sequence != self.next_sequence
                && !self.pausing
                && first.timestamp > self.next_timestamp
        });
        let early = if waits {
            0
        } else {
            duration_nanos(self.settings.early)
        };
        let at = self.playhead.saturating_sub(early);
        Some(Timestamp::from_nanos(u64::try_from(at).unwrap_or(0)))
    }

    /// How the delay of the packet decoded last differs from the target. See [`Self::stretched`].
    #[must_use]
    pub fn correction(&self) -> Correction {
        if self.pausing {
            Correction::None
        } else {
            self.delay.correction()
        }
    }

    /// Says that what was played last came out longer by `units` clock units than asked for (negative: shorter).
    pub fn stretched(&mut self, units: i64) {
        self.playhead += self.delay.nanos_of(units);
    }

    /// By how much the output's time has leapt since this was last asked: the pause before a sender began again.
    pub fn take_leap(&mut self) -> Duration {
        std::mem::take(&mut self.leap)
    }

    /// What it has seen and done; the counts of samples are the decoder's.
    #[must_use]
    pub fn figures(&self) -> JitterFigures {
        JitterFigures {
            jitter: self.delay.jitter(),
            target_delay: self.delay.target(),
            delay: self.delay.current(),
            ..self.figures
        }
    }

    /// Packets that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether no packet waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.len() == 0
    }

    /// The sender began anew: what waits is old.
    fn restart(&mut self) {
        self.figures.restarts += 1;
        self.figures.discarded += self.packets.len() as u64;
        self.packets.clear();
        self.delay.forget_arrivals();
        self.playing = false;
    }

    /// Begins to play with the first packet that waits.
    fn start(&mut self, now: Timestamp) -> Option<()> {
        let first = self.packets.first()?;
        let due = self.delay.due(first.timestamp).max(nanos(now));
        (self.next_sequence, self.next_timestamp) = (first.sequence, first.timestamp);
        self.played = Played::default();
        if self.figures.emitted > 0 {
            let leap = due.saturating_sub(self.playhead);
            self.leap += Duration::from_nanos(u64::try_from(leap).unwrap_or(0));
            self.playhead = due.max(self.playhead);
        } else {
            self.playhead = due;
        }
        self.made_up = 0;
        self.pausing = false;
        self.playing = true;
        Some(())
    }

    /// Plays the first packet if the time has come.
    fn release(&mut self, now: Timestamp) -> Option<Step> {
        if !self.may_release(now) {
            return None;
        }
        let held = self.packets.pop()?;
        self.delay.note_played(self.playhead, held.timestamp);
        self.figures.emitted += 1;
        self.figures.waited += now.saturating_since(held.arrived);
        self.figures.lost += u64::try_from(held.sequence - self.next_sequence).unwrap_or(0);
        self.pass(&held);
        self.made_up = 0;
        self.pausing = held.packet.pause;
        if !held.packet.pause {
            self.delay.note_length(held.packet.samples);
        }
        self.advance(i64::from(held.packet.samples));
        Some(Step::Decode(held.packet))
    }

    /// Nothing waits: makes something up once the next packet is due.
    fn starve(&mut self, now: Timestamp) -> Option<Step> {
        if nanos(now) < self.playhead {
            return None;
        }
        let silent =
            self.pausing || self.delay.nanos_of(self.made_up) >= duration_nanos(Self::CONCEAL_MAX);
        if self.delay.nanos_of(self.made_up) >= duration_nanos(self.settings.idle_after) {
            self.playing = false;
            self.delay.forget_arrivals();
            return None;
        }
        // Short steps, so that a packet that is only just late is not kept waiting; silence has the time.
        let samples = if silent {
            self.delay.clock() / 50
        } else {
            self.delay.clock() / 100
        };
        self.made_up += i64::from(samples);
        self.advance(i64::from(samples));
        Some(if silent {
            Step::Silence { samples }
        } else {
            Step::Conceal { samples }
        })
    }

    /// Gives up the packet that is next: fills its place, unless what was made up or the delay to be saved covers it.
    fn give_up(&mut self, missing: i64, gap: i64) -> Option<Step> {
        self.figures.lost += 1;
        self.delay.note_lost();
        let usual = i64::from(self.delay.usual_length().max(1));
        let place = if missing == 1 && gap <= 2 * usual {
            gap
        } else {
            gap.min(usual)
        };
        self.turn_to(self.next_sequence + 1);
        self.next_timestamp += place;
        let stood_for = place.min(self.made_up);
        self.made_up -= stood_for;
        let fill = u32::try_from(place - stood_for - self.surplus(place - stood_for)).unwrap_or(0);
        if fill == 0 {
            return None;
        }
        self.advance(i64::from(fill));
        let next = self.packets.first().filter(|_| missing == 1);
        Some(match next.map(|next| &next.packet) {
            Some(next) if next.fec && fill <= next.samples => Step::Fec {
                next: next.payload.clone(),
                covers: next.samples,
                samples: fill,
            },
            _ => Step::Conceal { samples: fill },
        })
    }

    /// Clock units, up to `most`, by which the delay exceeds what is aimed for and which may be left out; in the decoder's
    /// quantum of 2.5 ms.
    fn surplus(&self, most: i64) -> i64 {
        match self.correction() {
            Correction::Shrink(by) => self.delay.quantised(duration_nanos(by)).min(most),
            _ => 0,
        }
    }

    /// Silence on the sender's side, and the first packet after it waits: draws the silence out or cuts it so that this
    /// packet has the delay that is aimed for.
    fn end_pause(&mut self, now: Timestamp) -> Pause {
        let Some(first) = self.packets.first() else {
            return Pause::Over;
        };
        // A sender whose timestamps leap ahead of time is not waited for.
        let latest = nanos(now).saturating_add(duration_nanos(self.settings.delay_max));
        let due = self.delay.due(first.timestamp).min(latest);
        let fill = self
            .delay
            .quantised(due.saturating_sub(self.playhead))
            .min(i64::from(self.delay.clock() / 50));
        if fill <= 0 {
            let sequence = first.sequence;
            self.next_timestamp = first.timestamp;
            self.figures.lost += u64::try_from(sequence - self.next_sequence).unwrap_or(0);
            self.turn_to(sequence);
            self.made_up = 0;
            self.pausing = false;
            return Pause::Over;
        }
        if !self.may_release(now) {
            return Pause::Wait;
        }
        self.advance(fill);
        Pause::Fill(u32::try_from(fill).unwrap_or(0))
    }

    /// Leaves out packets when the delay has become too long.
    fn skip_stale(&mut self) {
        let delay = |buffer: &Self| {
            let first = buffer.packets.first()?;
            Some(buffer.delay.at(buffer.playhead, first.timestamp))
        };
        if delay(self).is_none_or(|delay| delay <= duration_nanos(self.settings.delay_max)) {
            return;
        }
        let target = duration_nanos(self.delay.target());
        while self.packets.len() > 1 && delay(self).is_some_and(|delay| delay > target) {
            self.skip_first();
        }
    }

    fn skip_first(&mut self) {
        if let Some(held) = self.packets.pop() {
            self.figures.discarded += 1;
            if self.playing {
                self.pass(&held);
                self.made_up = 0;
            }
        }
    }

    /// The packet after `held` is next.
    fn pass(&mut self, held: &Held) {
        self.turn_to(held.sequence + 1);
        self.played.note();
        self.next_timestamp = held.timestamp + i64::from(held.packet.samples);
    }

    /// The packet of this number is next; those passed over were not played.
    fn turn_to(&mut self, sequence: i64) {
        self.played.shift(sequence - self.next_sequence);
        self.next_sequence = sequence;
    }

    fn advance(&mut self, units: i64) {
        self.playhead = self.playhead.saturating_add(self.delay.nanos_of(units));
    }

    fn may_release(&self, now: Timestamp) -> bool {
        nanos(now).saturating_add(duration_nanos(self.settings.early)) >= self.playhead
    }
}
