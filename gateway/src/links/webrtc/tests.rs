//! A link and what its resource is told; the peer's network is not needed for that.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::Poll;

use tidegate_proto::message::Source;
use tidegate_signaling::whip::{PatchRefusal, etag};
use tidegate_signaling::{Capabilities, Certificate, ClientPeer, Offer, PeerConfig, Role};

use super::*;
use crate::metrics::Metrics;
use crate::udp::MediaSocket;

const RESTART: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";

struct Resource {
    link: WebrtcLink,
    commands: mpsc::Sender<PeerCommand>,
    /// The tag of the ICE generation.
    tag: String,
}

impl Resource {
    fn new() -> Self {
        let metrics = Metrics::new();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let media = MediaSocket::bind(any, 4, &metrics).expect("a port");
        let at = media.local_addr().expect("its address");
        let config = PeerConfig::new(Certificate::generate().expect("a certificate"), vec![at]);
        let client = ClientPeer::offer(&config, &Offer::voice());
        let clock = Clock::start();
        let now = clock.instant(clock.now());
        let voice = Capabilities::voice();
        let accepted = Peer::accept(&config, client.sdp(), Role::Whip, &voice, now);
        let (peer, _) = accepted.expect("an offer that can be served");
        let route = media.register(peer.local_ufrag()).expect("room");
        let tag = etag(peer.local_ufrag());
        let (commands, inbox) = mpsc::channel(4);
        let open = Open {
            source: Source::Pipeline("echo".into()),
            ..Open::default()
        };
        Self {
            link: WebrtcLink::new(peer, route, clock, inbox, open),
            commands,
            tag,
        }
    }

    fn send(&self, command: PeerCommand) {
        assert!(
            self.commands.try_send(command).is_ok(),
            "room for a command"
        );
    }

    /// Asks for `fragment` under `tag`; what is answered, if anything is.
    async fn patch(&mut self, tag: Option<&str>, fragment: &str) -> Option<PatchReply> {
        let (reply, mut answer) = oneshot::channel();
        self.send(PeerCommand::Patch {
            if_match: tag.map(str::to_owned),
            fragment: Fragment::parse(fragment, 4096).expect("a fragment"),
            reply,
        });
        let now = self.link.clock.now();
        poll_fn(|cx| {
            let _ = self.link.poll_event(cx, now, true);
            Poll::Ready(())
        })
        .await;
        answer.try_recv().ok()
    }
}

#[tokio::test]
async fn a_restart_answers_with_new_parameters_and_a_new_tag() {
    let mut resource = Resource::new();
    let tag = resource.tag.clone();
    let stale = resource.patch(Some("\"other\""), RESTART).await;
    assert!(matches!(stale, Some(Err(PatchRefusal::PreconditionFailed))));
    let restarted = resource.patch(Some(&tag), RESTART).await;
    let Some(Ok(Some((parameters, new)))) = restarted else {
        panic!("no restart");
    };
    assert!(new != tag && parameters.to_fragment().contains(new.trim_matches('"')));
    let candidates = resource.patch(Some(&new), RESTART).await;
    assert!(matches!(candidates, Some(Ok(None))), "the same credentials");
}

#[tokio::test]
async fn nothing_is_promised_for_a_peer_that_has_ended() {
    let mut resource = Resource::new();
    let tag = resource.tag.clone();
    resource.send(PeerCommand::Close);
    let restart = resource.patch(Some(&tag), RESTART).await;
    assert!(restart.is_none(), "the peer had ended before");
}
