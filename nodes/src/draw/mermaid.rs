//! A pipeline as Mermaid text (`flowchart LR`).

use std::fmt::Write as _;

use super::model::{Model, Shape};
use crate::compile::Description;
use crate::plan::Placement;

/// The picture of a pipeline as Mermaid text, inserted conversions with a dashed outline.
#[must_use]
pub fn to_mermaid(description: &Description) -> String {
    let model = Model::of(description);
    let mut text = String::from("flowchart LR\n");
    for (number, item) in model.items.iter().enumerate() {
        let (open, close, class) = match item.shape {
            Shape::Input | Shape::Output => ("([", "])", "port"),
            Shape::Inserted => ("(", ")", "inserted"),
            Shape::Node(Placement::InPlace) => ("[", "]", "node"),
            Shape::Node(Placement::Offload) => ("[[", "]]", "offload"),
            Shape::Node(Placement::Remote) => ("{{", "}}", "remote"),
        };
        let title = escaped(&item.title);
        let label = match item.shape {
            Shape::Input | Shape::Output => title,
            _ => format!("{title}<br/><small>{}</small>", escaped(&item.detail)),
        };
        let _ = writeln!(text, "  n{number}{open}\"{label}\"{close}:::{class}");
    }
    for arrow in &model.arrows {
        let line = if arrow.queued { "==>" } else { "-->" };
        let _ = match arrow.label.as_str() {
            "" => writeln!(text, "  n{} {line} n{}", arrow.from, arrow.to),
            label => writeln!(
                text,
                "  n{} {line}|\"{}\"| n{}",
                arrow.from,
                escaped(label),
                arrow.to
            ),
        };
    }
    for (on, flushed) in &model.interrupts {
        let _ = writeln!(text, "  n{on} -. interrupt .-> n{flushed}");
    }
    text.push_str("  classDef inserted stroke-dasharray:4 3\n");
    text.push_str("  classDef remote stroke-width:2px\n");
    text
}

/// Mermaid reads `#name;` as a character, and quotes end a label.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '&' => out.push_str("#amp;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '`' => out.push_str("#96;"),
            '\\' => out.push_str("#92;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
