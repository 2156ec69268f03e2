//! Cuts a text that comes in pieces into sentences, English or Spanish, so that the first is spoken while the last is being written.
//!
//! Where it cuts depends on the pieces alone and not on when they come: who is told the same text again by another server cuts it alike.

/// Longer ones are cut between words, so that nobody waits for all of it: half a minute of speech. Also what sentences that came
/// together are joined to.
const CHARACTERS_MAX: usize = 400;

/// After these a full stop ends no sentence.
const SHORTENED: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "vs", "mt", "gen", "col", "sgt", "capt", "rev",
    "hon", "gov", "sen", "rep", "messrs", "sr", "sra", "srta", "sres", "dra", "dña", "ud", "uds",
    "vd", "vds", "lic", "ing", "arq", "profa", "avda", "av",
];
/// After these, if a number follows.
const BEFORE_NUMBERS: &[&str] = &[
    "no", "nos", "nr", "núm", "num", "n", "p", "pp", "pág", "págs", "fig", "figs", "vol", "ch",
    "cap", "art", "sec", "approx", "aprox", "ca", "tel", "jan", "feb", "mar", "apr", "jun", "jul",
    "aug", "sept", "sep", "oct", "nov", "dec",
];

/// A text of which a part is no whole sentence yet.
#[derive(Debug, Default)]
pub struct Sentences {
    rest: String,
    /// So much of the text was given.
    given: usize,
}

impl Sentences {
    /// A text begins.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// More of the text; gives what can be spoken now, in order. The first sentence goes alone, since somebody waits for it; later ones
    /// that became whole together are said together.
    #[must_use]
    pub fn add(&mut self, piece: &str) -> Vec<String> {
        self.rest.push_str(piece);
        let mut found = Vec::new();
        while let Some(end) = self.cut() {
            let left = self.rest.split_off(end);
            let sentence = std::mem::replace(&mut self.rest, left);
            self.put(&sentence, &mut found);
        }
        found
    }

    /// Nothing follows: gives what is left.
    #[must_use]
    pub fn finish(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        let rest = std::mem::take(&mut self.rest);
        self.put(&rest, &mut found);
        self.given = 0;
        found
    }

    /// Adds a sentence in one line; nothing, if there is nothing that a voice could say.
    fn put(&mut self, sentence: &str, found: &mut Vec<String>) {
        if !sentence.contains(char::is_alphanumeric) {
            return;
        }
        let line = |sign: char| if sign.is_control() { ' ' } else { sign };
        let line: String = sentence.chars().map(line).collect();
        let words: Vec<_> = line.split_whitespace().collect();
        let line = words.join(" ");
        let joins =
            |last: &&mut String| last.chars().count() + line.chars().count() < CHARACTERS_MAX;
        // Nothing is joined to the first.
        let last = found.last_mut().filter(|_| self.given > 1);
        if let Some(last) = last.filter(joins) {
            last.push(' ');
            last.push_str(&line);
            return;
        }
        self.given += 1;
        found.push(line);
    }

    /// Where the next sentence ends, if it is known to.
    fn cut(&self) -> Option<usize> {
        let mut mark = None;
        for (count, (at, sign)) in self.rest.char_indices().enumerate() {
            if count == CHARACTERS_MAX {
                let space = self.rest[..at].rfind(char::is_whitespace);
                return Some(space.filter(|space| *space > 0).unwrap_or(at));
            }
            let behind = at + sign.len_utf8();
            match sign {
                '\n' => return Some(behind),
                '。' | '！' | '？' => return Some(behind),
                '.' | '!' | '?' | '…' => mark = mark.or(Some(at)),
                '"' | '\'' | '»' | '”' | '’' | ')' | ']' if mark.is_some() => {}
                sign if sign.is_whitespace() => {
                    if let Some(mark) = mark.take()
                        && ends(
                            &self.rest[..mark],
                            &self.rest[mark..at],
                            &self.rest[behind..],
                        )?
                    {
                        return Some(behind);
                    }
                }
                _ => mark = None,
            }
        }
        None
    }
}

/// Whether a sentence ends with a mark, from what stands before it and behind its space; `None`: what follows will tell.
fn ends(before: &str, mark: &str, after: &str) -> Option<bool> {
    let next = after.trim_start().chars().next();
    if next.is_some_and(char::is_lowercase) {
        return Some(false);
    }
    let plain = mark.chars().all(|sign| matches!(sign, '.' | '!' | '?'));
    if !plain || mark.starts_with("..") {
        // "Stop!" he said... and went on.
        next?;
    }
    if !mark.starts_with('.') || mark.starts_with("..") {
        return Some(true);
    }
    let word = before
        .rsplit(char::is_whitespace)
        .next()
        .unwrap_or_default();
    let word = word.trim_start_matches(|sign: char| !sign.is_alphanumeric());
    // An initial, as in J. F. Kennedy; letters with stops between them, as in U.S. or EE.UU.
    let mut letters = word.split('.');
    let short = |part: &str| {
        (1..=2).contains(&part.chars().count()) && part.chars().all(char::is_alphabetic)
    };
    let initials = letters.clone().count() > 1 && letters.all(short);
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let lower = word.to_lowercase();
    if initials || initial && word != "I" || SHORTENED.contains(&lower.as_str()) {
        return Some(false);
    }
    // A number that a list begins with.
    if before.trim().len() == word.len()
        && word.len() <= 2
        && word.chars().all(|sign| sign.is_ascii_digit())
    {
        return Some(word.is_empty());
    }
    if BEFORE_NUMBERS.contains(&lower.as_str()) {
        return next.map(|next| !next.is_ascii_digit());
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sentences of a text that comes whole, each by itself.
    fn cut(text: &str) -> Vec<String> {
        let mut sentences = Sentences::default();
        let mut found = Vec::new();
        let mut signs = text.chars().map(String::from);
        // Sign by sign, nothing is there to be joined.
        signs
            .by_ref()
            .for_each(|sign| found.extend(sentences.add(&sign)));
        found.extend(sentences.finish());
        found
    }

    #[test]
    fn a_sentence_is_given_as_soon_as_it_is_whole() {
        let mut sentences = Sentences::default();
        assert!(sentences.add("It rains").is_empty());
        assert!(sentences.add(" today.").is_empty(), "3.5 could follow");
        assert_eq!(sentences.add(" "), ["It rains today."]);
        assert!(sentences.add("Take an umb").is_empty());
        assert_eq!(
            sentences.add("rella! Really? And"),
            ["Take an umbrella! Really?"],
            "they came together"
        );
        assert_eq!(sentences.finish(), ["And"]);
    }

    #[test]
    fn the_first_sentence_waits_for_no_other() {
        let mut sentences = Sentences::default();
        let found = sentences.add("One. Two. Three. Fo");
        assert_eq!(found, ["One.", "Two. Three."]);
        assert_eq!(sentences.finish(), ["Fo"]);
        assert_eq!(
            sentences.add("Again. And on. "),
            ["Again.", "And on."],
            "of the next text too"
        );
    }

    #[test]
    fn abbreviations_and_numbers_end_no_sentence() {
        for whole in [
            "Dr. Smith met Mrs. Jones on St. Mark's Square.",
            "It costs 3.50 and weighs 1.5 kg.",
            "J. F. Kennedy was a president of the U.S. Army and so on.",
            "See No. 5 and p. 12 of vol. 3 for more.",
            "1. Wash your hands.",
            "He said \"Stop!\" and left.",
            "At 5 p.m. we eat.",
            "Wait... not yet.",
            "La Sra. García y el Dr. Pérez viven en EE.UU. desde hace años.",
            "Véase la pág. 3 y el art. 5 de la ley.",
            "El núm. 7 cuesta 1.000 euros.",
        ] {
            assert_eq!(cut(whole), [whole]);
        }
    }

    #[test]
    fn sentences_end_where_they_do_in_both_languages() {
        let cases: [(&str, &[&str]); 7] = [
            ("No. I do not. Yes!", &["No.", "I do not.", "Yes!"]),
            (
                "That was in 2024. Then it ended.",
                &["That was in 2024.", "Then it ended."],
            ),
            ("So do I. You too?", &["So do I.", "You too?"]),
            (
                "¿Qué tal? ¡Muy bien! Gracias…  De nada.",
                &["¿Qué tal?", "¡Muy bien!", "Gracias…", "De nada."],
            ),
            (
                "(It is late.) \"Go home.\" He went.",
                &["(It is late.)", "\"Go home.\"", "He went."],
            ),
            (
                "a line\nanother\n\n - \nlast",
                &["a line", "another", "last"],
            ),
            ("日本語。はい。", &["日本語。", "はい。"]),
        ];
        for (text, sentences) in cases {
            assert_eq!(cut(text), sentences, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_words_and_nothing_is_lost() {
        let text = "all that is said is spoken also late in a long text ".repeat(40);
        let found = cut(&text);
        assert!(found.len() > 4, "{}", found.len());
        assert!(
            found
                .iter()
                .all(|part| part.chars().count() <= CHARACTERS_MAX)
        );
        assert_eq!(found.join(" "), text.trim());
        assert_eq!(cut(&"ü".repeat(900)).concat(), "ü".repeat(900));
        assert_eq!(cut(" \n . ").len(), 0);
    }

    #[test]
    fn how_a_text_is_parted_changes_no_sentence_that_is_given_alone() {
        let text = "Well, Mr. Fox said no. 5 is 3.5 m long. It is not! ¿Vale? Sí.";
        let whole = cut(text);
        for size in 1..text.chars().count() {
            let signs: Vec<_> = text.chars().collect();
            let mut sentences = Sentences::default();
            let mut found = Vec::new();
            for piece in signs.chunks(size) {
                found.extend(sentences.add(&piece.iter().collect::<String>()));
            }
            found.extend(sentences.finish());
            assert_eq!(found.join(" "), whole.join(" "), "in pieces of {size}");
        }
    }
}
