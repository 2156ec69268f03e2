//! Where the buckets of each histogram lie: fine where what it measures usually is, and none where it never is, since every bucket is a
//! line of the page for every series.
//!
//! Where two of them have bounds in the same range, those of the coarser are some of the finer's: a sum over both by `le`, which a
//! query may ask for, is then right at every bound that they share.

use metrics::Label;

/// Upper bounds in seconds, ascending. There is a bucket for each, and one above them all.
pub(crate) type Bounds = &'static [f64];

/// Most bounds that a histogram has.
pub(super) const MOST: usize = WAITING.len();

/// What is waited for: a remote hop, a queue, a whole session, from a call on this machine up to the longest time limit.
pub(super) const WAITING: Bounds = &[
    1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// A call of a node in this process: usually well under a millisecond, and the cheap ones under a microsecond.
pub(super) const CALL: Bounds = &[
    1e-7, 1e-6, 5e-6, 2.5e-5, 1e-4, 5e-4, 2.5e-3, 1e-2, 0.1, 1.0, 5.0,
];

/// What a network does to media.
pub(super) const NETWORK: Bounds = &[
    1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5,
];

const _: () = assert!(CALL.len() <= MOST && NETWORK.len() <= MOST);

/// The bounds of a series.
pub(super) fn of(name: &str, labels: &[Label]) -> Bounds {
    let remote = || labels.iter().any(|label| label.key() == "endpoint");
    match name {
        "tidegate_hop_service_seconds" if !remote() => CALL,
        _ if name.starts_with("tidegate_webrtc_") => NETWORK,
        _ => WAITING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_summed_by_bound_over_hops_of_both_kinds_is_right_where_both_have_a_bound() {
        let shared = CALL.iter().filter(|bound| **bound >= WAITING[0]);
        let missing: Vec<_> = shared.filter(|bound| !WAITING.contains(bound)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for bounds in [CALL, WAITING, NETWORK] {
            assert!(bounds.is_sorted_by(|low, high| low < high), "{bounds:?}");
        }
    }
}
