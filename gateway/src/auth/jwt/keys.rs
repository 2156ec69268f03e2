//! The public keys that JWTs are signed with (JWKS, RFC 7517), each with the algorithms that it may be used by and no others.

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};

/// Keys of one set that are read; further ones would be somebody's mistake.
const KEYS: usize = 100;

/// The keys of a set that can be used here.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a set. Keys of kinds that are not used here, and keys for encryption, are left out, and so are shared secrets: what is
    /// published is none.
    ///
    /// # Errors
    /// What is wrong with it, after its name.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_str(text)
            .map_err(|error| format!("is no set of keys, {{\"keys\": […]}}: {error}"))?;
        let keys: Vec<_> = set.keys.iter().take(KEYS).filter_map(key).collect();
        if keys.is_empty() {
            return Err(
                "has no key that can be used: RSA, P-256, P-384 or Ed25519, for signatures"
                    .to_owned(),
            );
        }
        Ok(Self(keys))
    }

    /// The keys that a token may be signed with: the one that it names, or all of its algorithm where it names none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let fits = |key: &&Key| {
            key.algorithm == algorithm && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        self.0
            .iter()
            .filter(fits)
            .map(|key| key.key.clone())
            .collect()
    }

    /// Whether there are none: those of an address that has not answered yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key with this name is there, by whatever algorithm.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

fn key(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    // What the key is for where it does not say: one algorithm, too.
    let usual = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(point) => match point.curve {
            EllipticCurve::P256 => Algorithm::ES256,
            EllipticCurve::P384 => Algorithm::ES384,
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let algorithm = match common.key_algorithm {
        None => usual,
        Some(named) => algorithm(named).filter(|named| fit(*named, usual))?,
    };
    Some(Key {
        id: common.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(jwk).ok()?,
    })
}

/// Whether a key that would be used by the one algorithm can be used by the other.
fn fit(named: Algorithm, usual: Algorithm) -> bool {
    named == usual || (named.family() == usual.family() && usual == Algorithm::RS256)
}

fn algorithm(named: KeyAlgorithm) -> Option<Algorithm> {
    Some(match named {
        KeyAlgorithm::RS256 => Algorithm::RS256,
        KeyAlgorithm::RS384 => Algorithm::RS384,
        KeyAlgorithm::RS512 => Algorithm::RS512,
        KeyAlgorithm::PS256 => Algorithm::PS256,
        KeyAlgorithm::PS384 => Algorithm::PS384,
        KeyAlgorithm::PS512 => Algorithm::PS512,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        KeyAlgorithm::ES384 => Algorithm::ES384,
        KeyAlgorithm::EdDSA => Algorithm::EdDSA,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn of(keys: &str) -> Result<KeySet, String> {
        KeySet::parse(&format!(r#"{{"keys": [{keys}]}}"#))
    }

    #[test]
    fn a_key_is_found_by_its_name_and_used_by_its_algorithm_only() {
        let ed = format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{X}", "kid": "one"}}"#);
        let rsa = r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "PS384", "kid": "two"}"#;
        let set = of(&format!("{ed}, {rsa}")).expect("two keys");
        let found = |id, algorithm| set.find(id, algorithm).len();
        assert_eq!(found(Some("one"), Algorithm::EdDSA), 1);
        assert_eq!(found(None, Algorithm::EdDSA), 1, "a token may name no key");
        assert_eq!(found(Some("two"), Algorithm::PS384), 1);
        for (id, algorithm) in [
            (Some("one"), Algorithm::HS256),
            (Some("one"), Algorithm::RS256),
            (Some("two"), Algorithm::RS256),
            (Some("two"), Algorithm::EdDSA),
            (Some("three"), Algorithm::EdDSA),
        ] {
            assert_eq!(found(id, algorithm), 0, "{id:?} {algorithm:?}");
        }
        assert!(set.knows("one") && !set.knows("three"));
    }

    #[test]
    fn what_signs_nothing_is_left_out_and_a_set_without_keys_is_none() {
        let secret = r#"{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "s"}"#;
        let locks = r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc"}"#;
        let wrong = format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{X}", "alg": "ES256"}}"#);
        let unknown = r#"{"kty": "LATTICE", "q": "AQAB"}"#;
        for keys in ["", secret, locks, &wrong, unknown] {
            assert!(of(keys).is_err(), "{keys}");
        }
        assert!(KeySet::parse("[]").is_err() && KeySet::parse("nothing").is_err());
    }
}
