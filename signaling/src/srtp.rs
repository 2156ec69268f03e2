//! The SRTP keys of one peer, both directions (RFC 3711, RFC 5764).
//!
//! A thin layer over the library's contexts that parses no header twice and allocates none: the
//! library takes its own header type, of which its ciphers use the SSRC, the sequence number and
//! the length.
//!
//! It keeps true that a stranger costs no memory: the library makes state for an SSRC before it
//! authenticates the packet, and never lets go of it. So a packet of a new SSRC is opened on trial
//! first, by a context that is thrown away, and only what authenticates there gets state of its own.
//! How many SSRCs a peer that has the keys may use is bounded as well.

use std::sync::Arc;

use bytes::BytesMut;
use rtc::crypto::{RTCCrypto, RTCCryptoProvider};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::dtls::state::State;
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

use crate::error::SignalingError;
use crate::rtp::RtpHeader;

/// Packets that may arrive late and still be accepted: a video retransmission may be a round trip
/// of a few hundred packets behind.
const REPLAY_WINDOW: usize = 1024;
const RTCP_REPLAY_WINDOW: usize = 128;
/// SSRCs that one peer may send from in its life, for media and for reports each: a client that
/// starts over each minute has enough for two hours.
const MAX_SOURCES: usize = 128;
/// Packets that one context is tried on: as much state as strangers ever hold.
const MAX_TRIALS: u8 = 64;

/// Why a packet is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It fails authentication, is a replay, or is malformed.
    Forged,
    /// It is the peer's, from one SSRC too many.
    TooManySources,
}

/// See the module.
pub(crate) struct Srtp {
    inbound: Context,
    outbound: Context,
    scratch: rtc::rtp::Header,
    /// SSRCs with state in `inbound`.
    media: Vec<u32>,
    reports: Vec<u32>,
    trial: Trial,
}

/// Opens packets of SSRCs that have never authenticated.
struct Trial {
    provider: Arc<dyn RTCCryptoProvider>,
    profile: ProtectionProfile,
    key: Vec<u8>,
    salt: Vec<u8>,
    context: Option<Context>,
    left: u8,
}

impl Trial {
    /// A context without state worth keeping; `None` if the library makes none.
    fn context(&mut self) -> Option<&mut Context> {
        if self.left == 0 {
            self.context = None;
        }
        if self.context.is_none() {
            let crypto = self.provider.crypto();
            self.context = inbound(self.profile, &self.key, &self.salt, crypto).ok();
            self.left = MAX_TRIALS;
        }
        self.left -= 1;
        self.context.as_mut()
    }

    /// A source was admitted, so that the next one is far off.
    fn done(&mut self) {
        self.context = None;
    }
}

fn inbound(
    profile: ProtectionProfile,
    key: &[u8],
    salt: &[u8],
    crypto: &dyn RTCCrypto,
) -> Result<Context, rtc::shared::error::Error> {
    Context::new(
        key,
        salt,
        profile,
        Some(srtp_replay_protection(REPLAY_WINDOW)),
        Some(srtcp_replay_protection(RTCP_REPLAY_WINDOW)),
        crypto,
    )
}

/// Gives `ssrc` a place in `sources`.
fn admit(sources: &mut Vec<u32>, ssrc: u32) -> Result<(), Refusal> {
    if sources.len() >= MAX_SOURCES {
        return Err(Refusal::TooManySources);
    }
    sources.push(ssrc);
    Ok(())
}

impl Srtp {
    /// Derives the keys from a completed handshake.
    pub(crate) fn from_dtls(
        state: &State,
        provider: Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, SignalingError> {
        let crypto = provider.crypto();
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
                ProtectionProfile::Aes128CmHmacSha1_80
            }
            _ => return Err(SignalingError::not_acceptable("no common SRTP profile")),
        };
        let failed = |e| SignalingError::internal("deriving SRTP keys", e);
        let mut config = Config {
            profile,
            ..Config::default()
        };
        let material = state
            .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())
            .map_err(failed)?;
        config
            .set_session_keys_from_keying_material(material.as_ref(), state.is_client())
            .map_err(failed)?;
        let keys = &config.keys;
        let outbound = Context::new(
            &keys.local_master_key,
            &keys.local_master_salt,
            profile,
            None,
            None,
            crypto,
        )
        .map_err(failed)?;
        let (key, salt) = (&keys.remote_master_key, &keys.remote_master_salt);
        let inbound = inbound(profile, key, salt, crypto).map_err(failed)?;
        let (key, salt) = (key.clone(), salt.clone());
        Ok(Self {
            inbound,
            outbound,
            scratch: rtc::rtp::Header::default(),
            media: Vec::new(),
            reports: Vec::new(),
            trial: Trial {
                provider,
                profile,
                key,
                salt,
                context: None,
                left: 0,
            },
        })
    }

    /// Decrypts an RTP packet; the result starts with the header.
    ///
    /// # Errors
    ///
    /// The packet is none of the peer's, or the peer uses too many SSRCs.
    pub(crate) fn open_rtp(
        &mut self,
        packet: &[u8],
        header: &RtpHeader,
    ) -> Result<BytesMut, Refusal> {
        self.set_scratch(header);
        if !self.media.contains(&header.ssrc) {
            let trial = self.trial.context().ok_or(Refusal::Forged)?;
            trial
                .decrypt_rtp_with_header(packet, &self.scratch)
                .map_err(|_| Refusal::Forged)?;
            self.trial.done();
            admit(&mut self.media, header.ssrc)?;
        }
        self.inbound
            .decrypt_rtp_with_header(packet, &self.scratch)
            .map_err(|_| Refusal::Forged)
    }

    /// Encrypts an RTP packet that starts with its header.
    pub(crate) fn seal_rtp(&mut self, packet: &[u8], header: &RtpHeader) -> Option<BytesMut> {
        self.set_scratch(header);
        self.outbound
            .encrypt_rtp_with_header(packet, &self.scratch)
            .ok()
    }

    /// Decrypts a compound RTCP packet.
    ///
    /// # Errors
    ///
    /// The packet is none of the peer's, or the peer uses too many SSRCs.
    pub(crate) fn open_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, Refusal> {
        let ssrc = packet.get(4..).and_then(|rest| rest.first_chunk());
        let ssrc = u32::from_be_bytes(*ssrc.ok_or(Refusal::Forged)?);
        if !self.reports.contains(&ssrc) {
            let trial = self.trial.context().ok_or(Refusal::Forged)?;
            trial.decrypt_rtcp(packet).map_err(|_| Refusal::Forged)?;
            self.trial.done();
            admit(&mut self.reports, ssrc)?;
        }
        self.inbound
            .decrypt_rtcp(packet)
            .map_err(|_| Refusal::Forged)
    }

    /// Encrypts a compound RTCP packet.
    pub(crate) fn seal_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outbound.encrypt_rtcp(packet).ok()
    }

    /// The library measures a header by its parts: as many sources as fill the length, which is
    /// always a multiple of four.
    fn set_scratch(&mut self, header: &RtpHeader) {
        self.scratch.ssrc = header.ssrc;
        self.scratch.sequence_number = header.sequence;
        self.scratch
            .csrc
            .resize((header.len - RtpHeader::FIXED) / 4, 0);
    }
}

#[cfg(test)]
impl Srtp {
    /// SSRCs that the library has state of for this peer's packets, for good and on trial.
    pub(crate) fn states(&self) -> (usize, usize) {
        let trial = self
            .trial
            .context
            .as_ref()
            .map_or(0, |_| MAX_TRIALS - self.trial.left);
        (self.media.len() + self.reports.len(), usize::from(trial))
    }
}
