//! Which port of a pipeline a foreign interface means, whose clients know "the sound" or "the transcript" and not the names of ports.
//!
//! An output with the role that is wanted is it. Otherwise it is the only port of its kind that has no other role.

use tidegate_media::Kind;
use tidegate_nodes::compile::{Description, PortDescription};
use tidegate_nodes::plan::OutputRole;
use tidegate_nodes::{Code, Error};

/// The input of a kind. `interface` is who asks, as its users call it.
///
/// # Errors
/// There is none, or more than one.
pub(crate) fn input<'a>(
    pipeline: &'a Description,
    kind: Kind,
    interface: &str,
) -> Result<&'a str, Error> {
    let named = format!("{kind} input");
    only(
        pipeline,
        "inputs",
        &pipeline.inputs,
        kind,
        &named,
        interface,
    )
}

/// The output of a kind without a role: what a listener hears, or what a question is answered with.
///
/// # Errors
/// There is none, or more than one.
pub(crate) fn output<'a>(
    pipeline: &'a Description,
    kind: Kind,
    interface: &str,
) -> Result<&'a str, Error> {
    let named = format!("{kind} output");
    only(
        pipeline,
        "outputs",
        &pipeline.outputs,
        kind,
        &named,
        interface,
    )
}

/// The output with a role.
///
/// # Errors
/// No output has it, and which one is meant cannot be told otherwise.
pub(crate) fn role<'a>(
    pipeline: &'a Description,
    role: OutputRole,
    interface: &str,
) -> Result<&'a str, Error> {
    let mut outputs = pipeline.outputs.iter();
    if let Some(output) = outputs.find(|output| output.role == Some(role)) {
        return Ok(&output.name);
    }
    let (kind, name) = (role.kind(), role.as_str());
    let named = format!("output with 'role: {name}'");
    only(
        pipeline,
        "outputs",
        &pipeline.outputs,
        kind,
        &named,
        interface,
    )
}

fn only<'a>(
    pipeline: &Description,
    side: &str,
    ports: &'a [PortDescription],
    kind: Kind,
    named: &str,
    interface: &str,
) -> Result<&'a str, Error> {
    let fits = |port: &&PortDescription| port.kind == Some(kind) && port.role.is_none();
    let mut fitting = ports.iter().filter(fits);
    if let (Some(port), None) = (fitting.next(), fitting.next()) {
        return Ok(&port.name);
    }
    let kind_of = |port: &PortDescription| port.kind.map_or("unknown", Kind::as_str);
    let listed = ports
        .iter()
        .map(|port| format!("{} ({})", port.name, kind_of(port)));
    let listed = listed.collect::<Vec<_>>().join(", ");
    let (pipeline, listed) = (
        &pipeline.name,
        if listed.is_empty() { "none" } else { &listed },
    );
    let text = format!(
        "pipeline '{pipeline}' cannot serve {interface}, which needs exactly one {named}; its {side} are: {listed}"
    );
    Err(Error::new(Code::Incompatible, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, kind: Kind, role: Option<OutputRole>) -> PortDescription {
        PortDescription {
            name: name.to_owned(),
            kind: Some(kind),
            format: None,
            seat: None,
            role,
        }
    }

    fn agent(outputs: Vec<PortDescription>) -> Description {
        Description {
            name: "agent".to_owned(),
            description: String::new(),
            digest: String::new(),
            parameters: Default::default(),
            inputs: vec![port("mic", Kind::Audio, None)],
            outputs,
            interrupt: None,
            hops: Vec::new(),
            edges: Vec::new(),
        }
    }

    #[test]
    fn the_only_port_of_a_kind_is_meant() {
        let agent = agent(vec![port("speaker", Kind::Audio, None)]);
        assert_eq!(input(&agent, Kind::Audio, "a call"), Ok("mic"));
        assert_eq!(output(&agent, Kind::Audio, "a call"), Ok("speaker"));
    }

    #[test]
    fn a_role_says_which_of_several_is_meant() {
        let agent = agent(vec![
            port("heard", Kind::Text, Some(OutputRole::InputTranscript)),
            port("answer", Kind::Text, Some(OutputRole::OutputTranscript)),
            port("notes", Kind::Text, None),
        ]);
        let found = role(&agent, OutputRole::OutputTranscript, "a call");
        assert_eq!(found, Ok("answer"));
        assert_eq!(output(&agent, Kind::Text, "a call"), Ok("notes"));
    }

    #[test]
    fn a_role_that_is_not_given_is_that_of_the_only_output_without_one() {
        let agent = agent(vec![
            port("heard", Kind::Text, Some(OutputRole::InputTranscript)),
            port("answer", Kind::Text, None),
        ]);
        let found = role(&agent, OutputRole::OutputTranscript, "a call");
        assert_eq!(found, Ok("answer"));
    }

    #[test]
    fn what_cannot_be_told_is_said_with_what_there_is() {
        let agent = agent(vec![
            port("heard", Kind::Text, None),
            port("answer", Kind::Text, None),
        ]);
        let error = role(&agent, OutputRole::OutputTranscript, "a call").expect_err("two");
        assert_eq!(
            error.message,
            "pipeline 'agent' cannot serve a call, which needs exactly one output with 'role: output_transcript'; its outputs are: heard (text), answer (text)"
        );
    }
}
