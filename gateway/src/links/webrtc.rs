//! A WebRTC peer as a link: audio as RTP, everything else on the data channel `events`.
//!
//! The peer's state machine lives in the session's task. Datagrams come from the shared socket's reader and leave at once; what the
//! kernel has no room for is lost, as on any network.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tidegate_media::{
    Audio, AudioFormat, Codec as MediaCodec, Frame, Kind, MediaTime, Payload, Rtp, Timestamp,
};
use tidegate_nodes::graph::Mode;
use tidegate_nodes::stream::AudioPattern;
use tidegate_nodes::{Accepts, Code, Error, StreamFormat};
use tidegate_proto::message::{Open, PortFormats};
use tidegate_proto::{json, protobuf};
use tidegate_signaling::whip::{Fragment, IceParameters};
use tidegate_signaling::{
    AudioCodec, ChannelId, ChannelMessage, Codec, MediaPacket, Peer, PeerEvent, TrackId,
};
use tokio::sync::{mpsc, oneshot};

use super::native::{Native, malformed};
use super::websocket::Subprotocol;
use crate::clock::Clock;
use crate::session::link::{Link, LinkEvent, LinkMessage, Transport, WebrtcStats};
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

/// A track that carries a port's audio.
struct Track {
    id: TrackId,
    format: AudioFormat,
    port: Option<usize>,
}

/// A WebRTC client.
pub(crate) struct WebrtcLink {
    peer: Peer,
    route: Route,
    clock: Clock,
    commands: mpsc::Receiver<PeerCommand>,
    wanted: Vec<String>,
    receives: Option<Track>,
    sends: Option<Track>,
    native: Native,
    formats: PortFormats,
    events: Option<(ChannelId, Subprotocol)>,
    /// The `opened` message, kept until the client has opened the channel.
    opened: Option<LinkMessage>,
    first_timestamp: Option<u32>,
    /// RTP time of media time zero on the track that we send.
    send_base: u32,
    lost: u64,
    over: bool,
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
        let audio = |wanted: fn(&tidegate_signaling::TrackInfo) -> bool| {
            peer.tracks().find(|track| wanted(track)).and_then(|track| {
                let Codec::Audio(codec) = track.codec else {
                    return None;
                };
                Some(Track {
                    id: track.id,
                    format: format_of(codec),
                    port: None,
                })
            })
        };
        let receives = audio(|track| track.receives);
        let sends = audio(|track| track.sends);
        let native = Native::new(open);
        Self {
            receives,
            sends,
            wanted: native.wanted_ports().to_vec(),
            formats: native.formats(),
            native,
            peer,
            route,
            clock,
            commands,
            events: None,
            opened: None,
            first_timestamp: None,
            send_base: rand::random(),
            lost: 0,
            over: false,
            closing: None,
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.peer.poll_transmit() {
            if self.route.send(transmit.to, &transmit.data).is_err() {
                self.lost += 1;
            }
        }
    }

    /// Takes what came from the network and from the resource, and what time brings.
    fn drive(&mut self, cx: &mut Context<'_>, now: Timestamp) {
        let at = self.clock.instant(now);
        while let Poll::Ready(Some(datagram)) = self.route.poll_recv(cx) {
            self.peer.handle_datagram(at, datagram.from, &datagram.data);
        }
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            self.command(at, command);
        }
        if self.peer.poll_timeout().is_some_and(|due| due <= at) {
            self.peer.handle_timeout(at);
        }
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
                let answer = verdict.map(|_| {
                    let restarted = self.peer.apply_fragment(at, &fragment).ok().flatten();
                    restarted.map(|parameters| {
                        self.route.add_ufrag(self.peer.local_ufrag());
                        (
                            parameters,
                            tidegate_signaling::whip::etag(self.peer.local_ufrag()),
                        )
                    })
                });
                // Whoever sent the PATCH may have gone.
                drop(reply.send(answer));
            }
        }
    }

    fn event(&mut self, now: Timestamp, event: PeerEvent) -> Option<LinkEvent> {
        match event {
            PeerEvent::Media(packet) => self.media(packet),
            PeerEvent::ChannelOpen {
                id,
                label,
                protocol,
            } if label == "events" => {
                let json = protocol != Subprotocol::Proto.token();
                let subprotocol = if json {
                    Subprotocol::Json
                } else {
                    Subprotocol::Proto
                };
                self.events = Some((id, subprotocol));
                if let Some(opened) = self.opened.take() {
                    self.send_event(now, opened);
                }
                None
            }
            PeerEvent::ChannelClosed(id) => {
                if self.events.is_some_and(|(events, _)| events == id) {
                    self.events = None;
                }
                None
            }
            PeerEvent::ChannelMessage { id, message } => self.channel_message(now, id, &message),
            PeerEvent::KeyFrameRequested(track) => {
                let port = self
                    .sends
                    .as_ref()
                    .filter(|sends| sends.id == track)?
                    .port?;
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

    fn media(&mut self, packet: MediaPacket) -> Option<LinkEvent> {
        let track = self
            .receives
            .as_ref()
            .filter(|track| track.id == packet.track)?;
        let input = track.port?;
        let first = *self.first_timestamp.get_or_insert(packet.timestamp);
        let ticks = packet.timestamp.wrapping_sub(first);
        let audio = Audio {
            format: track.format,
            samples: 0,
            data: packet.payload,
            rtp: Some(Rtp {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "RTP's own number is its low 16 bits"
                )]
                sequence: packet.sequence as u16,
                timestamp: packet.timestamp,
                marker: packet.marker,
            }),
        };
        let at = MediaTime::from_samples(u64::from(ticks), track.format.sample_rate);
        Some(LinkEvent::Frame {
            input,
            frame: Frame::new(at, Payload::Audio(audio)),
        })
    }

    fn channel_message(
        &mut self,
        now: Timestamp,
        id: ChannelId,
        message: &ChannelMessage,
    ) -> Option<LinkEvent> {
        let (_, subprotocol) = self.events.filter(|(events, _)| *events == id)?;
        let bytes = message.payload().clone();
        let decoded = match subprotocol {
            Subprotocol::Json => match std::str::from_utf8(&bytes) {
                Ok(text) => json::decode_client(text, now, &self.formats),
                Err(_) => {
                    let text = "message on the channel 'events' is not UTF-8";
                    return Some(LinkEvent::Failed(Error::new(Code::BadRequest, text)));
                }
            },
            Subprotocol::Proto => protobuf::decode_client_bytes(bytes, now, &self.formats),
        };
        let event = decoded
            .map_err(|error| malformed(&error))
            .and_then(|message| self.native.decode(message));
        Some(event.unwrap_or_else(LinkEvent::Failed))
    }

    fn send_audio(&mut self, now: Timestamp, output: usize, frame: &Frame) -> bool {
        let Some(track) = self
            .sends
            .as_ref()
            .filter(|track| track.port == Some(output))
        else {
            return false;
        };
        let Payload::Audio(audio) = &frame.payload else {
            return false;
        };
        let (timestamp, marker) = match audio.rtp {
            Some(rtp) => (rtp.timestamp, rtp.marker),
            None => (
                self.rtp_time(frame.meta.media_time, track.format.sample_rate),
                false,
            ),
        };
        let at = self.clock.instant(now);
        // Before the connection stands there is nobody to hear it.
        if self
            .peer
            .send_rtp(at, track.id, timestamp, marker, &audio.data)
            .is_err()
        {
            self.lost += 1;
        }
        true
    }

    /// Media time on the RTP clock of the track that we send.
    fn rtp_time(&self, at: MediaTime, rate: u32) -> u32 {
        let ticks = i128::from(at.as_micros()) * i128::from(rate) / 1_000_000;
        let wrapped = ticks.rem_euclid(1 << 32);
        self.send_base
            .wrapping_add(u32::try_from(wrapped).unwrap_or(0))
    }

    fn send_event(&mut self, now: Timestamp, message: LinkMessage) {
        let Some((channel, subprotocol)) = self.events else {
            self.lost += u64::from(matches!(message, LinkMessage::Frame { .. }));
            return;
        };
        let Some(message) = self.native.encode(message) else {
            return;
        };
        let payload = match subprotocol {
            Subprotocol::Json => {
                ChannelMessage::Text(Bytes::from(json::encode_server(&message, now)))
            }
            Subprotocol::Proto => {
                ChannelMessage::Binary(protobuf::encode_server_bytes(message, now))
            }
        };
        let at = self.clock.instant(now);
        if self.peer.send_channel(at, channel, &payload).is_err() {
            self.lost += 1;
        }
    }
}

impl Link for WebrtcLink {
    fn transport(&self) -> Transport {
        Transport::Webrtc
    }

    fn wanted_ports(&self) -> &[String] {
        &self.wanted
    }

    fn feeds(&self, port: &PortFacts) -> Option<StreamFormat> {
        match port.kind {
            Kind::Audio => {
                let format = self.receives.as_ref()?.format;
                Some(StreamFormat::Audio {
                    format,
                    packets: true,
                })
            }
            Kind::Video => None,
            // By the data channel, which a client that offers one may open.
            _ => self.native.feeds(port),
        }
    }

    fn listens(&self, port: &PortFacts) -> Option<Accepts> {
        match port.kind {
            Kind::Audio => {
                let format = self.sends.as_ref()?.format;
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
            Kind::Video => None,
            kind => Some(Accepts::Kind(kind)),
        }
    }

    fn mode(&self) -> Mode {
        Mode::Live
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, now: Timestamp, _read: bool) -> Poll<LinkEvent> {
        if self.over {
            return Poll::Ready(LinkEvent::Closed);
        }
        self.drive(cx, now);
        while let Some(event) = self.peer.poll_event() {
            if let Some(event) = self.event(now, event) {
                return Poll::Ready(event);
            }
        }
        self.transmit();
        if self.lost > 0 {
            let count = std::mem::take(&mut self.lost);
            return Poll::Ready(LinkEvent::Lost {
                reason: "webrtc_not_sent",
                count,
            });
        }
        Poll::Pending
    }

    fn send(&mut self, now: Timestamp, message: LinkMessage) {
        match message {
            LinkMessage::Frame { output, ref frame } if self.send_audio(now, output, frame) => {}
            LinkMessage::Opened(ref info) => {
                let audio = |format: &StreamFormat| format.kind() == Kind::Audio;
                if let Some(track) = &mut self.receives {
                    track.port = info
                        .inputs
                        .iter()
                        .find(|(.., f)| audio(f))
                        .map(|(i, ..)| *i);
                }
                if let Some(track) = &mut self.sends {
                    track.port = info
                        .outputs
                        .iter()
                        .find(|(.., f)| audio(f))
                        .map(|(o, ..)| *o);
                }
                self.opened = Some(message);
            }
            LinkMessage::Ended { .. } => {
                self.send_event(now, message);
                self.closing = Some(now + LAST_WORDS);
            }
            message => self.send_event(now, message),
        }
    }

    fn window(&self) -> u32 {
        u32::MAX
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Timestamp) -> Poll<()> {
        self.transmit();
        let Some(until) = self.closing else {
            return Poll::Ready(());
        };
        self.drive(cx, now);
        let waits = self
            .events
            .is_some_and(|(id, _)| self.peer.channel_buffered(id) > 0);
        if waits && now < until && !self.peer.has_ended() {
            return Poll::Pending;
        }
        self.peer.close(self.clock.instant(now));
        self.transmit();
        Poll::Ready(())
    }

    fn timeout(&self) -> Option<Timestamp> {
        let peer = self.peer.poll_timeout().map(|at| self.clock.timestamp(at));
        [peer, self.closing].into_iter().flatten().min()
    }

    fn webrtc_stats(&self) -> Option<WebrtcStats> {
        let stats = self.peer.stats();
        let track = self.receives.as_ref().map(|track| track.id);
        let received = stats.tracks.iter().find(|stats| Some(stats.id) == track);
        Some(WebrtcStats {
            round_trip: stats.round_trip,
            jitter: received.map_or(Duration::ZERO, |stats| stats.jitter),
            packets_received: received.map_or(0, |stats| stats.packets_received),
            packets_lost: received.map_or(0, |s| u64::try_from(s.packets_lost).unwrap_or(0)),
        })
    }
}

/// The format that a codec's packets have in the graph.
fn format_of(codec: AudioCodec) -> AudioFormat {
    let g711 = |codec| AudioFormat {
        codec,
        sample_rate: 8_000,
        channels: 1,
    };
    match codec {
        AudioCodec::Opus => AudioFormat::WEBRTC_OPUS,
        AudioCodec::Pcmu => g711(MediaCodec::Pcmu),
        AudioCodec::Pcma => g711(MediaCodec::Pcma),
    }
}
