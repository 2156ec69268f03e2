//! Interactive Connectivity Establishment (RFC 8445) for one bundled component.
//!
//! [`Agent`] decides, [`stun`] builds and reads the messages with the library's STUN. The agent is
//! ours because the library's leaves a nominating check unanswered until its own check has
//! succeeded, which costs peers that nominate at once a retransmission (half a second with aioice),
//! runs its checks on a fixed interval (200 ms by default), and holds state per candidate pair that a
//! server with one socket does not have. Absent: gathering, mDNS, TURN, TCP candidates.

mod agent;
pub(crate) mod stun;

pub(crate) use agent::{Agent, IceEvent, IceRole, IceTiming};

use rand::Rng as _;

/// Letters that an `ice-ufrag` or `ice-pwd` may have (RFC 8839 §5.4), without `+` and `/`, so that
/// they also fit in URLs.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A user name fragment and password of one ICE generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) password: String,
}

impl Credentials {
    /// 16 and 32 random letters: 95 and 190 bits, so that a ufrag identifies a session on the
    /// shared socket without a register of those in use.
    pub(crate) fn generate() -> Self {
        Self {
            ufrag: random_letters(16),
            password: random_letters(32),
        }
    }
}

/// `count` random letters and digits.
pub(crate) fn random_letters(count: usize) -> String {
    let mut rng = rand::rng();
    (0..count)
        .map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]))
        .collect()
}
