//! How far the inputs are consumed: what may be acknowledged, and from where a replay would have to begin.
//!
//! Frames are placed by one count over all inputs, so that a replay begins at one cut through all of them: in the order in which they
//! came, frames from the cut on make again everything that has not left, and nothing else but what has left already.
//! `meta.since` is such a place. Nothing is computed before it is asked for.

use std::collections::VecDeque;

use super::Graph;

/// Changes of step between the order of arrival and an input's own numbers that are remembered. Of several inputs each frame may be
/// one; what reaches further back than that many is taken to begin at the oldest that is known.
const RUNS_MAX: usize = 8_192;

/// How far an input is consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Everything that was made of its frames up to this number has been given out by [`Graph::poll_output`], or dropped and counted.
    /// What a node keeps to make something of later is not waited for; once it has, the number goes back until that has been given
    /// out, and who said more before need not take it back, since `replay_from` has covered it all the time.
    pub acknowledged: u64,
    /// A new graph needs its frames from this number on to make what this one has not given out, and what it will. At most
    /// `acknowledged + 1`.
    pub replay_from: u64,
}

/// What is kept while consumption is asked for.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    /// Frames that came.
    arrived: u64,
    /// Input and number of the newest.
    newest: (u16, u64),
    /// What was last computed, until something happens.
    cuts: Option<Cuts>,
}

/// Places before which nothing is under way, and nothing needed.
#[derive(Clone, Copy, Debug)]
struct Cuts {
    under_way: u64,
    needed: u64,
}

impl Tracking {
    /// The place of the next frame, which has this number on this input.
    pub(super) const fn arrived(&mut self, port: u16, seq: u64) -> u64 {
        self.arrived += 1;
        self.newest = (port, seq);
        self.arrived
    }

    /// Something happens.
    pub(super) const fn changed(&mut self) {
        self.cuts = None;
    }
}

impl Graph {
    /// Keeps track from now on of how far inputs are consumed. To be called before the first frame: of frames that are under way
    /// already it is not known what they need, and nothing is acknowledged before they are gone.
    pub fn track(&mut self) {
        if self.tracking.is_some() {
            return;
        }
        self.tracking = Some(Tracking::default());
        for slot in &mut self.nodes {
            slot.hold = slot.node.holds();
        }
    }

    /// How far an input is consumed, once all output has been polled; `None` without [`Graph::track`].
    pub fn consumed(&mut self, input: usize) -> Option<Consumed> {
        let cuts = self.cuts()?;
        let arrived = self.tracking.as_ref()?.arrived;
        let ingress = self.inputs.get_mut(input)?;
        ingress.arrivals.forget(cuts.needed);
        let newest = ingress.seq;
        let first_from = |cut: u64| match cut {
            // From before it was kept track of.
            0 => 1,
            cut if cut > arrived => newest + 1,
            cut => ingress.arrivals.first_from(cut).unwrap_or(newest + 1),
        };
        Some(Consumed {
            acknowledged: first_from(cuts.under_way) - 1,
            replay_from: first_from(cuts.needed),
        })
    }

    fn cuts(&mut self) -> Option<Cuts> {
        if let Some(cuts) = self.tracking.as_ref()?.cuts {
            return Some(cuts);
        }
        let tracking = self.tracking.as_ref()?;
        let mut under_way = u64::MAX;
        // What was made already with a cause of which more may come: who replays counts what it was given of each cause, so all of it must
        // be made again.
        let mut begun = u64::MAX;
        let latest = |cause: (u16, u64)| {
            let egresses = self.egresses.iter().flatten();
            egresses
                .filter(move |egress| egress.newest == cause)
                .map(|egress| egress.since)
                .min()
        };
        for (cause, since) in self.under_way() {
            under_way = under_way.min(since);
            begun = begun.min(latest(cause).unwrap_or(u64::MAX));
        }
        if !self.inputs.iter().all(|input| input.ended) {
            // The end of the input may make more of the newest frame.
            let since = latest(tracking.newest).filter(|since| *since < tracking.arrived);
            begun = begun.min(since.unwrap_or(u64::MAX));
        }
        for egress in self.egresses.iter().flatten() {
            let waiting = egress.gate.iter().map(|meta| meta.since);
            under_way = waiting.fold(under_way, u64::min);
        }
        let needed = self.needed(under_way.min(begun));
        let cuts = Cuts { under_way, needed };
        self.tracking.as_mut()?.cuts = Some(cuts);
        Some(cuts)
    }

    /// Cause and need of everything that waits for a hop or is with it.
    fn under_way(&self) -> impl Iterator<Item = ((u16, u64), u64)> {
        let hops = self.hops.iter().filter(|hop| !hop.ended);
        hops.flat_map(|hop| &hop.inputs).flat_map(|input| {
            let waiting = input.gate.iter();
            let waiting = waiting.map(|m| ((m.caused_port, m.caused_by), m.since));
            let sent = input.ring.under_way(input.flushed);
            waiting.chain(sent.map(|s| ((s.caused_port, s.caused_by), s.since)))
        })
    }

    /// Where a replay begins that is to begin no later than at `place`, with all that nodes and hops need.
    fn needed(&self, place: u64) -> u64 {
        let nodes = self.nodes.iter().filter(|node| !node.ended);
        let hops = self.hops.iter().filter(|hop| !hop.ended);
        let holds = nodes.map(|node| node.hold).chain(hops.map(|hop| hop.hold));
        let from = holds.fold(place, |place, hold| hold.begin(place));
        // Beginning earlier for one may feed another that counts.
        if from < place {
            self.needed(from)
        } else {
            from
        }
    }
}

/// Which places in the order of arrival an input's frames have.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Where both counts began to go in step: place and number.
    runs: VecDeque<(u64, u64)>,
    /// The newest of both.
    last: (u64, u64),
}

impl Arrivals {
    /// A frame with this number came.
    pub(super) fn note(&mut self, place: u64, seq: u64) {
        if self.runs.is_empty() || (place, seq) != (self.last.0 + 1, self.last.1 + 1) {
            if self.runs.len() == RUNS_MAX {
                self.runs.pop_front();
            }
            self.runs.push_back((place, seq));
        }
        self.last = (place, seq);
    }

    /// The number of the first frame from this place on, if there is one. Where frames with numbers were dropped on arrival, at the
    /// earliest one of those.
    fn first_from(&self, place: u64) -> Option<u64> {
        if self.runs.is_empty() || place > self.last.0 {
            return None;
        }
        let after = self.runs.partition_point(|run| run.0 <= place);
        let next = self.runs.get(after).map(|run| run.1);
        let run = after.checked_sub(1).and_then(|at| self.runs.get(at));
        // In the run that the place falls into, unless that had ended before it.
        let within = run.map(|(from, seq)| seq + (place - from));
        match (within, next) {
            (Some(within), Some(next)) => Some(within.min(next)),
            (within, next) => within.or(next),
        }
    }

    /// Forgets what lies before a place.
    fn forget(&mut self, place: u64) {
        while self.runs.get(1).is_some_and(|next| next.0 <= place) {
            self.runs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_among_several_inputs() {
        let mut arrivals = Arrivals::default();
        // 1 to 3 came in a row; then others had their turn, then 4 and 5; 6 and 7 were dropped on arrival.
        for (place, seq) in [(1, 1), (2, 2), (3, 3), (7, 4), (8, 5), (9, 8)] {
            arrivals.note(place, seq);
        }
        let found = [0, 1, 3, 4, 7, 8, 9, 10].map(|place| arrivals.first_from(place));
        let expected = [
            Some(1),
            Some(1),
            Some(3),
            Some(4),
            Some(4),
            Some(5),
            Some(8),
            None,
        ];
        assert_eq!(found, expected);
        arrivals.forget(8);
        assert_eq!(arrivals.runs.len(), 2);
        assert_eq!(arrivals.first_from(8), Some(5));
    }

    #[test]
    fn one_input_alone_is_one_run() {
        let mut arrivals = Arrivals::default();
        (1..=100_000).for_each(|n| arrivals.note(n, n + 5));
        assert_eq!(arrivals.runs.len(), 1);
        assert_eq!(arrivals.first_from(70_000), Some(70_005));
    }

    #[test]
    fn memory_of_turns_is_bounded() {
        let mut arrivals = Arrivals::default();
        (1..=100_000).for_each(|n| arrivals.note(2 * n, n));
        assert_eq!(arrivals.runs.len(), RUNS_MAX);
        assert_eq!(arrivals.first_from(2), Some(100_001 - RUNS_MAX as u64));
    }
}
