//! The interface on a WebSocket: every event is a text message.

use axum::extract::ws::Message;
use tidegate_media::Timestamp;
use tidegate_nodes::{Code, Error};

use super::Realtime;
use crate::links::websocket::{Codec, Outgoing};
use crate::session::link::{LinkEvent, LinkMessage, Wishes};

/// Subprotocol of the interface.
pub(crate) const SUBPROTOCOL: &str = "realtime";

impl Realtime {
    fn flush(&mut self, out: &mut Outgoing) {
        while let Some(said) = self.next_said() {
            let message = Message::Text(said.text.into());
            if said.frame {
                out.frame(message);
            } else {
                out.word(message);
            }
        }
    }
}

impl Codec for Realtime {
    fn wishes(&self) -> &dyn Wishes {
        self
    }

    fn decode(&mut self, message: Message, _: Timestamp, out: &mut Outgoing) -> Result<(), Error> {
        let Message::Text(text) = message else {
            let text = "binary message: events are text messages of JSON";
            return Err(Error::new(Code::BadRequest, text));
        };
        self.handle(text.as_str());
        self.flush(out);
        Ok(())
    }

    fn event(&mut self) -> Option<LinkEvent> {
        self.next_event()
    }

    fn encode(&mut self, message: LinkMessage, _: Timestamp, out: &mut Outgoing) {
        self.tell(message);
        self.flush(out);
    }
}
