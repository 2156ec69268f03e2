//! Marks: names for places in what the caller is to hear. Twilio sends one back when it has played all before it, so that is how far
//! the caller has heard; after a `clear` it sends all back at once, and those say nothing.

use std::collections::VecDeque;
use std::time::Duration;

/// Marks that Twilio has not sent back, at most. One a second and one an utterance: a minute of speech that waits there.
const OUTSTANDING: usize = 64;
/// Sound that belongs to no utterance gets a mark each so much.
const EVERY: Duration = Duration::from_secs(1);

/// A place that was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Played {
    /// The utterance that ends there; 0: none.
    pub(super) utterance: u64,
    /// All sound of this call that was played so far.
    pub(super) position: Duration,
}

#[derive(Debug)]
struct Outstanding {
    number: u64,
    played: Played,
    cleared: bool,
}

/// The marks of one stream.
#[derive(Debug, Default)]
pub(super) struct Marks {
    last: u64,
    outstanding: VecDeque<Outstanding>,
    /// Sound that was sent, without what was cleared.
    sent: Duration,
    /// Of that, what a mark stands behind.
    marked: Duration,
    played: Duration,
    /// The utterance of the newest sound.
    utterance: u64,
}

impl Marks {
    /// Sound that is about to be sent, and its utterance. Gives the mark that is to stand before it: where another utterance ended
    /// without saying so.
    pub(super) fn begins(&mut self, utterance: u64) -> Option<Result<String, Full>> {
        let ended = self.utterance != utterance && self.sent > self.marked;
        let mark = ended.then(|| self.set());
        self.utterance = utterance;
        mark
    }

    /// Sound that was sent, and whether its utterance ends with it. Gives the mark that is to stand behind it.
    pub(super) fn sent(&mut self, sound: Duration, ends: bool) -> Option<Result<String, Full>> {
        self.sent += sound;
        let unmarked = self.sent.saturating_sub(self.marked);
        let due = if self.utterance == 0 {
            unmarked >= EVERY
        } else {
            ends && !unmarked.is_zero()
        };
        due.then(|| self.set())
    }

    /// No more sound follows. Gives the last mark.
    pub(super) fn ends(&mut self) -> Option<Result<String, Full>> {
        (self.sent > self.marked).then(|| self.set())
    }

    fn set(&mut self) -> Result<String, Full> {
        if self.outstanding.len() >= OUTSTANDING {
            return Err(Full);
        }
        self.last += 1;
        self.marked = self.sent;
        self.outstanding.push_back(Outstanding {
            number: self.last,
            played: Played {
                utterance: self.utterance,
                position: self.sent,
            },
            cleared: false,
        });
        Ok(format!("tidegate-{}", self.last))
    }

    /// What was not played is thrown away. Gives how far the caller had heard for certain.
    pub(super) fn clear(&mut self) -> Played {
        for mark in &mut self.outstanding {
            mark.cleared = true;
        }
        let played = Played {
            utterance: self.utterance,
            position: self.played,
        };
        // What follows stands behind what was played, not behind what nobody hears.
        self.sent = self.played;
        self.marked = self.played;
        self.utterance = 0;
        played
    }

    /// How much of what stands before the marks was sent and not played, if any mark that counts is still out.
    pub(super) fn unplayed(&self) -> Option<Duration> {
        let waits = self.outstanding.iter().any(|mark| !mark.cleared);
        waits.then(|| self.marked.saturating_sub(self.played))
    }

    /// A mark came back. Gives the place that was played, if one was.
    pub(super) fn came_back(&mut self, name: &str) -> Result<Option<Played>, Unknown> {
        let number: u64 = name
            .strip_prefix("tidegate-")
            .and_then(|number| number.parse().ok())
            .ok_or(Unknown)?;
        // One that was passed over was played too: marks come back in their order.
        let at = self
            .outstanding
            .iter()
            .position(|mark| mark.number == number);
        let mark = self.outstanding.drain(..=at.ok_or(Unknown)?).next_back();
        let mark = mark.filter(|mark| !mark.cleared);
        if let Some(mark) = &mark {
            self.played = mark.played.position;
        }
        Ok(mark.map(|mark| mark.played))
    }
}

/// So many marks are outstanding that none is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A mark that was not set, or came back before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: Duration = Duration::from_millis(100);

    fn name(number: u64) -> Option<Result<String, Full>> {
        Some(Ok(format!("tidegate-{number}")))
    }

    #[test]
    fn an_utterance_has_a_mark_at_its_end_whether_it_says_so_or_another_begins() {
        let mut marks = Marks::default();
        assert_eq!(marks.begins(1), None);
        assert_eq!(marks.sent(PIECE, false), None);
        assert_eq!(marks.sent(PIECE, true), name(1));
        assert_eq!(marks.begins(2), None);
        assert_eq!(marks.sent(PIECE, false), None);
        assert_eq!(marks.begins(3), name(2));
        let position = 2 * PIECE;
        let played = Played {
            utterance: 1,
            position,
        };
        assert_eq!(marks.came_back("tidegate-1"), Ok(Some(played)));
        let position = 3 * PIECE;
        let played = Played {
            utterance: 2,
            position,
        };
        assert_eq!(marks.came_back("tidegate-2"), Ok(Some(played)));
        assert_eq!(marks.came_back("tidegate-2"), Err(Unknown));
        assert_eq!(marks.came_back("mine"), Err(Unknown));
    }

    #[test]
    fn sound_of_no_utterance_has_one_a_second_and_one_at_its_end() {
        let mut marks = Marks::default();
        let set = (0..25).filter(|_| {
            let before = marks.begins(0);
            assert_eq!(before, None);
            marks.sent(PIECE, false).is_some()
        });
        assert_eq!(set.count(), 2);
        assert_eq!(marks.ends(), name(3));
        assert_eq!(marks.ends(), None);
    }

    #[test]
    fn marks_that_come_back_after_a_clear_were_not_played() {
        let mut marks = Marks::default();
        for utterance in 1..=3 {
            marks.begins(utterance);
            marks.sent(PIECE, true);
        }
        assert!(matches!(marks.came_back("tidegate-1"), Ok(Some(_))));
        assert_eq!(marks.clear().position, PIECE);
        assert_eq!(marks.came_back("tidegate-2"), Ok(None));
        assert_eq!(marks.came_back("tidegate-3"), Ok(None));
        assert_eq!(marks.unplayed(), None, "what was cleared is not waited for");
        marks.begins(4);
        marks.sent(PIECE, true);
        assert_eq!(marks.unplayed(), Some(PIECE));
        let played = marks.came_back("tidegate-4").expect("set").expect("played");
        assert_eq!(played.position, 2 * PIECE, "behind what was heard");
    }

    #[test]
    fn so_many_are_outstanding_and_no_more() {
        let mut marks = Marks::default();
        for utterance in 1..=OUTSTANDING as u64 {
            marks.begins(utterance);
            assert!(matches!(marks.sent(PIECE, true), Some(Ok(_))));
        }
        marks.begins(1_000);
        assert_eq!(marks.sent(PIECE, true), Some(Err(Full)));
        marks
            .came_back("tidegate-10")
            .expect("it was set")
            .expect("played");
        assert!(matches!(marks.sent(PIECE, true), Some(Ok(_))));
    }
}
