//! What a node type says of its parameters, as a diagnostic at the parameter's own position.

use serde_json::Value;

use super::draft::REMOTE;
use crate::manifest::diagnostic::nearest;
use crate::manifest::{NodeDecl, Report};
use crate::registry::{NodeType, ParamError, Ports};

/// What a type says of parameters, one after the other: each that does not do is taken out before it is asked again, so that none
/// hides the next. Also the ports for what is left, if it does.
pub(super) fn all_errors(
    node_type: &dyn NodeType,
    params: &Value,
    first: ParamError,
) -> (Vec<ParamError>, Option<Ports>) {
    let mut left = params.as_object().cloned().unwrap_or_default();
    let mut errors = vec![first];
    loop {
        let last = errors.last().map(|error| error.path.as_str());
        let key = last.and_then(|path| path.split(['.', '[']).next());
        // An error that names no parameter cannot be got out of the way.
        if key.and_then(|key| left.remove(key)).is_none() {
            return (errors, None);
        }
        match node_type.ports(&Value::Object(left.clone())) {
            Ok(ports) => return (errors, Some(ports)),
            // What is said of the whole may be so only because something was taken out.
            Err(error) if error.path.is_empty() && !lacks_another(&error, params) => {
                return (errors, None);
            }
            Err(error) => errors.push(error),
        }
    }
}

/// Whether a parameter is missing that was not there from the first.
fn lacks_another(error: &ParamError, params: &Value) -> bool {
    let name = error.message.strip_prefix("missing field `");
    let name = name.and_then(|rest| rest.split('`').next());
    name.is_some_and(|name| params.get(name).is_none())
}

/// Reports parameters that do not do. Of `open` ones, some of which have sample values, only keys that there are not: a sample proves
/// nothing, and the real value is checked when a session is opened.
pub(super) fn report_errors(
    decl: &NodeDecl,
    node_type: &str,
    errors: &[ParamError],
    open: bool,
    report: &mut Report,
) {
    let stray = |error: &ParamError| {
        unknown_field(&error.message).is_some() && !error.path.contains(['.', '['])
    };
    for error in errors.iter().filter(|error| !open || stray(error)) {
        report_error(decl, node_type, error, report);
    }
}

/// Reports a parameter that does not do.
pub(super) fn report_error(
    decl: &NodeDecl,
    node_type: &str,
    error: &ParamError,
    report: &mut Report,
) {
    let id = &decl.id.value;
    let at = match unknown_field(&error.message) {
        Some(_) => decl.locate_key(&error.path),
        None => decl.locate(&error.path),
    };
    let (message, mend) = match &error.mend {
        Some(mend) => (error.message.clone(), mend.clone()),
        None => told(&error.message, node_type),
    };
    let message = match (unknown_field(&error.message), error.path.as_str()) {
        (Some(_), _) => format!("'{id}' has {message}"),
        (None, "") => format!("'{id}': {message}"),
        (None, path) => format!("'{path}' of '{id}': {message}"),
    };
    report.error(at, "params", message, mend);
}

fn unknown_field(text: &str) -> Option<&str> {
    text.strip_prefix("unknown field `")?.split('`').next()
}

/// Message and mend. Texts of serde (`unknown field …, expected …`) are put in the words of other diagnostics; others hold the
/// mend after a colon.
fn told(text: &str, node_type: &str) -> (String, String) {
    let (what, expected) = text.split_once(", expected ").unwrap_or((text, ""));
    // serde writes names in backticks: every second part of what is split at them.
    let names = || expected.split('`').skip(1).step_by(2);
    let quoted = |prefix: &str| what.strip_prefix(prefix)?.split('`').next();
    if let Some(name) = unknown_field(text) {
        let mend = nearest(name, names());
        return (format!("no parameter '{name}'"), mend);
    }
    if let Some(name) = quoted("unknown variant `") {
        return (format!("'{name}' is not known"), nearest(name, names()));
    }
    if let Some(name) = quoted("missing field `") {
        return (
            format!("parameter '{name}' is missing"),
            "add it".to_owned(),
        );
    }
    if !expected.is_empty() {
        let expected = plain(expected);
        // "invalid type: string \"fast\"": the value alone is what people look for.
        let value = what
            .strip_prefix("invalid type: ")
            .or(what.strip_prefix("invalid value: "));
        let value = value.and_then(|value| Some(value.split_once(' ')?.1.trim_matches('`')));
        let message = value.map_or(what.to_owned(), |value| format!("{value} does not do"));
        return (message, format!("{expected} is expected"));
    }
    match text.rsplit_once(": ") {
        Some((message, mend)) => (message.to_owned(), mend.to_owned()),
        None if node_type == REMOTE => (text.to_owned(), SCHEMA.to_owned()),
        None => (
            text.to_owned(),
            format!("'tidegate nodes {node_type}' lists the parameters"),
        ),
    }
}

/// What is expected, without the words of the language that this is written in.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other if other == "a map" || other.starts_with("struct ") => "a mapping",
        other => other,
    }
}

const SCHEMA: &str = "'tidegate check --schema' lists the parameters";
