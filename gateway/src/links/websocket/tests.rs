//! A client by WebSocket against a socket in memory, in virtual time.

use std::collections::VecDeque;

use tidegate_proto::json;
use tidegate_proto::message::{ClientMessage, Open, PortFormats};

use super::leaving::DISCARDS;
use super::*;
use crate::links::native::Native;

/// A client as the socket shows it: what it has sent, and what it was told.
#[derive(Default)]
struct Client {
    sent: VecDeque<Result<Message, axum::Error>>,
    /// Sends this for ever once `sent` is through.
    flood: Option<Message>,
    told: Vec<Message>,
}

impl Stream for Client {
    type Item = Result<Message, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.sent.pop_front();
        match next.or_else(|| self.flood.clone().map(Ok)) {
            Some(message) => Poll::Ready(Some(message)),
            None => Poll::Pending,
        }
    }
}

impl Sink<Message> for Client {
    type Error = std::convert::Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        self.told.push(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

fn link(client: Client) -> WebSocketLink<NativeCodec, Client> {
    let open = r#"{"open":{"pipeline":"echo"}}"#;
    let decoded = json::decode_client(open, Timestamp::ZERO, &PortFormats::default());
    let Ok(ClientMessage::Open(open)) = decoded else {
        panic!("{decoded:?}");
    };
    let (refused, _) = tokio::sync::oneshot::channel();
    let native = Native::new(*open);
    let codec = NativeCodec::new(Subprotocol::Json, native);
    WebSocketLink::new(client, codec, Timestamp::ZERO, refused, None)
}

#[test]
fn what_another_kind_of_port_would_take_is_incompatible_whatever_its_format() {
    let open = r#"{"open":{"pipeline":"summarise"}}"#;
    let decoded = json::decode_client(open, Timestamp::ZERO, &PortFormats::default());
    let Ok(ClientMessage::Open(open)) = decoded else {
        panic!("{decoded:?}");
    };
    let mut native = Native::new(*open);
    let tensors = (
        0,
        "tensors".to_owned(),
        tidegate_nodes::StreamFormat::Tensor,
    );
    let info = crate::session::link::OpenedInfo {
        session_id: String::new(),
        pipeline: String::new(),
        inputs: vec![tensors],
        outputs: Vec::new(),
        deterministic: true,
        message_bytes: 0,
        session_limit: None,
        idle_limit: None,
    };
    native.encode(LinkMessage::Opened(Box::new(info)));
    let frame = r#"{"frame":{"port":"tensors","text":{"text":"hello"}}}"#;
    let frame = json::decode_client(frame, Timestamp::ZERO, &PortFormats::default());
    let error = native.decode(frame.expect("a frame")).expect_err("a text");
    assert_eq!(error.code, Code::Incompatible, "as execute says: {error}");
    assert!(error.message.contains("send tensor"), "{error}");
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn cx() -> Context<'static> {
    Context::from_waker(std::task::Waker::noop())
}

/// Polls as the driver does: at once, and whenever the link asks for it, until `seconds`.
fn run(
    link: &mut WebSocketLink<NativeCodec, Client>,
    seconds: u64,
    read: bool,
) -> Option<LinkEvent> {
    let mut now = link.heard;
    while now <= at(seconds) {
        if let Poll::Ready(event) = link.poll_event(&mut cx(), now, read) {
            return Some(event);
        }
        assert!(link.poll_flush(&mut cx(), now).is_ready());
        now = link.timeout().expect("a silent client is looked after");
    }
    None
}

#[test]
fn a_client_that_is_not_read_is_not_thrown_out_for_its_silence() {
    let mut link = link(Client::default());
    assert!(run(&mut link, 10, true).is_none());
    // What a hop that is blocked for two minutes makes of it.
    assert!(run(&mut link, 120, false).is_none());
    let pong = Message::Pong(Bytes::new());
    link.socket
        .as_mut()
        .expect("there")
        .sent
        .push_back(Ok(pong));
    assert!(run(&mut link, 149, true).is_none());
    let event = run(&mut link, 160, true);
    assert!(matches!(event, Some(LinkEvent::Closed)), "{event:?}");
}

#[test]
fn a_client_that_answers_no_ping_is_gone() {
    let mut link = link(Client::default());
    assert!(run(&mut link, 29, true).is_none());
    let pings = &link.socket.as_ref().expect("there").told;
    assert_eq!(pings.len(), 1, "{pings:?}");
    let event = run(&mut link, 30, true);
    assert!(matches!(event, Some(LinkEvent::Closed)), "{event:?}");
}

fn end(link: &mut WebSocketLink<NativeCodec, Client>) {
    let error = Error::new(Code::BadRequest, "no");
    link.send(at(1), LinkMessage::Error(error));
    let reason = Code::BadRequest.as_str();
    link.send(at(1), LinkMessage::Ended { reason });
}

#[test]
fn a_client_that_floods_is_told_why_and_read_until_it_says_goodbye() {
    let frame = || Ok(Message::Text("{}".into()));
    let mut client = Client::default();
    client.sent.extend((0..10 * DISCARDS).map(|_| frame()));
    client.sent.push_back(Ok(Message::Close(None)));
    let mut link = link(client);
    end(&mut link);
    let mut calls = 1;
    while link.poll_flush(&mut cx(), at(1)).is_pending() {
        calls += 1;
    }
    assert!(calls > 10, "others get their turn: {calls}");
    let client = link.socket.as_ref().expect("there");
    assert!(client.sent.is_empty());
    let told = matches!(
        client.told.as_slice(),
        [Message::Text(error), Message::Text(_), Message::Close(Some(close))]
            if error.contains("bad_request") && close.code == 4400 && close.reason == "bad_request"
    );
    assert!(told, "{:?}", client.told);
}

#[test]
fn a_client_that_says_no_goodbye_is_left_after_its_time_or_its_bytes() {
    let mut silent = link(Client::default());
    end(&mut silent);
    assert!(silent.poll_flush(&mut cx(), at(2)).is_pending());
    let until = silent.timeout().expect("it has a time");
    assert_eq!(until, at(2) + GOODBYE, "from when it has its last word");
    assert!(silent.poll_flush(&mut cx(), until).is_ready());

    let mut floods = link(Client {
        flood: Some(Message::Binary(vec![0; 1 << 16].into())),
        ..Client::default()
    });
    end(&mut floods);
    let mut calls = 0;
    while floods.poll_flush(&mut cx(), at(1)).is_pending() {
        calls += 1;
    }
    assert!(calls <= GOODBYE_BYTES / (DISCARDS << 16), "{calls}");
}

/// A client that has a second of sound to play until it says anything.
struct Player(Native, bool);

impl Codec for Player {
    fn wishes(&self) -> &dyn Wishes {
        &self.0
    }
    fn decode(&mut self, _: Message, _: Timestamp, _: &mut Outgoing) -> Result<(), Error> {
        self.1 = true;
        Ok(())
    }
    fn event(&mut self) -> Option<LinkEvent> {
        None
    }
    fn encode(&mut self, _: LinkMessage, _: Timestamp, _: &mut Outgoing) {}
    fn unplayed(&self) -> Option<Duration> {
        (!self.1).then_some(Duration::from_secs(1))
    }
}

#[test]
fn a_client_that_still_plays_is_told_the_end_once_it_has_or_its_time_is_over() {
    for says_so in [true, false] {
        let (refused, _) = tokio::sync::oneshot::channel();
        let codec = Player(Native::new(Open::default()), false);
        let mut link = WebSocketLink::new(Client::default(), codec, at(0), refused, None);
        let reason = "finished";
        link.send(at(1), LinkMessage::Ended { reason });
        assert!(link.poll_flush(&mut cx(), at(1)).is_pending());
        assert!(link.socket.as_ref().expect("there").told.is_empty());
        let until = link.timeout().expect("it has a time");
        assert!(until > at(2), "longer than its sound lasts");
        let now = if says_so {
            let played = Message::Text("played".into());
            let socket = link.socket.as_mut().expect("there");
            socket.sent.push_back(Ok(played));
            at(2)
        } else {
            until
        };
        assert!(link.poll_flush(&mut cx(), now).is_pending(), "its goodbye");
        let told = &link.socket.as_ref().expect("there").told;
        let [Message::Close(Some(close))] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(close.code, 1000);
    }
}

#[test]
fn who_is_left_for_a_mistake_is_not_waited_for() {
    let (refused, _) = tokio::sync::oneshot::channel();
    let codec = Player(Native::new(Open::default()), false);
    let mut link = WebSocketLink::new(Client::default(), codec, at(0), refused, None);
    let reason = Code::BadRequest.as_str();
    link.send(at(1), LinkMessage::Ended { reason });
    assert!(
        link.poll_flush(&mut cx(), at(1)).is_pending(),
        "its goodbye"
    );
    assert_eq!(link.socket.as_ref().expect("there").told.len(), 1);
}

#[test]
fn a_message_over_the_limit_is_known_by_its_type() {
    use tungstenite::error::{CapacityError, Error as Said};
    let long = CapacityError::MessageTooLong {
        size: 9,
        max_size: 8,
    };
    let error = over_limit(&axum::Error::new(Said::Capacity(long))).expect("over the limit");
    assert_eq!(error.code, Code::TooLarge);
    assert!(error.message.contains("the limit is 8 bytes"), "{error}");
    let other = axum::Error::new(std::io::Error::other("it was too long ago"));
    assert!(over_limit(&other).is_none());
}
