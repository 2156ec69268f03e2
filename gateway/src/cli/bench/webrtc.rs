//! A session on WebRTC: Opus packets by WHIP, each with a mark by which it is known when it comes back.
//!
//! The mark lies in the padding of an Opus packet (RFC 6716 §3.2.5): decoders skip it, and a pipeline that passes packets on returns it.
//! A pipeline that encodes anew does not; then only the time to the first packet is measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Method, header};
use tidegate_signaling::{
    Certificate, ClientPeer, Offer, Peer, PeerConfig, PeerEvent, SignalingError, TrackId,
};
use tokio::net::UdpSocket;

use super::tally::{Sent, Tally};
use super::{BenchError, Load, PATIENCE};

/// Largest datagram.
const MTU: usize = 2048;
/// Samples of a 20 ms packet on Opus's RTP clock (RFC 7587 §4.1).
const CLOCK: u32 = 48_000;
/// Begins a mark.
const MAGIC: [u8; 4] = *b"tide";

/// A session on WebRTC.
pub(super) async fn session(load: &Load, tally: &mut Tally) -> Result<(), BenchError> {
    let local = local_address(load).await?;
    let socket = UdpSocket::bind((local, 0)).await.map_err(io)?;
    let address = socket.local_addr().map_err(io)?;
    let config = PeerConfig::new(Certificate::generate().map_err(signaling)?, vec![address]);
    let offered = load.clock.instant(load.clock.now());
    let client = ClientPeer::offer(&config, &Offer::voice());
    let path = format!("/v1/pipelines/{}/whip", load.bench.pipeline);
    let offer = client.sdp().to_owned();
    let answer = load
        .target
        .request(Method::POST, &path, "application/sdp", offer)
        .await?;
    let location = answer.headers.get(header::LOCATION);
    let location = location
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let now = load.clock.instant(load.clock.now());
    let peer = client.set_answer(now, &answer.body).map_err(signaling)?;
    let track = peer
        .tracks()
        .find(|track| track.sends)
        .map(|track| track.id);
    let track = track
        .ok_or_else(|| BenchError::Session("the pipeline takes no sound by WebRTC".to_owned()))?;
    let mut call = Call {
        load,
        tally,
        socket,
        address,
        peer,
        track,
        offered,
        sent: Sent::default(),
        connected: false,
        first: false,
    };
    let talked = call.talk().await;
    // WHIP ends a session by DELETE (RFC 9725 §4.2); one that failed may be gone already.
    if let (Ok(()), Some(location)) = (&talked, location) {
        load.target
            .request(Method::DELETE, &location, "text/plain", String::new())
            .await?;
    }
    let now = call.now();
    call.peer.close(now);
    call.flush().await?;
    talked
}

/// The address of ours that the gateway's host is reached from.
async fn local_address(load: &Load) -> Result<std::net::IpAddr, BenchError> {
    let probe = |any: &'static str| async move { UdpSocket::bind(any).await };
    for any in ["0.0.0.0:0", "[::]:0"] {
        let socket = probe(any).await.map_err(io)?;
        if socket.connect(load.target.host()).await.is_ok() {
            return Ok(socket.local_addr().map_err(io)?.ip());
        }
    }
    Err(BenchError::Session("no route to the gateway".to_owned()))
}

struct Call<'a> {
    load: &'a Load,
    tally: &'a mut Tally,
    socket: UdpSocket,
    address: SocketAddr,
    peer: Peer,
    track: TrackId,
    offered: Instant,
    sent: Sent,
    /// Has just been connected: the first packet is due.
    connected: bool,
    /// A packet has come back.
    first: bool,
}

impl Call<'_> {
    fn now(&self) -> Instant {
        self.load.clock.instant(self.load.clock.now())
    }

    async fn talk(&mut self) -> Result<(), BenchError> {
        let period = Duration::from_secs(1) / self.load.bench.rate.max(1);
        let mut ticks = tokio::time::interval(period);
        let end = self.load.clock.instant(self.tally.end());
        // What was sent last may take a while to come back; a second is long for a packet.
        let close = end + Duration::from_secs(1);
        let connect_by = self.offered + PATIENCE;
        let mut buffer = [0; MTU];
        loop {
            self.drain()?;
            self.flush().await?;
            if std::mem::take(&mut self.connected) {
                ticks.reset_immediately();
            }
            let now = self.now();
            if now >= close {
                return Ok(());
            }
            if !self.peer.is_connected() && now >= connect_by {
                return Err(BenchError::Session(
                    "WebRTC did not connect in time".to_owned(),
                ));
            }
            let wake = self.peer.poll_timeout().map_or(close, |at| at.min(close));
            tokio::select! {
                read = self.socket.recv_from(&mut buffer) => {
                    let (length, from) = read.map_err(io)?;
                    let now = self.now();
                    self.peer.handle_datagram(now, from, &buffer[..length]);
                }
                due = ticks.tick() => {
                    let due = due.into_std();
                    if self.peer.is_connected() && due < end {
                        self.send(due)?;
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    let now = self.now();
                    self.peer.handle_timeout(now);
                }
            }
        }
    }

    /// Sends the next packet, which was due at a time.
    fn send(&mut self, due: Instant) -> Result<(), BenchError> {
        let due = self.load.clock.timestamp(due);
        let number = self.sent.push(due);
        let payload = packet(number, self.load.bench.size as usize);
        self.tally.sent(due, payload.len());
        let step = u64::from(CLOCK / self.load.bench.rate.max(1));
        // RTP timestamps wrap (RFC 3550 §5.1).
        let timestamp = (number * step) & u64::from(u32::MAX);
        let timestamp = u32::try_from(timestamp).unwrap_or_default();
        let now = self.now();
        self.peer
            .send_rtp(now, self.track, timestamp, false, &payload)
            .map_err(signaling)
    }

    /// Takes what came.
    fn drain(&mut self) -> Result<(), BenchError> {
        while let Some(event) = self.peer.poll_event() {
            match event {
                PeerEvent::Media(media) => {
                    let now = self.load.clock.now();
                    if !self.first {
                        self.first = true;
                        let after = self.now().saturating_duration_since(self.offered);
                        self.tally.opened(after);
                    }
                    if let Some(sent) = mark(&media.payload).and_then(|number| self.sent.at(number))
                    {
                        self.tally.received(sent, now);
                    }
                }
                PeerEvent::Connected => self.connected = true,
                PeerEvent::Failed(failure) => return Err(BenchError::Session(failure.to_string())),
                PeerEvent::Closed => {
                    return Err(BenchError::Session(
                        "the gateway ended the session".to_owned(),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BenchError> {
        while let Some(transmit) = self.peer.poll_transmit() {
            // A datagram that cannot be sent is one that is lost; the address family is the one reason that stays.
            if transmit.to.is_ipv4() == self.address.is_ipv4() {
                self.socket
                    .send_to(&transmit.data, transmit.to)
                    .await
                    .map_err(io)?;
            }
        }
        Ok(())
    }
}

/// A packet of 20 ms of silence of this size, its number in the padding: code 3, one frame, CBR (RFC 6716 §3.2.5).
fn packet(number: u64, size: usize) -> Vec<u8> {
    // CELT, full band, 20 ms, mono, and the two bytes that libopus makes of digital silence.
    const TOC: u8 = (31 << 3) | 3;
    const PADDED: u8 = 0b0100_0001;
    const SILENCE: [u8; 2] = [0xFF, 0xFE];
    let mut packet = vec![TOC, PADDED];
    // Each 255 stands for 254 bytes more.
    let mut padding = size
        .saturating_sub(packet.len() + SILENCE.len() + 1)
        .max(MAGIC.len() + 8);
    if padding > 254 {
        padding -= (padding - 1) / 255;
    }
    let mut left = padding;
    while left >= 255 {
        packet.push(255);
        left -= 254;
    }
    packet.push(u8::try_from(left).unwrap_or(254));
    packet.extend_from_slice(&SILENCE);
    let mark = packet.len();
    packet.resize(mark + padding, 0);
    packet[mark..mark + MAGIC.len()].copy_from_slice(&MAGIC);
    packet[mark + MAGIC.len()..][..8].copy_from_slice(&number.to_be_bytes());
    packet
}

/// The number in a packet's padding.
fn mark(packet: &[u8]) -> Option<u64> {
    let lengths = packet
        .get(2..)?
        .iter()
        .take_while(|byte| **byte == 255)
        .count();
    let mark = packet.get(2 + lengths + 1 + 2..)?;
    let number = mark.strip_prefix(&MAGIC)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*number))
}

fn io(error: std::io::Error) -> BenchError {
    BenchError::Session(error.to_string())
}

fn signaling(error: SignalingError) -> BenchError {
    BenchError::Session(error.to_string())
}

#[cfg(test)]
mod tests {
    use tidegate_media::codec::OpusDecoder;
    use tidegate_media::{Audio, AudioDecoder as _, AudioFormat};

    use super::*;

    #[test]
    fn a_marked_packet_is_20_ms_of_opus_of_the_wanted_size() {
        for size in [16, 80, 250, 259, 260, 261, 514, 515, 640, 1200] {
            let packet = packet(7, size);
            let off = packet.len().abs_diff(size.max(17));
            assert!(off <= 1, "{} bytes for {size}", packet.len());
            assert_eq!(mark(&packet), Some(7), "{size}");
            let audio = Audio::encoded(AudioFormat::WEBRTC_OPUS, packet.into());
            assert_eq!(audio.samples, 960, "{size}");
            let mut decoder = OpusDecoder::new(48_000, 1).expect("Opus has this rate");
            let mut samples = Vec::new();
            decoder
                .decode(&audio.data, &mut samples)
                .expect("a valid packet");
            assert_eq!(samples.len(), 960, "{size}");
        }
        assert_eq!(mark(b"no mark at all in here"), None);
        assert_eq!(mark(&[]), None);
    }
}
