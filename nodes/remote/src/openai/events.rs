//! Answers as events: `text/event-stream` (WHATWG HTML §9.2), of which OpenAI's interfaces use `data` only.

use bytes::{Bytes, BytesMut};

use crate::error::RemoteError;
use crate::http::Lines;

/// An answer that comes as events, or whole.
#[derive(Debug)]
pub(super) struct Events {
    whole: bool,
    lines: Lines,
    read: BytesMut,
    data: Vec<u8>,
    max: usize,
}

impl Events {
    /// For answers whose events have at most so many bytes.
    pub(super) fn new(max: usize) -> Self {
        Self {
            whole: true,
            lines: Lines::default(),
            read: BytesMut::new(),
            data: Vec::new(),
            max,
        }
    }

    /// Begins an answer.
    pub(super) fn head(&mut self, content_type: &str) -> Result<(), RemoteError> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        *self = Self::new(self.max);
        self.whole = match kind {
            "text/event-stream" => false,
            "application/json" | "" => true,
            other => {
                return Err(RemoteError::Protocol(format!(
                    "content type '{}', where text/event-stream or application/json is due",
                    crate::refusal::quote(other.as_bytes())
                )));
            }
        };
        Ok(())
    }

    /// Whether the answer comes in one piece.
    pub(super) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Takes a part.
    pub(super) fn take(&mut self, data: &Bytes) -> Result<(), RemoteError> {
        if self.read.len() + self.data.len() + data.len() > self.max {
            let text = format!("more than {} bytes", self.max);
            return Err(RemoteError::TooLarge(text));
        }
        self.read.extend_from_slice(data);
        Ok(())
    }

    /// The next event's data, or, once it has `ended`, the answer that came whole.
    pub(super) fn next(&mut self, ended: bool) -> Option<Vec<u8>> {
        if self.whole {
            return (ended && !self.read.is_empty()).then(|| self.read.split().to_vec());
        }
        loop {
            let Some(line) = self.lines.next(&mut self.read, ended) else {
                // What an answer that breaks off has begun to say is void.
                return (ended && !self.data.is_empty()).then(|| std::mem::take(&mut self.data));
            };
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                if !self.data.is_empty() {
                    return Some(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                let data = data.strip_prefix(b" ").unwrap_or(data);
                self.data.extend_from_slice(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, size: usize) -> Vec<String> {
        let mut events = Events::new(1_000);
        events
            .head("text/event-stream; charset=utf-8")
            .expect("a kind");
        let mut found = Vec::new();
        for part in text.as_bytes().chunks(size) {
            let part = Bytes::copy_from_slice(part);
            events.take(&part).expect("it fits");
            found.extend(std::iter::from_fn(|| events.next(false)));
        }
        found.extend(std::iter::from_fn(|| events.next(true)));
        let utf8 = |data: Vec<u8>| String::from_utf8(data).expect("text");
        found.into_iter().map(utf8).collect()
    }

    #[test]
    fn events_come_out_whole_however_they_are_parted() {
        let text =
            ": a comment\nevent: x\ndata: one\n\ndata:two\r\ndata: more\r\n\r\n\n\ndata: [DONE]";
        for size in 1..text.len() {
            assert_eq!(read(text, size), ["one", "two\nmore", "[DONE]"]);
        }
    }

    #[test]
    fn what_is_too_large_or_no_text_is_refused() {
        let mut events = Events::new(10);
        assert!(events.head("text/html").is_err());
        events.head("application/json").expect("a kind");
        events
            .take(&Bytes::from_static(b"123456"))
            .expect("it fits");
        assert!(events.take(&Bytes::from_static(b"123456")).is_err());
    }
}
