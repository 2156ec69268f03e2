//! A YAML or JSON text as a tree in which every value knows its position.
//!
//! Sizes are bounded before anything is built: the text, its nesting, its nodes, and what aliases may expand to. Only `true`
//! and `false` are booleans. Nothing here knows what a manifest is.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Options, Spanned};

use super::diagnostic::{At, Report, shown};

/// Longest text that is read, in bytes: 256 nodes with long parameters fit a few times over.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;

/// Deepest nesting: a manifest needs about 8, and each level costs stack.
const DEPTH_MAX: usize = 32;

/// Most values, those that aliases repeat included.
const NODES_MAX: usize = 50_000;

/// A value with its position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) at: At,
    /// Characters that a text takes in the source, quotes included; tells plain from quoted.
    pub(crate) width: u64,
    pub(crate) data: Data,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
}

/// A key with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) at: At,
}

impl Tree {
    /// Reads a text. What is wrong goes to the report.
    pub(crate) fn read(text: &str, report: &mut Report) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            report.error(
                At { line: 1, column: 1 },
                "too-large",
                format!("the text has {} bytes", text.len()),
                format!("keep it to {TEXT_BYTES_MAX}"),
            );
            return None;
        }
        match serde_saphyr::from_str_with_options::<Self>(text, options()) {
            Ok(tree) => Some(tree),
            Err(error) => {
                syntax(&error, report);
                None
            }
        }
    }

    /// The same as JSON; positions are lost.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(value) => Value::Number(value.clone()),
            Data::Text(value) => Value::String(value.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Data::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.name.clone(), value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The position of what `path` (such as `queue.frames` or `items[2].name`) names, or of the nearest value around it.
    pub(crate) fn locate(&self, path: &str) -> At {
        self.follow(path).1
    }

    /// As [`Tree::locate`], but the position of the last key rather than of its value.
    pub(crate) fn locate_key(&self, path: &str) -> At {
        self.follow(path).0
    }

    /// The positions of the key and of the value to which a path leads.
    fn follow(&self, path: &str) -> (At, At) {
        let mut here = (self.at, self);
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match &here.1.data {
                Data::Map(entries) => entries
                    .iter()
                    .find(|(key, _)| key.name == step)
                    .map(|(key, value)| (key.at, value)),
                Data::List(items) => step
                    .trim_end_matches(']')
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (item.at, item)),
                _ => None,
            };
            match next {
                Some(next) => here = next,
                None => break,
            }
        }
        (here.0, here.1.at)
    }

    /// What the value is, for messages.
    pub(crate) const fn what(&self) -> &'static str {
        match &self.data {
            Data::Null => "empty",
            Data::Bool(_) => "a boolean",
            Data::Number(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * NODES_MAX,
            max_aliases: 256,
            max_anchors: 256,
            max_recorded_anchor_events: NODES_MAX,
            max_recorded_anchor_bytes: TEXT_BYTES_MAX,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_documents: 1,
            max_nodes: NODES_MAX,
            max_total_scalar_bytes: 2 * TEXT_BYTES_MAX,
            max_merge_keys: 256,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES_MAX,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 256,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
        emit_comments: false,
    }
}

fn too_much(at: At, report: &mut Report) {
    report.error(
        at,
        "too-large",
        "the text nests or repeats more than is read",
        "write it with less nesting and fewer repeated aliases",
    );
}

fn syntax(error: &serde_saphyr::Error, report: &mut Report) {
    use serde_saphyr::Error as E;
    let at = error.location().map_or(At { line: 1, column: 1 }, position);
    // The library ends its texts with the position, which stands before them here.
    let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or(text);
    let (rule, mend) = match error.without_snippet() {
        E::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or_default();
            let message = format!("key '{}' is already there", shown(key));
            report.error(at, "duplicate-key", message, "keep one of the two");
            return;
        }
        E::Budget {
            breach: BudgetBreach::Documents { .. },
            ..
        }
        | E::MultipleDocuments { .. } => {
            let message = "a second document begins";
            report.error(at, "syntax", message, "keep one document to a file");
            return;
        }
        E::Budget { .. }
        | E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. }
        | E::AliasReplayCounterOverflow { .. } => return too_much(at, report),
        // Some breaches come wrapped, and only their text tells.
        _ if text.contains("limits breached") || text.contains("limit exceeded") => {
            return too_much(at, report);
        }
        _ => ("syntax", "write valid YAML 1.2 or JSON, one document"),
    };
    report.error(at, rule, shown(text), mend);
}

fn position(location: Location) -> At {
    let clamp = |value: u64| u32::try_from(value.max(1)).unwrap_or(u32::MAX);
    At {
        line: clamp(location.line()),
        column: clamp(location.column()),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Data>::deserialize(deserializer)?;
        Ok(Self {
            at: position(spanned.referenced),
            width: spanned.referenced.span().len(),
            data: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Data, E> {
        Number::from_f64(value)
            .map(Data::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Data, E> {
        Ok(Data::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Data, E> {
        Ok(Data::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Data::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Data, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let key = Key {
                at: position(key.referenced),
                name: key.value,
            };
            entries.push((key, access.next_value()?));
        }
        Ok(Data::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tree, String> {
        let mut report = Report::new("t".into());
        Tree::read(text, &mut report).ok_or_else(|| report.finish().to_string())
    }

    #[test]
    fn values_and_keys_know_where_they_are() {
        let tree = read("a: 1\nb:\n  - {c: no, d: [x]}\n").expect("valid");
        assert_eq!(
            tree.to_json(),
            serde_json::json!({"a": 1, "b": [{"c": "no", "d": ["x"]}]})
        );
        assert_eq!(tree.locate("a"), At { line: 1, column: 4 });
        assert_eq!(tree.locate("b[0].c"), At { line: 3, column: 9 });
        assert_eq!(
            tree.locate("b[0].d[0]"),
            At {
                line: 3,
                column: 17
            }
        );
        assert_eq!(tree.locate("b[0].missing"), At { line: 3, column: 5 });
        let Data::Map(entries) = &tree.data else {
            panic!("a map")
        };
        assert_eq!(entries[1].0.at, At { line: 2, column: 1 });
    }

    #[test]
    fn json_reads_the_same() {
        let tree = read("{\"a\": [1.5, null, true, \"x\"],\n\t\"b\": {}}").expect("valid");
        assert_eq!(
            tree.to_json(),
            serde_json::json!({"a": [1.5, null, true, "x"], "b": {}})
        );
        assert_eq!(tree.locate("b").line, 2);
    }

    #[test]
    fn a_text_that_is_too_long_is_not_read() {
        let text = format!("a: {}", "x".repeat(TEXT_BYTES_MAX));
        assert!(read(&text).expect_err("too long").contains("too-large"));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
        for (new, old) in ('b'..='i').zip('a'..='h') {
            text.push_str(&format!(
                "{new}: &{new} [{}]\n",
                vec![format!("*{old}"); 9].join(",")
            ));
        }
        let error = read(&text).expect_err("a bomb");
        assert!(error.contains("too-large"), "{error}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = "[".repeat(10_000);
        assert!(read(&text).is_err());
        let text = format!("{}x", "- ".repeat(5_000));
        assert!(read(&text).is_err());
    }
}
