//! A collector and the way to it: OTLP over gRPC, or over HTTP with the gateway's own client.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::config::{OtlpProtocol, Tracing};
use crate::remote::exchange::{self, Allowed, Exchange};

/// Largest answer: how many spans were not taken, and why.
const ANSWER: usize = 64 << 10;
/// How long one HTTP request may take. The library's own limit, which the standard's variable moves, is for all repetitions.
const REQUEST: Duration = Duration::from_secs(10);
/// Where a collector takes spans over HTTP, where its address names no other place.
const PATH: &str = "/v1/traces";

/// What would have spans compressed. The library was built without, and goes on without a word.
const COMPRESSION: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
];

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TraceError {
    #[error("setting 'tracing.endpoint': spans cannot be sent to {0}: {1}")]
    Endpoint(String, String),
    #[error("setting 'tracing.ca': {} {problem}", path.display())]
    Authorities { path: PathBuf, problem: String },
}

/// A collector that spans are sent to.
pub(super) struct Collector {
    exporter: SpanExporter,
    trouble: Trouble,
}

/// Why the last request over HTTP could not be made, which the library does not tell.
type Trouble = Arc<Mutex<Option<String>>>;

impl Collector {
    /// As configured. Nothing is sent yet.
    pub(super) fn new(config: &Tracing) -> Result<Self, TraceError> {
        for name in COMPRESSION {
            let asked = std::env::var(name).unwrap_or_default();
            if !["", "none"].contains(&&*asked) {
                tracing::warn!("{name}={asked} is ignored: spans are sent uncompressed");
            }
        }
        let trouble = Trouble::default();
        let endpoint = &config.endpoint;
        let uri: Uri = endpoint
            .parse()
            .map_err(|_| TraceError::Endpoint(endpoint.clone(), "it is no address".to_owned()))?;
        let ca = (!config.ca.as_os_str().is_empty()).then_some(config.ca.as_path());
        let built = match config.protocol {
            OtlpProtocol::Grpc => {
                let mut builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
                if uri.scheme_str() == Some("https") {
                    builder = builder.with_tls_config(tls(ca)?);
                }
                builder.build()
            }
            OtlpProtocol::Http => SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(place(endpoint, &uri))
                .with_http_client(Client::new(&uri, ca, Arc::clone(&trouble))?)
                .build(),
        };
        let mut exporter =
            built.map_err(|error| TraceError::Endpoint(endpoint.clone(), error.to_string()))?;
        let resource = Resource::builder().with_service_name(config.service.clone());
        exporter.set_resource(&resource.build());
        Ok(Self { exporter, trouble })
    }

    /// Sends spans, with the library's repetitions.
    pub(super) async fn export(&self, batch: Vec<SpanData>) -> Result<(), String> {
        let error = match self.exporter.export(batch).await {
            Ok(()) => return Ok(()),
            Err(error) => error.to_string(),
        };
        let trouble = lock(&self.trouble).take();
        Err(trouble.unwrap_or(error))
    }
}

/// The authorities of a file and no others, or those of the system.
fn tls(ca: Option<&Path>) -> Result<ClientTlsConfig, TraceError> {
    let Some(path) = ca else {
        return Ok(ClientTlsConfig::new().with_enabled_roots());
    };
    let text = exchange::authorities(path).map_err(|problem| unusable(path, problem))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(text)))
}

fn unusable(path: &Path, problem: String) -> TraceError {
    TraceError::Authorities {
        path: path.to_owned(),
        problem,
    }
}

/// Where exactly spans are taken.
fn place(endpoint: &str, uri: &Uri) -> String {
    match uri.path() {
        "" | "/" => format!("{}{PATH}", endpoint.trim_end_matches('/')),
        _ => endpoint.to_owned(),
    }
}

/// Sends requests for the library.
#[derive(Debug)]
struct Client {
    exchange: Exchange,
    trouble: Trouble,
}

impl Client {
    fn new(uri: &Uri, ca: Option<&Path>, trouble: Trouble) -> Result<Self, TraceError> {
        // The operator wrote this host, so that it may be at any address.
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut exchange = Exchange::new(Allowed::new(&[host.to_owned()]), "sent");
        if let Some(path) = ca {
            let trusting = exchange.trusting(path);
            exchange = trusting.map_err(|problem| unusable(path, problem))?;
        }
        Ok(Self { exchange, trouble })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let uri = request.uri().clone();
        let mut request = request.map(Full::new);
        *request.uri_mut() = exchange::path(&uri)
            .parse()
            .map_err(|_| "is no address".to_owned())?;
        let sent = self.exchange.send(&uri, request, ANSWER);
        let sent = tokio::time::timeout(REQUEST, sent).await;
        sent.unwrap_or_else(|_| Err("was not answered in time".to_owned()))
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.send(request).await;
        *lock(&self.trouble) = sent.as_ref().err().cloned();
        sent.map_err(Into::into)
    }
}

fn lock(trouble: &Trouble) -> std::sync::MutexGuard<'_, Option<String>> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_usual_one() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            (
                "https://one.example/otlp/v1/traces",
                "https://one.example/otlp/v1/traces",
            ),
        ] {
            let uri = endpoint.parse().expect("an address");
            assert_eq!(place(endpoint, &uri), expected);
        }
    }
}
