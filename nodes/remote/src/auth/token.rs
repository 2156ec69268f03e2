//! When a token ends, if it says so.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The claim that is read (RFC 7519 §4.1.4); it may have a fraction.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

/// The time until a JWT ends, zero if it has ended; `None` for a token of another form or without end. Nothing is verified: a wrong
/// claim only moves the moment at which a newer token is looked for.
pub(super) fn time_left(token: &str, now: Duration) -> Option<Duration> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let Claims { exp } = serde_json::from_slice(&payload).ok()?;
    let end = Duration::try_from_secs_f64(exp).ok()?;
    // A clock that adds such a time to its own never overflows.
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);
    Some(end.saturating_sub(now).min(CENTURY))
}
