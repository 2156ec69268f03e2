//! Outputs that one input caused.

use smallvec::SmallVec;

/// Counts per output port. Equal input gives equal output where a worker says so: of as many outputs as were given out before a
/// failover, those of the replay are repetitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(SmallVec<[Count; 2]>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    given: u32,
    /// Still to be left out on the present stream.
    repeated: u32,
}

impl Tally {
    /// A new stream begins.
    pub(crate) fn rewind(&mut self) {
        for count in &mut self.0 {
            count.repeated = count.given;
        }
    }

    /// An output came; whether it is a new one.
    pub(crate) fn count(&mut self, output: usize) -> bool {
        if self.0.len() <= output {
            self.0.resize(output + 1, Count::default());
        }
        let count = &mut self.0[output];
        if let Some(left) = count.repeated.checked_sub(1) {
            count.repeated = left;
            return false;
        }
        count.given = count.given.saturating_add(1);
        true
    }

    /// An output that was counted was taken back.
    pub(crate) fn take_back(&mut self, output: usize) {
        if let Some(count) = self.0.get_mut(output) {
            count.given = count.given.saturating_sub(1);
        }
    }
}
