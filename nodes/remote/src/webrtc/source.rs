//! One stream out of all that a sender starts on a track.
//!
//! A sender that starts over has a new SSRC, and random numbers and times with it. Here they go on where the stream before was left, at
//! the distance at which they arrived, so that nobody behind this has to know.

use std::time::{Duration, Instant};

/// Packets of one stream that are further apart than this and their arrival are of a clock that was set anew.
const JUMP: Duration = Duration::from_secs(10);

/// Where a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// RTP time since the first packet, unwrapped.
    pub(super) ticks: u64,
    /// Its number and RTP time in the one stream.
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
}

/// The track's stream so far.
#[derive(Debug, Default)]
pub(super) struct Source(Option<State>);

#[derive(Debug)]
struct State {
    ssrc: u32,
    /// When the newest packet came, and where it is.
    heard: Instant,
    newest: Place,
    /// What is added to the sender's own numbers and times.
    sequence_offset: u16,
    timestamp_offset: u32,
}

impl Source {
    /// Places a packet that came at `now`; `rate` is that of the track's clock.
    pub(super) fn place(
        &mut self,
        now: Instant,
        ssrc: u32,
        (sequence, timestamp): (u16, u32),
        rate: u32,
    ) -> Place {
        let state = self.0.get_or_insert(State {
            ssrc,
            heard: now,
            newest: Place {
                ticks: 0,
                sequence,
                timestamp,
            },
            sequence_offset: 0,
            timestamp_offset: 0,
        });
        let since = ticks(now.saturating_duration_since(state.heard), rate);
        if state.ssrc != ssrc {
            state.ssrc = ssrc;
            let next = state.newest.sequence.wrapping_add(1);
            state.sequence_offset = next.wrapping_sub(sequence);
            state.go_on(timestamp, since);
        } else if state.step(timestamp).unsigned_abs() > since.saturating_add(jump(rate)) {
            state.go_on(timestamp, since);
        }
        let step = state.step(timestamp);
        let place = Place {
            ticks: state.newest.ticks.saturating_add_signed(i64::from(step)),
            sequence: sequence.wrapping_add(state.sequence_offset),
            timestamp: timestamp.wrapping_add(state.timestamp_offset),
        };
        state.heard = now;
        if signed(place.sequence.wrapping_sub(state.newest.sequence)) > 0 {
            state.newest.sequence = place.sequence;
        }
        if step > 0 {
            (state.newest.ticks, state.newest.timestamp) = (place.ticks, place.timestamp);
        }
        place
    }
}

impl State {
    /// How far a sender's time is from the newest one.
    fn step(&self, timestamp: u32) -> i32 {
        let here = timestamp.wrapping_add(self.timestamp_offset);
        here.wrapping_sub(self.newest.timestamp).cast_signed()
    }

    /// The sender's clock was set anew: `timestamp` is as far from the newest one as it arrived after it.
    fn go_on(&mut self, timestamp: u32, since: u32) {
        let here = self.newest.timestamp.wrapping_add(since.max(1));
        self.timestamp_offset = here.wrapping_sub(timestamp);
    }
}

fn signed(difference: u16) -> i16 {
    difference.cast_signed()
}

fn jump(rate: u32) -> u32 {
    ticks(JUMP, rate)
}

/// A time on a clock of `rate`; an hour at most, which no clock here wraps in.
fn ticks(time: Duration, rate: u32) -> u32 {
    let time = time.min(Duration::from_secs(3600));
    let ticks = time.as_micros() * u128::from(rate) / 1_000_000;
    u32::try_from(ticks).unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    /// Places of packets that come 20 ms apart.
    fn places(packets: &[(u32, u16, u32)]) -> Vec<Place> {
        let (mut source, mut now) = (Source::default(), crate::clock::runtime_now().into_std());
        let place = |(ssrc, sequence, timestamp): &(u32, u16, u32)| {
            now += Duration::from_millis(20);
            source.place(now, *ssrc, (*sequence, *timestamp), RATE)
        };
        packets.iter().map(place).collect()
    }

    fn ticks_of(packets: &[(u32, u16, u32)]) -> Vec<u64> {
        places(packets).iter().map(|place| place.ticks).collect()
    }

    #[test]
    fn one_stream_keeps_its_numbers_and_times_over_wraps_and_reordering() {
        let packets = [
            (1, 65_534, u32::MAX - 959),
            (1, 0, 960),
            (1, 65_535, 0),
            (1, 1, 1920),
        ];
        let placed = places(&packets);
        for (place, (_, sequence, timestamp)) in placed.iter().zip(packets) {
            assert_eq!((place.sequence, place.timestamp), (sequence, timestamp));
        }
        assert_eq!(ticks_of(&packets), [0, 1920, 960, 2880]);
    }

    #[test]
    fn a_sender_that_starts_over_goes_on_wherever_its_new_clock_begins() {
        for start in [0, 1, 5_000, 1 << 30, 1 << 31, 3 << 30, u32::MAX] {
            let placed = places(&[
                (1, 500, 5_000),
                (1, 501, 5_960),
                (2, 9, start),
                (2, 10, start.wrapping_add(960)),
            ]);
            let ticks: Vec<_> = placed.iter().map(|place| place.ticks).collect();
            assert_eq!(ticks, [0, 960, 1920, 2880], "from {start}");
            let numbers: Vec<_> = placed.iter().map(|place| place.sequence).collect();
            assert_eq!(numbers, [500, 501, 502, 503]);
            assert_eq!(placed[3].timestamp, 5_960 + 2 * 960);
        }
    }

    #[test]
    fn a_clock_that_is_set_anew_within_a_stream_goes_on_too_and_a_pause_is_a_pause() {
        for jump in [1 << 30, 1 << 31, 3 << 30] {
            let back = ticks_of(&[(1, 1, 960), (1, 2, jump), (1, 3, jump + 960)]);
            assert_eq!(back, [0, 960, 1920], "{jump}");
        }
        let pause = ticks_of(&[(1, 1, 0), (1, 2, 9 * RATE), (1, 3, 9 * RATE + 960)]);
        assert_eq!(pause, [0, u64::from(9 * RATE), u64::from(9 * RATE + 960)]);
    }
}
