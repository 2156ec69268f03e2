//! Servers of the Wyoming protocol: speech to text, text to speech.
//!
//! An utterance's sound is one request on a connection of its own, which gets the sound as it comes (`asr`); what is to be spoken is a request
//! for each sentence (`tts`).

use serde_json::{Map, Value};
use tidegate_media::AudioFormat;
use tidegate_nodes::compile::remote::Protocol;
use tidegate_proto::PortName;
use tidegate_proto::wyoming::{Event, Reader, WyomingError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use crate::dial::Stream;
use crate::dialogue::{Dialogue, Server, failed, silent};
use crate::error::RemoteError;
use crate::foreign::{Linked, Opening};

mod asr;
mod tts;

/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// Makes ready to call.
pub(crate) fn open(opening: Opening<'_>) -> Result<Linked, RemoteError> {
    let gather = opening.gather()?.growing();
    let asked = Asked {
        server: opening.server()?,
        model: opening.model(),
        parameters: opening.config.parameters.clone(),
        output: gather.output_port()?,
    };
    if opening.foreign.protocol == Protocol::WyomingTts {
        let caller = Dialogue::new(tts::Tts::new(asked));
        return Ok(opening.link(caller, gather, true));
    }
    // Sound that nobody has cut into utterances is one.
    let gather = gather.with_loose_frames_together();
    let words_max = opening.message_bytes();
    let caller = Dialogue::new(asr::Asr::new(asked, words_max));
    Ok(opening.link(caller, gather, false))
}

/// What all requests of a hop have in common.
#[derive(Clone)]
struct Asked {
    server: Server,
    /// The model or the voice; the server's own choice where none is named.
    model: Option<String>,
    parameters: Map<String, Value>,
    output: PortName,
}

/// What a server is told.
struct Words(WriteHalf<Stream>);

impl Words {
    async fn say(&mut self, event: Event) -> Result<(), RemoteError> {
        self.0.write_all(&event.encode()).await.map_err(broken)?;
        self.0.flush().await.map_err(broken)
    }
}

/// Both directions of a connection.
fn parts(stream: Stream) -> (Replies, Words) {
    let (stream, write) = tokio::io::split(stream);
    let reader = Reader::default();
    (Replies { stream, reader }, Words(write))
}

/// What a server replies.
struct Replies {
    stream: ReadHalf<Stream>,
    reader: Reader,
}

impl Replies {
    /// The next event; an `error` is one.
    async fn next(&mut self) -> Result<Event, RemoteError> {
        loop {
            if let Some(event) = self.reader.next_event().map_err(wrong)? {
                if event.kind == "error" {
                    return Err(failed(event.text("text")));
                }
                return Ok(event);
            }
            let mut bytes = [0; READ];
            match self.stream.read(&mut bytes).await.map_err(broken)? {
                0 => return Err(silent()),
                count => self.reader.push(&bytes[..count]),
            }
        }
    }
}

fn named(kind: &str, format: AudioFormat) -> Event {
    Event::new(kind)
        .with("rate", format.sample_rate)
        .with("width", 2)
        .with("channels", format.channels)
}

/// Whether a server answers: what it is asked is what it can do. Cancel safe.
pub(crate) async fn is_there(stream: Stream) -> Result<(), RemoteError> {
    let (mut replies, mut words) = parts(stream);
    words.say(Event::new("describe")).await?;
    while replies.next().await?.kind != "info" {}
    Ok(())
}

fn broken(error: std::io::Error) -> RemoteError {
    RemoteError::Network(format!("connection to the server broke: {error}"))
}

fn wrong(error: WyomingError) -> RemoteError {
    match error {
        WyomingError::TooLong { .. } => RemoteError::TooLarge(error.to_string()),
        _ => RemoteError::Protocol(error.to_string()),
    }
}
