//! What is wrong with single settings, each by itself and in the words of settings.

use serde_json::Value;

use super::{Config, address};

/// What is wrong with this value in place of the default; `None` if it does. `secret` values are not repeated.
pub(super) fn problem(
    mut defaults: Value,
    path: &str,
    value: &Value,
    secret: bool,
) -> Option<String> {
    let pointer = format!("/{}", path.replace('.', "/"));
    *defaults.pointer_mut(&pointer)? = value.clone();
    let error = serde_json::from_value::<Config>(defaults)
        .err()?
        .to_string();
    if error.contains("invalid socket address") {
        let texts = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut texts = texts.iter().filter_map(Value::as_str);
        return texts.find_map(|text| address(text).err()).or(Some(error));
    }
    let Some((_, expected)) = error.split_once(", expected ") else {
        return Some(error);
    };
    let expected = plain(expected);
    Some(if secret {
        format!("it does not do: {expected} is expected")
    } else {
        format!("{value} does not do: {expected} is expected")
    })
}

/// What is expected, without the words of the language that this is written in.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a string" | "path string" | "a path" => "a text",
        other if other.starts_with("struct ") => "a mapping of settings",
        other => other,
    }
}
