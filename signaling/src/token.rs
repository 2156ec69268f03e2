//! Bearer tokens of WHIP and WHEP clients (RFC 9725 §4.7, RFC 6750 §2.1).
//!
//! One shared secret for now, compared in constant time. Absent: issuing, expiry, scopes.

use rtc::crypto::constant_time_eq;

/// A secret that a client has to show.
#[derive(Clone)]
pub struct BearerToken {
    secret: String,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// There is no `Authorization`, or it is no bearer token: 401 with a challenge.
    Missing,
    /// It is another token: 401 with a challenge that says so.
    Invalid,
}

impl TokenRefusal {
    /// The value of `WWW-Authenticate` (RFC 6750 §3).
    #[must_use]
    pub const fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "Bearer",
            Self::Invalid => "Bearer error=\"invalid_token\"",
        }
    }
}

impl BearerToken {
    /// A token with this secret; `None` if it is empty or has letters that a header cannot carry.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        let fits = !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self {
            secret: secret.to_owned(),
        })
    }

    /// Judges the value of an `Authorization` header.
    ///
    /// # Errors
    ///
    /// See [`TokenRefusal`].
    pub fn check(&self, authorization: Option<&str>) -> Result<(), TokenRefusal> {
        let authorization = authorization.ok_or(TokenRefusal::Missing)?;
        let (scheme, token) = authorization
            .trim()
            .split_once(' ')
            .ok_or(TokenRefusal::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(TokenRefusal::Missing);
        }
        if constant_time_eq(token.trim().as_bytes(), self.secret.as_bytes()) {
            Ok(())
        } else {
            Err(TokenRefusal::Invalid)
        }
    }
}

impl std::fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_let_in() {
        let token = BearerToken::new("s3cret").unwrap();
        assert_eq!(token.check(Some("Bearer s3cret")), Ok(()));
        assert_eq!(token.check(Some("bearer  s3cret ")), Ok(()));
        for wrong in [
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer S3CRET",
            "Bearer x s3cret",
        ] {
            assert_eq!(
                token.check(Some(wrong)),
                Err(TokenRefusal::Invalid),
                "{wrong}"
            );
        }
        for missing in [
            None,
            Some(""),
            Some("s3cret"),
            Some("Basic s3cret"),
            Some("Bearer"),
        ] {
            assert_eq!(
                token.check(missing),
                Err(TokenRefusal::Missing),
                "{missing:?}"
            );
        }
    }

    #[test]
    fn a_secret_that_no_header_can_carry_is_none_and_none_is_printed() {
        for secret in ["", "a b", "a\r\nb", "é"] {
            assert!(BearerToken::new(secret).is_none(), "{secret:?}");
        }
        assert!(!format!("{:?}", BearerToken::new("s3cret")).contains("s3cret"));
    }
}
