//! What is wrong with single settings, each by itself and in the words of settings.

use serde_json::Value;

use super::{Config, address, log_filter};

/// What is wrong with this value in place of the default; `None` if it does. `secret` values are not repeated.
pub(super) fn problem(
    mut defaults: Value,
    path: &str,
    value: &Value,
    secret: bool,
) -> Option<String> {
    match (path, value) {
        ("log.filter", Value::String(filter)) => {
            let error = log_filter(filter).err()?;
            return Some(format!(
                "{value} does not do: a level such as info, or target=level pairs separated by commas, is expected ({error})"
            ));
        }
        ("tracing.ratio", Value::Number(ratio)) => {
            let within = ratio
                .as_f64()
                .is_some_and(|ratio| (0.0..=1.0).contains(&ratio));
            if !within {
                return Some(format!("{value} does not do: 0 to 1 is expected"));
            }
        }
        ("origins", Value::Array(origins)) => {
            let mut origins = origins.iter().filter_map(Value::as_str);
            if let Some(why) = origins.find_map(no_origin) {
                return Some(why);
            }
        }
        _ => {}
    }
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
    if error.starts_with("unknown field") {
        // Names, and no value.
        return Some(error);
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

/// Why a text never equals what a browser sends as `Origin` (RFC 6454 §6.2), and what would.
fn no_origin(text: &str) -> Option<String> {
    // What pages send that are of no place, such as files.
    if text == "null" {
        return None;
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Some(format!(
            "\"{text}\" is no origin: write the scheme, the name and the port, as in https://app.example"
        ));
    };
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let place = rest[..end].to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => "/",
    };
    let place = place.strip_suffix(usual).unwrap_or(&place);
    let origin = format!("{scheme}://{place}");
    (origin != text)
        .then(|| format!("\"{text}\" is no origin that a browser sends: write {origin}"))
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
