//! The Wyoming server: a TCP listener of its own, off unless it is configured.
//!
//! A connection carries one request after another, and each is a session. Between them the connection is read here, within `limits.open`
//! at first; while one runs its link has the connection. The protocol has no credentials: who reaches the address may use the pipelines
//! that `wyoming.pipelines` names, so only loopback is listened on unless the operator says otherwise ([`crate::config`]).

mod info;

use std::sync::Arc;
use std::time::Duration;

use tidegate_nodes::compile::Description;
use tidegate_nodes::{Code, Error};
use tidegate_proto::message::Source;
use tidegate_proto::wyoming::Event;
use tokio::sync::watch;

use self::info::{PROGRAM, Part};
use crate::auth::Caller;
use crate::connections::{Accepted, Protocol, Stream};
use crate::gateway::Gateway;
use crate::links::wyoming::{
    Asr, Talk, Tts, Wire, WyomingLink, count_ignored, error, format_of, unreadable,
};
use crate::session::open::Request;

/// How long a connection may say nothing between two requests.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may take for the last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What answers on the listener's connections.
#[derive(Clone)]
pub(crate) struct Wyoming {
    gateway: Arc<Gateway>,
    caller: Caller,
}

impl Wyoming {
    /// For a gateway's pipelines, as far as `wyoming.pipelines` names them.
    pub(crate) fn new(gateway: &Arc<Gateway>) -> Self {
        Self {
            caller: Caller::of_listener("wyoming", &gateway.config.wyoming.pipelines),
            gateway: Arc::clone(gateway),
        }
    }
}

impl Protocol for Wyoming {
    async fn serve(self, stream: impl Stream, accepted: Accepted) {
        let Accepted { place, stop, .. } = accepted;
        let connection = Connection {
            gateway: self.gateway,
            caller: self.caller,
            model: String::new(),
            language: String::new(),
        };
        connection.run(Wire::new(Box::new(stream)), stop).await;
        // No request has the connection any more.
        drop(place);
    }
}

/// One client, between its requests.
struct Connection {
    gateway: Arc<Gateway>,
    caller: Caller,
    /// What `transcribe` named for the sound that follows.
    model: String,
    language: String,
}

impl Connection {
    async fn run(mut self, mut wire: Wire, mut stop: watch::Receiver<bool>) {
        let mut patience = self.gateway.config.limits.open.0;
        while !wire.is_broken() {
            let read = tokio::select! {
                read = tokio::time::timeout(patience, wire.next()) => read,
                // Between requests nothing is left to say; sessions have ended by then, or have had their time.
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let event = match read {
                Ok(Ok(Some(event))) => event,
                Ok(Err(wrong)) => {
                    let wrong = unreadable(&wrong);
                    let last = error(wrong.code, &wrong.message);
                    drop(tokio::time::timeout(LAST_WORDS, wire.say(&last)).await);
                    break;
                }
                Ok(Ok(None)) | Err(_) => break,
            };
            patience = IDLE;
            match self.handle(event, wire).await {
                Some(back) => wire = back,
                None => return,
            }
        }
        // The client may have gone before.
        drop(tokio::time::timeout(LAST_WORDS, wire.close()).await);
    }

    /// One event that is not of a running request. Gives the connection back, unless that has gone.
    async fn handle(&mut self, event: Event, mut wire: Wire) -> Option<Wire> {
        let begun = match event.kind.as_str() {
            "describe" => return say(wire, &self.info()).await,
            "ping" => {
                let pong = Event::new("pong").with("text", event.text("text"));
                return say(wire, &pong).await;
            }
            "transcribe" => {
                event.text("name").clone_into(&mut self.model);
                event.text("language").clone_into(&mut self.language);
                return Some(wire);
            }
            "audio-start" => self.transcribe(&event),
            "synthesize" => self.synthesize(&event, Some(event.text("text"))),
            "synthesize-start" => self.synthesize(&event, None),
            // There is one program in each part.
            "select-program" if event.text("name") == PROGRAM => return Some(wire),
            _ => {
                self.ignored(&event.kind);
                return Some(wire);
            }
        };
        let failed = match begun {
            Ok((request, talk)) => {
                let (link, back) = WyomingLink::new(wire, talk, &self.gateway.metrics);
                let opened = self.gateway.open(request(link)).await;
                // It comes back when the session has let go of its client, at once where there is none.
                wire = back.await.ok()?;
                match opened {
                    Ok(_) => return Some(wire),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        tracing::debug!(error = %failed, "Wyoming request refused");
        say(wire, &error(failed.code, &failed.message)).await
    }

    /// Sound that is to become text.
    fn transcribe(&mut self, event: &Event) -> Result<Begun, Error> {
        let model = std::mem::take(&mut self.model);
        let language = std::mem::take(&mut self.language);
        let pipeline = self.pipeline(Part::Asr, &model)?;
        let ports = Part::Asr.ports(&pipeline)?;
        let format = format_of(event)?;
        let talk = Asr::new(format, &ports.input, &ports.output, &language);
        Ok(self.begin(&pipeline, (&language, ""), Box::new(talk)))
    }

    /// A text that is to be said, or a stream of it.
    fn synthesize(&self, event: &Event, text: Option<&str>) -> Result<Begun, Error> {
        let format = event.text("text_format");
        if !matches!(format, "" | "text") {
            let text = "text_format names no plain text, and nothing else is spoken";
            return Err(Error::new(Code::UnsupportedMedia, text));
        }
        let voice = event.data.get("voice");
        let named = |name: &str| {
            let value = voice.and_then(|voice| voice.get(name));
            value.and_then(|value| value.as_str()).unwrap_or_default()
        };
        let pipeline = self.pipeline(Part::Tts, named("name"))?;
        let ports = Part::Tts.ports(&pipeline)?;
        let talk = Tts::new(&ports.input, &ports.output, text);
        let wanted = (named("language"), named("speaker"));
        Ok(self.begin(&pipeline, wanted, Box::new(talk)))
    }

    fn begin(
        &self,
        pipeline: &Description,
        (language, speaker): (&str, &str),
        talk: Box<dyn Talk>,
    ) -> Begun {
        let caller = self.caller.clone();
        let source = Source::Pipeline(pipeline.name.clone());
        let parameters = info::parameters(pipeline, language, speaker);
        let request = move |link| Request {
            caller,
            source,
            parameters,
            key: None,
            hop_count: 0,
            deadline: None,
            link: Box::new(link),
        };
        (Box::new(request), talk)
    }

    /// The pipeline with a name; where none is named the first that serves the part.
    fn pipeline(&self, part: Part, name: &str) -> Result<Description, Error> {
        if !name.is_empty() && name != PROGRAM {
            return Ok(self.gateway.named(&self.caller, name)?.describe());
        }
        let mut all = self.pipelines().into_iter();
        let fits = all.find(|pipeline| part.ports(pipeline).is_ok());
        fits.ok_or_else(|| {
            let text = "no pipeline here serves that: one with one audio input and one text output does, or the other way round";
            Error::new(Code::UnknownPipeline, text)
        })
    }

    fn pipelines(&self) -> Vec<Description> {
        let all = self.gateway.pipelines.all();
        let granted = all
            .values()
            .filter(|pipeline| self.caller.grants.covers(pipeline.name()));
        granted.map(|pipeline| pipeline.describe()).collect()
    }

    fn info(&self) -> Event {
        info::info(&self.pipelines())
    }

    fn ignored(&self, kind: &str) {
        tracing::debug!(kind, "Wyoming event without a request");
        count_ignored(&self.gateway.metrics, "unknown");
    }
}

/// A request that can be opened, and what it says.
type Begun = (
    Box<dyn FnOnce(WyomingLink) -> Request + Send>,
    Box<dyn Talk>,
);

async fn say(mut wire: Wire, event: &Event) -> Option<Wire> {
    // One that takes nothing of so little is gone.
    let said = tokio::time::timeout(LAST_WORDS, wire.say(event)).await;
    said.ok().map(|()| wire)
}
