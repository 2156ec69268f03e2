//! `POST /v1/whip/ping`: a WebRTC peer that belongs to no session, so that who uses this gateway by WebRTC can see whether that works:
//! offer and answer, ICE on the media socket, DTLS, and a data channel that says back what it is told.
//!
//! It takes no session's place and counts as none. Pings at a time, how long one may take and how much it may say are bounded.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use metrics::Counter;
use tidegate_nodes::{Code, Error};
use tidegate_signaling::{Capabilities, Peer, PeerEvent, Role};
use tokio::sync::Semaphore;

use super::{Shared, whip};
use crate::auth::Caller;
use crate::clock::Clock;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::metrics::{Metrics, label};
use crate::udp::Route;

/// Pings at a time: each lasts some round trips, so that these serve thousands of gateways that ask every five seconds.
pub(crate) const AT_ONCE: usize = 64;
/// How long one may take.
const TIME: Duration = Duration::from_secs(5);
/// Messages that are said back, and their size.
const ECHOES: u32 = 16;
const ECHO_BYTES: usize = 1_024;
/// Until the peer's own timers say otherwise.
const LOOK: Duration = Duration::from_millis(500);

/// What is shared by all pings.
pub(crate) struct Pings {
    places: Arc<Semaphore>,
    answered: Counter,
    unanswered: Counter,
}

impl Pings {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |outcome: &'static str| {
            let labels = vec![label("outcome", outcome)];
            metrics.counter("tidegate_webrtc_pings_total", labels)
        };
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            answered: counter("answered"),
            unanswered: counter("unanswered"),
        }
    }
}

/// `POST /v1/whip/ping`.
pub(crate) async fn ping(
    caller: Caller,
    State(gateway): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, HttpError> {
    caller.grants.may_open()?;
    if !gateway.sessions.ready() {
        // As `/readyz` says: who asks wants to know whether it may send sessions.
        let code = match gateway.sessions.draining() {
            true => Code::Draining,
            false => Code::Overloaded,
        };
        return Err(Error::new(code, "no session would be taken now").into());
    }
    let webrtc = whip::parts(&gateway)?;
    let offer = whip::offer(&headers, &body)?;
    let busy = || {
        Error::new(
            Code::Overloaded,
            "too many ask whether WebRTC works just now",
        )
    };
    let place = Arc::clone(&webrtc.pings.places);
    let place = place.try_acquire_owned().map_err(|_| busy())?;
    let nothing_else = Capabilities {
        audio_codecs: Vec::new(),
        receive_audio: false,
        send_audio: false,
        ..Capabilities::voice()
    };
    let at = gateway.clock.instant(gateway.clock.now());
    let (peer, answer) = Peer::accept(&webrtc.peers, offer, Role::Whip, &nothing_else, at)
        .map_err(whip::signaling)?;
    let route = webrtc.media.register(peer.local_ufrag());
    let ping = Ping {
        route: route.ok_or_else(busy)?,
        peer,
        clock: gateway.clock,
        echoes: 0,
    };
    let counted = Arc::clone(&gateway);
    drop(gateway.tasks.spawn(async move {
        let _place = place;
        answer_until_left(ping, &counted).await;
    }));
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(whip::SDP))];
    Ok((StatusCode::CREATED, kind, answer).into_response())
}

async fn answer_until_left(mut ping: Ping, gateway: &Gateway) {
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let left = poll_fn(|cx| {
        loop {
            if ping.drive(cx).is_ready() {
                return Poll::Ready(());
            }
            timer.set(tokio::time::sleep(ping.wait()));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    });
    // Who asked and was answered may be gone without a word.
    drop(tokio::time::timeout(TIME, left).await);
    ping.leave();
    if let Some(webrtc) = &gateway.webrtc {
        let outcome = match ping.echoes {
            0 => &webrtc.pings.unanswered,
            _ => &webrtc.pings.answered,
        };
        outcome.increment(1);
    }
}

/// One peer that is there for nothing else.
struct Ping {
    peer: Peer,
    route: Route,
    clock: Clock,
    echoes: u32,
}

impl Ping {
    /// Moves everything that can move; ready once the other side has left.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.clock.instant(self.clock.now());
        while let Poll::Ready(Some(datagram)) = self.route.poll_recv(cx) {
            self.peer.handle_datagram(at, datagram.from, &datagram.data);
            if let Some((from, proof)) = self.peer.take_proof() {
                self.route.learn(at, from, proof);
            }
        }
        if self.peer.poll_timeout().is_some_and(|due| due <= at) {
            self.peer.handle_timeout(at);
        }
        while let Some(event) = self.peer.poll_event() {
            match event {
                PeerEvent::ChannelMessage { id, message }
                    if self.echoes < ECHOES && message.payload().len() <= ECHO_BYTES =>
                {
                    // An error means that the other side has left, which is an event.
                    let said = self.peer.send_channel(at, id, &message);
                    self.echoes += u32::from(said.is_ok());
                }
                PeerEvent::Failed(_) | PeerEvent::Closed => return Poll::Ready(()),
                _ => {}
            }
        }
        self.transmit();
        Poll::Pending
    }

    fn wait(&self) -> Duration {
        let now = self.clock.instant(self.clock.now());
        let due = self.peer.poll_timeout();
        due.map_or(LOOK, |due| due.saturating_duration_since(now))
            .clamp(Duration::from_millis(1), LOOK)
    }

    fn leave(&mut self) {
        if !self.peer.has_ended() {
            self.peer.close(self.clock.instant(self.clock.now()));
        }
        self.transmit();
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.peer.poll_transmit() {
            // What the kernel has no room for is lost, as on any network.
            drop(self.route.send(transmit.to, &transmit.data));
        }
    }
}
