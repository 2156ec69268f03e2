//! Which session a datagram of the shared socket belongs to.
//!
//! A connectivity check names its session in USERNAME; its source address is then remembered, and
//! everything else goes by address (RFC 7983, RFC 8445 §7.2.2). It keeps true:
//! * a packet of no session costs two hash look-ups and nothing is answered or stored for it;
//! * per session a bounded number of addresses is remembered, the least recently checked one is
//!   forgotten first, and none outlives its session;
//! * an address follows the newest check that came from it.
//!
//! Absent: authentication. A check with a wrong password reaches its session, which refuses it; what
//! it can do is to assign an address, which takes a ufrag that only the session's client knows.

use std::collections::HashMap;
use std::net::SocketAddr;

use smallvec::SmallVec;

use crate::ice::stun::local_ufrag_of;

/// Addresses of one session: candidates of a client with several interfaces, and their changes.
const MAX_ADDRESSES: usize = 8;
/// ICE generations of one session that are answered: the one before a restart, and the new one.
const MAX_UFRAGS: usize = 2;

/// Packets by what became of them. Each field only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DemuxCounters {
    /// Went to a session.
    pub routed: u64,
    /// Checks of no session: late, forged, or for another server.
    pub unknown_ufrag: u64,
    /// Others from an address of no session.
    pub unknown_address: u64,
    /// Addresses forgotten because a session had too many.
    pub evicted_addresses: u64,
}

struct Entry<K> {
    key: K,
    ufrags: SmallVec<[String; MAX_UFRAGS]>,
    /// Least recently checked first.
    addresses: SmallVec<[SocketAddr; 2]>,
}

/// The register of sessions. `K` is whatever names a session, and cheap to copy.
pub struct Demux<K> {
    entries: HashMap<K, Entry<K>>,
    by_ufrag: HashMap<String, K>,
    by_address: HashMap<SocketAddr, K>,
    max_sessions: usize,
    counters: DemuxCounters,
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
            counters: DemuxCounters::default(),
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
            if self.by_address.get(address) == Some(&entry.key) {
                self.by_address.remove(address);
            }
        }
    }

    /// The session that a datagram belongs to. `None`: drop it, it is counted.
    pub fn route(&mut self, from: SocketAddr, packet: &[u8]) -> Option<K> {
        if let Some(ufrag) = local_ufrag_of(packet) {
            let Some(key) = self.by_ufrag.get(ufrag).copied() else {
                self.counters.unknown_ufrag += 1;
                return None;
            };
            self.counters.routed += 1;
            if self.by_address.get(&from) != Some(&key) {
                self.learn(key, from);
            }
            return Some(key);
        }
        let key = self.by_address.get(&from).copied();
        match key {
            Some(_) => self.counters.routed += 1,
            None => self.counters.unknown_address += 1,
        }
        key
    }

    fn learn(&mut self, key: K, from: SocketAddr) {
        if let Some(before) = self.by_address.insert(from, key)
            && let Some(entry) = self.entries.get_mut(&before)
        {
            entry.addresses.retain(|address| *address != from);
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if entry.addresses.len() == MAX_ADDRESSES {
            let oldest = entry.addresses.remove(0);
            self.by_address.remove(&oldest);
            self.counters.evicted_addresses += 1;
        }
        entry.addresses.push(from);
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

    /// What became of the packets so far.
    #[must_use]
    pub const fn counters(&self) -> DemuxCounters {
        self.counters
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
    fn a_check_teaches_the_address_and_media_follows_it() {
        let mut demux = Demux::new(10);
        assert!(demux.insert(1, "aaaa") && demux.insert(2, "bbbb"));
        assert_eq!(demux.route(address(1), &[0x80; 20]), None);
        assert_eq!(demux.route(address(1), &check("aaaa")), Some(1));
        assert_eq!(demux.route(address(1), &[0x80; 20]), Some(1));
        assert_eq!(demux.route(address(2), &check("bbbb")), Some(2));
        assert_eq!(demux.route(address(2), &[22; 20]), Some(2));
        assert_eq!(demux.route(address(3), &check("cccc")), None);
        let counters = demux.counters();
        assert_eq!(
            (
                counters.routed,
                counters.unknown_ufrag,
                counters.unknown_address
            ),
            (4, 1, 1)
        );
    }

    #[test]
    fn an_address_that_turns_to_another_session_leaves_the_first() {
        let mut demux = Demux::new(10);
        assert!(demux.insert(1, "aaaa") && demux.insert(2, "bbbb"));
        demux.route(address(1), &check("aaaa"));
        demux.route(address(1), &check("bbbb"));
        assert_eq!(demux.route(address(1), &[0x80; 20]), Some(2));
        demux.remove(1);
        assert_eq!(demux.route(address(1), &[0x80; 20]), Some(2));
    }

    #[test]
    fn addresses_of_one_session_are_bounded_and_go_with_it() {
        let mut demux = Demux::new(10);
        assert!(demux.insert(1, "aaaa"));
        for port in 1..=100 {
            demux.route(address(port), &check("aaaa"));
        }
        assert_eq!(demux.addresses(), MAX_ADDRESSES);
        assert_eq!(demux.counters().evicted_addresses, 92);
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
