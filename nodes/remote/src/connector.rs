//! Connections to workers, shared by all sessions of the process.
//!
//! An endpoint has as many HTTP/2 connections as its live streams need: servers commonly admit 100 or 200 streams a connection and
//! let the next one wait without a word. A connection is made when a stream first needs it and made again when it broke.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::auth::{Files, TlsIdentity};
use crate::error::{RemoteError, chain};
use crate::http::{Client, Clients};
use crate::pool::Member;
use crate::tls::TlsClients;
use crate::webrtc::Known;

/// How this program calls itself.
pub(crate) const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// Streams that share one connection. Below the 100 that RFC 9113 §6.5.2 asks servers to admit at least.
const STREAMS_PER_CONNECTION: usize = 96;
/// Endpoints whose connections are kept. Only operators name endpoints, and allow-listed strangers.
const ENDPOINTS_MAX: usize = 1_024;

/// Settings of all connections.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// Longest time for TCP and TLS to stand.
    pub connect: Duration,
    /// Largest message taken from a worker, in bytes.
    pub message_bytes: usize,
    /// How often a connection with live streams is probed.
    pub keepalive_interval: Duration,
    /// How long a probe may stay unanswered before the connection counts as broken.
    pub keepalive_timeout: Duration,
    /// Bytes that a worker may send ahead on one stream (RFC 9113 §6.9); bounds what one hop holds unread.
    pub stream_window: u32,
    /// Likewise for one connection.
    pub connection_window: u32,
    /// Certificates, as PEM, that are trusted instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl Default for ConnectorConfig {
    fn default() -> Self {
        Self {
            connect: crate::config::Timeouts::CONNECT,
            message_bytes: 16 << 20,
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            stream_window: 4 << 20,
            connection_window: 16 << 20,
            ca_pem: None,
        }
    }
}

/// Hands out connections. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Arc<ConnectorConfig>,
    files: Files,
    tls: Arc<TlsClients>,
    http: Arc<Clients>,
    webrtc: Arc<Known>,
    endpoints: Arc<Mutex<HashMap<Peer, Connections>>>,
}

/// Whom a connection joins: two hops share one only if they trust and show the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) member: Member,
    pub(crate) tls: Arc<TlsIdentity>,
}

#[derive(Debug, Default)]
struct Connections {
    open: Vec<(Channel, Arc<()>)>,
    used: u64,
}

/// A connection, counted as in use while this lives.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) channel: Channel,
    _live: Arc<()>,
}

impl Connector {
    /// A connector without connections.
    #[must_use]
    pub fn new(config: ConnectorConfig) -> Self {
        Self {
            config: Arc::new(config),
            files: Files::default(),
            tls: Arc::default(),
            http: Arc::default(),
            webrtc: Arc::default(),
            endpoints: Arc::default(),
        }
    }

    pub(crate) fn config(&self) -> &ConnectorConfig {
        &self.config
    }

    /// Files that hold credentials.
    pub(crate) const fn files(&self) -> &Files {
        &self.files
    }

    /// TLS as this identity, for the transports that connect by [`crate::dial`].
    pub(crate) fn tls(
        &self,
        identity: &Arc<TlsIdentity>,
    ) -> Result<Arc<rustls::ClientConfig>, RemoteError> {
        self.tls.get(identity, self.config.ca_pem.as_deref())
    }

    /// Calls by HTTP: the client that holds the connections to this place. Does no I/O.
    pub(crate) fn http(
        &self,
        member: &Member,
        tls: &Arc<TlsIdentity>,
        connect: Duration,
    ) -> Result<Client, RemoteError> {
        self.http.get(self, member, tls, connect)
    }

    /// How hops by WebRTC are known.
    pub(crate) fn webrtc(&self) -> &Known {
        &self.webrtc
    }

    /// A connection for one more stream. Does no I/O: the connection is made by the first call on it.
    pub(crate) fn lease(
        &self,
        member: impl Into<Member>,
        tls: &Arc<TlsIdentity>,
    ) -> Result<Lease, RemoteError> {
        let peer = Peer {
            member: member.into(),
            tls: Arc::clone(tls),
        };
        let mut endpoints = self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let clock = endpoints.values().map(|c| c.used).max().unwrap_or(0) + 1;
        if !endpoints.contains_key(&peer) && endpoints.len() >= ENDPOINTS_MAX {
            evict(&mut endpoints);
        }
        let known = endpoints.entry(peer.clone()).or_default();
        known.used = clock;
        // The cache itself holds one count.
        let live = |entry: &(Channel, Arc<()>)| Arc::strong_count(&entry.1) - 1;
        let has_room = |entry: &&(Channel, Arc<()>)| live(entry) < STREAMS_PER_CONNECTION;
        // The fullest, so that the others of a peak become idle and go.
        let fullest = known.open.iter().filter(has_room);
        if let Some((channel, _live)) = fullest.max_by_key(|entry| live(entry)).cloned() {
            known.open.retain(|entry| live(entry) > 0);
            return Ok(Lease { channel, _live });
        }
        let channel = self.endpoint(&peer.member, tls)?.connect_lazy();
        let _live = Arc::new(());
        known.open.push((channel.clone(), Arc::clone(&_live)));
        Ok(Lease { channel, _live })
    }

    fn endpoint(&self, member: &Member, identity: &TlsIdentity) -> Result<Endpoint, RemoteError> {
        let bad = |error: tonic::transport::Error| {
            RemoteError::Config(format!("endpoint cannot be used: {}", chain(&error)))
        };
        let config = &*self.config;
        let configured = Endpoint::from_shared(member.endpoint.to_string()).map_err(bad)?;
        let name = configured.uri().clone();
        let endpoint = match member.address {
            None => configured,
            Some(address) => {
                let scheme = name.scheme_str().unwrap_or("http");
                Endpoint::from_shared(format!("{scheme}://{address}"))
                    .map_err(bad)?
                    // What the worker is called, whichever address it has.
                    .origin(name.clone())
            }
        };
        let endpoint = endpoint
            .connect_timeout(config.connect)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout)
            .initial_stream_window_size(config.stream_window)
            .initial_connection_window_size(config.connection_window)
            // 16 KiB frames cost a 1 MiB tensor 64 headers and as many wake-ups.
            .max_frame_size(1 << 20)
            .user_agent(USER_AGENT)
            .map_err(bad)?;
        if name.scheme_str() != Some("https") {
            return Ok(endpoint);
        }
        let host = name.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls = ClientTlsConfig::new().domain_name(host);
        let ours = identity.ca.as_deref().map(str::as_bytes);
        let mut tls = match ours.or(config.ca_pem.as_deref()) {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&identity.cert, &identity.key) {
            tls = tls.identity(Identity::from_pem(&**cert, &**key));
        }
        endpoint.tls_config(tls).map_err(bad)
    }
}

/// Forgets the endpoint that was used longest ago; hops that still use it keep their connection.
fn evict(endpoints: &mut HashMap<Peer, Connections>) {
    let oldest = endpoints.iter().min_by_key(|(_, known)| known.used);
    if let Some(peer) = oldest.map(|(peer, _)| peer.clone()) {
        endpoints.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer {
            member: Member::named(format!("http://127.0.0.1:{port}")),
            tls: Arc::default(),
        }
    }

    /// A place on a connection to one endpoint.
    fn lease(connector: &Connector) -> Lease {
        let lease = connector.lease("http://127.0.0.1:1", &Arc::default());
        lease.expect("an address")
    }

    /// Connections to it.
    fn open(connector: &Connector) -> usize {
        connector.endpoints.lock().expect("not poisoned")[&peer(1)]
            .open
            .len()
    }

    #[tokio::test]
    async fn hops_that_show_another_certificate_share_no_connection() {
        let connector = Connector::new(ConnectorConfig::default());
        let other = TlsIdentity {
            ca: Some("other".into()),
            ..TlsIdentity::default()
        };
        for tls in [Arc::default(), Arc::new(other)] {
            let lease = connector.lease("http://127.0.0.1:1", &tls);
            lease.expect("an address");
        }
        let endpoints = connector.endpoints.lock().expect("not poisoned");
        assert_eq!(endpoints.len(), 2);
    }

    #[tokio::test]
    async fn streams_share_connections_up_to_what_servers_admit() {
        let connector = Connector::new(ConnectorConfig::default());
        let (lease, count) = (|| lease(&connector), || open(&connector));
        let mut leases: Vec<_> = (0..STREAMS_PER_CONNECTION).map(|_| lease()).collect();
        assert_eq!(count(), 1);
        leases.push(lease());
        assert_eq!(count(), 2);
        leases.clear();
        leases.extend((0..STREAMS_PER_CONNECTION).map(|_| lease()));
        assert_eq!(count(), 1);
    }

    #[tokio::test]
    async fn connections_of_a_peak_go_when_it_is_over() {
        let connector = Connector::new(ConnectorConfig::default());
        let (lease, count) = (|| lease(&connector), || open(&connector));
        let peak = 4 * STREAMS_PER_CONNECTION;
        let mut leases: Vec<_> = (0..peak).map(|_| lease()).collect();
        assert_eq!(count(), 4);
        // Some of each stay; as many come as go.
        let mut left: Vec<_> = leases.drain(..).step_by(16).collect();
        for _ in 0..left.len() {
            left.push(lease());
            left.remove(0);
        }
        assert_eq!(count(), 1);
    }

    #[tokio::test]
    async fn the_endpoint_used_longest_ago_is_forgotten_first() {
        let connector = Connector::new(ConnectorConfig::default());
        for port in 0..=ENDPOINTS_MAX {
            connector
                .lease(&format!("http://127.0.0.1:{port}"), &Arc::default())
                .expect("an address");
        }
        let endpoints = connector.endpoints.lock().expect("not poisoned");
        assert_eq!(endpoints.len(), ENDPOINTS_MAX);
        assert!(!endpoints.contains_key(&peer(0)));
    }

    #[tokio::test]
    async fn what_is_no_address_is_refused_before_anything_is_tried() {
        let connector = Connector::new(ConnectorConfig::default());
        let error = connector
            .lease("http://a b", &Arc::default())
            .expect_err("no address")
            .to_string();
        assert!(error.starts_with("endpoint cannot be used: "), "{error}");
    }
}
