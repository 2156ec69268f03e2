//! The four STUN messages that ICE needs, built and read with the library (RFC 8489, RFC 8445 §7).
//!
//! Nothing here keeps state. Absent: authentication by realm, and every method but Binding.

use std::net::SocketAddr;

use rtc::crypto::RTCCrypto;
use rtc::stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
    AttrType,
};
use rtc::stun::error_code::CODE_ROLE_CONFLICT;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, CLASS_ERROR_RESPONSE, CLASS_REQUEST,
    CLASS_SUCCESS_RESPONSE, METHOD_BINDING, Message, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;

use super::Credentials;

type StunResult<T> = Result<T, rtc::shared::error::Error>;

/// What a Binding message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Success,
    Error,
}

/// A parsed Binding message.
pub(crate) struct Binding {
    pub(crate) kind: Kind,
    message: Message,
}

/// What goes into a connectivity check.
pub(crate) struct Check<'a> {
    pub(crate) local: &'a Credentials,
    pub(crate) remote: &'a Credentials,
    pub(crate) controlling: bool,
    pub(crate) tie_breaker: u64,
    pub(crate) nominate: bool,
}

/// An attribute of raw bytes: the library keeps its ICE attributes to itself.
struct Raw<'a>(AttrType, &'a [u8]);

impl Setter for Raw<'_> {
    fn add_to(&self, message: &mut Message) -> StunResult<()> {
        message.add(self.0, self.1);
        Ok(())
    }
}

impl Binding {
    /// Reads a Binding request or response; anything else is `None`.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let mut message = Message {
            raw: data.to_vec(),
            ..Message::default()
        };
        message.decode().ok()?;
        if message.typ.method != METHOD_BINDING {
            return None;
        }
        let kind = match message.typ.class {
            CLASS_REQUEST => Kind::Request,
            CLASS_SUCCESS_RESPONSE => Kind::Success,
            CLASS_ERROR_RESPONSE => Kind::Error,
            _ => return None,
        };
        Some(Self { kind, message })
    }

    /// The id that joins a response to its request.
    pub(crate) fn transaction(&self) -> [u8; 12] {
        self.message.transaction_id.0
    }

    /// Whether USERNAME is `local:remote` (RFC 8445 §7.2.2).
    pub(crate) fn is_for(&self, local: &str, remote: &str) -> bool {
        self.message.get(ATTR_USERNAME).is_ok_and(|name| {
            let (local, remote) = (local.as_bytes(), remote.as_bytes());
            name.len() == local.len() + 1 + remote.len()
                && name.starts_with(local)
                && name[local.len()] == b':'
                && name.ends_with(remote)
        })
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`.
    pub(crate) fn is_signed_with(&mut self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        MessageIntegrity::check(&mut self.message, password.as_bytes(), crypto).is_ok()
    }

    /// Whether the sender nominates this pair.
    pub(crate) fn nominates(&self) -> bool {
        self.message.contains(ATTR_USE_CANDIDATE)
    }

    /// The tie-breaker of a sender that takes itself for controlling (`true`) or controlled.
    pub(crate) fn role(&self) -> Option<(bool, u64)> {
        for (attribute, controlling) in [(ATTR_ICE_CONTROLLING, true), (ATTR_ICE_CONTROLLED, false)]
        {
            if let Ok(value) = self.message.get(attribute) {
                let bytes: [u8; 8] = value.as_slice().try_into().ok()?;
                return Some((controlling, u64::from_be_bytes(bytes)));
            }
        }
        None
    }

    /// Whether an error response says 487, role conflict.
    pub(crate) fn is_role_conflict(&self) -> bool {
        use rtc::stun::error_code::ErrorCodeAttribute;
        use rtc::stun::message::Getter as _;
        let mut code = ErrorCodeAttribute::default();
        code.get_from(&self.message).is_ok() && code.code == CODE_ROLE_CONFLICT
    }

    /// The success response for this request, seen from `from`.
    pub(crate) fn success(
        &self,
        from: SocketAddr,
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> StunResult<Vec<u8>> {
        self.respond(
            &[
                &BINDING_SUCCESS,
                &self.message.transaction_id,
                &XorMappedAddress {
                    ip: from.ip().to_canonical(),
                    port: from.port(),
                },
            ],
            password,
            crypto,
        )
    }

    /// The 487 response for this request (RFC 8445 §7.3.1.1).
    pub(crate) fn role_conflict(
        &self,
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> StunResult<Vec<u8>> {
        self.respond(
            &[
                &BINDING_ERROR,
                &self.message.transaction_id,
                &CODE_ROLE_CONFLICT,
            ],
            password,
            crypto,
        )
    }

    fn respond(
        &self,
        setters: &[&dyn Setter],
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> StunResult<Vec<u8>> {
        sealed(setters, password, crypto)
    }
}

/// A connectivity check and its transaction id (RFC 8445 §7.2.2).
pub(crate) fn check(check: &Check<'_>, crypto: &dyn RTCCrypto) -> StunResult<([u8; 12], Vec<u8>)> {
    // The priority that a candidate learned from this check would have: peer reflexive (110),
    // component 1 (RFC 8445 §5.1.2.1).
    const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;
    let transaction = TransactionId::new();
    let username = TextAttribute::new(
        ATTR_USERNAME,
        format!("{}:{}", check.remote.ufrag, check.local.ufrag),
    );
    let tie_breaker = check.tie_breaker.to_be_bytes();
    let role = if check.controlling {
        ATTR_ICE_CONTROLLING
    } else {
        ATTR_ICE_CONTROLLED
    };
    let priority = PRIORITY.to_be_bytes();
    let (role, priority) = (Raw(role, &tie_breaker), Raw(ATTR_PRIORITY, &priority));
    let nominate = Raw(ATTR_USE_CANDIDATE, &[]);
    let mut setters: Vec<&dyn Setter> =
        vec![&BINDING_REQUEST, &transaction, &username, &role, &priority];
    if check.nominate {
        setters.push(&nominate);
    }
    Ok((
        transaction.0,
        sealed(&setters, &check.remote.password, crypto)?,
    ))
}

/// Builds a message and closes it with MESSAGE-INTEGRITY and FINGERPRINT.
fn sealed(setters: &[&dyn Setter], password: &str, crypto: &dyn RTCCrypto) -> StunResult<Vec<u8>> {
    let mut message = Message::new();
    message.reset();
    message.write_header();
    for setter in setters {
        setter.add_to(&mut message)?;
    }
    MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto)
        .add_to(&mut message)?;
    FINGERPRINT.add_to(&mut message)?;
    Ok(message.raw)
}

/// The local ufrag that a Binding request is addressed to, without building anything: this runs for
/// every unknown packet that reaches the socket.
///
/// `None` if the packet is not a Binding request or its USERNAME is not `local:remote`.
pub(crate) fn local_ufrag_of(packet: &[u8]) -> Option<&str> {
    const BINDING_REQUEST_TYPE: [u8; 2] = [0, 1];
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
    const USERNAME: [u8; 2] = [0, 6];
    if packet.len() < 20 || packet[..2] != BINDING_REQUEST_TYPE || packet[4..8] != MAGIC_COOKIE {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let mut attributes = packet.get(20..20 + length)?;
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_be_bytes([attributes[2], attributes[3]]));
        let value = attributes.get(4..4 + length)?;
        if attributes[..2] == USERNAME {
            let name = std::str::from_utf8(value).ok()?;
            return name.split_once(':').map(|(local, _)| local);
        }
        attributes = attributes.get(4 + length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(ufrag: &str) -> Credentials {
        Credentials {
            ufrag: ufrag.to_owned(),
            password: "p".repeat(24),
        }
    }

    #[test]
    fn a_check_names_the_session_it_is_for_and_verifies_with_its_password_only() {
        let provider = rtc::crypto::default_provider().unwrap();
        let (client, server) = (credentials("client"), credentials("server"));
        let (id, data) = check(
            &Check {
                local: &client,
                remote: &server,
                controlling: true,
                tie_breaker: 7,
                nominate: true,
            },
            provider.crypto(),
        )
        .unwrap();
        assert_eq!(local_ufrag_of(&data), Some("server"));
        let mut parsed = Binding::parse(&data).unwrap();
        assert_eq!(parsed.transaction(), id);
        assert!(parsed.is_for("server", "client"));
        assert!(!parsed.is_for("server", "other"));
        assert!(parsed.nominates());
        assert_eq!(parsed.role(), Some((true, 7)));
        assert!(parsed.is_signed_with(&server.password, provider.crypto()));
        assert!(!parsed.is_signed_with("wrong", provider.crypto()));
    }

    #[test]
    fn every_truncation_of_a_check_is_refused_and_none_panics() {
        let provider = rtc::crypto::default_provider().unwrap();
        let both = credentials("abcd");
        let (_, data) = check(
            &Check {
                local: &both,
                remote: &both,
                controlling: false,
                tie_breaker: 1,
                nominate: false,
            },
            provider.crypto(),
        )
        .unwrap();
        for length in 0..data.len() {
            assert!(local_ufrag_of(&data[..length]).is_none());
            if let Some(mut parsed) = Binding::parse(&data[..length]) {
                assert!(!parsed.is_signed_with(&both.password, provider.crypto()));
            }
        }
    }
}
