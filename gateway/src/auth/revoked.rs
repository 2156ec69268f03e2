//! Client keys that were taken back before they expired. Nothing is kept of a key, so that what is noted is that one of this number, by
//! this account, is good no more; and for no longer than any key lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_nodes::{Code, Error};

use super::keys::SECONDS;

/// Keys that are noted at a time. Who takes back more would better take back what mints them.
const MOST: usize = 10_000;
/// Digits of a key's number.
const DIGITS: usize = 16;

/// Whose keys are meant: those that an account has minted, or anybody's.
type Of = Option<Arc<str>>;

/// What was taken back.
#[derive(Debug, Default)]
pub(super) struct Revoked(Mutex<HashMap<(String, Of), u64>>);

impl Revoked {
    /// Takes back the key with this number, at `now` in seconds since 1970.
    ///
    /// # Errors
    /// It is no number of a key, or too many were taken back.
    pub(super) fn add(&self, id: &str, of: Of, now: u64) -> Result<(), Error> {
        if id.len() != DIGITS || !id.bytes().all(is_digit) {
            let text = "this is no key's id: send the 'id' that it was minted with";
            return Err(Error::new(Code::BadRequest, text));
        }
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (id.to_owned(), of);
        if noted.len() >= MOST && !noted.contains_key(&place) {
            noted.retain(|_, until| *until > now);
        }
        if noted.len() >= MOST && !noted.contains_key(&place) {
            let text = format!(
                "{MOST} keys are taken back already: take back the token that mints them, or change auth.client_keys.secret"
            );
            return Err(Error::new(Code::Overloaded, text));
        }
        noted.insert(place, now + SECONDS.end());
        Ok(())
    }

    /// Whether the key with this number was taken back, of those that the account has minted.
    pub(super) fn has(&self, id: &str, account: &str) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_empty() {
            return false;
        }
        let has = |of: Of| noted.contains_key(&(id.to_owned(), of));
        has(None) || has(Some(Arc::from(account)))
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "00000000000000a1";

    fn of(account: &str) -> Of {
        Some(Arc::from(account))
    }

    #[test]
    fn an_account_takes_back_its_own_keys_and_an_administrator_anybody_s() {
        let revoked = Revoked::default();
        revoked.add(ONE, of("app"), 0).expect("noted");
        assert!(revoked.has(ONE, "app"));
        assert!(!revoked.has(ONE, "other") && !revoked.has("00000000000000a2", "app"));
        revoked.add(ONE, None, 0).expect("noted");
        assert!(revoked.has(ONE, "other"));
        for odd in ["", "a1", "00000000000000g1", "00000000000000a1b"] {
            let refused = revoked.add(odd, None, 0).expect_err(odd);
            assert_eq!(refused.code, Code::BadRequest);
        }
    }

    #[test]
    fn however_many_are_taken_back_only_so_many_are_noted_and_no_longer_than_a_key_lives() {
        let revoked = Revoked::default();
        for number in 0..MOST {
            let id = format!("{number:016x}");
            revoked.add(&id, of("app"), 100).expect("room");
        }
        let last = 100 + SECONDS.end();
        let refused = revoked.add(&"f".repeat(16), None, last - 1);
        assert_eq!(refused.expect_err("full").code, Code::Overloaded);
        assert!(revoked.add(&format!("{:016x}", 0), of("app"), 101).is_ok());
        assert!(revoked.add(&"f".repeat(16), None, last).is_ok());
        assert!(
            !revoked.has(&format!("{:016x}", 1), "app"),
            "it has expired"
        );
    }
}
