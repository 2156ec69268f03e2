//! Checks of real servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic_health::server::health_reporter;

use super::*;
use crate::auth::Auth;
use crate::connector::ConnectorConfig;

/// A millisecond passes each time it is read.
fn clock() -> impl Fn() -> Timestamp + Sync {
    let millis = AtomicU64::new(0);
    move || Timestamp::from_nanos(millis.fetch_add(1, Ordering::Relaxed) * 1_000_000)
}

async fn checked(member: &Member, checks: &Checks) -> Result<Duration, Code> {
    let connector = Connector::new(ConnectorConfig::default());
    check(&connector, member, checks, &clock()).await
}

fn by(transport: Transport, path: Option<&str>) -> Checks {
    Checks {
        protocol: Protocol::Tidegate,
        transport,
        path: path.map(ToOwned::to_owned),
        usual: None,
        model: None,
        auth: Auth::bearer("sesame"),
    }
}

/// Owns the server's task and ends it.
struct Server {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the test owns the task")]
    async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl FnOnce(TcpListener) -> F,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self {
            address: listener.local_addr().expect("bound"),
            task: tokio::spawn(serve(listener)),
        }
    }

    async fn http(router: Router) -> Self {
        Self::start(|listener| async {
            axum::serve(listener, router).await.expect("served");
        })
        .await
    }

    async fn grpc(routes: Routes) -> Self {
        Self::start(|listener| async {
            let server = tonic::transport::Server::builder().add_routes(routes);
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming(incoming).await.expect("served");
        })
        .await
    }

    fn member(&self) -> Member {
        Member::named(format!("http://{}", self.address))
    }
}

#[tokio::test]
async fn an_http_endpoint_is_well_if_its_page_says_so() {
    let router = Router::new()
        .route("/readyz", get(|| async { "ready" }))
        .route("/busy", get(|| async { StatusCode::SERVICE_UNAVAILABLE }));
    let server = Server::http(router).await;
    let check = async |path| checked(&server.member(), &by(Transport::Websocket, path)).await;
    assert_eq!(check(None).await, Ok(Duration::from_millis(1)));
    assert_eq!(check(Some("/readyz")).await, Ok(Duration::from_millis(1)));
    assert_eq!(check(Some("/busy")).await, Err(Code::Overloaded));
    assert_eq!(check(Some("/missing")).await, Err(Code::Overloaded));
}

#[tokio::test]
async fn a_server_without_the_usual_page_is_there_all_the_same() {
    let server = Server::http(Router::new()).await;
    assert!(
        checked(&server.member(), &by(Transport::Websocket, None))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_check_shows_the_hops_credentials_and_the_name_whatever_the_address() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let page = move |headers: HeaderMap| async move {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(ToOwned::to_owned)
        };
        keep.lock()
            .expect("not poisoned")
            .push((text("host"), text("authorization")));
    };
    let server = Server::http(Router::new().route("/readyz", get(page))).await;
    let member = Member {
        endpoint: "http://tts.invalid:7001".into(),
        address: Some(server.address),
    };
    assert!(
        checked(&member, &by(Transport::Websocket, None))
            .await
            .is_ok()
    );
    let seen = seen.lock().expect("not poisoned").remove(0);
    assert_eq!(
        seen,
        (
            Some("tts.invalid:7001".into()),
            Some("Bearer sesame".into())
        )
    );
}

#[tokio::test]
async fn a_grpc_endpoint_is_asked_by_the_health_protocol() {
    let (mut reporter, service) = health_reporter();
    let server = Server::grpc(Routes::new(service)).await;
    let check = async || checked(&server.member(), &by(Transport::Grpc, None)).await;
    reporter
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    assert_eq!(check().await, Ok(Duration::from_millis(1)));
    reporter
        .set_service_status("", tonic_health::ServingStatus::NotServing)
        .await;
    assert_eq!(check().await, Err(Code::Draining));
    reporter.clear_service_status("").await;
    assert!(
        check().await.is_ok(),
        "it knows no such service, but it answers"
    );
}

#[tokio::test]
async fn a_grpc_server_without_the_health_protocol_is_there_and_is_found_by_address() {
    let server = Server::grpc(Routes::default()).await;
    let member = Member {
        endpoint: "http://tts.invalid:7001".into(),
        address: Some(server.address),
    };
    assert!(checked(&member, &by(Transport::Grpc, None)).await.is_ok());
}

#[tokio::test]
async fn what_nothing_listens_at_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let member = Member::named(format!("http://{}", listener.local_addr().expect("bound")));
    drop(listener);
    for transport in [Transport::Grpc, Transport::Websocket] {
        assert_eq!(
            checked(&member, &by(transport, None)).await,
            Err(Code::Network)
        );
    }
}

#[tokio::test]
async fn what_is_no_address_fails_without_being_asked() {
    let member = Member::named("http://a b");
    for transport in [Transport::Grpc, Transport::Websocket] {
        assert_eq!(
            checked(&member, &by(transport, None)).await,
            Err(Code::ManifestInvalid)
        );
    }
}

#[tokio::test]
async fn a_webrtc_endpoint_that_answers_no_pings_is_asked_for_its_page() {
    let ready = || Router::new().route("/readyz", get(|| async { "ready" }));
    let checks = by(Transport::Webrtc, None);
    let server = Server::http(ready()).await;
    assert!(checked(&server.member(), &checks).await.is_ok());
    // Who answers pings by saying that no session would be taken is believed.
    let full = axum::routing::post(|| async { StatusCode::SERVICE_UNAVAILABLE });
    let server = Server::http(ready().route("/v1/whip/ping", full)).await;
    assert!(checked(&server.member(), &checks).await.is_err());
    // Who configures a page means the page.
    let page = by(Transport::Webrtc, Some("/readyz"));
    assert!(checked(&server.member(), &page).await.is_ok());
    let nonsense = axum::routing::post(|| async { (StatusCode::CREATED, "no description") });
    let server = Server::http(ready().route("/v1/whip/ping", nonsense)).await;
    assert_eq!(
        checked(&server.member(), &checks).await,
        Err(Code::InvalidRemoteData)
    );
}
