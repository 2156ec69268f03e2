//! Servers of the Wyoming protocol: speech to text, text to speech. Each utterance is one request on a connection of its own.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_media::{Audio, AudioFormat, Codec, Frame, MediaTime, Payload};
use tidegate_nodes::compile::remote::Protocol;
use tidegate_proto::PortName;
use tidegate_proto::message::{Execute, Opened, StreamSpec};
use tidegate_proto::wyoming::{Event, Reader, WyomingError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf};

use crate::calls::{Answer, CallLink, Gather, opened};
use crate::config::{Foreign, HopPorts, OpenContext, RemoteConfig, Target};
use crate::connector::Connector;
use crate::dial::{Place, Stream};
use crate::dialogue::{
    Answers, Call, Dialogue, Server, Talk, Transcript, failed, frames, media_time, silent,
};
use crate::error::RemoteError;
use crate::link::Link;
use crate::opening;
use crate::pool::Member;

/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// Makes ready to call. Nothing is sent before there is something to call with.
pub(crate) fn open(
    connector: &Connector,
    member: &Member,
    (config, foreign): (&RemoteConfig, &Foreign),
    ports: &HopPorts,
    context: OpenContext,
) -> Result<(Box<dyn Link>, Opened), RemoteError> {
    let credential = config.auth.read(connector.files(), context.now)?;
    let speaks = foreign.protocol == Protocol::WyomingTts;
    let gather = Gather::new(ports, config.mode, connector.config().message_bytes)?;
    // Sound that nobody has cut into utterances is one.
    let gather = if speaks {
        gather
    } else {
        gather.with_loose_frames_together()
    };
    let output = gather.output_name().ok_or_else(|| {
        RemoteError::Config("nothing is joined to the output of the hop".to_owned())
    })?;
    let place = Place::of(member)?;
    let tls = place
        .encrypted
        .then(|| connector.tls(credential.tls()))
        .transpose()?;
    let talk = Wyoming {
        server: Server {
            place,
            tls,
            connect: config.timeouts.connect,
        },
        model: match &config.target {
            Target::Pipeline(model) => Some(model.clone()),
            _ => None,
        },
        parameters: config.parameters.clone(),
        output,
        speaks,
        at: Arc::default(),
    };
    let terms = opening::terms(config, context);
    let opened = opened(&gather, &terms.source);
    let link = CallLink::new(Dialogue::new(talk), terms, gather, credential);
    Ok((Box::new(link), opened))
}

struct Wyoming {
    server: Server,
    /// The model or the voice; the server's own choice where none is named.
    model: Option<String>,
    parameters: Map<String, Value>,
    output: PortName,
    speaks: bool,
    /// Where the next sound belongs: sound follows sound.
    at: Arc<Mutex<MediaTime>>,
}

impl Talk for Wyoming {
    fn call(&mut self, execute: Execute, answers: Answers) -> Result<Call, RemoteError> {
        let server = self.server.clone();
        if self.speaks {
            let request = vec![self.synthesize(&execute)?];
            let sound = Sound {
                answers,
                port: self.output.clone(),
                format: wanted(&execute),
                at: Arc::clone(&self.at),
                held: None,
            };
            sound.not_before(media_time(&execute));
            return Ok(Box::pin(async move {
                converse(&server, request, |replies| speech(replies, sound)).await
            }));
        }
        let request = self.transcribe(&execute)?;
        let transcript = Transcript::new(answers, self.output.clone(), media_time(&execute));
        Ok(Box::pin(async move {
            converse(&server, request, |replies| text(replies, transcript)).await
        }))
    }
}

impl Wyoming {
    fn transcribe(&self, execute: &Execute) -> Result<Vec<Event>, RemoteError> {
        let mut transcribe = Event::new("transcribe");
        transcribe.data = self.parameters.clone();
        if let Some(model) = &self.model {
            transcribe = transcribe.with("name", model.as_str());
        }
        let mut events = vec![transcribe];
        for frame in frames(execute) {
            let Payload::Audio(audio) = &frame.payload else {
                return Err(RemoteError::Internal("a frame of an audio input is none"));
            };
            if audio.format.codec != Codec::PcmS16 {
                let text = "Wyoming carries 16-bit samples: declare the input as pcm_s16/16000/1";
                return Err(RemoteError::Config(text.to_owned()));
            }
            if events.len() == 1 {
                events.push(named("audio-start", audio.format));
            }
            let mut chunk = named("audio-chunk", audio.format);
            chunk.payload = audio.data.clone();
            events.push(chunk);
        }
        events.push(Event::new("audio-stop"));
        Ok(events)
    }

    fn synthesize(&self, execute: &Execute) -> Result<Event, RemoteError> {
        let mut text = String::new();
        for frame in frames(execute) {
            let Payload::Text(piece) = &frame.payload else {
                return Err(RemoteError::Internal("a frame of a text input is no text"));
            };
            // A partial result counts for nothing, since a later one replaces it.
            match (frame.meta.revision, frame.meta.is_final) {
                (0, _) => text.push_str(piece.as_str()),
                (_, true) => piece.as_str().clone_into(&mut text),
                (_, false) => {}
            }
        }
        let mut voice = self.parameters.clone();
        if let Some(model) = &self.model {
            voice.insert("name".to_owned(), model.as_str().into());
        }
        let event = Event::new("synthesize").with("text", text);
        Ok(if voice.is_empty() {
            event
        } else {
            event.with("voice", voice)
        })
    }
}

/// Sends a request while its replies are read; what is unsent when they are over is of no use any more.
async fn converse<F: Future<Output = Result<(), RemoteError>>>(
    server: &Server,
    request: Vec<Event>,
    hear: impl FnOnce(Replies) -> F,
) -> Result<(), RemoteError> {
    let (read, mut write) = tokio::io::split(server.dial().await?);
    let sending = async {
        for event in request {
            write.write_all(&event.encode()).await.map_err(broken)?;
        }
        write.flush().await.map_err(broken)
    };
    let hearing = hear(Replies {
        stream: read,
        reader: Reader::default(),
    });
    tokio::pin!(hearing);
    tokio::select! {
        biased;
        heard = &mut hearing => return heard,
        // What the server said before it closed comes first: it says why.
        sent = sending => if let Err(error) = sent {
            return hearing.await.and(Err(error));
        },
    }
    hearing.await
}

/// What a server replies.
pub(crate) struct Replies {
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

async fn text(mut replies: Replies, mut transcript: Transcript) -> Result<(), RemoteError> {
    let mut so_far = String::new();
    loop {
        let event = replies.next().await?;
        match event.kind.as_str() {
            "transcript-chunk" => {
                so_far.push_str(event.text("text"));
                transcript.partial(so_far.trim()).await;
            }
            "transcript" => {
                transcript.whole(event.text("text").trim()).await;
                return Ok(());
            }
            _ => {}
        }
    }
}

async fn speech(mut replies: Replies, mut sound: Sound) -> Result<(), RemoteError> {
    loop {
        let event = replies.next().await?;
        match event.kind.as_str() {
            "audio-start" => sound.check(&event)?,
            "audio-chunk" => {
                sound.check(&event)?;
                sound.hear(event.payload).await;
            }
            "audio-stop" => {
                let last = sound.held.take().unwrap_or_default();
                sound.give(last, true).await;
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Sound on its way out: the newest piece is held back until it is known whether it is the last.
struct Sound {
    answers: Answers,
    port: PortName,
    format: AudioFormat,
    at: Arc<Mutex<MediaTime>>,
    held: Option<Bytes>,
}

impl Sound {
    fn not_before(&self, time: MediaTime) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        *at = (*at).max(time);
    }

    fn check(&self, event: &Event) -> Result<(), RemoteError> {
        let said = ["rate", "width", "channels"].map(|name| event.number(name).unwrap_or(0));
        let due = [
            u64::from(self.format.sample_rate),
            2,
            u64::from(self.format.channels),
        ];
        if said == due {
            return Ok(());
        }
        let [rate, width, channels] = said;
        let text = format!(
            "server speaks at {rate} Hz with {width} bytes a sample and {channels} channels where the hop's output is {}: declare it as the server speaks, such as 'format: pcm_s16/{rate}/{channels}'",
            self.format
        );
        Err(RemoteError::Incompatible(text))
    }

    async fn hear(&mut self, piece: Bytes) {
        if let Some(before) = self.held.replace(piece) {
            self.give(before, false).await;
        }
    }

    async fn give(&self, data: Bytes, is_final: bool) {
        let audio = Audio::encoded(self.format, data);
        let at = {
            let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
            let this = *at;
            *at += audio.duration();
            this
        };
        let mut frame = Frame::new(at, Payload::Audio(audio));
        frame.meta.is_final = is_final;
        let answer = Answer::Output {
            port: self.port.clone(),
            caused_port: None,
            frame,
        };
        self.answers.give(answer).await;
    }
}

/// What the hop's output carries.
fn wanted(execute: &Execute) -> AudioFormat {
    match execute.outputs.first() {
        Some((_, StreamSpec::Audio(format))) => *format,
        _ => AudioFormat::pcm_s16(22_050, 1),
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
    let (read, mut write) = tokio::io::split(stream);
    let describe = Event::new("describe").encode();
    write.write_all(&describe).await.map_err(broken)?;
    write.flush().await.map_err(broken)?;
    let mut replies = Replies {
        stream: read,
        reader: Reader::default(),
    };
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
