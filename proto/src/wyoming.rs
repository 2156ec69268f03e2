//! The Wyoming protocol's events, as they are written on a TCP stream: a line of JSON, then further data, then a payload.
//!
//! <https://github.com/OHF-Voice/wyoming>. Used by the gateway, which is a Wyoming server, and by remote hops, which are clients of
//! such servers. Reading is a state machine over bytes; nothing is kept beyond the bounds below, whatever a peer announces.

use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::{Map, Value};

/// Longest line, in bytes: what the reference implementation reads at most.
pub const LINE: usize = 64 << 10;
/// Longest further data, in bytes: an `info` of some thousand voices.
pub const DATA: usize = 4 << 20;
/// Longest payload, in bytes: half a minute of sound in one piece, which nobody sends.
pub const PAYLOAD: usize = 4 << 20;
/// The version of the protocol that our events name.
const VERSION: &str = "1.8.0";

/// One event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// What it is, such as `audio-chunk`.
    pub kind: String,
    /// What it says.
    pub data: Map<String, Value>,
    /// What it carries; empty for most.
    pub payload: Bytes,
}

impl Event {
    /// An event without data.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    /// The same with one more datum.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    /// A text among the data; empty if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.data
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A whole number among the data.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.data.get(name).and_then(Value::as_u64)
    }

    /// As it is written on the stream.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let data = if self.data.is_empty() {
            String::new()
        } else {
            Value::Object(self.data.clone()).to_string()
        };
        let mut head = Map::new();
        head.insert("type".to_owned(), self.kind.as_str().into());
        head.insert("version".to_owned(), VERSION.into());
        for (name, length) in [
            ("data_length", data.len()),
            ("payload_length", self.payload.len()),
        ] {
            if length > 0 {
                head.insert(name.to_owned(), length.into());
            }
        }
        let head = Value::Object(head).to_string();
        let mut out = BytesMut::with_capacity(head.len() + 1 + data.len() + self.payload.len());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\n");
        out.extend_from_slice(data.as_bytes());
        out.extend_from_slice(&self.payload);
        out.freeze()
    }
}

/// Bytes that are no events of Wyoming, or too long ones. Nothing can be read after them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WyomingError {
    /// The line is no JSON object with a `type`.
    #[error("line is no event of Wyoming: {0}")]
    Line(String),
    /// The further data are no JSON object.
    #[error("data of event '{kind}' are no JSON object: {problem}")]
    Data {
        /// The event's type.
        kind: String,
        /// What is wrong.
        problem: String,
    },
    /// A part is longer than what is read.
    #[error("{part} of {bytes} bytes or more: at most {limit} are read")]
    TooLong {
        /// `line`, `data` or `payload`.
        part: &'static str,
        /// Its length, as far as it is known.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
}

/// Reads events from bytes as they come.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    /// Of the buffer, what has no end of line in it.
    scanned: usize,
    head: Option<Head>,
}

#[derive(Debug)]
struct Head {
    event: Event,
    data: usize,
    payload: usize,
}

impl Reader {
    /// Takes bytes of the stream. To be followed by calls of [`Reader::next_event`] until that gives nothing, so that no more is kept than one
    /// event needs.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next event that is there as a whole.
    ///
    /// # Errors
    /// What came is no event, or one beyond the bounds.
    pub fn next_event(&mut self) -> Result<Option<Event>, WyomingError> {
        if self.head.is_none() {
            let rest = &self.buffer[self.scanned..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.scanned = self.buffer.len();
                return within("line", self.scanned, LINE).map(|()| None);
            };
            let end = self.scanned + end;
            within("line", end, LINE)?;
            self.scanned = 0;
            let line = self.buffer.split_to(end);
            self.buffer.advance(1);
            self.head = Some(head(&line)?);
        }
        let whole = |head: &mut Head| self.buffer.len() >= head.data + head.payload;
        let Some(head) = self.head.take_if(whole) else {
            return Ok(None);
        };
        let Head {
            mut event,
            data,
            payload,
        } = head;
        let data = self.buffer.split_to(data);
        if !data.is_empty() {
            let more: Map<String, Value> =
                serde_json::from_slice(&data).map_err(|error| WyomingError::Data {
                    kind: clip(&event.kind),
                    problem: error.to_string(),
                })?;
            event.data.extend(more);
        }
        event.payload = self.buffer.split_to(payload).freeze();
        Ok(Some(event))
    }
}

#[derive(serde::Deserialize)]
struct Line {
    r#type: String,
    #[serde(default)]
    data: Option<Map<String, Value>>,
    #[serde(default)]
    data_length: Option<u64>,
    #[serde(default)]
    payload_length: Option<u64>,
}

fn head(line: &[u8]) -> Result<Head, WyomingError> {
    let line: Line =
        serde_json::from_slice(line).map_err(|error| WyomingError::Line(error.to_string()))?;
    let length = |part, length: Option<u64>, limit| {
        let bytes = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX);
        within(part, bytes, limit).map(|()| bytes)
    };
    Ok(Head {
        data: length("data", line.data_length, DATA)?,
        payload: length("payload", line.payload_length, PAYLOAD)?,
        event: Event {
            kind: line.r#type,
            data: line.data.unwrap_or_default(),
            payload: Bytes::new(),
        },
    })
}

fn within(part: &'static str, bytes: usize, limit: usize) -> Result<(), WyomingError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(WyomingError::TooLong { part, bytes, limit })
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Event {
        let mut event = Event::new("audio-chunk").with("rate", 16_000);
        event.payload = Bytes::from_static(b"{\n}\0");
        event
    }

    #[test]
    fn events_come_whole_however_the_bytes_are_cut() {
        let events = [
            chunk(),
            Event::new("audio-stop"),
            Event::new("transcript").with("text", "¿Qué?\n"),
        ];
        let bytes: Vec<u8> = events.iter().flat_map(Event::encode).collect();
        for size in [1, 2, 7, bytes.len()] {
            let mut reader = Reader::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                reader.push(piece);
                while let Some(event) = reader.next_event().expect("events") {
                    read.push(event);
                }
            }
            assert_eq!(read, events, "in pieces of {size}");
            assert_eq!(reader.held(), 0);
        }
    }

    #[test]
    fn data_may_stand_in_the_line_and_further_data_go_before() {
        let mut reader = Reader::default();
        reader.push(
            b"{\"type\": \"a\", \"data\": {\"x\": 1, \"y\": 1}, \"data_length\": 8}\n{\"y\": 2}",
        );
        let event = reader.next_event().expect("an event").expect("whole");
        assert_eq!((event.number("x"), event.number("y")), (Some(1), Some(2)));
    }

    #[test]
    fn what_is_no_event_or_beyond_the_bounds_is_refused_before_it_is_kept() {
        let wrong = |text: &str| {
            let mut reader = Reader::default();
            reader.push(text.as_bytes());
            reader.next_event().expect_err("no event").to_string()
        };
        assert!(wrong("GET / HTTP/1.1\r\n").contains("no event"));
        assert!(wrong("{\"type\": 1}\n").contains("no event"));
        assert!(wrong("{\"type\": \"a\", \"data_length\": 3}\n[1]").contains("no JSON object"));
        assert!(wrong("{\"type\": \"a\", \"payload_length\": 99999999999}\n").contains("payload"));
        assert!(wrong("{\"type\": \"a\", \"payload_length\": -1}\n").contains("no event"));
        assert!(wrong(&"a".repeat(LINE + 1)).contains("line of"));
    }
}
