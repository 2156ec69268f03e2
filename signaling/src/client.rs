//! The WebRTC peer that offers: for load generators, tests and examples.
//!
//! [`ClientPeer::offer`] gives the description, [`ClientPeer::set_answer`] turns it and the answer into
//! a [`Peer`], which behaves like one that answered. Absent: gathering; the client has one local
//! socket, and the server learns its address from the checks.

use std::time::Instant;

use crate::codec::{AudioCodec, Codec, VideoCodec};
use crate::config::PeerConfig;
use crate::connection::{Core, CoreParts, Track, random_cname};
use crate::data::Data;
use crate::dtls::Dtls;
use crate::error::SignalingError;
use crate::event::TrackId;
use crate::ice::{Credentials, IceRole};
use crate::peer::Peer;
use crate::sdp::{
    self, Description, Direction, LocalSide, MediaPlan, OfferSection, SectionKind, Setup,
};

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// A section of audio with this codec.
    pub audio: Option<AudioCodec>,
    /// A section of video with this codec.
    pub video: Option<VideoCodec>,
    /// The client sends media.
    pub sends: bool,
    /// The client receives media.
    pub receives: bool,
    /// A section for data channels.
    pub data: bool,
}

impl Offer {
    /// Opus both ways and data channels.
    #[must_use]
    pub const fn voice() -> Self {
        Self {
            audio: Some(AudioCodec::Opus),
            video: None,
            sends: true,
            receives: true,
            data: true,
        }
    }
}

/// An offer that waits for its answer. See the module.
pub struct ClientPeer {
    config: PeerConfig,
    credentials: Credentials,
    cname: String,
    sections: Vec<OfferSection>,
    text: String,
}

impl ClientPeer {
    /// Makes an offer.
    #[must_use]
    pub fn offer(config: &PeerConfig, offer: &Offer) -> Self {
        let direction = Direction {
            send: offer.sends,
            receive: offer.receives,
        };
        let mut sections = Vec::new();
        if let Some(codec) = offer.audio {
            sections.push(OfferSection::Media(media(Codec::Audio(codec), direction)));
        }
        if let Some(codec) = offer.video {
            sections.push(OfferSection::Media(media(Codec::Video(codec), direction)));
        }
        if offer.data {
            sections.push(OfferSection::Data);
        }
        let credentials = Credentials::generate();
        let cname = random_cname();
        let text = sdp::offer(
            &sections,
            &LocalSide {
                session: rand::random::<u64>() >> 2,
                credentials: &credentials,
                fingerprint: config.certificate.fingerprint(),
                setup: Setup::ActPass,
                candidates: &config.candidates,
                cname: &cname,
                max_message: config.limits.data.max_message,
            },
        );
        Self {
            config: config.clone(),
            credentials,
            cname,
            sections,
            text,
        }
    }

    /// The description to be sent.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.text
    }

    /// Takes the answer; the first checks are ready to be sent.
    ///
    /// # Errors
    ///
    /// [`SignalingError::Malformed`] if the answer cannot be read or does not fit the offer,
    /// [`SignalingError::NotAcceptable`] if it refuses every section.
    pub fn set_answer(self, now: Instant, answer: &str) -> Result<Peer, SignalingError> {
        let limits = &self.config.limits;
        let answer = sdp::parse("answer", answer, limits.max_sdp, limits.max_sections)?;
        if answer.sections.len() != self.sections.len() {
            return Err(SignalingError::malformed(
                "answer",
                "its sections are not the offer's",
            ));
        }
        let main = answer.sections.iter().find(|section| !section.rejected);
        let main =
            main.ok_or_else(|| SignalingError::not_acceptable("the answer refuses every section"))?;
        let remote = answer.credentials(main).ok_or_else(|| {
            SignalingError::malformed("answer", "a=ice-ufrag or a=ice-pwd is missing")
        })?;
        let dtls_client = answer.setup(main) == Some(Setup::Passive);
        let fingerprints = answer.fingerprints(main).to_vec();
        let dtls = Dtls::new(&self.config.certificate, dtls_client, fingerprints)?;
        let (tracks, data) = self.accepted(&answer, dtls_client);
        let candidates = answer
            .sections
            .iter()
            .flat_map(|section| &section.candidates);
        let core = Core::new(
            now,
            &self.config,
            CoreParts {
                local: self.credentials,
                remote,
                role: IceRole::Controlling,
                dtls,
                data,
                data_initiates: true,
                tracks,
                candidates: answer
                    .candidates
                    .iter()
                    .chain(candidates)
                    .copied()
                    .collect(),
                cname: self.cname,
            },
        );
        Ok(Peer::from_core(core, &self.config, String::new()))
    }

    fn accepted(&self, answer: &Description, dtls_client: bool) -> (Vec<Track>, Option<Data>) {
        let limits = &self.config.limits;
        let (mut tracks, mut data) = (Vec::new(), None);
        for (section, ours) in answer.sections.iter().zip(&self.sections) {
            if section.rejected {
                continue;
            }
            match ours {
                OfferSection::Data if section.kind == SectionKind::Data => {
                    data = Some(Data::new(dtls_client, limits.data, section.max_message));
                }
                OfferSection::Media(media) => {
                    let mut media = media.clone();
                    media.direction = Direction {
                        send: media.direction.send && section.direction.receive,
                        receive: media.direction.receive && section.direction.send,
                    };
                    let agreed = |feedback: &str| {
                        let mut formats = section.codecs.iter();
                        formats
                            .find(|format| format.payload_type == media.payload_type)
                            .is_some_and(|format| format.feedback.iter().any(|f| f == feedback))
                    };
                    let (nack, remb) = (agreed("nack"), agreed("goog-remb"));
                    let (pli, fir) = (agreed("nack pli"), agreed("ccm fir"));
                    media.nack &= nack;
                    media.pli &= pli;
                    media.fir &= fir;
                    media.remb &= remb;
                    media.remote_ssrcs.clone_from(&section.ssrcs);
                    let id = TrackId(u8::try_from(tracks.len()).unwrap_or(u8::MAX));
                    let mid = section.mid.as_deref();
                    tracks.push(Track::new(id, mid, &media, limits.max_resend_packets));
                }
                OfferSection::Data => {}
            }
        }
        (tracks, data)
    }
}

impl std::fmt::Debug for ClientPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientPeer")
            .field("ufrag", &self.credentials.ufrag)
            .finish_non_exhaustive()
    }
}

fn media(codec: Codec, direction: Direction) -> MediaPlan {
    let (payload_type, parameters) = match codec {
        Codec::Audio(AudioCodec::Opus) => (111, "minptime=10;useinbandfec=1"),
        Codec::Audio(AudioCodec::Pcmu) => (0, ""),
        Codec::Audio(AudioCodec::Pcma) => (8, ""),
        Codec::Video(VideoCodec::Vp8) => (96, ""),
        Codec::Video(VideoCodec::H264) => (
            102,
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        ),
    };
    let video = matches!(codec, Codec::Video(_));
    MediaPlan {
        codec,
        payload_type,
        parameters: parameters.to_owned(),
        direction,
        nack: video,
        pli: video,
        fir: video,
        remb: video,
        reduced_size: true,
        mid_extension: Some(4),
        level_extension: (!video).then_some(1),
        remote_ssrcs: Vec::new(),
        local_ssrc: rand::random::<u32>() | 1,
    }
}
