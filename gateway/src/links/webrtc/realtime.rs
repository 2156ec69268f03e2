//! A peer that speaks OpenAI Realtime: its sound by tracks as any peer's, its events on the data channel `oai-events`.

use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};
use tidegate_signaling::{ChannelId, ChannelMessage};

use super::WebrtcLink;
use crate::links::realtime::Realtime;
use crate::session::link::{LinkEvent, LinkMessage, Wishes as _};

impl WebrtcLink {
    /// The same peer, who speaks this on its channel.
    pub(crate) fn speaking(mut self, realtime: Realtime) -> Self {
        self.wanted = realtime.wanted_ports().to_vec();
        self.realtime = Some(Box::new(realtime));
        self
    }

    /// What the channel is called that carries events.
    pub(super) const fn label(&self) -> &'static str {
        if self.realtime.is_some() {
            "oai-events"
        } else {
            "events"
        }
    }

    /// Tells the interface what the session says; of sound, what it says of itself.
    pub(super) fn talk(&mut self, now: Timestamp, message: &LinkMessage) {
        let Some(realtime) = &mut self.realtime else {
            return;
        };
        match message {
            LinkMessage::Frame { output, frame } => realtime.frame(*output, frame),
            message => realtime.tell(message.clone()),
        }
        self.flush_talk(now);
    }

    /// Hands what the interface says to the channel, once there is one.
    pub(super) fn flush_talk(&mut self, now: Timestamp) {
        let Some(realtime) = &mut self.realtime else {
            return;
        };
        if self.backlog.is_open() {
            while let Some(said) = realtime.next_said() {
                let text = ChannelMessage::Text(said.text.into());
                self.dropped.not_sent += u64::from(!self.backlog.push_text(text));
            }
        }
        self.dropped.not_sent += realtime.take_lost();
        self.pump(now);
    }

    /// Takes a message of the channel's.
    pub(super) fn talk_back(
        &mut self,
        now: Timestamp,
        id: ChannelId,
        message: &ChannelMessage,
    ) -> Option<LinkEvent> {
        self.backlog.subprotocol(id)?;
        let Ok(text) = std::str::from_utf8(message.payload()) else {
            let text = "message on the channel 'oai-events' is not UTF-8";
            return Some(LinkEvent::Failed(Error::new(Code::BadRequest, text)));
        };
        self.realtime.as_mut()?.handle(text);
        self.flush_talk(now);
        self.talked()
    }

    /// What the interface wants of the session.
    pub(super) fn talked(&mut self) -> Option<LinkEvent> {
        while let Some(event) = self.realtime.as_mut()?.next_event() {
            if let Some(event) = self.unread.pass(event, self.reading) {
                return Some(event);
            }
        }
        None
    }
}
