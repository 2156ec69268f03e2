//! Which of OpenAI's interfaces a pipeline serves, and by which of its ports: the one place where this is judged, for requests and for
//! the list of models.

use tidegate_media::Kind;
use tidegate_nodes::compile::Description;
use tidegate_nodes::plan::OutputRole;
use tidegate_nodes::{Code, Error};

use crate::links::realtime::Ports;
use crate::roles;

/// The names of what is fed and of what is heard.
pub(super) type Ends = (String, String);

/// The ports for `POST /v1/audio/transcriptions`.
///
/// # Errors
/// It lacks one, or nobody can tell which is meant.
pub(super) fn transcriptions(pipeline: &Description) -> Result<Ends, Error> {
    const INTERFACE: &str = "/v1/audio/transcriptions";
    let input = roles::input(pipeline, Kind::Audio, INTERFACE)?;
    let output = roles::role(pipeline, OutputRole::InputTranscript, INTERFACE)?;
    Ok((input.to_owned(), output.to_owned()))
}

/// The ports for `POST /v1/audio/speech`.
///
/// # Errors
/// As for [`transcriptions`].
pub(super) fn speech(pipeline: &Description) -> Result<Ends, Error> {
    const INTERFACE: &str = "/v1/audio/speech";
    let input = roles::input(pipeline, Kind::Text, INTERFACE)?;
    let output = roles::output(pipeline, Kind::Audio, INTERFACE)?;
    Ok((input.to_owned(), output.to_owned()))
}

/// The ports for OpenAI Realtime; where `named` names some, only those and what belongs to them.
///
/// # Errors
/// As for [`transcriptions`].
pub(super) fn realtime(pipeline: &Description, named: &[String]) -> Result<Ports, Error> {
    Ports::of(pipeline, named)
}

/// Whether it serves any of them, and so is a model.
///
/// # Errors
/// What it lacks for each.
pub(super) fn any(pipeline: &Description) -> Result<(), Error> {
    let (Err(one), Err(two), Err(three)) = (
        transcriptions(pipeline),
        speech(pipeline),
        realtime(pipeline, &[]),
    ) else {
        return Ok(());
    };
    // One with a port for each of several clients serves those that say which is theirs, by ?as=.
    let mut inputs = pipeline.inputs.iter();
    if inputs.any(|input| realtime(pipeline, std::slice::from_ref(&input.name)).is_ok()) {
        return Ok(());
    }
    let name = &pipeline.name;
    let text = format!(
        "{one}. {two}. {three}. So it is no model: run it by POST /v1/pipelines/{name}/execute or another of Tidegate's interfaces, or give its manifest these ports",
        one = one.message,
        two = two.message,
        three = three.message,
    );
    Err(Error::new(Code::Incompatible, text))
}

#[cfg(test)]
mod tests {
    use tidegate_nodes::Registry;
    use tidegate_nodes::compile::{Grants, Pipeline};

    use super::*;

    fn serves(inputs: &str, outputs: &str, edges: &str) -> Result<(), Error> {
        let text = format!(
            "version: tidegate/v1\nname: own\ninputs: [{inputs}]\noutputs: [{outputs}]\nedges: [{edges}]\n"
        );
        let pipeline = Pipeline::from_text(
            "own",
            &text,
            &Registry::builtin(),
            &Grants::stranger(std::iter::empty()),
        );
        any(&pipeline.expect("compiles").describe())
    }

    #[test]
    fn a_pipeline_that_serves_one_of_the_interfaces_is_a_model() {
        let sound = "{name: a, kind: audio}";
        let heard = "{name: b, kind: audio}";
        assert_eq!(serves(sound, heard, "a -> b"), Ok(()));
        let seats = "{name: a, kind: audio}, {name: c, kind: audio}";
        let ears = "{name: b, kind: audio, for: c}, {name: d, kind: audio, for: a}";
        assert_eq!(serves(seats, ears, "a -> b, c -> d"), Ok(()));
        let text = "{name: a, kind: text}";
        assert_eq!(serves(text, "{name: b, kind: text}", "a -> b"), Ok(()));
    }

    #[test]
    fn of_another_it_is_said_what_it_lacks_for_each() {
        let error = serves("{name: a, kind: json}", "{name: b, kind: json}", "a -> b");
        let text = error.expect_err("no sound and no text").message;
        for interface in [
            "/v1/audio/transcriptions",
            "/v1/audio/speech",
            "OpenAI Realtime",
        ] {
            assert!(text.contains(interface), "{text}");
        }
        assert!(text.contains("its inputs are: a (json)"), "{text}");
        assert!(text.contains("/v1/pipelines/own/execute"), "{text}");
    }
}
