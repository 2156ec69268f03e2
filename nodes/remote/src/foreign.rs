//! Which foreign protocol is spoken: opening a hop at a server that knows nothing of Tidegate.
//!
//! Whatever opens gives a `Link` and what the server would have said on opening, as every transport does. [`Opening`] is what all of these
//! protocols begin and end with; nothing is sent before there is something to call with, so an endpoint that is not there shows at the
//! first call.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_nodes::compile::remote::{HopMode, Protocol};
use tidegate_proto::message::Opened;

use crate::auth::Credential;
use crate::calls::{CallLink, Caller, Gather, opened};
use crate::config::{Foreign, HopPorts, OpenContext, RemoteConfig, Target};
use crate::connector::Connector;
use crate::dial::Place;
use crate::dialogue::Server;
use crate::error::RemoteError;
use crate::kserve;
use crate::link::Link;
use crate::openai;
use crate::opening;
use crate::pool::Member;
use crate::{websocket, wyoming};

/// A link, and what the server would have said on opening.
pub(crate) type Linked = (Box<dyn Link>, Opened);

/// Makes ready to call one endpoint.
///
/// # Errors
/// The configuration cannot be used.
pub(crate) fn open(
    connector: &Connector,
    member: &Member,
    (config, foreign): (&RemoteConfig, &Foreign),
    ports: &HopPorts,
    context: OpenContext<'_>,
) -> Result<Linked, RemoteError> {
    let opening = Opening {
        connector,
        member,
        config,
        foreign,
        ports,
        context,
        credential: opening::credential(connector, config, context)?,
    };
    match foreign.protocol {
        Protocol::Tidegate => Err(RemoteError::Internal("Tidegate's protocol is not foreign")),
        Protocol::OpenaiTranscriptions | Protocol::OpenaiSpeech | Protocol::OpenaiChat => {
            openai::open(opening)
        }
        Protocol::Kserve => kserve::open(opening),
        Protocol::WyomingAsr | Protocol::WyomingTts => wyoming::open(opening),
        Protocol::WebsocketStt => websocket::stt::open(opening),
    }
}

/// A hop that is about to be opened.
pub(crate) struct Opening<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) member: &'a Member,
    pub(crate) config: &'a RemoteConfig,
    pub(crate) foreign: &'a Foreign,
    pub(crate) ports: &'a HopPorts,
    pub(crate) credential: Credential,
    context: OpenContext<'a>,
}

impl Opening<'_> {
    /// What becomes one call, to begin with.
    ///
    /// # Errors
    /// A port has a name that no port can have.
    pub(crate) fn gather(&self) -> Result<Gather, RemoteError> {
        // A request has what there is of each input, in either mode.
        Gather::new(self.ports, HopMode::Stream, self.message_bytes())
    }

    /// Bytes of a message, and of whatever else is gathered before it goes on.
    pub(crate) fn message_bytes(&self) -> usize {
        self.connector.config().message_bytes
    }

    /// The model or the voice that is asked for.
    pub(crate) fn model(&self) -> Option<String> {
        match &self.config.target {
            Target::Pipeline(model) => Some(model.clone()),
            _ => None,
        }
    }

    /// The options of the protocol, which the manifest's reader has checked.
    ///
    /// # Errors
    /// They are not those of the protocol.
    pub(crate) fn options<T: DeserializeOwned>(&self) -> Result<T, RemoteError> {
        let options = Value::Object(self.foreign.options.clone());
        serde_json::from_value(options)
            .map_err(|error| RemoteError::Config(format!("'options' cannot be used: {error}")))
    }

    /// Where calls go that have a connection each.
    ///
    /// # Errors
    /// The endpoint is no address, or its TLS cannot be used.
    pub(crate) fn server(&self) -> Result<Server, RemoteError> {
        let place = Place::of(self.member)?;
        let tls = || self.connector.tls(self.credential.tls());
        Ok(Server {
            tls: place.encrypted.then(tls).transpose()?,
            place,
            connect: self.config.timeouts.connect,
        })
    }

    /// The link of a caller. `deterministic`: the server says much the same again, so that what was heard of it is passed over.
    pub(crate) fn link(
        self,
        caller: impl Caller + 'static,
        gather: Gather,
        deterministic: bool,
    ) -> Linked {
        let terms = opening::terms(self.config, self.context);
        let opened = Opened {
            deterministic,
            ..opened(&gather, &terms.source)
        };
        let link = CallLink::new(caller, terms, gather, self.credential);
        (Box::new(link), opened)
    }
}
