//! Pipelines that refer to each other in a circle, or too deep, across gateways.
//!
//! A gateway that is asked for a description is told the path that leads to it; it looks for itself in it, and for what is on it in
//! the answers that it gets. At run time the hop count guards what could not be asked.

use tidegate_nodes::{Code, Error};
use tidegate_remote::config::HOP_COUNT_MAX;
use tidegate_remote::{Reference, Step};

/// Whether the path's last step is on it already.
///
/// # Errors
/// `manifest_cycle`, with the whole circle.
pub(crate) fn check_last(path: &[Step]) -> Result<(), Error> {
    let Some((last, before)) = path.split_last() else {
        return Ok(());
    };
    match before.iter().position(|step| step.is(last)) {
        Some(start) => Err(circle(&path[start..])),
        None => Ok(()),
    }
}

/// Whether what the path's last step refers to leads back to the path, or deeper than hops may nest.
///
/// # Errors
/// `manifest_cycle`, with the whole circle or the whole path.
pub(crate) fn check_references(path: &[Step], references: &[Reference]) -> Result<(), Error> {
    let mut path = path.to_vec();
    walk(&mut path, references)
}

fn walk(path: &mut Vec<Step>, references: &[Reference]) -> Result<(), Error> {
    if !references.is_empty() {
        check_depth(path)?;
    }
    for found in references.iter().flat_map(|reference| &reference.found) {
        if !found.problem.is_empty() {
            continue;
        }
        path.push(Step {
            gateway_id: found.gateway_id.clone(),
            pipeline: found.pipeline.clone(),
            endpoint: found.endpoint.clone(),
        });
        check_last(path)?;
        walk(path, &found.references)?;
        path.pop();
    }
    Ok(())
}

/// Whether the path's last step may refer to anything.
///
/// # Errors
/// `manifest_cycle`, with the whole path.
pub(crate) fn check_depth(path: &[Step]) -> Result<(), Error> {
    if path.len() <= HOP_COUNT_MAX as usize {
        return Ok(());
    }
    let text = format!(
        "remote hops nest deeper than {HOP_COUNT_MAX}: {}; join some of these pipelines into one",
        shown(path)
    );
    Err(Error::new(Code::ManifestCycle, text))
}

fn circle(steps: &[Step]) -> Error {
    let text = format!(
        "pipelines refer to each other in a circle: {}; remove one of these references",
        shown(steps)
    );
    Error::new(Code::ManifestCycle, text)
}

fn shown(steps: &[Step]) -> String {
    let steps: Vec<_> = steps.iter().map(Step::to_string).collect();
    steps.join(" -> ")
}

#[cfg(test)]
mod tests {
    use tidegate_remote::Referent;

    use super::*;

    fn step(gateway: &str, pipeline: &str) -> Step {
        Step {
            gateway_id: gateway.to_owned(),
            pipeline: pipeline.to_owned(),
            endpoint: String::new(),
        }
    }

    fn reference(gateway: &str, pipeline: &str, references: Vec<Reference>) -> Reference {
        let found = Referent {
            endpoint: format!("http://{gateway}:1"),
            gateway_id: gateway.to_owned(),
            pipeline: pipeline.to_owned(),
            references,
            ..Referent::default()
        };
        Reference {
            found: vec![found],
            ..Reference::default()
        }
    }

    #[test]
    fn a_circle_is_shown_whole_and_without_what_leads_to_it() {
        let back = reference("a", "p", Vec::new());
        let there = reference("b", "q", vec![back]);
        let error = check_references(&[step("c", "x"), step("a", "p")], &[there])
            .expect_err("a circle")
            .message;
        assert_eq!(
            error,
            "pipelines refer to each other in a circle: a/p -> b/q at http://b:1 -> a/p at http://a:1; remove one of these references"
        );
    }

    #[test]
    fn the_same_gateway_twice_with_other_pipelines_is_no_circle() {
        let back = reference("a", "other", Vec::new());
        let there = reference("b", "q", vec![back]);
        assert_eq!(check_references(&[step("a", "p")], &[there]), Ok(()));
    }

    #[test]
    fn ten_nested_hops_are_taken_and_eleven_are_not() {
        let nested = |hops: usize| {
            let mut chain = Vec::new();
            for hop in (0..hops).rev() {
                chain = vec![reference(&format!("g{hop}"), "p", chain)];
            }
            check_references(&[step("me", "p")], &chain)
        };
        assert_eq!(nested(10), Ok(()));
        let error = nested(11).expect_err("too deep");
        assert_eq!(error.code, Code::ManifestCycle);
        assert!(
            error.message.contains("deeper than 10: me/p -> g0/p"),
            "{error}"
        );
    }
}
