//! The manifest that an argument names: a file, `-` for standard input, or a pipeline that ships.
//!
//! A file wins over a shipped name, so a local `./echo` is never mistaken for the shipped `echo`.

use std::io::Read;
use std::path::Path;

use tidegate_nodes::manifest::TEXT_BYTES_MAX;

/// A manifest's text with the name that stands before its findings.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Why an argument names no manifest. Wrong usage: nothing was checked or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SourceError {
    #[error(
        "there is no file '{argument}', and no shipped pipeline has this name: those are {shipped}"
    )]
    Unknown { argument: String, shipped: String },
    #[error("manifest '{name}' cannot be read")]
    Read {
        name: String,
        source: std::io::Error,
    },
    #[error(
        "manifest '{name}' is larger than {TEXT_BYTES_MAX} bytes; split the pipeline by remote hops"
    )]
    TooLarge { name: String },
}

/// Reads what `argument` names.
///
/// # Errors
/// It names nothing, or what it names cannot be read.
pub(crate) fn read(argument: &str) -> Result<Source, SourceError> {
    if argument == "-" {
        return text("standard input", std::io::stdin().lock());
    }
    if Path::new(argument).exists() {
        let file = std::fs::File::open(argument).map_err(|source| SourceError::Read {
            name: argument.to_owned(),
            source,
        })?;
        return text(argument, file);
    }
    match crate::pipelines::shipped(argument) {
        Some((name, text)) => Ok(Source { name, text }),
        None => Err(SourceError::Unknown {
            argument: argument.to_owned(),
            shipped: crate::pipelines::shipped_names().join(", "),
        }),
    }
}

fn text(name: &str, source: impl Read) -> Result<Source, SourceError> {
    let mut text = String::new();
    source
        .take(TEXT_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|source| SourceError::Read {
            name: name.to_owned(),
            source,
        })?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(SourceError::TooLarge {
            name: name.to_owned(),
        });
    }
    Ok(Source {
        name: name.to_owned(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shipped_pipeline_is_found_by_its_name() {
        let echo = read("echo").expect("echo ships");
        assert_eq!(echo.name, "pipelines/echo.yaml");
        assert!(echo.text.contains("tidegate/v1"));
    }

    #[test]
    fn an_unknown_name_lists_what_ships() {
        let error = read("no-such")
            .expect_err("nothing is named so")
            .to_string();
        assert!(
            error.contains("'no-such'") && error.contains("echo"),
            "{error}"
        );
    }

    #[test]
    fn a_text_over_the_limit_is_refused() {
        let long = std::io::repeat(b'#');
        assert!(matches!(
            text("long", long),
            Err(SourceError::TooLarge { .. })
        ));
    }
}
