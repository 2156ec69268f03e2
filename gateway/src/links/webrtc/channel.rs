//! The data channel `events`: the native stream's messages of a peer, in the subprotocol that the channel names.

use std::collections::VecDeque;

use tidegate_media::Timestamp;
use tidegate_nodes::graph::Mode;
use tidegate_nodes::{Code, Error};
use tidegate_proto::{json, protobuf};
use tidegate_signaling::{ChannelId, ChannelMessage};

use super::WebrtcLink;
use crate::links::websocket::Subprotocol;
use crate::links::wire::malformed;
use crate::session::link::{LinkEvent, LinkMessage, Wishes as _};

/// What had come on the channel before it was left unread, in the order in which it came.
#[derive(Default)]
pub(super) struct Unread(VecDeque<LinkEvent>);

impl Unread {
    /// What of an event goes on at once. A frame waits until it is read, and an end for the frames before it, which it would make
    /// come too late; an interrupt overtakes them all.
    pub(super) fn pass(&mut self, event: LinkEvent, reading: bool) -> Option<LinkEvent> {
        let waits = !reading || !self.0.is_empty();
        match event {
            event @ (LinkEvent::Frame { .. } | LinkEvent::End { .. }) if waits => {
                self.0.push_back(event);
                None
            }
            event => Some(event),
        }
    }

    /// The first that waits.
    pub(super) fn next(&mut self) -> Option<LinkEvent> {
        self.0.pop_front()
    }
}

impl WebrtcLink {
    /// The client has opened the channel: it gets what was kept for it.
    pub(super) fn channel_opened(&mut self, now: Timestamp, id: ChannelId, protocol: &str) {
        let subprotocol = if protocol == Subprotocol::Proto.token() {
            Subprotocol::Proto
        } else {
            Subprotocol::Json
        };
        self.backlog.open(id, subprotocol);
        if let Some(opened) = self.opened.take() {
            self.send_event(now, opened);
        }
        self.flush_talk(now);
    }

    pub(super) fn channel_closed(&mut self, id: ChannelId) {
        self.dropped.not_sent += self.backlog.closed(id);
    }

    pub(super) fn channel_message(
        &mut self,
        now: Timestamp,
        id: ChannelId,
        message: &ChannelMessage,
    ) -> Option<LinkEvent> {
        if self.realtime.is_some() {
            return self.talk_back(now, id, message);
        }
        let subprotocol = self.backlog.subprotocol(id)?;
        let bytes = message.payload().clone();
        let decoded = match subprotocol {
            Subprotocol::Json => match std::str::from_utf8(&bytes) {
                Ok(text) => json::decode_client(text, now, &self.formats),
                Err(_) => {
                    let text = "message on the channel 'events' is not UTF-8";
                    return Some(LinkEvent::Failed(Error::new(Code::BadRequest, text)));
                }
            },
            Subprotocol::Proto => protobuf::decode_client_bytes(bytes, now, &self.formats),
        };
        let event = decoded
            .map_err(|error| malformed(&error))
            .and_then(|message| self.native.decode(message));
        if let Ok(LinkEvent::End { input }) = &event {
            // Media that comes later was overtaken by its end.
            for track in &mut self.receives {
                track
                    .port
                    .take_if(|port| input.is_none_or(|input| input == *port));
            }
        }
        let event = event.unwrap_or_else(LinkEvent::Failed);
        self.unread.pass(event, self.reading)
    }

    /// Takes messages from the client, or leaves them with its transport, which feels it.
    pub(super) fn read(&mut self, now: Timestamp, read: bool) {
        if self.reading != read {
            self.reading = read;
            let at = self.clock.instant(now);
            self.peer.set_channel_reading(at, read);
        }
    }

    pub(super) fn send_event(&mut self, now: Timestamp, message: LinkMessage) {
        if self.realtime.is_some() {
            // It was told already.
            return;
        }
        let Some(message) = self.native.encode(message) else {
            return;
        };
        let live = self.native.mode() == Mode::Live;
        self.dropped.not_sent += u64::from(!self.backlog.push(message, live, now));
        self.pump(now);
    }

    /// Hands over what the channel takes.
    pub(super) fn pump(&mut self, now: Timestamp) {
        let at = self.clock.instant(now);
        self.dropped.not_sent += self.backlog.pump(&mut self.peer, at);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_media::{Frame, MediaTime, Payload};

    use super::*;

    #[test]
    fn an_end_waits_for_the_frames_before_it_and_an_interrupt_does_not() {
        let frame = || LinkEvent::Frame {
            input: 0,
            frame: Frame::new(MediaTime::ZERO, Payload::Text("x".into())),
        };
        let end = || LinkEvent::End { input: Some(0) };
        let mut unread = Unread::default();
        assert!(unread.pass(frame(), true).is_some());
        assert!(unread.pass(frame(), false).is_none());
        assert!(unread.pass(end(), false).is_none());
        let interrupt = unread.pass(LinkEvent::Interrupt, false);
        assert!(matches!(interrupt, Some(LinkEvent::Interrupt)));
        assert!(unread.pass(frame(), true).is_none(), "behind those");
        assert!(matches!(unread.next(), Some(LinkEvent::Frame { .. })));
        assert!(matches!(unread.next(), Some(LinkEvent::End { .. })));
        assert!(matches!(unread.next(), Some(LinkEvent::Frame { .. })));
        assert!(unread.next().is_none());
        assert!(unread.pass(end(), true).is_some());
    }
}
