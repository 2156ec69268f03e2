//! Choosing one of several usable endpoints.
//!
//! Which are usable is decided elsewhere; here all that are offered are equal but for weight, load and latency. Turns go by the
//! order in which members joined, so that an endpoint that is left out for a while neither loses nor doubles others' turns.

use rand::Rng;
use tidegate_media::Timestamp;

use super::config::Balance;
use super::member::{MemberId, Slot};

/// Round trips within this share of the shortest count as equally near.
const NEAR: f64 = 1.1;

/// Picks one of `usable` (indices into `slots`, ascending, not empty) and notes the turn.
pub(super) fn choose(
    balance: Balance,
    last: &mut Option<MemberId>,
    slots: &mut [Slot],
    usable: &[usize],
    now: Timestamp,
    random: &mut impl Rng,
) -> usize {
    let chosen = match balance {
        Balance::RoundRobin => in_turn(*last, slots, usable),
        Balance::LeastConnections => {
            let load = |index: usize| slots[index].load();
            in_turn(*last, slots, &lowest(usable, load, 1.0))
        }
        Balance::Nearest => {
            let far = |index: usize| distance(&slots[index]);
            in_turn(*last, slots, &lowest(usable, far, NEAR))
        }
        Balance::P2cEwma => cheaper_of_two(slots, usable, now, random),
        Balance::Weighted => weighted(slots, usable),
    };
    *last = Some(slots[chosen].id);
    chosen
}

/// The first after the last one chosen.
fn in_turn(last: Option<MemberId>, slots: &[Slot], usable: &[usize]) -> usize {
    let after = usable.iter().find(|index| Some(slots[**index].id) > last);
    *after.unwrap_or(&usable[0])
}

/// Those whose value is the lowest, or within `factor` of it.
fn lowest(usable: &[usize], value: impl Fn(usize) -> f64, factor: f64) -> Vec<usize> {
    let least = usable
        .iter()
        .map(|index| value(*index))
        .fold(f64::INFINITY, f64::min);
    let near = |index: &usize| value(*index) <= least * factor;
    usable.iter().copied().filter(near).collect()
}

/// Seconds. Unmeasured: first while nothing is on its way there, which measures it; afterwards last.
fn distance(slot: &Slot) -> f64 {
    match slot.health.round_trip() {
        Some(round_trip) => round_trip.as_secs_f64(),
        None if slot.in_flight() == 0 => 0.0,
        None => f64::INFINITY,
    }
}

/// Two choices keep the crowd from the momentarily best one (Mitzenmacher, "The Power of Two Choices", 2001).
fn cheaper_of_two(
    slots: &[Slot],
    usable: &[usize],
    now: Timestamp,
    random: &mut impl Rng,
) -> usize {
    if usable.len() == 1 {
        return usable[0];
    }
    let first = random.random_range(0..usable.len());
    let second = (first + random.random_range(1..usable.len())) % usable.len();
    let (first, second) = (usable[first], usable[second]);
    let measured = usable
        .iter()
        .filter_map(|index| slots[*index].latency(now))
        .fold(f64::INFINITY, f64::min);
    let unknown = if measured.is_finite() { measured } else { 1.0 };
    let cost = |index: usize| {
        let slot = &slots[index];
        // Never nothing at all, so that load still counts where answers are immediate.
        slot.latency(now).unwrap_or(unknown).max(1e-6) * slot.load()
    };
    if cost(second) < cost(first) {
        second
    } else {
        first
    }
}

/// Smooth weighted round robin, as nginx has it: each earns its weight, the richest pays for all.
fn weighted(slots: &mut [Slot], usable: &[usize]) -> usize {
    let mut total = 0;
    for &index in usable {
        let slot = &mut slots[index];
        slot.earned += i64::from(slot.weight);
        total += i64::from(slot.weight);
    }
    let mut richest = usable[0];
    for &index in usable {
        if slots[index].earned > slots[richest].earned {
            richest = index;
        }
    }
    slots[richest].earned -= total;
    richest
}
