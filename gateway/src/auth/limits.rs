//! How much each key may open: so many sessions a minute, and so many at a time. All keys that one token or one user has had minted
//! count as theirs.
//!
//! What is remembered of an account is two numbers, and no more than [`ACCOUNTS`] are: one that has nothing open and could open a whole
//! burst is as one that never came, and is forgotten first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};

use super::Identity;
use crate::config::{Auth, KeyLimits};
use crate::metrics::{Metrics, label};

/// Accounts that are remembered, beside those with sessions, which have a limit of their own.
const ACCOUNTS: usize = 10_000;
/// What `opens_per_minute` counts in.
const MINUTE: Duration = Duration::from_secs(60);
/// Counts what was refused, by which limit.
const REFUSED: &str = "tidegate_key_limits_total";

/// What all accounts have open.
pub(crate) struct Accounts {
    /// Of who has none of their own.
    usual: ArcSwap<KeyLimits>,
    most: usize,
    accounts: Mutex<HashMap<Arc<str>, Account>>,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// When everything that was opened is paid for: each opening costs the time of one.
    paid: Timestamp,
    sessions: usize,
}

/// A session that counts towards its account; given back when dropped.
pub(crate) struct Counted {
    accounts: Arc<Accounts>,
    account: Arc<str>,
}

impl Accounts {
    /// For a gateway of so many sessions.
    pub(crate) fn new(usual: KeyLimits, sessions: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        for reason in ["opens", "sessions"] {
            let labels = vec![label("reason", reason)];
            metrics.counter(REFUSED, labels).increment(0);
        }
        Arc::new(Self {
            usual: ArcSwap::from_pointee(usual),
            most: sessions.saturating_add(ACCOUNTS),
            accounts: Mutex::default(),
            metrics,
        })
    }

    /// Takes other limits; what was opened is remembered.
    pub(crate) fn reload(&self, usual: KeyLimits) {
        self.usual.store(Arc::new(usual));
    }

    fn of(&self, who: &Identity) -> KeyLimits {
        let own = who.limits.clone();
        own.unwrap_or_else(|| KeyLimits::clone(&self.usual.load()))
    }

    /// Counts somebody's opening or joining.
    ///
    /// # Errors
    /// They have opened too many lately.
    pub(crate) fn opens(&self, who: &Identity, now: Timestamp) -> Result<(), Error> {
        let limits = self.of(who);
        if limits.opens_per_minute == 0 {
            return Ok(());
        }
        let cost = MINUTE / limits.opens_per_minute;
        let ahead = cost * limits.burst.saturating_sub(1);
        let mut accounts = self.lock();
        let account = self.account(&mut accounts, &who.account, now);
        let wait = account.paid.saturating_since(now).saturating_sub(ahead);
        if wait.is_zero() {
            account.paid = account.paid.max(now) + cost;
            return Ok(());
        }
        drop(accounts);
        let text = format!(
            "this key opens more than {} sessions a minute: try again in {:.1} s",
            limits.opens_per_minute,
            wait.as_secs_f64()
        );
        Err(self.refused("opens", text).after(wait))
    }

    /// Counts somebody's session for as long as what it gives is kept; `None` where nobody counts.
    ///
    /// # Errors
    /// They have as many as they may.
    pub(crate) fn session(
        self: &Arc<Self>,
        who: &Identity,
        now: Timestamp,
    ) -> Result<Option<Counted>, Error> {
        let limits = self.of(who);
        if limits.sessions == 0 {
            return Ok(None);
        }
        let mut accounts = self.lock();
        let account = self.account(&mut accounts, &who.account, now);
        if account.sessions < limits.sessions {
            account.sessions += 1;
            return Ok(Some(Counted {
                accounts: Arc::clone(self),
                account: Arc::clone(&who.account),
            }));
        }
        drop(accounts);
        let text = format!(
            "this key has {} sessions open, as many as it may: end one first",
            limits.sessions
        );
        Err(self.refused("sessions", text))
    }

    fn account<'a>(
        &self,
        accounts: &'a mut HashMap<Arc<str>, Account>,
        name: &Arc<str>,
        now: Timestamp,
    ) -> &'a mut Account {
        if accounts.len() >= self.most && !accounts.contains_key(name) {
            accounts.retain(|_, account| account.sessions > 0 || account.paid > now);
        }
        if accounts.len() >= self.most && !accounts.contains_key(name) {
            // So many come at once: whoever is nearest to a whole burst loses the least by it.
            let idle = accounts.iter().filter(|(_, account)| account.sessions == 0);
            let first = idle.min_by_key(|(_, account)| account.paid);
            if let Some(first) = first.map(|(name, _)| Arc::clone(name)) {
                accounts.remove(&first);
            }
        }
        accounts.entry(Arc::clone(name)).or_default()
    }

    fn refused(&self, reason: &'static str, text: String) -> Error {
        let labels = vec![label("reason", reason)];
        self.metrics.counter(REFUSED, labels).increment(1);
        Error::new(Code::RateLimited, text)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(account) = self.accounts.lock().get_mut(&self.account) {
            account.sessions = account.sessions.saturating_sub(1);
        }
    }
}

/// All that is wrong with the limits as they are configured.
pub(super) fn wrong(config: &Auth) -> Vec<String> {
    let own = config.tokens.iter().enumerate();
    let own = own.filter_map(|(index, token)| {
        let limits = token.limits.as_ref()?;
        Some((format!("auth.tokens[{index}].limits"), limits))
    });
    let all = std::iter::once(("auth.limits".to_owned(), &config.limits)).chain(own);
    all.filter(|(_, limits)| limits.opens_per_minute > 0 && limits.burst == 0)
        .map(|(place, _)| format!("{place}.burst is 0, which opens nothing: write 1 at least"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Caller, Grants};

    fn accounts(opens_per_minute: u32, burst: u32, sessions: usize) -> Arc<Accounts> {
        let usual = KeyLimits {
            opens_per_minute,
            burst,
            sessions,
        };
        let metrics = Arc::new(Metrics::new());
        Accounts::new(usual, 0, metrics)
    }

    fn who(name: &str) -> Caller {
        Caller::new(name, Grants::default())
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(1_000) + Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_is_opened_at_once_and_the_rest_at_its_pace() {
        let accounts = accounts(60, 3, 0);
        let one = who("one");
        for _ in 0..3 {
            assert_eq!(accounts.opens(&one, at(0)), Ok(()));
        }
        let refused = accounts.opens(&one, at(0)).expect_err("refused");
        assert_eq!(refused.code, Code::RateLimited);
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(accounts.opens(&who("two"), at(0)), Ok(()), "others may");
        let refused = accounts.opens(&one, at(400)).expect_err("refused");
        assert_eq!(refused.retry_after(), Some(Duration::from_millis(600)));
        assert_eq!(
            accounts.opens(&one, at(1_000)),
            Ok(()),
            "what was refused costs nothing"
        );
        assert!(accounts.opens(&one, at(1_000)).is_err());
        for _ in 0..3 {
            assert_eq!(
                accounts.opens(&one, at(60_000)),
                Ok(()),
                "and no more than a burst"
            );
        }
        assert!(accounts.opens(&one, at(60_000)).is_err());
    }

    #[test]
    fn sessions_count_for_as_long_as_they_live() {
        let accounts = accounts(0, 1, 2);
        let (one, now) = (who("one"), at(0));
        let held: Vec<_> = (0..2)
            .map(|_| accounts.session(&one, now).expect("room").expect("counted"))
            .collect();
        let refused = accounts.session(&one, now).err().expect("refused");
        assert_eq!(refused.code, Code::RateLimited);
        assert!(accounts.session(&who("two"), now).is_ok());
        drop(held);
        assert!(accounts.session(&one, now).is_ok());
    }

    #[test]
    fn a_token_may_have_limits_of_its_own() {
        let accounts = accounts(60, 1, 1);
        let free = KeyLimits {
            opens_per_minute: 0,
            burst: 1,
            sessions: 0,
        };
        let server = who("server").with_limits(Some(free));
        for _ in 0..10 {
            assert_eq!(accounts.opens(&server, at(0)), Ok(()));
            assert!(accounts.session(&server, at(0)).expect("room").is_none());
        }
    }

    #[test]
    fn however_many_come_only_so_many_are_remembered() {
        let accounts = accounts(60, 2, 1);
        let first = who("first");
        let held = accounts.session(&first, at(0)).expect("room");
        for n in 0..ACCOUNTS as u64 + 500 {
            let one = who(&format!("visitor {n}"));
            assert_eq!(accounts.opens(&one, at(0)), Ok(()));
        }
        assert_eq!(accounts.lock().len(), ACCOUNTS);
        assert!(
            accounts.session(&first, at(0)).is_err(),
            "what is open is not forgotten"
        );
        drop(held);
    }
}
