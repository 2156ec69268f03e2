//! Edges: `a.port -> b.port`, chains of such, or a map with the queue's bounds.

use std::time::Duration;

use super::diagnostic::{At, Report, shown};
use super::read::{Fields, brief, is_id, read_choice, read_integer, read_text};
use super::tree::{Data, Tree};
use super::units::{parse_duration, parse_size};
use crate::plan::{Queue, WhenFull};

/// Keys of an edge written as a map.
pub(super) const EDGE_KEYS: &[&str] = &["from", "to", "queue"];
/// Keys of a queue.
pub(super) const QUEUE_KEYS: &[&str] = &["frames", "bytes", "age", "when_full"];

/// Most frames of a queue: an hour of 20 ms frames would be 180,000, and no live stream is served by that.
const FRAMES_MAX: u64 = 65_536;
/// Most bytes of a queue.
const BYTES_MAX: u64 = 1 << 30;
/// Longest age.
const AGE_MAX: Duration = Duration::from_secs(3_600);

const WHEN_FULL: [(&str, WhenFull); 3] = [
    ("block", WhenFull::Block),
    ("drop_oldest", WhenFull::DropOldest),
    ("drop_newest", WhenFull::DropNewest),
];

/// One end of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndDecl {
    pub(crate) node: String,
    pub(crate) port: Option<String>,
    pub(crate) at: At,
}

impl std::fmt::Display for EndDecl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.node)?;
        match &self.port {
            Some(port) => write!(f, ".{port}"),
            None => Ok(()),
        }
    }
}

/// Bounds of a queue with their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueDecl {
    pub(crate) queue: Queue,
    pub(crate) at: At,
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EdgeDecl {
    pub(crate) from: EndDecl,
    pub(crate) to: EndDecl,
    pub(crate) queue: Option<QueueDecl>,
}

/// Reads one entry of `edges`; a chain gives several edges. What it names where it cannot be read is `loose`.
pub(super) fn read(
    tree: &Tree,
    edges: &mut Vec<EdgeDecl>,
    loose: &mut Vec<EndDecl>,
    report: &mut Report,
) {
    match &tree.data {
        Data::Text(text) => chain(tree, text, (edges, loose), report),
        Data::Map(_) => map(tree, (edges, loose), report),
        _ => report.error(
            tree.at,
            "type",
            format!("an edge is {}", tree.what()),
            "write 'a -> b' or {from: a, to: b, queue: {…}}",
        ),
    }
}

type Found<'a> = (&'a mut Vec<EdgeDecl>, &'a mut Vec<EndDecl>);

fn chain(tree: &Tree, text: &str, (edges, loose): Found<'_>, report: &mut Report) {
    if !text.contains("->") {
        report.error(
            tree.at,
            "edge",
            format!("{} joins nothing", brief(tree)),
            "write 'from -> to', such as 'mic -> vad'",
        );
        loose.extend(named(text, tree.at));
        return;
    }
    let mut previous: Option<EndDecl> = None;
    let mut broken = false;
    let mut offset = 0;
    for part in text.split("->") {
        let lead = part.chars().take_while(|c| c.is_whitespace()).count();
        let at = within(tree, text, offset + lead);
        offset += part.chars().count() + 2;
        let end = parse_end(part.trim(), at, report);
        if end.is_none() {
            loose.extend(named(part, at));
        }
        match (previous.take(), end.clone()) {
            (Some(from), Some(to)) => edges.push(EdgeDecl {
                from,
                to,
                queue: None,
            }),
            // The first has nothing before it, and what is beside a part that cannot be read is joined to that.
            (lone, other) => loose.extend(lone.or(other).filter(|_| end.is_none() || broken)),
        }
        broken = end.is_none();
        previous = end;
    }
}

/// What a text that is no edge seems to name.
fn named(text: &str, at: At) -> impl Iterator<Item = EndDecl> {
    let of_name = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-' | '.');
    let words = text.split(move |c| !of_name(c));
    words.filter_map(move |word| split_end(word, at))
}

/// The position of the character at `offset` of a text, where its source is as wide as the text itself.
fn within(tree: &Tree, text: &str, offset: usize) -> At {
    let length = text.chars().count();
    let width = usize::try_from(tree.width).unwrap_or(0);
    let quote = match width.checked_sub(length) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return tree.at,
    };
    At {
        column: tree
            .at
            .column
            .saturating_add(u32::try_from(offset + quote).unwrap_or(0)),
        ..tree.at
    }
}

fn map(tree: &Tree, (edges, loose): Found<'_>, report: &mut Report) {
    let Some(fields) = Fields::read(tree, "an edge", EDGE_KEYS, report) else {
        return;
    };
    let from = fields
        .require("from", "say where it begins, such as 'from: mic'", report)
        .and_then(|tree| end(tree, "'from'", report));
    let to = fields
        .require("to", "say where it ends, such as 'to: vad'", report)
        .and_then(|tree| end(tree, "'to'", report));
    let queue = fields.get("queue").and_then(|tree| queue(tree, report));
    match (from, to) {
        (Some(from), Some(to)) => edges.push(EdgeDecl { from, to, queue }),
        (lone, other) => loose.extend(lone.or(other)),
    }
}

/// Reads one end, `node` or `node.port`.
pub(super) fn end(tree: &Tree, what: &str, report: &mut Report) -> Option<EndDecl> {
    let text = read_text(tree, what, report)?;
    parse_end(text.value.trim(), text.at, report)
}

fn parse_end(text: &str, at: At, report: &mut Report) -> Option<EndDecl> {
    let end = split_end(text, at);
    if end.is_none() {
        report.error(
            at,
            "edge",
            format!("'{}' names no port", shown(text)),
            "write an input, an output, 'node' or 'node.port'",
        );
    }
    end
}

fn split_end(text: &str, at: At) -> Option<EndDecl> {
    let (node, port) = match text.split_once('.') {
        Some((node, port)) => (node, Some(port)),
        None => (text, None),
    };
    (is_id(node) && port.is_none_or(is_id)).then(|| EndDecl {
        node: node.to_owned(),
        port: port.map(str::to_owned),
        at,
    })
}

fn queue(tree: &Tree, report: &mut Report) -> Option<QueueDecl> {
    let fields = Fields::read(tree, "a queue", QUEUE_KEYS, report)?;
    let mut queue = Queue::default();
    if let Some(tree) = fields.get("frames")
        && let Some(frames) = read_integer(tree, "'frames'", 1, FRAMES_MAX, report)
    {
        queue.frames = u32::try_from(frames).unwrap_or(queue.frames);
    }
    if let Some(tree) = fields.get("bytes") {
        queue.bytes = bytes(tree, report).unwrap_or(queue.bytes);
    }
    if let Some(tree) = fields.get("age") {
        queue.age = age(tree, report);
    }
    if let Some(tree) = fields.get("when_full") {
        queue.when_full =
            read_choice(tree, "'when_full'", &WHEN_FULL, report).unwrap_or(queue.when_full);
    }
    Some(QueueDecl { queue, at: tree.at })
}

fn bytes(tree: &Tree, report: &mut Report) -> Option<u64> {
    let size = match &tree.data {
        Data::Text(text) => parse_size(text),
        _ => None,
    };
    let size = size.filter(|size| (1..=BYTES_MAX).contains(size));
    if size.is_none() {
        let message = format!("'bytes' is {}", brief(tree));
        report.error(
            tree.at,
            "size",
            message,
            "write a size up to 1GiB with its unit, such as 64KiB or 1MiB",
        );
    }
    size
}

fn age(tree: &Tree, report: &mut Report) -> Option<Duration> {
    let age = match &tree.data {
        Data::Text(text) => parse_duration(text),
        _ => None,
    };
    let age = age.filter(|age| !age.is_zero() && *age <= AGE_MAX);
    if age.is_none() {
        let message = format!("'age' is {}", brief(tree));
        report.error(
            tree.at,
            "duration",
            message,
            "write a time up to 1h with its unit, such as 500ms or 2s",
        );
    }
    age
}
