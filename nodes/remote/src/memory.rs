//! What was said in a session so far, for servers that must be told of it with each call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Exchanges, oldest first. Clones share it, so that a stream that takes over from one that broke knows what that one knew.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<VecDeque<Turn>>>);

/// Something said, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) said: String,
    /// As far as it was given before somebody interrupted.
    pub(crate) answered: String,
}

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Memory {
    /// Keeps an exchange; the oldest go, until there are at most so many, of so many bytes.
    pub(crate) fn keep(&self, turn: Turn, turns: usize, bytes: usize) {
        let mut kept = self.kept();
        kept.push_back(turn);
        let mut size: usize = kept.iter().map(Turn::bytes).sum();
        while kept.len() > turns || size > bytes {
            let Some(oldest) = kept.pop_front() else {
                return;
            };
            size -= oldest.bytes();
        }
    }

    /// What is kept.
    pub(crate) fn turns(&self) -> Vec<Turn> {
        self.kept().iter().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Turn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    const fn bytes(&self) -> usize {
        self.said.len() + self.answered.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_exchanges_go_first() {
        let memory = Memory::default();
        for said in ["one", "two", "three"] {
            let answered = "yes".to_owned();
            let said = said.to_owned();
            memory.keep(Turn { said, answered }, 2, 100);
        }
        let said = || memory.turns().into_iter().map(|turn| turn.said);
        assert_eq!(said().collect::<Vec<_>>(), ["two", "three"]);
        let (said_then, answered) = ("four".to_owned(), "x".repeat(96));
        memory.keep(
            Turn {
                said: said_then,
                answered,
            },
            2,
            100,
        );
        assert_eq!(said().collect::<Vec<_>>(), ["four"]);
    }
}
