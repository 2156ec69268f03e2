//! The gateway: what all listeners share.

use std::sync::Arc;

use tidegate_nodes::Registry;
use tidegate_signaling::turn::IceServer;
use tidegate_signaling::{Certificate, PeerConfig};

use crate::auth::Auth;
use crate::auth::limits::Accounts;
use crate::auth::twilio::Unsigned;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::ping::{self, Pings};
use crate::links::kserve::statistics::Statistics;
use crate::metrics::Metrics;
use crate::pipelines::Pipelines;
use crate::session::driver::SessionLimits;
use crate::session::table::Table;
use crate::tasks::Tasks;
use crate::trace::Tracer;
use crate::udp::MediaSocket;

/// What all listeners share. Cheap to share in an [`Arc`].
pub(crate) struct Gateway {
    /// Identity of this process, told to other gateways.
    pub(crate) id: String,
    pub(crate) config: Config,
    pub(crate) auth: Auth,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tracer: Tracer,
    pub(crate) pipelines: Pipelines,
    pub(crate) sessions: Arc<Table>,
    pub(crate) bodies: crate::http::body::Bodies,
    pub(crate) remotes: crate::remote::Remotes,
    pub(crate) inferences: Arc<Statistics>,
    pub(crate) webrtc: Option<WebrtcParts>,
}

/// What WebRTC needs.
pub(crate) struct WebrtcParts {
    pub(crate) media: Arc<MediaSocket>,
    pub(crate) peers: PeerConfig,
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) resources: crate::http::whip::Resources,
    pub(crate) pings: Pings,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StartError {
    #[error(transparent)]
    Pipelines(#[from] crate::pipelines::LoadError),
    #[error(transparent)]
    Auth(#[from] crate::auth::AuthError),
    #[error(transparent)]
    Tracing(#[from] crate::trace::TraceError),
    #[error(
        "media address {address} cannot be bound{}",
        crate::serve::taken(source, "--media")
    )]
    Media {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("WebRTC cannot be set up")]
    Webrtc(#[from] tidegate_signaling::SignalingError),
    #[error("setting 'recordings': {0} is no folder: make it, or leave the setting empty")]
    Recordings(std::path::PathBuf),
    #[error(
        "media address {0} is no address that clients can send to: name some in webrtc.advertise"
    )]
    Unadvertised(std::net::SocketAddr),
}

impl Gateway {
    /// A gateway with its media socket bound, if `webrtc` is wanted. Nothing is listened on yet.
    ///
    /// # Errors
    /// A pipeline has errors, the folder for recordings is not there, or the media address cannot be bound or advertised.
    pub(crate) fn new(config: Config, webrtc: bool) -> Result<Arc<Self>, StartError> {
        let recordings = &config.recordings;
        if !recordings.as_os_str().is_empty() && !recordings.is_dir() {
            return Err(StartError::Recordings(recordings.clone()));
        }
        let registry = registry(&config);
        let pipelines = Pipelines::load(&config.pipelines, registry)?;
        Self::with(config, pipelines, webrtc)
    }

    /// A gateway with these pipelines, whatever folder is configured.
    ///
    /// # Errors
    /// A secret's file cannot be read, or the media address cannot be bound or advertised.
    pub(crate) fn with(
        config: Config,
        pipelines: Pipelines,
        webrtc: bool,
    ) -> Result<Arc<Self>, StartError> {
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::new());
        let auth = Auth::new(&config.auth, clock, &metrics)?;
        if auth.twilio().is_some() {
            // There from the start, so that an alert can compare.
            for what in Unsigned::ALL {
                crate::http::twilio::count_unsigned(&metrics, what, 0);
            }
        }
        let webrtc = if webrtc {
            Some(WebrtcParts::new(&config, &metrics)?)
        } else {
            None
        };
        let tasks = Tasks::default();
        let remotes = crate::remote::Remotes::new(&config, clock, &tasks);
        let tracer = Tracer::new(&config.tracing, clock, &metrics, &tasks)?;
        Ok(Arc::new(Self {
            id: crate::session::table::new_id(),
            auth,
            accounts: Accounts::new(
                config.auth.limits.clone(),
                config.limits.sessions,
                Arc::clone(&metrics),
            ),
            clock,
            tasks,
            tracer,
            sessions: Table::new(config.limits.sessions, Arc::clone(&metrics)),
            bodies: crate::http::body::Bodies::new(config.limits.body.0),
            inferences: Arc::new(Statistics::new(Arc::clone(&metrics))),
            metrics,
            pipelines,
            remotes,
            webrtc,
            config,
        }))
    }

    /// The limits of each session.
    pub(crate) fn session_limits(&self) -> SessionLimits {
        let limits = &self.config.limits;
        SessionLimits {
            session: limits.session.limit(),
            idle: limits.idle.limit(),
            stalled: limits.stalled.0,
            vacant: limits.vacant.0,
            clients: limits.clients,
            message_bytes: limits.message.0 as u64,
        }
    }
}

/// The node types that manifests may name.
fn registry(config: &Config) -> Registry {
    if config.recordings.as_os_str().is_empty() {
        return Registry::builtin();
    }
    Registry::builtin_recording(config.recordings.clone())
}

impl WebrtcParts {
    fn new(config: &Config, metrics: &Metrics) -> Result<Self, StartError> {
        let address = config.media;
        let media = MediaSocket::bind(address, config.limits.sessions + ping::AT_ONCE, metrics)
            .map_err(|source| StartError::Media { address, source })?;
        let local = media
            .local_addr()
            .map_err(|source| StartError::Media { address, source })?;
        let mut candidates = config.webrtc.advertise.clone();
        if candidates.is_empty() {
            if local.ip().is_unspecified() {
                return Err(StartError::Unadvertised(local));
            }
            candidates.push(local);
        }
        for candidate in &mut candidates {
            // Port 0 means: the one that was bound.
            if candidate.port() == 0 {
                candidate.set_port(local.port());
            }
        }
        let ice_servers = config
            .webrtc
            .ice_servers
            .iter()
            .map(ice_server)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            media,
            peers: PeerConfig::new(Certificate::generate()?, candidates),
            ice_servers,
            resources: crate::http::whip::Resources::default(),
            pings: Pings::new(metrics),
        })
    }
}

fn ice_server(
    config: &crate::config::IceServerConfig,
) -> Result<IceServer, tidegate_signaling::SignalingError> {
    use tidegate_signaling::turn::IceServerAuth;
    let auth = if !config.shared_secret.is_empty() {
        let lifetime = config
            .lifetime
            .limit()
            .unwrap_or(std::time::Duration::from_secs(3600));
        let seconds = lifetime.as_secs();
        IceServerAuth::SharedSecret {
            secret: config.shared_secret.clone(),
            seconds,
        }
    } else if !config.username.is_empty() {
        IceServerAuth::Static {
            username: config.username.clone(),
            credential: config.credential.clone(),
        }
    } else {
        IceServerAuth::Open
    };
    IceServer::new(config.urls.clone(), auth)
}
