//! A WebRTC peer as a link: audio and video as RTP, everything else on the data channel `events`.
//!
//! The peer's state machine lives in the session's task. Datagrams come from the shared socket's reader and leave at once; what the
//! kernel has no room for is lost, as on any network.

mod backlog;
mod channel;
mod figures;
mod media;
mod realtime;
#[cfg(test)]
mod tests;

use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_media::{Codec as MediaCodec, Kind, Timestamp};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};
use tidegate_proto::message::{Open, PortFormats};
use tidegate_remote::webrtc::tracks::{Inbound, Outbound};
use tidegate_signaling::whip::{Fragment, IceParameters, Patch};
use tidegate_signaling::{Peer, PeerEvent};
use tokio::sync::{mpsc, oneshot};

use self::backlog::Backlog;
use self::channel::Unread;
use self::figures::Dropped;
use super::native::Native;
use super::realtime::Realtime;
use crate::clock::Clock;
use crate::session::link::{Features, Link, LinkEvent, LinkMessage, Transport, Wishes};
use crate::session::network::WebrtcStats;
use crate::session::ports::PortFacts;
use crate::udp::Route;

/// How long the last messages get to leave before the connection is closed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the WHIP resource asks of a peer.
pub(crate) enum PeerCommand {
    /// A `PATCH` whose preconditions hold is applied; the answer has the new parameters of a restart.
    Patch {
        if_match: Option<String>,
        fragment: Fragment,
        reply: oneshot::Sender<PatchReply>,
    },
    /// A `DELETE`.
    Close,
}

/// What became of a `PATCH`.
pub(crate) type PatchReply =
    Result<Option<(IceParameters, String)>, tidegate_signaling::whip::PatchRefusal>;

/// A WebRTC client.
pub(crate) struct WebrtcLink {
    peer: Peer,
    route: Route,
    clock: Clock,
    commands: mpsc::Receiver<PeerCommand>,
    wanted: Vec<String>,
    receives: Vec<Inbound>,
    sends: Vec<Outbound>,
    native: Native,
    /// Instead of the native stream, for a client that speaks OpenAI Realtime on its channel.
    realtime: Option<Box<Realtime>>,
    formats: PortFormats,
    backlog: Backlog,
    unread: Unread,
    reading: bool,
    /// The `opened` message, kept until the client has opened the channel.
    opened: Option<LinkMessage>,
    dropped: Dropped,
    over: bool,
    /// How far the client has got with what the channel carries.
    taken: u64,
    ended: bool,
    /// When a live client is left after its last word; one that waits has the session's patience.
    closing: Option<Timestamp>,
}

impl WebrtcLink {
    /// A peer that has answered and is registered on the socket.
    pub(crate) fn new(
        peer: Peer,
        route: Route,
        clock: Clock,
        commands: mpsc::Receiver<PeerCommand>,
        open: Open,
    ) -> Self {
        let receives = peer
            .tracks()
            .filter(|track| track.receives)
            .map(Inbound::new)
            .collect();
        let sends = peer
            .tracks()
            .filter(|track| track.sends)
            .map(Outbound::new)
            .collect();
        let native = Native::new(open);
        Self {
            receives,
            sends,
            wanted: native.wanted_ports().to_vec(),
            formats: native.formats(),
            native,
            realtime: None,
            peer,
            route,
            clock,
            commands,
            backlog: Backlog::default(),
            unread: Unread::default(),
            reading: true,
            opened: None,
            dropped: Dropped::default(),
            over: false,
            taken: 0,
            ended: false,
            closing: None,
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.peer.poll_transmit() {
            if self.route.send(transmit.to, &transmit.data).is_err() {
                self.dropped.datagrams += 1;
            }
        }
    }

    /// Takes what came from the network and from the resource, and what time brings.
    fn drive(&mut self, cx: &mut Context<'_>, now: Timestamp) {
        let at = self.clock.instant(now);
        while let Poll::Ready(Some(datagram)) = self.route.poll_recv(cx) {
            self.peer.handle_datagram(at, datagram.from, &datagram.data);
            if let Some((from, proof)) = self.peer.take_proof() {
                self.route.learn(at, from, proof);
            }
        }
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            self.command(at, command);
        }
        if self.peer.poll_timeout().is_some_and(|due| due <= at) {
            self.peer.handle_timeout(at);
        }
        self.pump(now);
        self.transmit();
    }

    fn command(&mut self, at: std::time::Instant, command: PeerCommand) {
        match command {
            PeerCommand::Close => self.peer.close(at),
            PeerCommand::Patch {
                if_match,
                fragment,
                reply,
            } => {
                let etag = tidegate_signaling::whip::etag(self.peer.local_ufrag());
                let verdict = tidegate_signaling::whip::judge_patch(
                    if_match.as_deref(),
                    &etag,
                    self.peer.remote_ufrag(),
                    &fragment,
                );
                let answer = match verdict {
                    Ok(patch) => self.patch(at, patch, &fragment).map(Ok),
                    Err(refusal) => Some(Err(refusal)),
                };
                // Without an answer the resource is gone. Whoever sent the PATCH may have gone as well.
                if let Some(answer) = answer {
                    drop(reply.send(answer));
                }
            }
        }
    }

    /// Does what a `PATCH` asks for; gives the new parameters of a restart. `None`: the peer is at its end.
    fn patch(
        &mut self,
        at: std::time::Instant,
        patch: Patch,
        fragment: &Fragment,
    ) -> Option<Option<(IceParameters, String)>> {
        let restarted = self.peer.apply_fragment(at, fragment).ok()?;
        match (patch, restarted) {
            (Patch::Trickle, None) => Some(None),
            (Patch::Restart, Some(parameters)) => {
                if !self.route.add_ufrag(self.peer.local_ufrag()) {
                    // Its checks would reach another session: nothing of it is of use any more.
                    self.peer.close(at);
                    return None;
                }
                let tag = tidegate_signaling::whip::etag(self.peer.local_ufrag());
                Some(Some((parameters, tag)))
            }
            // Both are told apart by the user name fragment that the client has now.
            (Patch::Trickle, Some(_)) | (Patch::Restart, None) => None,
        }
    }

    fn event(&mut self, now: Timestamp, event: PeerEvent) -> Option<LinkEvent> {
        match event {
            PeerEvent::Media(packet) => self.media(now, packet),
            PeerEvent::ChannelOpen {
                id,
                label,
                protocol,
            } if label == self.label() => {
                self.channel_opened(now, id, &protocol);
                None
            }
            PeerEvent::ChannelClosed(id) => {
                self.channel_closed(id);
                None
            }
            PeerEvent::ChannelMessage { id, message } => self.channel_message(now, id, &message),
            PeerEvent::KeyFrameRequested(track) => {
                let port = self.sends.iter().find(|sends| sends.id == track)?.port?;
                Some(LinkEvent::KeyFrameWanted { output: port })
            }
            PeerEvent::Failed(failure) => {
                self.over = true;
                let text = format!("the WebRTC connection failed: {failure}");
                Some(LinkEvent::Failed(Error::new(Code::Network, text)))
            }
            PeerEvent::Closed => {
                self.over = true;
                Some(LinkEvent::Closed)
            }
            _ => None,
        }
    }
}

impl Wishes for WebrtcLink {
    fn wanted_ports(&self) -> &[String] {
        &self.wanted
    }

    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        if let Some(realtime) = &self.realtime {
            realtime.feeds(port)?;
        }
        match port.kind {
            kind @ (Kind::Audio | Kind::Video) => self
                .receives
                .iter()
                .find(|track| track.kind() == kind)
                .map(Inbound::format),
            // By the data channel, which a client that offers one may open.
            _ if self.peer.carries_data() => self.native.feeds(port),
            _ => None,
        }
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        if let Some(realtime) = &self.realtime {
            realtime.listens(port)?;
        }
        match port.kind {
            Kind::Audio => {
                let format = self.sends.iter().find_map(Outbound::audio_format)?;
                let opus = format.codec == MediaCodec::Opus;
                Some(Accepts::Audio(AudioPattern {
                    codecs: vec![format.codec],
                    sample_rates: vec![format.sample_rate],
                    channels: if opus {
                        Vec::new()
                    } else {
                        vec![format.channels]
                    },
                    packets: true,
                }))
            }
            Kind::Video => {
                let sends = self.sends.iter().any(|track| track.kind() == Kind::Video);
                sends.then_some(Accepts::Kind(Kind::Video))
            }
            kind => Some(Accepts::Kind(kind)),
        }
    }

    fn mode(&self) -> Mode {
        self.native.mode()
    }

    fn has_tracks(&self) -> bool {
        true
    }

    fn only_listens(&self) -> bool {
        self.receives.is_empty() && !self.peer.carries_data()
    }

    fn features(&self) -> Features {
        // Media cannot be counted in credit: what is lost would be lost for good. The channel has flow control of its own.
        Features {
            credits: false,
            ..self.native.features()
        }
    }
}

impl Link for WebrtcLink {
    fn transport(&self) -> Transport {
        Transport::Webrtc
    }

    fn wishes(&self) -> &dyn Wishes {
        self
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp, read: bool) -> Poll<LinkEvent> {
        if self.over {
            return Poll::Ready(LinkEvent::Closed);
        }
        self.read(now, read);
        self.drive(cx, now);
        if read && let Some(frame) = self.unread.next() {
            return Poll::Ready(frame);
        }
        while let Some(event) = self.peer.poll_event() {
            if let Some(event) = self.event(now, event) {
                return Poll::Ready(event);
            }
        }
        if let Some(event) = self.talked() {
            return Poll::Ready(event);
        }
        if let Some(event) = self.pictures(now) {
            return Poll::Ready(event);
        }
        self.transmit();
        Poll::Pending
    }

    fn send(&mut self, now: Timestamp, message: LinkMessage) {
        self.talk(now, &message);
        match message {
            LinkMessage::Frame { output, ref frame } if self.send_media(now, output, frame) => {}
            LinkMessage::Opened(ref info) => {
                // Each track carries the first port of its kind.
                for track in &mut self.receives {
                    let kind = track.kind();
                    let port = info
                        .inputs
                        .iter()
                        .find(|(.., format)| format.kind() == kind);
                    track.port = port.map(|(input, ..)| *input);
                }
                for track in &mut self.sends {
                    let kind = track.kind();
                    let port = info
                        .outputs
                        .iter()
                        .find(|(.., format)| format.kind() == kind);
                    track.port = port.map(|(output, ..)| *output);
                }
                self.opened = Some(message);
            }
            LinkMessage::KeyFrameWanted { input } => {
                let at = self.clock.instant(now);
                let track = self.receives.iter().find(|track| track.port == Some(input));
                if let Some(id) = track.map(|track| track.id) {
                    // An error means that the peer has ended, which is an event.
                    drop(self.peer.request_key_frame(at, id));
                }
            }
            LinkMessage::Ended { .. } => {
                self.send_event(now, message);
                self.ended = true;
                self.closing = (self.native.mode() == Mode::Live).then(|| now + LAST_WORDS);
            }
            message => self.send_event(now, message),
        }
    }

    fn window(&self) -> u32 {
        match self.native.mode() {
            Mode::Live => u32::MAX,
            Mode::Waits => self.backlog.window(),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        self.pump(now);
        self.transmit();
        self.taken = self.backlog.taken(&mut self.peer);
        if !self.ended {
            // What wakes it is the client's acknowledgement, which `poll_event` takes in.
            return match self.window() {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            };
        }
        self.drive(cx, now);
        self.taken = self.backlog.taken(&mut self.peer);
        let waits = !self.backlog.is_drained(&mut self.peer);
        let late = self.closing.is_some_and(|until| until <= now);
        if waits && !late && !self.peer.has_ended() {
            return Poll::Pending;
        }
        self.peer.close(self.clock.instant(now));
        self.transmit();
        Poll::Ready(())
    }

    fn taken(&self) -> u64 {
        self.taken
    }

    fn unsent(&self) -> u64 {
        self.backlog.frames()
    }

    fn timeout(&self) -> Option<Timestamp> {
        let peer = self.peer.poll_timeout().map(|at| self.clock.timestamp(at));
        let pictures = self.receives.iter().filter_map(Inbound::poll_timeout);
        let pictures = pictures.map(|at| self.clock.timestamp(at)).min();
        [peer, self.closing, pictures].into_iter().flatten().min()
    }

    fn webrtc_stats(&self) -> Option<WebrtcStats> {
        Some(figures::figures(
            &self.peer.stats(),
            &self.receives,
            &self.dropped,
        ))
    }
}
