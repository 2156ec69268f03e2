//! The shape of a running session as the admin API shows it: its plan, and the conversions made for its clients.

use serde_json::{Value, json};
use tidegate_nodes::graph::{HopStats, Role};
use tidegate_nodes::plan::{Queue, Source, Target};
use tidegate_nodes::{Plan, StreamFormat};

/// `inputs`, `outputs` and `edges`, as for a pipeline.
pub(crate) fn shape(plan: &Plan, stats: &[HopStats]) -> Value {
    let port = |name: &str, kind, format: &StreamFormat| json!({ "name": name, "kind": kind, "format": format.to_string() });
    let inputs: Vec<_> = plan
        .inputs
        .iter()
        .map(|p| port(&p.name, p.kind, &p.format))
        .collect();
    let outputs: Vec<_> = plan
        .outputs
        .iter()
        .map(|output| {
            let mut value = port(&output.name, output.kind, &output.format);
            if let Some(seat) = output.seat {
                value["for"] = json!(plan.inputs[seat].name);
            }
            if output.paced {
                value["paced"] = json!(true);
            }
            value
        })
        .collect();
    json!({ "inputs": inputs, "outputs": outputs, "edges": edges(plan, stats) })
}

fn edges(plan: &Plan, stats: &[HopStats]) -> Vec<Value> {
    let mut edges = Vec::new();
    for edge in &plan.edges {
        let from = match edge.from {
            // What the plan calls the input comes out of the client's last conversion.
            Source::Input(input) => {
                let name = &plan.inputs[input].name;
                end(conversions(name, stats).last().unwrap_or(name), "")
            }
            Source::Hop { hop, port } => {
                end(&plan.hops[hop].id, &plan.hops[hop].outputs[port].name)
            }
        };
        let (to, queued) = match edge.to {
            Target::Output(output) => {
                let name = &plan.outputs[output].name;
                let first = conversions(name, stats).next();
                // A listener's queue is behind its conversions.
                (end(first.unwrap_or(name), ""), first.is_none())
            }
            Target::Hop { hop, port } => {
                let hop = &plan.hops[hop];
                let queued = hop.placement != tidegate_nodes::Placement::InPlace;
                (end(&hop.id, &hop.inputs[port].name), queued)
            }
        };
        edges.push(json!({ "from": from, "to": to, "queue": queued.then(|| queue(&edge.queue)) }));
    }
    for input in &plan.inputs {
        chain(
            &mut edges,
            std::iter::once(input.name.as_str()).chain(conversions(&input.name, stats)),
            &Value::Null,
        );
    }
    for output in &plan.outputs {
        let name = output.name.as_str();
        chain(
            &mut edges,
            conversions(name, stats).chain(std::iter::once(name)),
            &queue(&output.queue),
        );
    }
    edges
}

/// Ids of the conversions at an input or output, in the order in which frames pass them.
fn conversions<'a>(port: &'a str, stats: &'a [HopStats]) -> impl Iterator<Item = &'a str> {
    stats
        .iter()
        .filter(|row| row.role == Role::Conversion)
        .filter_map(move |row| {
            let rest = row.id.strip_prefix(port)?;
            rest.starts_with(':').then_some(&*row.id)
        })
}

/// Edges from each name to the next; the last one has this queue.
fn chain<'a>(edges: &mut Vec<Value>, names: impl Iterator<Item = &'a str>, last: &Value) {
    let mut names = names.peekable();
    let mut before: Option<&str> = None;
    while let Some(name) = names.next() {
        if let Some(before) = before {
            let queue = names.peek().map_or(last, |_| &Value::Null);
            edges.push(json!({ "from": end(before, ""), "to": end(name, ""), "queue": queue }));
        }
        before = Some(name);
    }
}

fn end(node: &str, port: &str) -> Value {
    json!({ "node": node, "port": port })
}

fn queue(queue: &Queue) -> Value {
    json!({
        "frames": queue.frames,
        "bytes": queue.bytes,
        "age_ms": queue.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        "when_full": queue.when_full,
    })
}
