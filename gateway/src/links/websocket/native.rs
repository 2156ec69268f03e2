//! The native stream as what is said on a WebSocket, in both subprotocols, with raw audio where `open` asks for it.

use axum::extract::ws::Message;
use bytes::Bytes;
use tidegate_media::{Audio, Frame, MediaTime, Payload, Timestamp};
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::PortFormats;

use super::{Codec, Outgoing, Subprotocol};
use crate::links::native::Native;
use crate::session::link::{LinkEvent, LinkMessage, Wishes};

/// One client's side of the native stream on a WebSocket.
pub(crate) struct NativeCodec {
    subprotocol: Subprotocol,
    native: Native,
    formats: PortFormats,
    /// Media time of the next raw message, in samples of the raw input.
    raw_samples: u64,
    event: Option<LinkEvent>,
}

impl NativeCodec {
    /// The side of a client whose `open` has been read.
    pub(crate) fn new(subprotocol: Subprotocol, native: Native) -> Self {
        Self {
            subprotocol,
            formats: native.formats(),
            native,
            raw_samples: 0,
            event: None,
        }
    }

    /// A raw binary message: a frame of the one input that `open` named.
    fn raw(&mut self, bytes: Bytes) -> Result<LinkEvent, Error> {
        let (Some(port), _) = self.native.raw() else {
            let text = "binary message without raw audio: name its input in open.raw";
            return Err(Error::new(Code::BadRequest, text));
        };
        let port = port.as_str().to_owned();
        let format = self.formats.audio(&port);
        if let Some(sample) = format.codec.sample_bytes() {
            let whole = sample * usize::from(format.channels.max(1));
            if !bytes.len().is_multiple_of(whole) {
                let text = format!(
                    "raw message of {} bytes is not whole samples of {format}: a sample of all channels has {whole} bytes",
                    bytes.len()
                );
                return Err(Error::new(Code::BadRequest, text));
            }
        }
        let audio = Audio::encoded(format, bytes);
        let media_time = MediaTime::from_samples(self.raw_samples, format.sample_rate);
        self.raw_samples += u64::from(audio.samples);
        self.native
            .frame(&port, Frame::new(media_time, Payload::Audio(audio)))
    }
}

impl Codec for NativeCodec {
    fn wishes(&self) -> &dyn Wishes {
        &self.native
    }

    fn decode(&mut self, message: Message, now: Timestamp, _: &mut Outgoing) -> Result<(), Error> {
        let event = match message {
            Message::Binary(bytes) if self.subprotocol == Subprotocol::Json => self.raw(bytes)?,
            message => {
                let message = self.subprotocol.decode(message, now, &self.formats)?;
                self.native.decode(message)?
            }
        };
        self.event = Some(event);
        Ok(())
    }

    fn event(&mut self) -> Option<LinkEvent> {
        self.event.take()
    }

    fn encode(&mut self, message: LinkMessage, now: Timestamp, out: &mut Outgoing) {
        let is_frame = matches!(message, LinkMessage::Frame { .. });
        let message = match message {
            LinkMessage::Frame { output, frame }
                if self.subprotocol == Subprotocol::Json && self.native.is_raw_output(output) =>
            {
                match frame.payload {
                    Payload::Audio(audio) => Some(Message::Binary(audio.data)),
                    // `open` with another kind of output there is refused.
                    _ => None,
                }
            }
            message => {
                let message = self.native.encode(message);
                message.map(|message| self.subprotocol.encode(message, now))
            }
        };
        match message {
            Some(message) if is_frame => out.frame(message),
            Some(message) => out.word(message),
            None => {}
        }
    }
}
