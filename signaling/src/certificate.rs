//! The certificate that all peers of a process share, and the cryptography behind it.
//!
//! Self-signed and made at start (RFC 8827 §6.5): a peer trusts the fingerprint that came with the
//! SDP, not the certificate. Absent: any certificate authority.

use std::sync::Arc;

use rtc::crypto::{HashAlgorithm, RTCCrypto, RTCCryptoProvider, default_provider};

use crate::error::SignalingError;

/// A self-signed ECDSA P-256 certificate with its key. Cheap to clone.
#[derive(Clone)]
pub struct Certificate {
    inner: Arc<Inner>,
}

struct Inner {
    dtls: rtc::dtls::crypto::Certificate,
    fingerprint: String,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Certificate {
    /// Makes a new certificate. Costs about a millisecond: once per process is enough.
    ///
    /// # Errors
    ///
    /// [`SignalingError::Internal`] if the cryptography library has no provider or no randomness.
    pub fn generate() -> Result<Self, SignalingError> {
        let provider = default_provider()
            .map_err(|e| SignalingError::internal("choosing a crypto provider", e))?;
        let dtls = rtc::dtls::crypto::Certificate::generate_self_signed(
            vec!["tidegate".to_owned()],
            provider.crypto(),
        )
        .map_err(|e| SignalingError::internal("generating a certificate", e))?;
        let der = dtls
            .certificate
            .first()
            .map(|der| der.as_ref())
            .unwrap_or_default();
        let fingerprint = fingerprint(provider.crypto(), der)?;
        Ok(Self {
            inner: Arc::new(Inner {
                dtls,
                fingerprint,
                provider,
            }),
        })
    }

    /// The SHA-256 fingerprint as SDP writes it: upper-case hex pairs joined by colons (RFC 8122 §5).
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.inner.fingerprint
    }

    pub(crate) fn dtls(&self) -> rtc::dtls::crypto::Certificate {
        self.inner.dtls.clone()
    }

    pub(crate) fn provider(&self) -> Arc<dyn RTCCryptoProvider> {
        Arc::clone(&self.inner.provider)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("fingerprint", &self.inner.fingerprint)
            .finish_non_exhaustive()
    }
}

/// The SHA-256 fingerprint of a DER certificate.
pub(crate) fn fingerprint(crypto: &dyn RTCCrypto, der: &[u8]) -> Result<String, SignalingError> {
    let digest = crypto
        .hash(HashAlgorithm::Sha256, der)
        .map_err(|e| SignalingError::internal("hashing a certificate", e))?;
    let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_has_32_upper_case_pairs_and_differs_per_certificate() {
        let one = Certificate::generate().unwrap();
        let two = Certificate::generate().unwrap();
        assert_eq!(one.fingerprint().split(':').count(), 32);
        assert_eq!(one.fingerprint(), one.fingerprint().to_uppercase());
        assert_ne!(one.fingerprint(), two.fingerprint());
    }
}
