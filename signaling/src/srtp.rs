//! The SRTP keys of one peer, both directions (RFC 3711, RFC 5764).
//!
//! A thin layer over the library's contexts that parses no header twice and allocates none: the
//! library takes its own header type, of which its ciphers use the SSRC, the sequence number and
//! the length. State per SSRC is made by the library before it authenticates, so callers bound the
//! SSRCs that they let through (see `crate::rtp`).

use bytes::BytesMut;
use rtc::crypto::RTCCrypto;
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

/// See the module.
pub(crate) struct Srtp {
    inbound: Context,
    outbound: Context,
    scratch: rtc::rtp::Header,
}

impl Srtp {
    /// Derives the keys from a completed handshake.
    pub(crate) fn from_dtls(state: &State, crypto: &dyn RTCCrypto) -> Result<Self, SignalingError> {
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
        let inbound = Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            profile,
            Some(srtp_replay_protection(REPLAY_WINDOW)),
            Some(srtcp_replay_protection(RTCP_REPLAY_WINDOW)),
            crypto,
        )
        .map_err(failed)?;
        Ok(Self {
            inbound,
            outbound,
            scratch: rtc::rtp::Header::default(),
        })
    }

    /// Decrypts an RTP packet; the result starts with the header. `None` if it is forged or replayed.
    pub(crate) fn open_rtp(&mut self, packet: &[u8], header: &RtpHeader) -> Option<BytesMut> {
        self.set_scratch(header);
        self.inbound
            .decrypt_rtp_with_header(packet, &self.scratch)
            .ok()
    }

    /// Encrypts an RTP packet that starts with its header.
    pub(crate) fn seal_rtp(&mut self, packet: &[u8], header: &RtpHeader) -> Option<BytesMut> {
        self.set_scratch(header);
        self.outbound
            .encrypt_rtp_with_header(packet, &self.scratch)
            .ok()
    }

    /// Decrypts a compound RTCP packet.
    pub(crate) fn open_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.inbound.decrypt_rtcp(packet).ok()
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
