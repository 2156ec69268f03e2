//! `--param NAME=VALUE`.

use serde_json::{Map, Value};
use tidegate_nodes::compile::Description;

/// A parameter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ParameterError {
    #[error("--param '{0}' has no value: write --param NAME=VALUE")]
    NoValue(String),
    #[error("pipeline '{pipeline}' has no parameter '{name}': it has {known}")]
    Unknown {
        pipeline: String,
        name: String,
        known: String,
    },
    #[error("parameter '{name}' is {wanted}, and '{given}' is not")]
    Type {
        name: String,
        wanted: &'static str,
        given: String,
    },
}

/// Values in the types that the pipeline declares. What is missing, and ranges and choices, the pipeline checks itself.
///
/// # Errors
/// An argument is malformed, names no parameter, or has a value of another type.
pub(super) fn read(
    arguments: &[String],
    about: &Description,
) -> Result<Map<String, Value>, ParameterError> {
    let mut values = Map::new();
    for argument in arguments {
        let Some((name, given)) = argument.split_once('=') else {
            return Err(ParameterError::NoValue(argument.clone()));
        };
        let Some(declared) = about.parameters.get(name) else {
            let known: Vec<_> = about.parameters.keys().map(String::as_str).collect();
            return Err(ParameterError::Unknown {
                pipeline: about.name.clone(),
                name: name.to_owned(),
                known: if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                },
            });
        };
        let value = if declared.value_type == "string" {
            Value::from(given)
        } else {
            let fits = |value: &Value| match declared.value_type {
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                _ => value.is_number(),
            };
            let value = serde_json::from_str(given).ok().filter(fits);
            value.ok_or_else(|| ParameterError::Type {
                name: name.to_owned(),
                wanted: declared.value_type,
                given: given.to_owned(),
            })?
        };
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use tidegate_nodes::Registry;
    use tidegate_nodes::compile::{Grants, Pipeline};

    use super::*;

    fn about() -> Description {
        let text = "version: tidegate/v1\nname: p\nparameters:\n  voice: {type: string, default: es}\n\
                    \x20 gain: {type: number, default: 0}\ninputs: [{name: i, kind: audio}]\n\
                    outputs: [{name: o, kind: audio}]\nedges: [i -> o]\n";
        Pipeline::from_text("p", text, &Registry::builtin(), &Grants::offline())
            .expect("compiles")
            .describe()
    }

    fn given(argument: &str) -> Result<Map<String, Value>, ParameterError> {
        read(&[argument.to_owned()], &about())
    }

    #[test]
    fn values_have_the_declared_types() {
        assert_eq!(given("voice=12").expect("text")["voice"], "12");
        assert_eq!(given("gain=-6.5").expect("a number")["gain"], -6.5);
        assert!(matches!(
            given("gain=loud"),
            Err(ParameterError::Type { .. })
        ));
        assert!(matches!(given("gain"), Err(ParameterError::NoValue(_))));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = given("volume=1")
            .expect_err("no such parameter")
            .to_string();
        assert!(error.contains("voice, gain"), "{error}");
    }
}
