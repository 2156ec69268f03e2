//! W3C Trace Context: which trace a request belongs to, read from one side's headers and written for the other's.
//!
//! <https://www.w3.org/TR/trace-context/>. A `traceparent` that is malformed counts as none, and a `tracestate` that is malformed is left
//! out (§3.2.2.3, §3.3.1.5). Nothing of it is ever refused: whoever traces badly is served as well.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header of ids.
const PARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header of what tracing systems add for themselves.
const STATE: HeaderName = HeaderName::from_static("tracestate");
/// Whoever called records its spans.
const SAMPLED: u8 = 0x01;
/// The low bytes of the trace id are random (level 2).
const RANDOM: u8 = 0x02;
/// Entries of a `tracestate` (§3.3.1.1).
const ENTRIES_MAX: usize = 32;
/// Bytes of a `tracestate` that go on. The standard asks for 512 at least.
const STATE_MAX: usize = 4_096;

/// The trace that something belongs to, and the span that it happens in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Never zero.
    pub trace_id: u128,
    /// Never zero.
    pub span_id: u64,
    flags: u8,
    /// What tracing systems added, as it came.
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// The beginning of a trace; the ids are random and not zero.
    #[must_use]
    pub const fn new(trace_id: u128, span_id: u64, sampled: bool) -> Self {
        Self {
            trace_id,
            span_id,
            flags: if sampled { SAMPLED | RANDOM } else { RANDOM },
            state: None,
        }
    }

    /// What headers say, if they say it as the standard asks.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(PARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else {
            return None;
        };
        let (trace_id, span_id, flags) = parse(parent.as_bytes())?;
        Some(Self {
            trace_id,
            span_id,
            flags,
            state: state(headers),
        })
    }

    /// Whether its spans are recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What the tracing systems before have added.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_ref().and_then(|state| state.to_str().ok())
    }

    /// The same trace in another span.
    #[must_use]
    pub fn within(&self, span_id: u64) -> Self {
        Self {
            span_id,
            ..self.clone()
        }
    }

    /// The same with another decision on whether its spans are recorded.
    #[must_use]
    pub fn sampled(self, sampled: bool) -> Self {
        let flags = if sampled {
            self.flags | SAMPLED
        } else {
            self.flags & !SAMPLED
        };
        Self { flags, ..self }
    }

    /// The value of `traceparent`.
    #[must_use]
    pub fn parent(&self) -> String {
        let Self {
            trace_id,
            span_id,
            flags,
            ..
        } = self;
        format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }

    /// Puts it into the headers of a request.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Ok(parent) = HeaderValue::try_from(self.parent()) {
            headers.insert(PARENT, parent);
        }
        if let Some(state) = &self.state {
            headers.insert(STATE, state.clone());
        }
    }
}

/// Version, trace, span and flags (§3.2.2). A later version may have more behind.
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let version = hex(text.get(0..2)?)?;
    let rest = text.get(55);
    let whole = match version {
        0 => rest.is_none(),
        0xff => false,
        _ => rest.is_none_or(|byte| *byte == b'-'),
    };
    let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
    if !whole || !dashes {
        return None;
    }
    let trace_id = hex(text.get(3..35)?)?;
    let span_id = u64::try_from(hex(text.get(36..52)?)?).ok()?;
    let flags = u8::try_from(hex(text.get(53..55)?)?).ok()?;
    (trace_id != 0 && span_id != 0).then_some((trace_id, span_id, flags & (SAMPLED | RANDOM)))
}

/// Digits in lower case, as the standard has them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// All lines of a `tracestate` as one, if each entry is one.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut joined = String::new();
    let mut entries = 0;
    for line in headers.get_all(STATE) {
        for entry in line.to_str().ok()?.split(',') {
            let entry = entry.trim_matches([' ', '\t']);
            if entry.is_empty() {
                continue;
            }
            let (key, value) = entry.split_once('=')?;
            entries += 1;
            if !is_key(key) || !is_value(value) || entries > ENTRIES_MAX {
                return None;
            }
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(entry);
        }
    }
    if joined.is_empty() || joined.len() > STATE_MAX {
        return None;
    }
    HeaderValue::try_from(joined).ok()
}

fn is_key(key: &str) -> bool {
    let inside = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-' | '*' | '/' | '@');
    let begins = key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    begins && key.len() <= 256 && key.chars().all(inside) && key.matches('@').count() <= 1
}

fn is_value(value: &str) -> bool {
    let inside = |byte: u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b',' | b'=');
    !value.is_empty() && value.len() <= 256 && value.bytes().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn what_came_goes_on_with_another_span() {
        let came = headers(&[
            ("traceparent", GOOD),
            ("tracestate", "congo=t61rcWkgMzE , rojo=00f067aa0ba902b7"),
            ("tracestate", "a@b=c"),
        ]);
        let context = TraceContext::of(&came).expect("a context");
        assert!(context.is_sampled());
        let mut out = HeaderMap::new();
        context.within(0x1234).write(&mut out);
        assert_eq!(
            out["traceparent"],
            "00-0af7651916cd43dd8448eb211c80319c-0000000000001234-01"
        );
        assert_eq!(
            out["tracestate"],
            "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7,a@b=c"
        );
    }

    #[test]
    fn what_is_malformed_counts_as_none() {
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let spanless = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        for bad in [
            "",
            "00",
            zeros,
            spanless,
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
        ] {
            let came = headers(&[("traceparent", bad)]);
            assert_eq!(TraceContext::of(&came), None, "{bad}");
        }
        let twice = headers(&[("traceparent", GOOD), ("traceparent", GOOD)]);
        assert_eq!(TraceContext::of(&twice), None);
        assert_eq!(TraceContext::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later =
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-09-what-the-future-brings";
        let came = headers(&[("traceparent", later)]);
        let context = TraceContext::of(&came).expect("a context");
        assert_eq!(context.parent(), GOOD, "unknown flags are not passed on");
    }

    #[test]
    fn a_malformed_state_is_left_out_and_the_trace_goes_on() {
        let many = vec!["a=b"; ENTRIES_MAX + 1].join(",");
        for bad in ["no", "=x", "A=b", "a=b=c", "a=", &many, "a\tb=c"] {
            let came = headers(&[("traceparent", GOOD), ("tracestate", bad)]);
            let context = TraceContext::of(&came).expect("a context");
            assert_eq!(context.state(), None, "{bad}");
        }
    }
}
