//! Types and checks that parameters of several node types share.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) use crate::manifest::units::show_duration as show;
pub(super) use crate::manifest::units::{Size, Span};
use crate::registry::ParamError;

/// A length of time given in milliseconds.
pub(super) const fn millis(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

/// Refuses a length of time outside of a range in milliseconds.
pub(super) fn within_span(path: &str, span: Span, from: u64, to: u64) -> Result<(), ParamError> {
    let (from, to) = (millis(from), millis(to));
    if (from..=to).contains(&span) {
        return Ok(());
    }
    let [span, from, to] = [span, from, to].map(|span| show(span.0));
    let message = format!("{span} is out of range: use {from} to {to}");
    Err(ParamError::new(path, message))
}

/// Refuses a number outside of a range.
pub(super) fn within<N: PartialOrd + fmt::Display>(
    path: &str,
    value: N,
    range: RangeInclusive<N>,
) -> Result<(), ParamError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (from, to) = range.into_inner();
    let message = format!("{value} is out of range: use {from} to {to}");
    Err(ParamError::new(path, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_says_the_range() {
        let error = within_span("frame", millis(5), 10, 1_000).expect_err("too short");
        assert_eq!(error.path, "frame");
        assert_eq!(error.message, "5ms is out of range: use 10ms to 1s");
        assert!(within("n", 3, 1..=3).is_ok());
        assert!(within("x", f64::NAN, 0.0..=1.0).is_err());
    }
}
