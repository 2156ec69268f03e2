//! The shared socket against real sockets of both families, on loopback.

use std::future::poll_fn;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::metrics::page::Format;

const PATIENCE: Duration = Duration::from_secs(20);

/// A Binding request that names `ufrag`; whether it is signed is not the socket's business.
fn check(ufrag: &str) -> Vec<u8> {
    let name = format!("{ufrag}:them");
    let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    packet.extend([7; 12]);
    packet.extend([0, 6, 0, u8::try_from(name.len()).expect("a short name")]);
    packet.extend(name.bytes());
    packet.resize(packet.len().next_multiple_of(4), 0);
    packet[3] = u8::try_from(packet.len() - 20).expect("a short packet");
    packet
}

#[tokio::test]
async fn a_client_by_ipv4_keeps_its_address_on_a_socket_of_both_families() {
    let metrics = Metrics::new();
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    let media = MediaSocket::bind(any, 4, &metrics).expect("a socket of both families");
    let port = media.local_addr().expect("its address").port();
    let mut route = media.register("abcd").expect("room");
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let at = client.local_addr().expect("its address");
    client
        .send_to(&check("abcd"), (Ipv4Addr::LOCALHOST, port))
        .await
        .expect("sent");
    let first = tokio::select! {
        () = media.run() => None,
        first = timeout(PATIENCE, poll_fn(|cx| route.poll_recv(cx))) => first.expect("in time"),
    };
    assert_eq!(first.expect("a datagram").from, at);
    assert_eq!(route.send(at, b"back").expect("sent"), 4);
    let mut buffer = [0; 16];
    let (length, _) = timeout(PATIENCE, client.recv_from(&mut buffer))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(&buffer[..length], b"back");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_kernel_drops_is_counted_to_the_last_datagram() {
    // Fewer than wait in the kernel's own queue, on a machine that comes to them late.
    const SENT: usize = 400;
    for ip in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let metrics = Metrics::new();
        let media = MediaSocket::bind(SocketAddr::new(ip, 0), 4, &metrics).expect("a socket");
        let counted = || {
            media.count_unread();
            let page = metrics.render(Format::Text);
            let name = "tidegate_udp_dropped_datagrams_total{reason=\"kernel_buffer_full\"} ";
            let line = page.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|count| count.parse::<usize>().ok())
        };
        assert_eq!(counted(), Some(0));
        let client = std::net::UdpSocket::bind((ip, 0)).expect("a port");
        let to = media.local_addr().expect("its address");
        for _ in 0..SENT {
            client.send_to(&[0; 60_000], to).expect("sent");
        }
        let (mut buffer, mut read) = ([0; MTU], 0);
        let all = async {
            // None is read before one is lost.
            while counted() == Some(0) {
                tokio::task::yield_now().await;
            }
            while counted() != Some(SENT - read) {
                while media.socket.try_recv(&mut buffer).is_ok() {
                    read += 1;
                }
                tokio::task::yield_now().await;
            }
        };
        let done = timeout(PATIENCE, all).await;
        assert!(done.is_ok(), "{read} and {:?} of {SENT} at {ip}", counted());
        assert!(read > 0, "some fit");
    }
}
