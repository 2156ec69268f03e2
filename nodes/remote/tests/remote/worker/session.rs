//! One session of a worker, as its manner has it.

use std::sync::mpsc;

use futures_util::StreamExt as _;
use tidegate_media::Timestamp;
use tidegate_proto::message::{Ack, Credit, Opened, WireError};
use tidegate_proto::{ClientMessage, PortFormats, ServerMessage, protobuf, v1};
use tokio::sync::mpsc as queue;
use tonic::Status;

use super::{CREDIT, Incoming, Manner, SERVICE, Seen, name, ports};

pub(super) struct Session {
    pub(super) incoming: Incoming,
    pub(super) sender: queue::Sender<Result<v1::ServerMessage, Status>>,
    pub(super) saw: mpsc::Sender<Seen>,
    pub(super) credit: u32,
    pub(super) taken: u32,
    pub(super) acks: bool,
}

impl Session {
    async fn send(&self, message: ServerMessage) {
        let message = protobuf::encode_server(message, Timestamp::ZERO);
        let _ = self.sender.send(Ok(message)).await;
    }

    async fn next(&mut self) -> Option<ClientMessage> {
        let message = self.incoming.next().await?.ok()?;
        let formats = PortFormats::default();
        Some(protobuf::decode_client(message, Timestamp::ZERO, &formats).expect("ours"))
    }

    pub(super) async fn run(
        &mut self,
        manner: Manner,
        authorization: Option<String>,
        mut permitted: Option<queue::Receiver<()>>,
    ) {
        let Some(ClientMessage::Open(open)) = self.next().await else {
            return;
        };
        let _ = self.saw.send(Seen::Open {
            open,
            authorization,
        });
        let slow = manner == Manner::SlowEcho;
        match manner {
            Manner::Mute => return std::future::pending().await,
            Manner::Error => return self.send(ServerMessage::Error(Box::new(failure()))).await,
            _ => self.open(!slow, manner == Manner::Acks).await,
        }
        self.acks = manner == Manner::Acks;
        match manner {
            Manner::Says(messages) => {
                for message in messages {
                    self.send(message).await;
                }
                std::future::pending().await
            }
            Manner::Leaves => {}
            Manner::Deaf => while self.next().await.is_some() {},
            _ => loop {
                if slow
                    && permitted
                        .as_mut()
                        .expect("one stream")
                        .recv()
                        .await
                        .is_none()
                {
                    return;
                }
                let Some(message) = self.next().await else {
                    return;
                };
                self.echo(message, slow).await;
            },
        }
    }

    async fn open(&mut self, credits: bool, acks: bool) {
        let features = [("credits", credits), ("acks", acks)];
        let features = features.iter().filter(|(_, has)| *has);
        let opened = Opened {
            session_id: "s1".into(),
            ports: ports(),
            features: features.map(|(name, _)| (*name).to_owned()).collect(),
            pipeline: "echo".into(),
            deterministic: acks,
            ..Opened::default()
        };
        self.send(ServerMessage::Opened(Box::new(opened))).await;
        if credits {
            self.give(CREDIT).await;
        }
    }

    async fn give(&mut self, frames: u32) {
        self.credit += frames;
        let credit = Credit {
            port: name("in"),
            frames,
            bytes: Credit::UNCOUNTED,
        };
        self.send(ServerMessage::Credit(credit)).await;
    }

    async fn echo(&mut self, message: ClientMessage, slow: bool) {
        let _ = self.saw.send(Seen::Message(message.clone()));
        match message {
            ClientMessage::Frame { mut frame, .. } => {
                if !slow {
                    let Some(left) = self.credit.checked_sub(1) else {
                        let _ = self.saw.send(Seen::Overstepped);
                        return;
                    };
                    self.credit = left;
                    self.taken += 1;
                    if self.taken == CREDIT {
                        self.taken = 0;
                        self.give(CREDIT).await;
                    }
                }
                let seq = frame.meta.seq;
                frame.meta.caused_by = seq;
                frame.meta.service = Some(SERVICE);
                let port = name("out");
                self.send(ServerMessage::Frame {
                    port,
                    caused_port: None,
                    frame,
                })
                .await;
                if self.acks {
                    let port = name("in");
                    self.send(ServerMessage::Ack(Ack { port, seq })).await;
                }
            }
            ClientMessage::End { .. } => {
                let reason = "done".to_owned();
                self.send(ServerMessage::Ended { reason }).await;
            }
            _ => {}
        }
    }
}

fn failure() -> WireError {
    WireError {
        code: "overloaded".into(),
        message: "all slots are taken".into(),
        fault: "gateway".into(),
        retryable: true,
        ..WireError::default()
    }
}
