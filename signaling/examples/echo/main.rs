//! Echoes audio between one server thread with one UDP socket and a thread per client, and prints
//! what it took: offer to first packet back, and CPU of the server per packet.
//!
//! `cargo run --release -p tidegate-signaling --features client --example echo -- [sessions] [seconds]`
#![expect(clippy::print_stdout, reason = "a program that prints its result")]

mod clock;

use std::collections::HashMap;
use std::error::Error;
use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_signaling::{
    Capabilities, Certificate, ClientPeer, Demux, Offer, Peer, PeerConfig, PeerEvent, Role,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
/// An offer and where its answer goes.
type Request = (String, Sender<String>);

const PACKET: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let sessions: usize = arguments.next().map_or(Ok(50), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let config = PeerConfig::new(Certificate::generate()?, vec![socket.local_addr()?]);
    let (requests, offers) = channel::<Request>();
    let stop = Arc::new(AtomicBool::new(false));
    let server = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || serve(&socket, &config, &offers, &stop))
    };
    let until = clock::now() + Duration::from_secs(seconds) + PACKET * u32::try_from(sessions)?;
    let clients: Vec<_> = (0..sessions)
        .map(|_| {
            // Spread over a packet's time, as callers are.
            clock::sleep(PACKET);
            let requests = requests.clone();
            thread::spawn(move || call(&requests, until))
        })
        .collect();
    let (mut firsts, mut trips) = (Vec::new(), Vec::new());
    for client in clients {
        let (first, mut round_trips) = client.join().map_err(|_| "a client panicked")??;
        firsts.push(first);
        trips.append(&mut round_trips);
    }
    stop.store(true, Ordering::Relaxed);
    let (packets, cpu) = server.join().map_err(|_| "the server panicked")??;
    firsts.sort();
    trips.sort();
    let per_packet = cpu
        .checked_div(u32::try_from(packets)?.max(1))
        .unwrap_or_default();
    println!(
        "offer to first packet: p50 {:?}, max {:?}",
        firsts[firsts.len() / 2],
        firsts.last()
    );
    println!(
        "round trip: p50 {:?}, p99 {:?}",
        trips[trips.len() / 2],
        trips[trips.len() * 99 / 100]
    );
    println!("server: {packets} packets echoed, {per_packet:?} CPU per packet");
    Ok(())
}

/// The server: everything on one thread.
fn serve(
    socket: &UdpSocket,
    config: &PeerConfig,
    offers: &Receiver<Request>,
    stop: &AtomicBool,
) -> Result<(u64, Duration)> {
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut demux: Demux<usize> = Demux::new(10_000);
    let mut peers: HashMap<usize, Peer> = HashMap::new();
    let mut buffer = [0; 2048];
    let (mut packets, mut counted_from) = (0, None);
    let mut next_timeouts = clock::now();
    while !stop.load(Ordering::Relaxed) {
        while let Ok((offer, reply)) = offers.try_recv() {
            let now = clock::now();
            let (peer, answer) =
                Peer::accept(config, &offer, Role::Whip, &Capabilities::voice(), now)?;
            let key = peers.len();
            if demux.insert(key, peer.local_ufrag()) {
                peers.insert(key, peer);
                reply.send(answer)?;
            }
        }
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let now = clock::now();
            let packet = &buffer[..length];
            let key = demux.route(from, packet);
            if let Some((key, peer)) = key.and_then(|key| Some((key, peers.get_mut(&key)?))) {
                peer.handle_datagram(now, from, packet);
                if let Some((at, proof)) = peer.take_proof() {
                    demux.learn(now, key, at, proof);
                }
                packets += echo(now, peer, socket)?;
            }
        }
        let now = clock::now();
        if now >= next_timeouts {
            next_timeouts = now + Duration::from_millis(5);
            for peer in peers.values_mut() {
                if peer.poll_timeout().is_some_and(|at| at <= now) {
                    peer.handle_timeout(now);
                    packets += echo(now, peer, socket)?;
                }
            }
        }
        if counted_from.is_none() && packets > 0 {
            counted_from = Some((packets, cpu_of_this_thread()?));
        }
    }
    let (first, before) = counted_from.ok_or("no packet came")?;
    Ok((packets - first, cpu_of_this_thread()? - before))
}

/// Sends back what came and flushes.
fn echo(now: Instant, peer: &mut Peer, socket: &UdpSocket) -> Result<u64> {
    let mut packets = 0;
    while let Some(event) = peer.poll_event() {
        if let PeerEvent::Media(media) = event {
            peer.send_rtp(
                now,
                media.track,
                media.timestamp,
                media.marker,
                &media.payload,
            )?;
            packets += 1;
        }
    }
    while let Some(transmit) = peer.poll_transmit() {
        socket.send_to(&transmit.data, transmit.to)?;
    }
    Ok(packets)
}

/// One client: how long until its first packet came back, and all round trips.
fn call(requests: &Sender<Request>, until: Instant) -> Result<(Duration, Vec<Duration>)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let config = PeerConfig::new(Certificate::generate()?, vec![socket.local_addr()?]);
    let start = clock::now();
    let client = ClientPeer::offer(&config, &Offer::voice());
    let (reply, answer) = channel();
    requests.send((client.sdp().to_owned(), reply))?;
    let mut peer = client.set_answer(clock::now(), &answer.recv()?)?;
    let track = peer.tracks().next().ok_or("no track")?.id;
    let (mut first, mut trips, mut sent) = (None, Vec::new(), Vec::new());
    let mut next_packet = clock::now();
    let mut buffer = [0; 2048];
    while clock::now() < until {
        let now = clock::now();
        if peer.is_connected() && now >= next_packet {
            next_packet = now.max(next_packet + PACKET);
            let index = u32::try_from(sent.len())?;
            let mut payload = [7; 80];
            payload[..4].copy_from_slice(&index.to_be_bytes());
            peer.send_rtp(now, track, index * 960, false, &payload)?;
            sent.push(now);
        }
        if peer.poll_timeout().is_some_and(|at| at <= now) {
            peer.handle_timeout(now);
        }
        first = first.or(drain(now, &mut peer, &socket, &sent, &mut trips)?);
        let wake = peer.poll_timeout().unwrap_or(until).min(until);
        let wake = if peer.is_connected() {
            wake.min(next_packet)
        } else {
            wake
        };
        let wait = wake
            .saturating_duration_since(clock::now())
            .max(Duration::from_micros(50));
        socket.set_read_timeout(Some(wait))?;
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            peer.handle_datagram(clock::now(), from, &buffer[..length]);
        }
    }
    Ok((first.ok_or("no packet came back")? - start, trips))
}

/// Takes what came back; the time of the first of it.
fn drain(
    now: Instant,
    peer: &mut Peer,
    socket: &UdpSocket,
    sent: &[Instant],
    trips: &mut Vec<Duration>,
) -> Result<Option<Instant>> {
    let mut first = None;
    while let Some(event) = peer.poll_event() {
        if let PeerEvent::Media(media) = event {
            let index: [u8; 4] = media.payload[..4].try_into()?;
            trips.push(now - sent[usize::try_from(u32::from_be_bytes(index))?]);
            first.get_or_insert(now);
        }
    }
    while let Some(transmit) = peer.poll_transmit() {
        socket.send_to(&transmit.data, transmit.to)?;
    }
    Ok(first)
}

/// Time on the processor, user and kernel, as Linux counts it.
fn cpu_of_this_thread() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text
        .split(' ')
        .next()
        .ok_or("schedstat is empty")?
        .parse()?;
    Ok(Duration::from_nanos(nanos))
}
