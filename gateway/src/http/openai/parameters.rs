//! Fields of a request that are parameters of the pipeline, where it has those.

use serde_json::{Map, Value};
use tidegate_nodes::compile::Description;

use super::refusal::Refusal;

/// Values for a pipeline's parameters.
pub(super) struct Parameters<'a> {
    pipeline: &'a Description,
    values: Map<String, Value>,
}

impl<'a> Parameters<'a> {
    pub(super) fn of(pipeline: &'a Description) -> Self {
        Self {
            pipeline,
            values: Map::new(),
        }
    }

    /// Gives a parameter its value. Where the pipeline has no such parameter, only a value that `means_nothing` passes.
    ///
    /// # Errors
    /// The pipeline has no such parameter.
    pub(super) fn set(
        &mut self,
        name: &'static str,
        value: &str,
        means_nothing: bool,
    ) -> Result<(), Refusal> {
        let Some(declared) = self.pipeline.parameters.get(name) else {
            if means_nothing {
                return Ok(());
            }
            let known = self.pipeline.parameters.keys().map(String::as_str);
            let known = known.collect::<Vec<_>>().join(", ");
            let text = format!(
                "pipeline '{}' has no parameter '{name}': leave it out; its parameters are: {}",
                self.pipeline.name,
                if known.is_empty() { "none" } else { &known }
            );
            return Err(Refusal::of(name, text));
        };
        let number = || value.trim().parse::<serde_json::Number>().ok();
        let value = match declared.value_type {
            "string" => Value::from(value),
            _ => number().map_or_else(|| Value::from(value), Value::Number),
        };
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    pub(super) fn into_values(self) -> Map<String, Value> {
        self.values
    }
}
