//! What the parts of a peer have to say to each other and to its owner, and how it ends.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{Core, State};
use crate::data::DataEvent;
use crate::event::{Failure, PeerEvent, Transmit};
use crate::ice::IceEvent;

/// Datagrams waiting for `poll_transmit`: the driver drains after each call, so only a burst of data
/// channel packets comes near.
const MAX_OUTPUT: usize = 4096;

impl Core {
    /// Carries what the parts have to say to each other and to the owner.
    pub(super) fn settle(&mut self, now: Instant) {
        self.newest = self.newest.max(now);
        while let Some(event) = self.ice.poll_event() {
            self.on_ice(now, event);
        }
        // Checks first: what follows may be of use to the peer only once they are answered.
        while let Some((to, data)) = self.ice.poll_transmit() {
            self.push(to, data);
        }
        self.take_data_events(now);
        self.flush_data(now);
        self.flush_dtls();
    }

    fn on_ice(&mut self, now: Instant, event: IceEvent) {
        match event {
            IceEvent::Selected(address) => {
                if self.state == State::Connected {
                    self.events.push_back(PeerEvent::PathChanged(address));
                }
                if let Err(error) = self.dtls.start(now) {
                    self.fail(Failure::Handshake(error.to_string()));
                }
            }
            IceEvent::Disconnected => self.events.push_back(PeerEvent::Disconnected),
            IceEvent::Recovered => self.events.push_back(PeerEvent::Reconnected),
            IceEvent::Failed => {
                let connected = self.state == State::Connected;
                self.fail(if connected {
                    Failure::Silence
                } else {
                    Failure::NoPath
                });
            }
        }
    }

    /// Moves events of the channels to the owner's queue while there is room; what finds none stays
    /// in the association, whose window slows the sender.
    fn take_data_events(&mut self, now: Instant) {
        let Some(data) = &mut self.data else { return };
        while self.events.len() < self.max_events {
            let Some(event) = data.poll_event() else {
                if data.resume(now) { continue } else { break }
            };
            self.events.push_back(match event {
                DataEvent::Open {
                    id,
                    label,
                    protocol,
                } => PeerEvent::ChannelOpen {
                    id,
                    label,
                    protocol,
                },
                DataEvent::Message { id, message } => PeerEvent::ChannelMessage { id, message },
                DataEvent::Closed { id } => PeerEvent::ChannelClosed(id),
            });
        }
    }

    pub(super) fn flush_data(&mut self, now: Instant) {
        let Some(data) = &mut self.data else { return };
        while let Some(packets) = data.poll_transmit(now) {
            for packet in packets {
                // A packet that DTLS refuses is lost like one on the wire: SCTP sends it again.
                if self.dtls.write(now, &packet).is_err() {
                    self.drops.data += 1;
                }
            }
        }
    }

    pub(super) fn flush_dtls(&mut self) {
        // The peer's hello may overtake the answer to our nomination: the reply waits for the path.
        let Some(to) = self.ice.selected() else {
            return;
        };
        while let Some(data) = self.dtls.poll_transmit() {
            self.push(to, data);
        }
    }

    pub(super) fn push(&mut self, to: SocketAddr, data: Bytes) {
        if self.output.len() >= MAX_OUTPUT {
            self.drops.overflow += 1;
            return;
        }
        self.output.push_back(Transmit { to, data });
    }

    /// The end of a peer in which a library panicked: nothing of it is touched any more.
    pub(crate) fn abandon(&mut self) {
        self.fail(Failure::Internal);
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.end(PeerEvent::Failed(failure));
    }

    pub(super) fn end(&mut self, event: PeerEvent) {
        if self.has_ended() {
            return;
        }
        self.state = State::Ended;
        self.ice.close();
        self.srtp = None;
        self.events.push_back(event);
    }
}
