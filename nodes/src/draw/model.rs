//! What is drawn: boxes and arrows, by number.

use std::collections::HashMap;

use crate::compile::{Description, HopDescription};
use crate::plan::Placement;

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) title: String,
    /// The second line; may be empty.
    pub(super) detail: String,
    pub(super) shape: Shape,
}

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Input,
    Output,
    Node(Placement),
    Inserted,
}

/// An arrow from one box to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    /// What flows, and from which port where there are several.
    pub(super) label: String,
    /// Whether a queue stands at its end.
    pub(super) queued: bool,
}

/// The picture's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) items: Vec<Item>,
    pub(super) arrows: Vec<Arrow>,
    /// What interrupts, and the boxes that it flushes.
    pub(super) interrupts: Vec<(usize, usize)>,
}

impl Model {
    /// Numbers what a description lists; an edge whose end is not listed is left out.
    pub(super) fn of(description: &Description) -> Self {
        let mut model = Self::default();
        let mut numbers = HashMap::new();
        for input in &description.inputs {
            numbers.insert(input.name.as_str(), model.items.len());
            model.item(&input.name, "input", Shape::Input);
        }
        for hop in &description.hops {
            numbers.insert(hop.id.as_str(), model.items.len());
            let shape = if hop.inserted {
                Shape::Inserted
            } else {
                Shape::Node(hop.placement)
            };
            model.item(&hop.id, &hop.node_type, shape);
        }
        for output in &description.outputs {
            numbers.insert(output.name.as_str(), model.items.len());
            model.item(&output.name, "output", Shape::Output);
        }
        let number = |name: &str| numbers.get(name).copied();
        for edge in &description.edges {
            if let (Some(from), Some(to)) = (number(&edge.from.node), number(&edge.to.node)) {
                model.arrows.push(Arrow {
                    from,
                    to,
                    label: label(description, &edge.from.node, &edge.from.port),
                    queued: edge.queue.is_some(),
                });
            }
        }
        if let Some(interrupt) = &description.interrupt {
            let on = interrupt.on.as_deref().unwrap_or_default();
            let on = on.split('.').next().and_then(number);
            let flushed = interrupt.flush.iter().filter_map(|hop| number(hop));
            model.interrupts = on
                .into_iter()
                .flat_map(|on| flushed.clone().map(move |hop| (on, hop)))
                .collect();
        }
        model
    }

    fn item(&mut self, title: &str, detail: &str, shape: Shape) {
        self.items.push(Item {
            title: title.to_owned(),
            detail: detail.to_owned(),
            shape,
        });
    }
}

fn label(description: &Description, node: &str, port: &str) -> String {
    let of_hop = |hop: &HopDescription| {
        let found = hop.outputs.iter().find(|output| output.name == port)?;
        let format = found.format.clone().unwrap_or_default();
        Some(if hop.outputs.len() > 1 {
            format!("{port} {format}")
        } else {
            format
        })
    };
    if let Some(hop) = description.hops.iter().find(|hop| hop.id == node) {
        return of_hop(hop).unwrap_or_default();
    }
    let from_input = description.edges.iter().find(|edge| edge.from.node == node);
    // What flows from an input is what its first consumer receives: a client's conversion may stand there.
    from_input
        .and_then(|edge| {
            let hop = description.hops.iter().find(|hop| hop.id == edge.to.node)?;
            let port = hop.inputs.iter().find(|port| port.name == edge.to.port)?;
            port.format.clone()
        })
        .or_else(|| {
            let input = description.inputs.iter().find(|input| input.name == node)?;
            input.format.clone()
        })
        .unwrap_or_default()
}
