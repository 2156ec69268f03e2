//! The WebRTC peer that answers: WHIP and WHEP end here.
//!
//! Sans-I/O. One owner feeds it datagrams of the shared socket and time, and after each call drains
//! [`Peer::poll_transmit`] and [`Peer::poll_event`]; [`Peer::poll_timeout`] says when to call
//! [`Peer::handle_timeout`]. Answers need no waiting: all candidates of ours are in the first one.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::config::{Capabilities, PeerConfig, Role};
use crate::connection::{Core, CoreParts, Track, random_cname};
use crate::data::{ChannelId, ChannelMessage, Data};
use crate::dtls::Dtls;
use crate::error::SignalingError;
use crate::event::{PeerEvent, PeerStats, Proof, TrackId, TrackInfo, Transmit};
use crate::ice::{Credentials, IceRole};
use crate::sdp::{self, LocalSide, PlanKind, Setup};
use crate::whip::{Fragment, IceParameters};

/// One WebRTC peer connection. See the module.
pub struct Peer {
    core: Core,
    /// How a fragment of ours begins.
    fragment_head: String,
    candidates: Vec<SocketAddr>,
    max_candidates: usize,
}

impl Peer {
    /// Answers an offer. The peer expects the client's checks from now on and gives up after
    /// [`Timing::failed`](crate::Timing::failed).
    ///
    /// The answer mirrors the offer's sections; those that cannot be served are refused in it. A
    /// `sendrecv` section gets the directions that `capabilities` has.
    ///
    /// # Errors
    ///
    /// [`SignalingError::TooLarge`], [`SignalingError::Malformed`], or
    /// [`SignalingError::NotAcceptable`] if no section can be served;
    /// [`SignalingError::http_status`] has the status of each.
    pub fn accept(
        config: &PeerConfig,
        offer: &str,
        role: Role,
        capabilities: &Capabilities,
        now: Instant,
    ) -> Result<(Self, String), SignalingError> {
        let limits = &config.limits;
        let offer = sdp::parse("offer", offer, limits.max_sdp, limits.max_sections)?;
        let plan = sdp::plan(&offer, role, capabilities)?;
        let credentials = Credentials::generate();
        let cname = random_cname();
        let text = sdp::answer(
            &offer,
            &plan,
            &LocalSide {
                session: rand::random::<u64>() >> 2,
                credentials: &credentials,
                fingerprint: config.certificate.fingerprint(),
                setup: if plan.dtls_client {
                    Setup::Active
                } else {
                    Setup::Passive
                },
                candidates: &config.candidates,
                cname: &cname,
                max_message: limits.data.max_message,
            },
        );
        let fragment_head = sdp::fragment_head(&offer, &plan);
        let mut tracks = Vec::new();
        let mut data = None;
        for (section, kind) in offer.sections.iter().zip(&plan.sections) {
            match kind {
                PlanKind::Media(media) => {
                    let id = TrackId(u8::try_from(tracks.len()).unwrap_or(u8::MAX));
                    let mid = section.mid.as_deref();
                    tracks.push(Track::new(id, mid, media, limits.max_resend_packets));
                }
                PlanKind::Data { max_message } => {
                    data = Some(Data::new(plan.dtls_client, limits.data, *max_message));
                }
                PlanKind::Rejected => {}
            }
        }
        let role = if plan.remote_is_lite {
            IceRole::Controlling
        } else {
            IceRole::Controlled
        };
        let dtls = Dtls::new(&config.certificate, plan.dtls_client, plan.fingerprints)?;
        let core = Core::new(
            now,
            config,
            CoreParts {
                local: credentials,
                remote: plan.credentials,
                role,
                dtls,
                data,
                data_initiates: false,
                tracks,
                candidates: plan.candidates,
                cname,
            },
        );
        Ok((Self::from_core(core, config, fragment_head), text))
    }

    pub(crate) fn from_core(core: Core, config: &PeerConfig, fragment_head: String) -> Self {
        Self {
            core,
            fragment_head,
            candidates: config.candidates.clone(),
            max_candidates: config.limits.max_candidates,
        }
    }

    /// What was negotiated, in the order of the description.
    pub fn tracks(&self) -> impl Iterator<Item = &TrackInfo> {
        self.core.tracks()
    }

    /// Whether data channels were negotiated.
    #[must_use]
    pub fn carries_data(&self) -> bool {
        self.core.carries_data()
    }

    /// The user name fragment that the peer's checks are addressed to: the key of this peer on the
    /// shared socket. A restart of ICE changes it.
    #[must_use]
    pub fn local_ufrag(&self) -> &str {
        &self.core.ice().local().ufrag
    }

    /// The peer's user name fragment: tells a restart of ICE from more candidates.
    #[must_use]
    pub fn remote_ufrag(&self) -> &str {
        self.core.ice().remote_ufrag().unwrap_or_default()
    }

    /// Where packets go, once a path was found.
    #[must_use]
    pub fn path(&self) -> Option<SocketAddr> {
        self.core.ice().selected()
    }

    /// Whether media and data flow.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.core.is_connected()
    }

    /// Whether nothing will follow: the peer can be dropped once its output is drained.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.core.has_ended()
    }

    /// Takes one datagram that [`Demux`](crate::Demux) assigned to this peer.
    ///
    /// `from` must be canonical: on a socket for both families, an IPv4 address as such and not mapped
    /// into IPv6; [`Transmit::to`] is canonical too.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        self.contained((), |core| core.handle_datagram(now, from, data));
    }

    /// What the newest datagram has shown about where the peer is, for
    /// [`Demux::learn`](crate::Demux::learn).
    /// To be asked after each datagram, before what it led to is sent.
    #[must_use]
    pub fn take_proof(&mut self) -> Option<(SocketAddr, Proof)> {
        self.core.take_proof()
    }

    /// Does what is due at `now`. Calls that come early do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.contained((), |core| core.handle_timeout(now));
    }

    /// When to call [`Self::handle_timeout`]; `None` once ended. Every other call may change it, most
    /// only to a later time: a timer that is armed too early does no harm and need not be moved.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.poll_transmit()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.contained(None, Core::poll_event)
    }

    /// Sends one RTP packet. Numbering is ours, one by one; `timestamp` is in units of the track's
    /// clock, of which only differences matter.
    ///
    /// # Errors
    ///
    /// [`SignalingError::NotConnected`], or [`SignalingError::Unknown`] for a track that does not send.
    pub fn send_rtp(
        &mut self,
        now: Instant,
        track: TrackId,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Result<(), SignalingError> {
        self.core
            .send_rtp(now, track, None, timestamp, marker, payload)
    }

    /// Sends one RTP packet of another sender under that one's numbers, at an offset: what was lost or
    /// overtaken on the way here shows to the peer. One that comes twice, or too late, is not sent and
    /// counted ([`PacketDrops::outdated`](crate::PacketDrops::outdated)). A sender that starts over
    /// goes on where it was left.
    ///
    /// # Errors
    ///
    /// As [`Self::send_rtp`].
    pub fn forward_rtp(
        &mut self,
        now: Instant,
        track: TrackId,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Result<(), SignalingError> {
        self.core
            .send_rtp(now, track, Some(sequence), timestamp, marker, payload)
    }

    /// Asks the peer for a key frame. At most one request in 200 ms goes out; more are silently one.
    ///
    /// # Errors
    ///
    /// [`SignalingError::Unknown`] for a track that does not receive.
    pub fn request_key_frame(
        &mut self,
        now: Instant,
        track: TrackId,
    ) -> Result<(), SignalingError> {
        self.core.request_key_frame(now, track)
    }

    /// Sends one message, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`SignalingError::Full`] if the channel's buffer has no room, [`SignalingError::TooLarge`],
    /// [`SignalingError::Unknown`] if it is not open, [`SignalingError::NotConnected`].
    pub fn send_channel(
        &mut self,
        now: Instant,
        channel: ChannelId,
        message: &ChannelMessage,
    ) -> Result<(), SignalingError> {
        self.contained(Err(SignalingError::NotConnected), |core| {
            core.send_channel(now, channel, message)
        })
    }

    /// Bytes of `channel` queued or not yet acknowledged by the peer.
    pub fn channel_buffered(&mut self, channel: ChannelId) -> usize {
        self.core.channel_buffered(channel)
    }

    /// Whether messages are taken from the peer. While not, they stay with the transport, whose
    /// window closes, and the peer has to wait.
    pub fn set_channel_reading(&mut self, now: Instant, reading: bool) {
        self.contained((), |core| core.set_channel_reading(now, reading));
    }

    /// Closes one channel.
    pub fn close_channel(&mut self, now: Instant, channel: ChannelId) {
        self.contained((), |core| core.close_channel(now, channel));
    }

    /// Opens a reliable, ordered channel; it can be used from its
    /// [`PeerEvent::ChannelOpen`] on. `None` if no data channels were negotiated.
    pub fn open_channel(&mut self, now: Instant, label: &str, protocol: &str) -> Option<ChannelId> {
        self.contained(None, |core| core.open_channel(now, label, protocol))
    }

    /// Adds an address of the peer that came later (trickle). `false` if it is of no use: known, too
    /// many, or the peer has ended.
    pub fn add_remote_candidate(&mut self, now: Instant, address: SocketAddr) -> bool {
        self.core.add_remote_candidate(now, address)
    }

    /// Takes a `PATCH` of a client: its candidates, or new credentials that restart ICE. For a
    /// restart the result has what the response tells, and [`Self::local_ufrag`] is new.
    ///
    /// # Errors
    ///
    /// [`SignalingError::NotConnected`] if the peer has ended.
    pub fn apply_fragment(
        &mut self,
        now: Instant,
        fragment: &Fragment,
    ) -> Result<Option<IceParameters>, SignalingError> {
        if self.has_ended() {
            return Err(SignalingError::NotConnected);
        }
        let credentials = fragment.credentials();
        let restart = credentials
            .filter(|new| new.ufrag != self.remote_ufrag())
            .cloned();
        let restarts = restart.is_some();
        if let Some(credentials) = restart {
            self.core.restart_ice(now, credentials, self.max_candidates);
        }
        for candidate in fragment.candidates() {
            self.core.add_remote_candidate(now, *candidate);
        }
        Ok(restarts.then(|| {
            IceParameters::new(
                &self.fragment_head,
                self.core.ice().local(),
                &self.candidates,
            )
        }))
    }

    /// Ends the connection: the peer is told, [`PeerEvent::Closed`] follows.
    pub fn close(&mut self, now: Instant) {
        self.contained((), |core| core.close(now));
    }

    /// Runs `act`; if a protocol library panics in it (SCTP's does for some packets that only a
    /// hostile peer sends), this peer is over and `otherwise` the result. What others share with it,
    /// a task or a session, lives on.
    fn contained<T>(&mut self, otherwise: T, act: impl FnOnce(&mut Core) -> T) -> T {
        match catch_unwind(AssertUnwindSafe(|| act(&mut self.core))) {
            Ok(result) => result,
            Err(_) => {
                self.core.abandon();
                otherwise
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    /// Figures as they are now.
    #[must_use]
    pub fn stats(&self) -> PeerStats {
        self.core.stats()
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("ufrag", &self.local_ufrag())
            .finish_non_exhaustive()
    }
}
