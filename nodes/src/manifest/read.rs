//! Typed reading of trees: each `read_*` reports what does not fit, with position and mend, and reading goes on.

use serde_json::Value;

use super::diagnostic::{At, Report, nearest, shown};
use super::tree::{Data, Key, Tree};

/// A value with the position where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) at: At,
}

/// The entries of a map whose keys are known.
pub(crate) struct Fields<'a> {
    what: &'static str,
    at: At,
    entries: &'a [(Key, Tree)],
}

impl<'a> Fields<'a> {
    /// Reads a map, and reports keys that are not among `known`.
    pub(crate) fn read(
        tree: &'a Tree,
        what: &'static str,
        known: &[&str],
        report: &mut Report,
    ) -> Option<Self> {
        let Data::Map(entries) = &tree.data else {
            wrong_type(tree, what, "a map", report);
            return None;
        };
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                report.error(
                    key.at,
                    "unknown-key",
                    format!("{what} has no key '{}'", shown(&key.name)),
                    nearest(&key.name, known.iter().copied()),
                );
            }
        }
        Some(Self {
            what,
            at: tree.at,
            entries,
        })
    }

    /// The value of a key; an explicit null counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Tree> {
        self.entries
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, value)| value)
            .filter(|value| value.data != Data::Null)
    }

    /// The value of a key that must be there.
    pub(crate) fn require(&self, name: &str, mend: &str, report: &mut Report) -> Option<&'a Tree> {
        let found = self.get(name);
        if found.is_none() {
            report.error(
                self.at,
                "missing-key",
                format!("{} lacks '{name}'", self.what),
                mend,
            );
        }
        found
    }

    pub(crate) const fn at(&self) -> At {
        self.at
    }
}

fn wrong_type(tree: &Tree, what: &str, expected: &str, report: &mut Report) {
    report.error(
        tree.at,
        "type",
        format!("{what} is {}", tree.what()),
        format!("write {expected}"),
    );
}

/// A list; absent reads as empty.
pub(crate) fn read_list<'a>(
    tree: Option<&'a Tree>,
    what: &str,
    most: usize,
    report: &mut Report,
) -> &'a [Tree] {
    let Some(tree) = tree else { return &[] };
    let Data::List(items) = &tree.data else {
        wrong_type(tree, what, "a list", report);
        return &[];
    };
    if items.len() > most {
        report.error(
            tree.at,
            "limit",
            format!("{what} has {} entries", items.len()),
            format!("keep it to {most}"),
        );
        return &items[..most];
    }
    items
}

/// A text.
pub(crate) fn read_text(tree: &Tree, what: &str, report: &mut Report) -> Option<Located<String>> {
    let Data::Text(text) = &tree.data else {
        let hint = match &tree.data {
            Data::Number(_) | Data::Bool(_) => "text: put it in quotes",
            _ => "text",
        };
        wrong_type(tree, what, hint, report);
        return None;
    };
    Some(Located {
        value: text.clone(),
        at: tree.at,
    })
}

/// A boolean.
pub(crate) fn read_bool(tree: &Tree, what: &str, report: &mut Report) -> Option<bool> {
    let Data::Bool(value) = &tree.data else {
        wrong_type(tree, what, "true or false", report);
        return None;
    };
    Some(*value)
}

/// A finite number.
pub(crate) fn read_number(tree: &Tree, what: &str, report: &mut Report) -> Option<f64> {
    let Data::Number(value) = &tree.data else {
        wrong_type(tree, what, "a number", report);
        return None;
    };
    value.as_f64()
}

/// A whole number within bounds, both included.
pub(crate) fn read_integer(
    tree: &Tree,
    what: &str,
    least: u64,
    most: u64,
    report: &mut Report,
) -> Option<u64> {
    let value = match &tree.data {
        Data::Number(value) => value.as_u64(),
        _ => None,
    };
    let value = value.filter(|value| (least..=most).contains(value));
    if value.is_none() {
        report.error(
            tree.at,
            "value",
            format!("{what} is {}", brief(tree)),
            format!("write a whole number from {least} to {most}"),
        );
    }
    value
}

/// One of a set of names.
pub(crate) fn read_choice<T: Copy>(
    tree: &Tree,
    what: &str,
    choices: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    let text = read_text(tree, what, report)?;
    let found = choices
        .iter()
        .find(|(name, _)| *name == text.value)
        .map(|(_, value)| *value);
    if found.is_none() {
        report.error(
            text.at,
            "value",
            format!("{what} is '{}'", shown(&text.value)),
            nearest(&text.value, choices.iter().map(|(name, _)| *name)),
        );
    }
    found
}

/// An id: `[a-z][a-z0-9_-]*`, at most 64 characters.
pub(crate) fn read_id(tree: &Tree, what: &str, report: &mut Report) -> Option<Located<String>> {
    let text = read_text(tree, what, report)?;
    if !is_id(&text.value) {
        report.error(
            text.at,
            "id",
            format!("'{}' is not usable as {what}", shown(&text.value)),
            "start with a to z, go on with a to z, 0 to 9, _ or -, at most 64 characters",
        );
        return None;
    }
    Some(text)
}

/// Whether a text is usable as an id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

/// A value as it was written, short enough for a message.
pub(crate) fn brief(tree: &Tree) -> String {
    match &tree.data {
        Data::Text(text) => format!("'{}'", shown(text)),
        Data::List(_) | Data::Map(_) | Data::Null => tree.what().to_owned(),
        _ => brief_json(&tree.to_json()),
    }
}

/// A JSON value, short enough for a message.
pub(crate) fn brief_json(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", shown(text)),
        other => shown(&other.to_string()),
    }
}
