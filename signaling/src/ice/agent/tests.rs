//! Two agents and forged messages, in virtual time.

use super::*;
use crate::ice::stun::{Binding, Kind};

const TIMING: IceTiming = IceTiming {
    check_interval: Duration::from_millis(20),
    keepalive: Duration::from_secs(2),
    disconnected: Duration::from_secs(5),
    failed: Duration::from_secs(15),
};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn provider() -> Arc<dyn RTCCryptoProvider> {
    rtc::crypto::default_provider().unwrap()
}

fn agent(now: Instant, role: IceRole) -> Agent {
    Agent::new(now, role, Credentials::generate(), TIMING, provider())
}

/// A controlling agent at port 1 and a controlled one at port 2, described to each other.
fn pair(now: Instant) -> (Agent, Agent) {
    let mut client = agent(now, IceRole::Controlling);
    let mut server = agent(now, IceRole::Controlled);
    client.set_remote(now, server.local().clone());
    server.set_remote(now, client.local().clone());
    (client, server)
}

/// Carries messages both ways until there are none. The client is at port 1, the server at port 2.
fn exchange(now: Instant, client: &mut Agent, server: &mut Agent) {
    loop {
        let mut idle = true;
        while let Some((to, data)) = client.poll_transmit() {
            idle = false;
            if to == address(2) {
                server.handle(now, address(1), &data);
            }
        }
        while let Some((to, data)) = server.poll_transmit() {
            idle = false;
            if to == address(1) {
                client.handle(now, address(2), &data);
            }
        }
        if idle {
            return;
        }
    }
}

fn connected(now: Instant) -> (Agent, Agent) {
    let (mut client, mut server) = pair(now);
    client.add_remote(now, address(2));
    exchange(now, &mut client, &mut server);
    assert_eq!(client.poll_event(), Some(IceEvent::Selected(address(2))));
    assert_eq!(server.poll_event(), Some(IceEvent::Selected(address(1))));
    (client, server)
}

/// A check to `server` as its client would send it.
fn client_check(server: &Agent, remote: &Credentials, nominate: bool) -> Vec<u8> {
    let check = Check {
        local: remote,
        remote: server.local(),
        controlling: true,
        tie_breaker: 1,
        nominate,
    };
    stun::check(&check, provider().crypto()).unwrap().1
}

#[test]
fn one_candidate_is_enough_and_the_server_learns_the_client_from_its_check() {
    let now = crate::clock::start();
    let (client, server) = connected(now);
    assert_eq!(client.selected(), Some(address(2)));
    assert_eq!(server.selected(), Some(address(1)));
    assert_eq!(server.round_trip(), Some(Duration::ZERO));
}

#[test]
fn a_peer_that_nominates_in_its_first_check_is_answered_and_selected_at_once() {
    let now = crate::clock::start();
    let (client, mut server) = pair(now);
    server.handle(
        now,
        address(1),
        &client_check(&server, client.local(), true),
    );
    assert_eq!(server.poll_event(), Some(IceEvent::Selected(address(1))));
    // The response and our own check.
    assert!(server.poll_transmit().is_some() && server.poll_transmit().is_some());
}

#[test]
fn a_later_nomination_is_followed_only_when_the_new_address_answers_a_check() {
    let now = crate::clock::start();
    let (client, mut server) = connected(now);
    server.handle(
        now,
        address(9),
        &client_check(&server, client.local(), true),
    );
    assert_eq!(server.poll_event(), None);
    assert_eq!(server.selected(), Some(address(1)));
    // The address answers, as only who receives there can.
    let remote = client.local().clone();
    while let Some((to, data)) = server.poll_transmit() {
        if to == address(9)
            && let Some(check) = Binding::parse(&data).filter(|b| b.kind == Kind::Request)
        {
            let answer = check
                .success(address(2), &remote.password, provider().crypto())
                .unwrap();
            server.handle(now, address(9), &answer);
        }
    }
    assert_eq!(server.poll_event(), Some(IceEvent::Selected(address(9))));
}

#[test]
fn forged_and_foreign_checks_change_nothing_and_are_not_answered() {
    let now = crate::clock::start();
    let (client, mut server) = pair(now);
    let forged = Credentials {
        password: "x".repeat(32),
        ..server.local().clone()
    };
    let check = Check {
        local: client.local(),
        remote: &forged,
        controlling: true,
        tie_breaker: 1,
        nominate: true,
    };
    let (_, forged) = stun::check(&check, provider().crypto()).unwrap();
    let stranger = client_check(&server, &Credentials::generate(), true);
    for data in [&forged[..], &stranger, &[], &[0; 20], b"GET / HTTP/1.1"] {
        server.handle(now, address(1), data);
    }
    assert_eq!(server.refused(), 5);
    assert_eq!((server.selected(), server.poll_event()), (None, None));
    assert!(server.poll_transmit().is_none() && !server.knows(address(1)));
}

#[test]
fn addresses_are_bounded_and_the_selected_one_is_never_evicted() {
    let now = crate::clock::start();
    let (client, mut server) = connected(now);
    for port in 10..200 {
        server.handle(
            now,
            address(port),
            &client_check(&server, client.local(), false),
        );
        while server.poll_transmit().is_some() {}
    }
    assert!(server.pairs.len() <= MAX_PAIRS);
    assert!(server.knows(address(1)));
}

#[test]
fn checks_to_an_address_that_never_answers_are_bounded() {
    let now = crate::clock::start();
    let (mut client, _) = pair(now);
    client.add_remote(now, address(2));
    let mut sent = 0;
    while let Some(at) = client.poll_timeout() {
        while client.poll_transmit().is_some() {
            sent += 1;
        }
        client.handle_timeout(at);
    }
    assert_eq!(sent, u32::from(MAX_CHECKS));
    assert_eq!(client.poll_event(), Some(IceEvent::Failed));
}

#[test]
fn silence_is_told_once_healed_by_any_traffic_and_ends_the_agent_at_last() {
    let now = crate::clock::start();
    let (_, mut server) = connected(now);
    let mut seen = Vec::new();
    let at = |seconds| now + Duration::from_secs(seconds);
    server.handle_timeout(at(6));
    seen.extend(server.poll_event());
    server.heard(at(7));
    seen.extend(server.poll_event());
    server.handle_timeout(at(13));
    seen.extend(server.poll_event());
    server.handle_timeout(at(22));
    seen.extend(server.poll_event());
    assert_eq!(
        seen,
        [
            IceEvent::Disconnected,
            IceEvent::Recovered,
            IceEvent::Disconnected,
            IceEvent::Failed
        ]
    );
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn two_agents_of_one_role_sort_it_out() {
    for role in [IceRole::Controlling, IceRole::Controlled] {
        let now = crate::clock::start();
        let (mut client, mut server) = (agent(now, role), agent(now, role));
        client.set_remote(now, server.local().clone());
        server.set_remote(now, client.local().clone());
        client.add_remote(now, address(2));
        server.add_remote(now, address(1));
        for step in 0..20 {
            let at = now + TIMING.check_interval * step;
            client.handle_timeout(at);
            server.handle_timeout(at);
            exchange(at, &mut client, &mut server);
        }
        assert_ne!(client.role, server.role);
        assert_eq!(
            (client.selected(), server.selected()),
            (Some(address(2)), Some(address(1)))
        );
    }
}

#[test]
fn a_restart_selects_anew_and_the_old_generation_is_answered_until_then() {
    let now = crate::clock::start();
    let (mut client, mut server) = connected(now);
    let old = (client.local().clone(), server.local().clone());
    let (new_client, new_server) = (Credentials::generate(), Credentials::generate());
    server.restart(now, new_server.clone(), new_client.clone());
    assert_eq!(server.selected(), Some(address(1)));
    let check = Check {
        local: &old.0,
        remote: &old.1,
        controlling: true,
        tie_breaker: 1,
        nominate: false,
    };
    let (_, data) = stun::check(&check, provider().crypto()).unwrap();
    server.handle(now, address(1), &data);
    let (to, answer) = server.poll_transmit().unwrap();
    assert_eq!(
        (to, Binding::parse(&answer).unwrap().kind),
        (address(1), Kind::Success)
    );
    client.restart(now, new_client, new_server);
    client.add_remote(now, address(2));
    exchange(now, &mut client, &mut server);
    let refused = server.refused();
    server.handle(now, address(1), &data);
    assert_eq!(server.refused(), refused + 1, "the old generation is over");
}
