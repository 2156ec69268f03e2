//! Which names a pool has, when each is resolved again, and which addresses of an answer become members.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tidegate_media::Timestamp;

/// Members of one name at most. A name that says more is cut; its server rotates the answers anyway.
pub(super) const ADDRESSES_MAX: usize = 64;
/// Names are not asked more often than this, however often connections fail.
const PAUSE: Duration = Duration::from_secs(1);
/// A resolver that has not answered for this long is gone.
const ABANDONED: Duration = Duration::from_secs(30);

/// A name that stands for addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The host's name.
    pub host: String,
    /// Its port, the scheme's own if none is configured.
    pub port: u16,
}

impl Name {
    /// The name in an endpoint; `None` if it has a literal address, which stands for itself, or is none that has a known port.
    #[must_use]
    pub fn of(endpoint: &str) -> Option<Self> {
        let uri: http::Uri = endpoint.parse().ok()?;
        let host = uri.host()?;
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if literal.parse::<IpAddr>().is_ok() {
            return None;
        }
        let port = uri.port_u16().or(match uri.scheme_str()? {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        })?;
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// One name's schedule.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) name: Name,
    next: Timestamp,
    asked: Option<Timestamp>,
    answered: Option<Timestamp>,
}

impl Schedule {
    /// Due at once.
    pub(super) const fn new(name: Name) -> Self {
        Self {
            name,
            next: Timestamp::ZERO,
            asked: None,
            answered: None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Timestamp {
        self.asked.unwrap_or(self.next)
    }

    /// Whether to ask now; if so the question counts as on its way.
    pub(super) fn begin(&mut self, now: Timestamp) -> bool {
        let due = now >= self.poll_timeout();
        if due {
            self.asked = Some(now + ABANDONED);
        }
        due
    }

    pub(super) fn answered(&mut self, now: Timestamp, interval: Duration) {
        self.asked = None;
        self.answered = Some(now);
        self.next = now + interval.max(PAUSE);
    }

    /// A connection failed: the address may have moved.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        let soonest = self.answered.map_or(now, |at| now.max(at + PAUSE));
        self.next = self.next.min(soonest);
    }
}

/// The addresses that become members. `None` in the list: one member that asks the name itself when it connects.
///
/// Servers with several addresses are several members; one server's two families are not, so of a mixed answer only the family
/// that the system prefers counts (RFC 6724 puts first what can be reached), and a single pair (`localhost`) is left to the
/// connecting side, which tries both.
pub(super) fn members(mut addresses: Vec<SocketAddr>) -> Vec<Option<SocketAddr>> {
    let Some(first) = addresses.first().copied() else {
        return Vec::new();
    };
    let of_family = |v6: bool| addresses.iter().filter(|a| a.is_ipv6() == v6).count();
    if of_family(true) == 1 && of_family(false) == 1 {
        return vec![None];
    }
    addresses.retain(|address| address.is_ipv6() == first.is_ipv6());
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses.into_iter().map(Some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(endpoint: &str) -> Option<(String, u16)> {
        Name::of(endpoint).map(|name| (name.host, name.port))
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parse = |text: &&str| text.parse().expect("an address");
        texts.iter().map(parse).collect()
    }

    #[test]
    fn only_names_are_resolved() {
        assert_eq!(name("http://tts:7001"), Some(("tts".into(), 7001)));
        assert_eq!(
            name("https://tts.example/x"),
            Some(("tts.example".into(), 443))
        );
        assert_eq!(name("ws://tts"), Some(("tts".into(), 80)));
        assert_eq!(name("http://10.0.0.1:7001"), None);
        assert_eq!(name("http://[::1]:7001"), None);
        assert_eq!(name("not an address"), None);
    }

    #[test]
    fn each_address_is_a_member_once_and_in_an_order_that_does_not_rotate() {
        let found = members(addresses(&["10.0.0.2:1", "10.0.0.1:1", "10.0.0.2:1"]));
        let expected: Vec<_> = addresses(&["10.0.0.1:1", "10.0.0.2:1"])
            .into_iter()
            .map(Some)
            .collect();
        assert_eq!(found, expected);
        assert_eq!(members(Vec::new()), []);
    }

    #[test]
    fn two_families_of_one_server_are_one_member() {
        assert_eq!(members(addresses(&["[::1]:1", "127.0.0.1:1"])), [None]);
    }

    #[test]
    fn of_two_families_the_preferred_one_counts() {
        let found = members(addresses(&[
            "10.0.0.1:1",
            "10.0.0.2:1",
            "[fd00::1]:1",
            "[fd00::2]:1",
        ]));
        assert_eq!(found.len(), 2);
        assert!(found.iter().flatten().all(SocketAddr::is_ipv4));
    }

    #[test]
    fn a_name_is_asked_at_its_interval_and_soon_after_a_failure_but_not_in_a_storm() {
        let at = |millis| Timestamp::ZERO + Duration::from_millis(millis);
        let mut schedule = Schedule::new(Name {
            host: "tts".into(),
            port: 1,
        });
        assert!(schedule.begin(at(5)));
        assert!(!schedule.begin(at(6)), "one question at a time");
        schedule.answered(at(10), Duration::from_secs(30));
        assert_eq!(schedule.poll_timeout(), at(30_010));
        schedule.hurry(at(20));
        assert_eq!(schedule.poll_timeout(), at(1_010));
        schedule.hurry(at(5_000));
        assert_eq!(schedule.poll_timeout(), at(1_010));
        assert!(schedule.begin(at(5_000)));
        assert!(schedule.begin(at(40_000)), "the first asker vanished");
    }
}
