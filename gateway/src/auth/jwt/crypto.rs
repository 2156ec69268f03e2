//! The signatures of JWTs (RFC 7518 §3) by `ring`, for a library that leaves them to whom it serves. Nothing is signed here.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{self as by, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use ring::{error::Unspecified, hmac};
use signature::Verifier;

static RING: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has the library use this. Once is enough and more does no harm.
pub(super) fn install() {
    // An error says that it stands already.
    RING.install_default().ok();
}

fn signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    // A public key must not be taken for a shared secret.
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    Ok(Box::new(Ring {
        algorithm: *algorithm,
        key: key.clone(),
    }))
}

struct Ring {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match self.algorithm {
            Algorithm::HS256 => self.shared(hmac::HMAC_SHA256, message, tag),
            Algorithm::HS384 => self.shared(hmac::HMAC_SHA384, message, tag),
            Algorithm::HS512 => self.shared(hmac::HMAC_SHA512, message, tag),
            Algorithm::RS256 => self.rsa(&by::RSA_PKCS1_2048_8192_SHA256, message, tag),
            Algorithm::RS384 => self.rsa(&by::RSA_PKCS1_2048_8192_SHA384, message, tag),
            Algorithm::RS512 => self.rsa(&by::RSA_PKCS1_2048_8192_SHA512, message, tag),
            Algorithm::PS256 => self.rsa(&by::RSA_PSS_2048_8192_SHA256, message, tag),
            Algorithm::PS384 => self.rsa(&by::RSA_PSS_2048_8192_SHA384, message, tag),
            Algorithm::PS512 => self.rsa(&by::RSA_PSS_2048_8192_SHA512, message, tag),
            Algorithm::ES256 => self.point(&by::ECDSA_P256_SHA256_FIXED, message, tag),
            Algorithm::ES384 => self.point(&by::ECDSA_P384_SHA384_FIXED, message, tag),
            Algorithm::EdDSA => self.point(&by::ED25519, message, tag),
            _ => Err(Unspecified),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl Ring {
    /// A secret that both have; compared in constant time.
    fn shared(&self, by: hmac::Algorithm, message: &[u8], tag: &[u8]) -> Result<(), Unspecified> {
        let secret = self.key.try_get_as_bytes().map_err(|_| Unspecified)?;
        hmac::verify(&hmac::Key::new(by, secret), message, tag)
    }

    fn rsa(&self, by: &RsaParameters, message: &[u8], tag: &[u8]) -> Result<(), Unspecified> {
        match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(by, message, tag)
            }
            DecodingKeyKind::SecretOrDer(_) => Err(Unspecified),
        }
    }

    fn point(
        &self,
        by: &'static dyn by::VerificationAlgorithm,
        message: &[u8],
        tag: &[u8],
    ) -> Result<(), Unspecified> {
        let key = self.key.try_get_as_bytes().map_err(|_| Unspecified)?;
        UnparsedPublicKey::new(by, key).verify(message, tag)
    }
}
