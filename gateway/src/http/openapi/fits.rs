//! Whether a value fits a schema of the document: the part of JSON Schema that the document uses.
//!
//! Stricter in one thing: an object may have the listed properties only, unless the schema has `additionalProperties`. What an answer
//! holds must be described.

use serde_json::Value;

/// Says what does not fit, with the place.
pub(super) fn fits(
    document: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let place = reference.trim_start_matches('#');
        let schema = document
            .pointer(place)
            .ok_or_else(|| format!("{at}: {reference} leads nowhere"))?;
        return fits(document, schema, value, at);
    }
    if let Some(options) = schema["oneOf"].as_array() {
        let tried: Vec<_> = options
            .iter()
            .map(|option| fits(document, option, value, at))
            .collect();
        let fitting = tried.iter().filter(|result| result.is_ok()).count();
        return match fitting {
            1 => Ok(()),
            count => Err(format!("{at}: {value} fits {count} of {tried:?}")),
        };
    }
    named_type(schema, value, at)?;
    if let Some(only) = schema.get("const").filter(|only| *only != value) {
        return Err(format!("{at}: {value} is not {only}"));
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        return Err(format!("{at}: {value} is none of {known:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item, &format!("{at}[]"))?;
    }
    object(document, schema, value, at)
}

fn named_type(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{at}: no type '{other}'"),
    };
    let right = match &schema["type"] {
        Value::Null => true,
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        other => panic!("{at}: type {other}"),
    };
    if right {
        Ok(())
    } else {
        Err(format!("{at}: {value} is not {}", schema["type"]))
    }
}

fn object(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(fields) = value.as_object().filter(|_| schema["type"] == "object") else {
        return Ok(());
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap_or_default()) {
            return Err(format!("{at}: {name} is not there"));
        }
    }
    for (name, field) in fields {
        let at = format!("{at}.{name}");
        match (
            schema["properties"].get(name),
            &schema["additionalProperties"],
        ) {
            (Some(schema), _) => fits(document, schema, field, &at)?,
            (None, Value::Bool(true)) => {}
            (None, schema @ Value::Object(_)) => fits(document, schema, field, &at)?,
            (None, _) => {
                return Err(format!(
                    "{at} is not described: add it to gateway/src/http/openapi/api.yaml"
                ));
            }
        }
    }
    Ok(())
}
