//! A text that comes bit by bit, as the deltas that a client gets of it: nothing is said twice, and what may still change not at all.

/// Most bytes of a text that are kept; the bytes beyond are not said.
pub(super) const TEXT_BYTES: usize = 256 << 10;

/// What was said of one utterance so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    text: String,
    /// Bytes of it that the client has.
    told: usize,
    /// Nothing more will come.
    complete: bool,
}

impl Words {
    /// Takes a frame's text. One without a revision is a piece that follows what came before; a revision replaces it, and holds once
    /// it is the last.
    pub(super) fn hear(&mut self, revision: u32, last: bool, text: &str) {
        if self.complete {
            return;
        }
        if revision == 0 {
            self.append(text);
        } else if last {
            let mut whole = Self::default();
            whole.append(text);
            // What the client has cannot be taken back; the whole is told at the end in any case.
            let kept = whole.text.starts_with(&self.text[..self.told]);
            whole.told = if kept { self.told } else { whole.text.len() };
            *self = whole;
        }
        self.complete = last;
    }

    fn append(&mut self, text: &str) {
        let room = TEXT_BYTES.saturating_sub(self.text.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&text[..end]);
    }

    /// What the client does not have yet of what holds.
    pub(super) fn delta(&mut self) -> Option<&str> {
        let from = std::mem::replace(&mut self.told, self.text.len());
        Some(&self.text[from..]).filter(|delta| !delta.is_empty())
    }

    /// Something of it holds that the client does not have.
    pub(super) const fn has_news(&self) -> bool {
        self.told < self.text.len()
    }

    /// Whether nothing more will come.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// All of it that holds.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_told_as_they_come() {
        let mut words = Words::default();
        words.hear(0, false, "Good ");
        assert_eq!(words.delta(), Some("Good "));
        words.hear(0, false, "morning");
        assert_eq!(words.delta(), Some("morning"));
        words.hear(0, true, "");
        assert_eq!(words.delta(), None);
        assert!(words.is_complete());
        assert_eq!(words.text(), "Good morning");
    }

    #[test]
    fn what_may_still_be_replaced_is_not_told() {
        let mut words = Words::default();
        words.hear(1, false, "I scream");
        assert_eq!(words.delta(), None);
        words.hear(2, true, "Ice cream");
        assert_eq!(words.delta(), Some("Ice cream"));
        assert!(words.is_complete());
    }

    #[test]
    fn what_was_told_is_not_told_again_when_the_whole_replaces_it() {
        let mut words = Words::default();
        words.hear(0, false, "One. ");
        assert_eq!(words.delta(), Some("One. "));
        words.hear(1, true, "One. Two.");
        assert_eq!(words.delta(), Some("Two."));
        let mut changed = Words::default();
        changed.hear(0, false, "One. ");
        changed.delta();
        changed.hear(1, true, "Three.");
        assert_eq!(changed.delta(), None);
        assert_eq!(changed.text(), "Three.");
    }

    #[test]
    fn a_text_without_end_is_cut_between_characters() {
        let mut words = Words::default();
        let long = "é".repeat(TEXT_BYTES / 2 - 1) + "aé";
        words.hear(0, false, &long);
        words.hear(0, false, "more");
        assert!(words.text().len() <= TEXT_BYTES);
        assert!(words.text().ends_with('a') || words.text().ends_with("am"));
    }
}
