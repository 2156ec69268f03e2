//! `--in [PORT=]FILE`: what feeds which input.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use tidegate_media::{Frame, Kind, MediaTime, Payload, Timestamp};
use tidegate_nodes::compile::{Description, PortDescription};
use tidegate_nodes::{Code, Error, StreamFormat};
use tidegate_proto::message::{ClientMessage, PortFormats};
use tidegate_proto::{PortName, json};

use crate::cli::Failure;
use crate::http::formats::format_of;
use crate::links::file::Feed;

/// What is read from a pipe before its first frame, and largest file of native messages: half an hour of CD sound.
const WHOLE_BYTES_MAX: u64 = 512 << 20;

/// Why an input cannot be fed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum InputError {
    #[error("--in '{path}' cannot be read")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("--in '{path}' has more than {WHOLE_BYTES_MAX} bytes: give it as a file, or in parts")]
    TooLarge { path: String },
    #[error("--in '{path}': say for which input, as --in PORT={path}: those are {inputs}")]
    Ambiguous { path: String, inputs: String },
    #[error("--in: no input '{name}'; known are {inputs}")]
    Unknown { name: String, inputs: String },
    #[error("input '{port}' is fed twice: one --in each")]
    Twice { port: String },
    #[error(
        "input '{port}' is of kind {kind}, which '{path}' cannot carry: send native messages from an .ndjson file"
    )]
    Kind {
        port: String,
        kind: Kind,
        path: String,
    },
    #[error("--in '{path}' line {line}: {message}")]
    Message {
        path: String,
        line: usize,
        message: String,
    },
    #[error(
        "--in '{path}' has frames of {ports}, and none of '{port}': give one port's frames, or no PORT="
    )]
    Others {
        path: String,
        ports: String,
        port: String,
    },
    #[error("--in '{path}': {source}")]
    Media { path: String, source: Box<Error> },
}

/// The feeds, and the files that they read.
pub(super) struct Opened {
    pub(super) feeds: Vec<Feed>,
    pub(super) paths: Vec<PathBuf>,
}

/// Opens everything that is to be fed. What is no file of the right kind fails here, before the pipeline runs.
///
/// # Errors
/// As [`InputError`] says; a file that is broken is failed work, the rest is wrong usage.
pub(super) fn open(arguments: &[String], about: &Description) -> Result<Opened, Failure> {
    let mut opened = Opened {
        feeds: Vec::new(),
        paths: Vec::new(),
    };
    for argument in arguments {
        let feeds = open_one(argument, about, &mut opened.paths).map_err(|error| match error {
            InputError::Message { .. } | InputError::Media { .. } => Failure::work(error),
            usage => Failure::usage(usage),
        })?;
        for feed in feeds {
            if opened.feeds.iter().any(|other| other.port == feed.port) {
                return Err(Failure::usage(InputError::Twice { port: feed.port }));
            }
            opened.feeds.push(feed);
        }
    }
    Ok(opened)
}

fn open_one(
    argument: &str,
    about: &Description,
    paths: &mut Vec<PathBuf>,
) -> Result<Vec<Feed>, InputError> {
    let (port, path) = split(argument, &about.inputs).map_err(|name| InputError::Unknown {
        name: name.to_owned(),
        inputs: names(&about.inputs),
    })?;
    let extension = extension(path);
    if matches!(extension.as_deref(), Some("ndjson" | "jsonl")) {
        let feeds = messages(path)?;
        return match port {
            None => Ok(feeds),
            Some(port) => only(feeds, &port.name, path).map(Vec::from_iter),
        };
    }
    let input = match port {
        Some(input) => input,
        None => fitting(&about.inputs).ok_or_else(|| InputError::Ambiguous {
            path: path.to_owned(),
            inputs: names(&about.inputs),
        })?,
    };
    if path != "-" {
        paths.push(PathBuf::from(path));
    }
    let feed = match input.kind.unwrap_or(Kind::Binary) {
        Kind::Audio => media(&input.name, path, extension.as_deref())?,
        kind @ (Kind::Text | Kind::Json) => lines(&input.name, kind, path)?,
        kind => {
            return Err(InputError::Kind {
                port: input.name.clone(),
                kind,
                path: path.to_owned(),
            });
        }
    };
    Ok(vec![feed])
}

/// `PORT=FILE` where PORT is one of these; else the whole is a path, which may have `=` in it.
///
/// # Errors
/// The name of a port that there is not: what stands before `=` could be one, and no file has the whole as its name.
pub(super) fn split<'a, 'b>(
    argument: &'a str,
    ports: &'b [PortDescription],
) -> Result<(Option<&'b PortDescription>, &'a str), &'a str> {
    let Some((name, path)) = argument.split_once('=') else {
        return Ok((None, argument));
    };
    if let Some(port) = ports.iter().find(|port| port.name == name) {
        return Ok((Some(port), path));
    }
    if PortName::new(name).is_ok() && !Path::new(argument).exists() {
        return Err(name);
    }
    Ok((None, argument))
}

/// The only input, or the only one for sound.
fn fitting(inputs: &[PortDescription]) -> Option<&PortDescription> {
    if let [only] = inputs {
        return Some(only);
    }
    let mut audio = inputs
        .iter()
        .filter(|input| input.kind == Some(Kind::Audio));
    audio.next().filter(|_| audio.next().is_none())
}

pub(super) fn names(ports: &[PortDescription]) -> String {
    let names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
    names.join(", ")
}

pub(super) fn extension(path: &str) -> Option<String> {
    let extension = Path::new(path).extension()?;
    Some(extension.to_string_lossy().to_lowercase())
}

fn media(port: &str, path: &str, extension: Option<&str>) -> Result<Feed, InputError> {
    let broken = |error| InputError::Media {
        path: path.to_owned(),
        source: Box::new(error),
    };
    if path != "-" {
        let file = File::open(path).map_err(|source| read_error(path, source))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Feed::media(port, BufReader::new(file), extension).map_err(broken);
        }
    }
    Feed::media(port, Cursor::new(whole(path)?), extension).map_err(broken)
}

/// Text line by line, or a JSON value a line. Standard input is read as it comes.
fn lines(port: &str, kind: Kind, path: &str) -> Result<Feed, InputError> {
    let source: Box<dyn BufRead + Send> = if path == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let file = File::open(path).map_err(|source| read_error(path, source))?;
        Box::new(BufReader::new(file))
    };
    let path = path.to_owned();
    let frames = source.lines().enumerate().map(move |(index, line)| {
        let bad = |message: String| {
            let text = format!("--in '{path}' line {}: {message}", index + 1);
            Error::new(Code::BadRequest, text)
        };
        let line = line.map_err(|error| bad(error.to_string()))?;
        let payload = if kind == Kind::Text {
            Payload::Text(line.into())
        } else {
            let value: serde_json::Value =
                serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
            Payload::Json((&value).into())
        };
        Ok(Frame::new(MediaTime::ZERO, payload))
    });
    Ok(Feed {
        port: port.to_owned(),
        format: match kind {
            Kind::Text => StreamFormat::Text,
            _ => StreamFormat::Json,
        },
        duration: None,
        frames: Box::new(frames),
    })
}

/// Native messages of a client, one a line, for whatever inputs they name. Only frames count.
fn messages(path: &str) -> Result<Vec<Feed>, InputError> {
    let bytes = whole(path)?;
    let mut ports: Vec<(PortName, Vec<Frame>)> = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let bad = |message: String| InputError::Message {
            path: path.to_owned(),
            line: index + 1,
            message,
        };
        let line = std::str::from_utf8(line).map_err(|error| bad(error.to_string()))?;
        let message = json::decode_client(line, Timestamp::ZERO, &PortFormats::default())
            .map_err(|error| bad(error.to_string()))?;
        let ClientMessage::Frame { port, frame } = message else {
            continue;
        };
        match ports.iter_mut().find(|(name, _)| *name == port) {
            Some((_, frames)) => frames.push(frame),
            None => ports.push((port, vec![frame])),
        }
    }
    let feed = |(port, frames): (PortName, Vec<Frame>)| {
        Some(Feed {
            port: port.into_string(),
            format: format_of(frames.first()?),
            duration: None,
            frames: Box::new(frames.into_iter().map(Ok)),
        })
    };
    Ok(ports.into_iter().filter_map(feed).collect())
}

/// What of a file's frames is for this input: those that name it, or all of them where they are of one port, such as the output of
/// another run. Nothing, if there are no frames.
fn only(mut feeds: Vec<Feed>, port: &str, path: &str) -> Result<Option<Feed>, InputError> {
    let at = match feeds.iter().position(|feed| feed.port == port) {
        Some(at) => at,
        None if feeds.len() == 1 => 0,
        None if feeds.is_empty() => return Ok(None),
        None => {
            let ports: Vec<_> = feeds.iter().map(|feed| feed.port.as_str()).collect();
            return Err(InputError::Others {
                path: path.to_owned(),
                ports: ports.join(", "),
                port: port.to_owned(),
            });
        }
    };
    let feed = feeds.swap_remove(at);
    Ok(Some(Feed {
        port: port.to_owned(),
        ..feed
    }))
}

/// All of a pipe or file.
fn whole(path: &str) -> Result<Vec<u8>, InputError> {
    let source: Box<dyn Read> = if path == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(|source| read_error(path, source))?)
    };
    let mut bytes = Vec::new();
    source
        .take(WHOLE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| read_error(path, source))?;
    if bytes.len() as u64 > WHOLE_BYTES_MAX {
        return Err(InputError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

fn read_error(path: &str, source: std::io::Error) -> InputError {
    InputError::Read {
        path: path.to_owned(),
        source,
    }
}
