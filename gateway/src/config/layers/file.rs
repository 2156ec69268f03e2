//! The config file as one JSON value, and what is wrong with its text in words for whoever wrote it.

use std::path::Path;

use serde_json::{Map, Value};

use super::ConfigError;

/// Reads a file of settings; an empty one has none.
///
/// # Errors
/// It cannot be read, or is no mapping in YAML or JSON.
pub(super) fn read(path: &Path) -> Result<Value, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Value, ConfigError> {
    let wrong = |message| ConfigError::Syntax {
        path: path.to_owned(),
        message,
    };
    let value: Option<Value> =
        serde_saphyr::from_str(text).map_err(|error| wrong(problem(&error)))?;
    match value {
        None | Some(Value::Null) => Ok(Value::Object(Map::new())),
        Some(value @ Value::Object(_)) => Ok(value),
        Some(_) => Err(wrong("the file must be a mapping of settings".to_owned())),
    }
}

/// Where and what, in one line. The library's own text advises programmers, and cites the lines around, which may hold secrets.
fn problem(error: &serde_saphyr::Error) -> String {
    let what = if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = error.without_snippet()
    {
        let key = key.as_deref().unwrap_or_default();
        format!("key '{key}' is there a second time, keep one of the two")
    } else {
        let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        let text = text.lines().next().unwrap_or_default();
        // The position, which it ends with, stands before it here.
        let text = text.split(" at line ").next().unwrap_or(text);
        text.to_owned()
    };
    error.location().map_or_else(
        || what.clone(),
        |at| format!("line {}, column {}: {what}", at.line(), at.column()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let message = parse(Path::new("t.yaml"), text).unwrap_err().to_string();
        let (_, message) = message.split_once("YAML or JSON: ").unwrap();
        message.to_owned()
    }

    #[test]
    fn a_key_that_is_there_twice_is_named_with_its_line() {
        let text = "auth:\n  token: s3cret\nlimits: {}\nauth: {}\n";
        let told = "line 4, column 1: key 'auth' is there a second time, keep one of the two";
        assert_eq!(refused(text), told);
        let nested = "limits:\n  sessions: 1\n  sessions: 2\n";
        let told = "line 3, column 3: key 'sessions' is there a second time, keep one of the two";
        assert_eq!(refused(nested), told);
    }

    #[test]
    fn what_is_wrong_is_one_line_with_its_place_and_cites_nothing_of_the_file() {
        for (text, place) in [
            ("auth: {token: s3cret\nlimits: {}\n", "line "),
            ("auth:\n  token: 's3cret\n", "line "),
            ("auth: {token: s3cret}\n---\nlimits: {}\n", "line "),
            ("a: &x s3cret\nb: *y\n", "line 2"),
        ] {
            let told = refused(text);
            assert!(told.starts_with(place), "{told}");
            assert!(!told.contains('\n') && !told.contains("s3cret"), "{told}");
            assert!(
                !told.contains("Options") && !told.contains("from_"),
                "{told}"
            );
        }
    }
}
