//! What is to come in a history, by time.

use std::cmp::Ordering;

use tidegate_media::Timestamp;

/// What happens at an instant; what was scheduled first comes first.
pub(super) struct Scheduled<E> {
    pub(super) at: Timestamp,
    pub(super) order: u64,
    pub(super) event: E,
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<E> Eq for Scheduled<E> {}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
