//! Which session a datagram of the shared socket belongs to.
//!
//! A connectivity check names its session in USERNAME and goes there. Everything else goes by the
//! address that it came from (RFC 7983, RFC 8445 §7.2.2), which the session has to vouch for: it
//! alone can tell a check of its peer from one that somebody made up. It keeps true:
//! * a packet of no session costs two hash look-ups and nothing is answered or stored for it;
//! * reading a datagram assigns nothing. Only [`Demux::learn`] does, for a check that its session
//!   has verified;
//! * an address whose holder is known to be there, since it answers, goes to nobody else. Whoever
//!   has a session of his own can sign a check and put another's address on it, but he cannot answer
//!   from there;
//! * per session a bounded number of addresses is remembered, the one learned first is forgotten
//!   first, and none outlives its session.
//!
//! Absent: authentication.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::event::Proof;
use crate::ice::stun::local_ufrag_of;

/// Addresses of one session: candidates of a client with several interfaces, and their changes.
const MAX_ADDRESSES: usize = 8;
/// ICE generations of one session that are answered: the one before a restart, and the new one.
const MAX_UFRAGS: usize = 2;
/// How long an address is kept for a holder that has answered from it: two of our checks, and one
/// answer may be lost. A client that has gone without a word and calls again from the same port is
/// not heard before.
const LEASE: Duration = Duration::from_secs(5);

struct Entry<K> {
    key: K,
    ufrags: SmallVec<[String; MAX_UFRAGS]>,
    /// The one learned first is first.
    addresses: SmallVec<[SocketAddr; 2]>,
}

struct Holder<K> {
    key: K,
    /// When its peer last answered from there.
    answered: Option<Instant>,
}

/// The register of sessions. `K` is whatever names a session, and cheap to copy.
pub struct Demux<K> {
    entries: HashMap<K, Entry<K>>,
    by_ufrag: HashMap<String, K>,
    by_address: HashMap<SocketAddr, Holder<K>>,
    max_sessions: usize,
}

impl<K: Copy + Eq + std::hash::Hash> Demux<K> {
    /// A register of at most `max_sessions`.
    #[must_use]
    pub fn new(max_sessions: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            max_sessions,
        }
    }

    /// Registers `ufrag`, [`Peer::local_ufrag`](crate::Peer::local_ufrag), for `key`. A second one is
    /// a restarted ICE: both are routed, a third takes the first one's place. `false` if there are
    /// too many sessions or the ufrag is another's.
    #[must_use]
    pub fn insert(&mut self, key: K, ufrag: &str) -> bool {
        if let Some(owner) = self.by_ufrag.get(ufrag) {
            return *owner == key;
        }
        if !self.entries.contains_key(&key) && self.entries.len() >= self.max_sessions {
            return false;
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            key,
            ufrags: SmallVec::new(),
            addresses: SmallVec::new(),
        });
        if entry.ufrags.len() == MAX_UFRAGS {
            self.by_ufrag.remove(&entry.ufrags.remove(0));
        }
        entry.ufrags.push(ufrag.to_owned());
        self.by_ufrag.insert(ufrag.to_owned(), key);
        true
    }

    /// Forgets a session with all its addresses.
    pub fn remove(&mut self, key: K) {
        let Some(entry) = self.entries.remove(&key) else {
            return;
        };
        for ufrag in &entry.ufrags {
            self.by_ufrag.remove(ufrag);
        }
        for address in &entry.addresses {
            let holder = self.by_address.get(address);
            if holder.is_some_and(|holder| holder.key == entry.key) {
                self.by_address.remove(address);
            }
        }
    }

    /// The session that a datagram belongs to. `None`: drop it, and count that. It is a check of no session (late, forged, or for
    /// another server) or comes from an address of none.
    #[must_use]
    pub fn route(&self, from: SocketAddr, packet: &[u8]) -> Option<K> {
        if let Some(ufrag) = local_ufrag_of(packet) {
            return self.by_ufrag.get(ufrag).copied();
        }
        self.by_address.get(&from).map(|holder| holder.key)
    }

    /// Notes that the peer of `key` is at `from`, by [`Peer::take_proof`](crate::Peer::take_proof).
    /// `false` if `key` is not registered or another session's peer is known to be there.
    ///
    /// Before anything that the proof leads to is sent: the answer may come back at once.
    pub fn learn(&mut self, now: Instant, key: K, from: SocketAddr, proof: Proof) -> bool {
        let answered = (proof == Proof::Answered).then_some(now);
        if let Some(holder) = self.by_address.get_mut(&from) {
            if holder.key == key {
                holder.answered = answered.or(holder.answered);
                return true;
            }
            let is_there = |at: Instant| now.saturating_duration_since(at) < LEASE;
            if holder.answered.is_some_and(is_there) {
                return false;
            }
            if let Some(entry) = self.entries.get_mut(&holder.key) {
                entry.addresses.retain(|address| *address != from);
            }
            self.by_address.remove(&from);
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            return false;
        };
        if entry.addresses.len() == MAX_ADDRESSES {
            let oldest = entry.addresses.remove(0);
            self.by_address.remove(&oldest);
        }
        entry.addresses.push(from);
        self.by_address.insert(from, Holder { key, answered });
        true
    }

    /// Sessions registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Addresses remembered, of all sessions.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.by_address.len()
    }
}

impl<K> std::fmt::Debug for Demux<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demux")
            .field("sessions", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ufrag: &str) -> Vec<u8> {
        let name = format!("{ufrag}:client");
        let mut value = name.clone().into_bytes();
        value.resize(name.len().next_multiple_of(4), 0);
        let length = u16::try_from(value.len() + 4).unwrap().to_be_bytes();
        let mut packet = vec![0, 1, length[0], length[1], 0x21, 0x12, 0xA4, 0x42];
        packet.extend([7; 12]);
        packet.extend([0, 6, 0, u8::try_from(name.len()).unwrap()]);
        packet.extend(value);
        packet
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_verified_check_teaches_the_address_and_media_follows_it() {
        let (now, mut demux) = (crate::clock::start(), Demux::new(10));
        assert!(demux.insert(1, "aaaa") && demux.insert(2, "bbbb"));
        assert_eq!(demux.route(address(1), &[0x80; 20]), None);
        assert_eq!(demux.route(address(1), &check("aaaa")), Some(1));
        assert_eq!(demux.route(address(1), &[0x80; 20]), None);
        assert!(demux.learn(now, 1, address(1), Proof::Claimed));
        assert_eq!(demux.route(address(1), &[0x80; 20]), Some(1));
        assert!(demux.learn(now, 2, address(2), Proof::Claimed));
        assert_eq!(demux.route(address(2), &[22; 20]), Some(2));
        assert_eq!(demux.route(address(3), &check("cccc")), None);
        assert!(!demux.learn(now, 3, address(3), Proof::Answered));
    }

    #[test]
    fn an_address_whose_holder_answers_goes_to_nobody_else() {
        let (now, mut demux) = (crate::clock::start(), Demux::new(10));
        assert!(demux.insert(1, "aaaa") && demux.insert(2, "bbbb"));
        assert!(demux.learn(now, 1, address(1), Proof::Answered));
        for proof in [Proof::Claimed, Proof::Answered] {
            let soon = now + LEASE - Duration::from_millis(1);
            assert!(!demux.learn(soon, 2, address(1), proof));
            // A claim keeps nothing: it may be made up as well.
            assert!(demux.learn(soon, 1, address(1), Proof::Claimed));
        }
        assert_eq!(demux.route(address(1), &[0x80; 20]), Some(1));
        assert!(demux.learn(now + LEASE, 2, address(1), Proof::Claimed));
        assert_eq!(demux.route(address(1), &[0x80; 20]), Some(2));
    }

    #[test]
    fn an_address_that_turns_to_another_session_leaves_the_first() {
        let (now, mut demux) = (crate::clock::start(), Demux::new(10));
        assert!(demux.insert(1, "aaaa") && demux.insert(2, "bbbb"));
        assert!(demux.learn(now, 1, address(1), Proof::Claimed));
        assert!(demux.learn(now, 2, address(1), Proof::Claimed));
        assert_eq!(demux.route(address(1), &[0x80; 20]), Some(2));
        demux.remove(1);
        assert_eq!(demux.route(address(1), &[0x80; 20]), Some(2));
        demux.remove(2);
        assert_eq!((demux.len(), demux.addresses()), (0, 0));
    }

    #[test]
    fn addresses_of_one_session_are_bounded_and_go_with_it() {
        let (now, mut demux) = (crate::clock::start(), Demux::new(10));
        assert!(demux.insert(1, "aaaa"));
        for port in 1..=100 {
            assert!(demux.learn(now, 1, address(port), Proof::Claimed));
        }
        assert_eq!(demux.addresses(), MAX_ADDRESSES);
        demux.remove(1);
        assert_eq!((demux.len(), demux.addresses()), (0, 0));
        assert_eq!(demux.route(address(100), &check("aaaa")), None);
    }

    #[test]
    fn after_a_restart_both_generations_are_routed_and_only_two() {
        let mut demux = Demux::new(10);
        for ufrag in ["gen1", "gen2", "gen3"] {
            assert!(demux.insert(1, ufrag));
        }
        assert_eq!(demux.route(address(1), &check("gen1")), None);
        assert_eq!(demux.route(address(1), &check("gen2")), Some(1));
        assert_eq!(demux.route(address(1), &check("gen3")), Some(1));
    }

    #[test]
    fn sessions_are_bounded_and_a_ufrag_has_one_owner() {
        let mut demux = Demux::new(1);
        assert!(demux.insert(1, "aaaa"));
        assert!(!demux.insert(2, "bbbb"));
        assert!(!demux.insert(2, "aaaa"));
    }
}
