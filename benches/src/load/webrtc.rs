//! Callers over WebRTC: each with a socket of its own, 50 packets a second, all on one thread.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tidegate_signaling::{
    AudioCodec, Certificate, ClientPeer, Offer, Peer, PeerConfig, PeerEvent, TrackId,
};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::figures::{Figures, Times};
use crate::load::Load;
use crate::load::speech;
use crate::load::turns::Recording;
use crate::server::{LOAD_CORE, Server};
use crate::{Failure, clock, machine, net};

/// The length of each packet.
const PACKET: Duration = Duration::from_millis(20);
/// How long a caller waits for its connection.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Opus's clock ticks per packet.
pub(super) const TICKS: u32 = 960;

/// Who calls whom.
#[derive(Clone, Debug)]
pub struct Callers {
    /// Where offers go.
    pub path: &'static str,
    /// The address that the callers' sockets bind.
    pub from: IpAddr,
    /// How many there are.
    pub count: usize,
    /// What they say and how they recognise it when it comes back.
    pub speech: Speech,
}

/// What a caller sends.
#[derive(Clone, Debug)]
pub enum Speech {
    /// Numbered payloads, which a server that forwards gives back as they are.
    Numbered,
    /// Bursts of a tone in Opus, which a server that decodes and encodes gives back as sound.
    Bursts,
    /// A recording, and again after it was answered. A caller begins so many packets after the one before it.
    Turns(Recording, u32),
}

/// What one caller found.
struct Call {
    /// From making the offer to the first packet back.
    first_packet: Duration,
    times: Times,
    packets: u64,
    /// Turns without an answer.
    missed: u32,
}

/// Connects all callers one after another, lets them talk together, and sums up.
///
/// # Errors
/// If a caller does not connect or hears nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^52"
)]
pub async fn run(server: &Server, callers: &Callers, load: Load) -> Result<Figures, Failure> {
    let memory_before = server.memory()?;
    let (begin, began) = watch::channel(None);
    let mut calls = JoinSet::new();
    for number in 0..callers.count {
        // One at a time: offers do not wait for each other, and whoever is connected talks.
        let caller = Caller::connect(server.address, callers, number).await?;
        calls.spawn(caller.talk(began.clone(), load));
    }
    let memory = server.memory()?.saturating_sub(memory_before);
    let start = clock::now() + load.warm_up;
    begin.send_replace(Some(start));
    tokio::time::sleep_until(start.into()).await;
    let (cpu_before, idle_before) = (server.cpu()?, machine::idle(LOAD_CORE));
    tokio::time::sleep_until((start + load.measured).into()).await;
    let cpu = server.cpu()?.saturating_sub(cpu_before);
    let idle = machine::idle(LOAD_CORE);
    let (mut times, mut firsts, mut packets) = (Times::default(), Times::default(), 0);
    let mut missed = 0;
    while let Some(call) = calls.join_next().await {
        let call = call??;
        times.add(&call.times);
        firsts.record(call.first_packet);
        packets += call.packets;
        missed += call.missed;
    }
    let (seconds, count) = (load.measured.as_secs_f64(), callers.count as f64);
    let mut figures = Figures::from([
        ("offer → first packet p50 ms", firsts.micros(50.0) / 1e3),
        (
            "CPU % of a core/session",
            cpu.as_secs_f64() / seconds / count * 100.0,
        ),
        ("KiB/session", memory as f64 / count / 1024.0),
    ]);
    if let Speech::Turns(..) = callers.speech {
        figures.remove("offer → first packet p50 ms");
        figures.insert("turn p50 ms", times.micros(50.0) / 1e3);
        figures.insert("turn p95 ms", times.micros(95.0) / 1e3);
        figures.insert("turns", times.count() as f64);
        figures.insert("unanswered", f64::from(missed));
        // A core that is full of callers and services is the limit of the load, not of the server.
        if let (Some(before), Some(after)) = (idle_before, idle) {
            let idle = after.saturating_sub(before).as_secs_f64();
            figures.insert("load's core busy %", (1.0 - idle / seconds) * 100.0);
        }
    } else if let Speech::Numbered = callers.speech {
        figures.insert(
            "server CPU µs/packet",
            cpu.as_secs_f64() * 1e6 / packets as f64,
        );
        figures.insert("RTT p50 µs", times.micros(50.0));
        figures.insert("RTT p99 µs", times.micros(99.0));
        let expected = seconds * count / PACKET.as_secs_f64();
        figures.insert(
            "lost %",
            ((expected - packets as f64) / expected * 100.0).max(0.0),
        );
    } else {
        figures.insert("tone latency p50 ms", times.micros(50.0) / 1e3);
        figures.insert("tone latency p99 ms", times.micros(99.0) / 1e3);
    }
    Ok(figures)
}

/// One caller that is connected and then idle.
///
/// # Errors
/// If it does not connect.
pub async fn connect_one(server: &Server, callers: &Callers) -> Result<Caller, Failure> {
    Caller::connect(server.address, callers, 0).await
}

/// A connected caller.
pub struct Caller {
    socket: UdpSocket,
    peer: Peer,
    track: TrackId,
    speech: speech::State,
    began: Instant,
    first_packet: Option<Duration>,
    next_packet: Instant,
    sent: u32,
}

impl Caller {
    /// Offers, connects, and talks until the first packet comes back; who takes turns does not wait for that.
    async fn connect(
        server: SocketAddr,
        callers: &Callers,
        number: usize,
    ) -> Result<Self, Failure> {
        let socket = UdpSocket::bind((callers.from, 0)).await?;
        let config = PeerConfig::new(Certificate::generate()?, vec![socket.local_addr()?]);
        let began = clock::now();
        let voice = Some(AudioCodec::Opus);
        let offer = Offer {
            audio: voice,
            video: None,
            sends: true,
            receives: true,
            data: false,
        };
        let client = ClientPeer::offer(&config, &offer);
        let answer = net::exchange_sdp(server, callers.path, client.sdp()).await?;
        let peer = client.set_answer(clock::now(), &answer)?;
        let track = peer.tracks().next().ok_or("the answer has no track")?.id;
        let speech = speech::State::new(&callers.speech, number)?;
        let turns = matches!(callers.speech, Speech::Turns(..));
        let mut caller = Self {
            socket,
            peer,
            track,
            speech,
            began,
            first_packet: None,
            next_packet: clock::now(),
            sent: 0,
        };
        let heard = async {
            while !(caller.first_packet.is_some() || turns && caller.peer.is_connected()) {
                caller.step(|_, _| ()).await?;
            }
            Ok::<(), Failure>(())
        };
        tokio::time::timeout(CONNECT_MAX, heard)
            .await
            .map_err(|_| "nothing came back")??;
        Ok(caller)
    }

    /// Talks on, and counts what comes back from the common beginning to its end.
    async fn talk(
        mut self,
        began: watch::Receiver<Option<Instant>>,
        load: Load,
    ) -> Result<Call, Failure> {
        let (mut times, mut packets) = (Times::default(), 0);
        loop {
            let start = *began.borrow();
            if start.is_some_and(|start| clock::now() >= start + load.measured) {
                let first_packet = self.first_packet.ok_or("nothing came back")?;
                let missed = self.speech.missed();
                return Ok(Call {
                    first_packet,
                    times,
                    packets,
                    missed,
                });
            }
            self.step(|now, time| {
                if start.is_some_and(|start| now >= start) {
                    packets += 1;
                    if let Some(time) = time {
                        times.record(time);
                    }
                }
            })
            .await?;
        }
    }

    /// Sends what is due, waits for a datagram or the next time, and passes on what came: when,
    /// and how long it took if that can be told.
    async fn step(
        &mut self,
        mut came: impl FnMut(Instant, Option<Duration>),
    ) -> Result<(), Failure> {
        let now = clock::now();
        if self.peer.is_connected() && now >= self.next_packet {
            self.next_packet = now.max(self.next_packet + PACKET);
            let payload = self.speech.say(now, self.sent)?;
            let timestamp = self.sent.wrapping_mul(TICKS);
            self.peer
                .send_rtp(now, self.track, timestamp, false, &payload)?;
            self.sent += 1;
        }
        if self.peer.poll_timeout().is_some_and(|at| at <= now) {
            self.peer.handle_timeout(now);
        }
        while let Some(event) = self.peer.poll_event() {
            match event {
                PeerEvent::Media(packet) => {
                    self.first_packet.get_or_insert_with(|| now - self.began);
                    let time = self.speech.hear(now, &packet)?;
                    came(now, time);
                }
                PeerEvent::Failed(reason) => return Err(reason.to_string().into()),
                PeerEvent::Closed => return Err("the server closed the connection".into()),
                _ => {}
            }
        }
        while let Some(transmit) = self.peer.poll_transmit() {
            self.socket.send_to(&transmit.data, transmit.to).await?;
        }
        let mut wake = self.peer.poll_timeout().unwrap_or(now + PACKET);
        if self.peer.is_connected() {
            wake = wake.min(self.next_packet);
        }
        let mut buffer = [0; 2048];
        tokio::select! {
            received = self.socket.recv_from(&mut buffer) => {
                let (length, from) = received?;
                self.peer.handle_datagram(clock::now(), from, &buffer[..length]);
            }
            () = tokio::time::sleep_until(wake.into()) => {}
        }
        Ok(())
    }
}
