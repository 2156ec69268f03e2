//! Candidates as text (RFC 8839 §5.1).

use std::net::{IpAddr, SocketAddr};

/// The address of a candidate that can be used: UDP, component 1, a literal address that packets can
/// be sent to. Names (`….local`), TCP and other components give `None`: they are legal and useless
/// here.
///
/// `text` may start with `a=`, `candidate:` or neither.
pub(crate) fn parse_candidate(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    let text = text.strip_prefix("candidate:").unwrap_or(text);
    let mut words = text.split_ascii_whitespace();
    let (_foundation, component, protocol) = (words.next()?, words.next()?, words.next()?);
    let (_priority, address, port) = (words.next()?, words.next()?, words.next()?);
    if component != "1" || !protocol.eq_ignore_ascii_case("udp") || words.next()? != "typ" {
        return None;
    }
    let ip: IpAddr = address.parse().ok()?;
    let port: u16 = port.parse().ok()?;
    let usable = port != 0 && !ip.is_unspecified() && !ip.is_multicast();
    usable.then(|| SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_reflexive_candidates_give_their_address() {
        for text in [
            "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host",
            "candidate:1 1 UDP 1 192.0.2.7 5000 typ srflx raddr 10.0.0.1 rport 1 generation 0",
            "842163049 1 udp 1677729535 192.0.2.7 5000 typ relay",
        ] {
            assert_eq!(
                parse_candidate(text),
                Some("192.0.2.7:5000".parse().unwrap()),
                "{text}"
            );
        }
        assert_eq!(
            parse_candidate("candidate:1 1 udp 1 2001:db8::1 9 typ host"),
            Some("[2001:db8::1]:9".parse().unwrap())
        );
    }

    #[test]
    fn names_tcp_rtcp_and_nowhere_give_nothing() {
        for text in [
            "candidate:1 1 udp 1 6f9c.local 5000 typ host",
            "candidate:1 1 tcp 1 192.0.2.7 9 typ host tcptype active",
            "candidate:1 2 udp 1 192.0.2.7 5000 typ host",
            "candidate:1 1 udp 1 0.0.0.0 5000 typ host",
            "candidate:1 1 udp 1 192.0.2.7 0 typ host",
            "candidate:1 1 udp 1 192.0.2.7 70000 typ host",
            "",
            "candidate:",
        ] {
            assert_eq!(parse_candidate(text), None, "{text}");
        }
    }
}
