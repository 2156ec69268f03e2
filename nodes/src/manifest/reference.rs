//! References in string values: `${param:x}`, `${env:X}` and `${env:X:-what it is where X is not set}`; `$${` stands for a plain `${`.
//!
//! A string that is one reference and nothing else takes the parameter's own type; within other text the value is written out.
//! A value that comes in through a reference is not read for references again.

/// A piece of a string value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Param(String),
    /// An environment variable, and what stands for it where it is not set.
    Env(String, Option<String>),
}

/// Splits a string value at its references.
///
/// # Errors
/// What is wrong with a reference.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        let after = &after[2..];
        if let Some(kept) = before.strip_suffix('$') {
            plain.push_str(kept);
            plain.push_str("${");
            rest = after;
            continue;
        }
        plain.push_str(before);
        let Some((inside, tail)) = after.split_once('}') else {
            return Err("the reference is not closed".to_owned());
        };
        if !plain.is_empty() {
            found.push(Piece::Text(std::mem::take(&mut plain)));
        }
        found.push(reference(inside)?);
        rest = tail;
    }
    plain.push_str(rest);
    if !plain.is_empty() || found.is_empty() {
        found.push(Piece::Text(plain));
    }
    Ok(found)
}

fn reference(inside: &str) -> Result<Piece, String> {
    let name_is = |name: &str, also: fn(char) -> bool| {
        !name.is_empty()
            && name.len() <= 128
            && name.chars().all(|c| c.is_ascii_alphanumeric() || also(c))
    };
    let refused = || {
        let inside = super::diagnostic::shown(inside);
        Err(format!("'${{{inside}}}' is not a reference"))
    };
    match inside.split_once(':') {
        Some(("param", name)) if name_is(name, |c| c == '_' || c == '-') => {
            Ok(Piece::Param(name.to_owned()))
        }
        Some(("env", variable)) => {
            let (name, default) = match variable.split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (variable, None),
            };
            if name_is(name, |c| c == '_') {
                Ok(Piece::Env(name.to_owned(), default))
            } else {
                refused()
            }
        }
        _ => refused(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_splits_at_its_references() {
        let text = |t: &str| Piece::Text(t.to_owned());
        assert_eq!(pieces("plain"), Ok(vec![text("plain")]));
        assert_eq!(pieces(""), Ok(vec![text("")]));
        assert_eq!(pieces("${param:x}"), Ok(vec![Piece::Param("x".to_owned())]));
        assert_eq!(
            pieces("a ${env:B_C} d"),
            Ok(vec![
                text("a "),
                Piece::Env("B_C".to_owned(), None),
                text(" d")
            ])
        );
        let or = |default: &str| Ok(vec![Piece::Env("A".to_owned(), Some(default.to_owned()))]);
        assert_eq!(pieces("${env:A:-http://w:1}"), or("http://w:1"));
        assert_eq!(pieces("${env:A:-}"), or(""));
        assert_eq!(pieces("cost $5 $${x}"), Ok(vec![text("cost $5 ${x}")]));
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in [
            "${x}",
            "${param:}",
            "${param:a",
            "${file:/etc/passwd}",
            "${env:A B}",
            "${env::-x}",
            "${param:a:-x}",
            "${}",
        ] {
            assert!(pieces(text).is_err(), "{text}");
        }
    }
}
