//! The DTLS 1.2 association under one peer: the library's endpoint with a single connection.
//!
//! Addresses are ICE's business, so the endpoint runs on a placeholder: a change of path does not
//! disturb it. It keeps true that a peer whose certificate does not match a fingerprint of its
//! description never gets keys (RFC 8827 §6.5). Absent: certificate authorities, PSK, DTLS 1.3.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::crypto::RTCCryptoProvider;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error as RtcError;

use crate::certificate::{Certificate, fingerprint};
use crate::error::SignalingError;
use crate::srtp::Srtp;

/// Stands for the peer inside the library; never on the wire.
const PLACEHOLDER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// Between retransmissions of a flight. The library does not back off and gives up after seven, so
/// this is the patience of a handshake divided by eight (RFC 6347 §4.2.4.1 suggests 1 s).
const FLIGHT_INTERVAL: Duration = Duration::from_millis(600);

/// A SHA-256 fingerprint of a description, as `a=fingerprint` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) value: String,
}

/// What one datagram led to.
#[derive(Default)]
pub(crate) struct DtlsInput {
    /// The handshake is complete: the keys of the media.
    pub(crate) keys: Option<Srtp>,
    /// Decrypted application data: SCTP packets.
    pub(crate) data: Vec<BytesMut>,
    /// The peer said goodbye.
    pub(crate) closed: bool,
}

/// See the module.
pub(crate) struct Dtls {
    endpoint: Endpoint,
    /// Set while we are the client and have not begun.
    client: Option<Arc<HandshakeConfig>>,
    provider: Arc<dyn RTCCryptoProvider>,
    connected: bool,
    ended: bool,
}

impl Dtls {
    /// An association that begins with [`Self::start`] if `client`, else with the peer's hello.
    pub(crate) fn new(
        certificate: &Certificate,
        client: bool,
        remote: Vec<Fingerprint>,
    ) -> Result<Self, SignalingError> {
        let provider = certificate.provider();
        let verifier = Arc::clone(&provider);
        let config = ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&provider))
            .with_certificates(vec![certificate.dtls()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(move |chain: &[Vec<u8>], _| {
                verify(chain, &remote, verifier.as_ref())
            })))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(FLIGHT_INTERVAL)
            .with_server_name("tidegate".to_owned())
            .build(client, None)
            .map_err(|e| SignalingError::internal("configuring DTLS", e))?;
        let config = Arc::new(config);
        let (client, server) = if client {
            (Some(config), None)
        } else {
            (None, Some(config))
        };
        Ok(Self {
            endpoint: Endpoint::new(PLACEHOLDER, TransportProtocol::UDP, server),
            client,
            provider,
            connected: false,
            ended: false,
        })
    }

    /// ICE has an address: the client says hello. Does nothing the second time.
    pub(crate) fn start(&mut self, now: Instant) -> Result<(), SignalingError> {
        match self.client.take() {
            Some(config) => self
                .endpoint
                .connect(now, PLACEHOLDER, config, None)
                .map_err(|e| SignalingError::internal("starting DTLS", e)),
            None => Ok(()),
        }
    }

    /// Takes one DTLS datagram.
    ///
    /// # Errors
    ///
    /// The handshake failed, or the datagram is not part of this association.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        datagram: &[u8],
    ) -> Result<DtlsInput, SignalingError> {
        let mut input = DtlsInput::default();
        if self.ended || self.client.is_some() {
            return Ok(input);
        }
        let events = self
            .endpoint
            .read(now, PLACEHOLDER, None, BytesMut::from(datagram))
            .map_err(|e| SignalingError::internal("DTLS", e))?;
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.connected = true;
                    let state = self
                        .endpoint
                        .get_connection_state(PLACEHOLDER)
                        .ok_or(SignalingError::NotConnected)?;
                    input.keys = Some(Srtp::from_dtls(state, Arc::clone(&self.provider))?);
                }
                EndpointEvent::ApplicationData(data) => input.data.push(data),
                EndpointEvent::PeerClosed => {
                    self.ended = true;
                    input.closed = true;
                }
                _ => {}
            }
        }
        Ok(input)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected && !self.ended
    }

    /// Encrypts and queues one SCTP packet.
    pub(crate) fn write(&mut self, now: Instant, data: &[u8]) -> Result<(), SignalingError> {
        if !self.is_connected() {
            return Err(SignalingError::NotConnected);
        }
        self.endpoint
            .write(now, PLACEHOLDER, data)
            .map_err(|e| SignalingError::internal("writing to DTLS", e))
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.endpoint
            .poll_transmit()
            .map(|transmit| transmit.message.freeze())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.ended {
            None
        } else {
            self.endpoint.poll_timeout(&PLACEHOLDER)
        }
    }

    /// Retransmits what is due.
    ///
    /// # Errors
    ///
    /// The handshake has used up its retransmissions.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), SignalingError> {
        if self.ended || self.poll_timeout().is_none_or(|at| at > now) {
            return Ok(());
        }
        self.endpoint
            .handle_timeout(PLACEHOLDER, now)
            .map_err(|e| SignalingError::internal("the DTLS handshake", e))
    }

    /// Queues the goodbye (`close_notify`).
    pub(crate) fn close(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.ended, true)
            && let Err(error) = self.endpoint.close(now)
        {
            tracing::debug!(%error, "DTLS did not close cleanly");
        }
    }
}

/// Whether the first certificate of `chain` has one of the fingerprints (RFC 8122 §6.2).
fn verify(
    chain: &[Vec<u8>],
    expected: &[Fingerprint],
    provider: &dyn RTCCryptoProvider,
) -> Result<(), RtcError> {
    let der = chain.first().ok_or(RtcError::ErrNonCertificate)?;
    let actual = fingerprint(provider.crypto(), der).map_err(|e| RtcError::Other(e.to_string()))?;
    if expected
        .iter()
        .any(|expected| actual.eq_ignore_ascii_case(&expected.value))
    {
        Ok(())
    } else {
        Err(RtcError::ErrNoMatchingCertificateFingerprint)
    }
}
