//! Pools over real sockets: checks of servers that die and return, and names whose addresses change.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_media::Timestamp;
use tidegate_remote::pool::{EndpointState, HealthConfig, Name, PoolConfig};
use tidegate_remote::resolve::Resolving;
use tidegate_remote::{
    Checks, Connector, ConnectorConfig, PoolKey, PoolSpec, Pools, Resolver, SharedPool,
    SystemResolver,
};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::server::HealthReporter;

const MS: Duration = Duration::from_millis(1);
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gRPC server with the health protocol, on a runtime of its own that dies with it.
struct Server {
    health: HealthReporter,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    async fn start(at: SocketAddr) -> (Self, SocketAddr) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (health, service) = tonic_health::server::health_reporter();
        let serving = tonic_health::ServingStatus::Serving;
        health.set_service_status("", serving).await;
        let (bound, listening) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind(at).await.expect("the port is free");
            bound
                .send(listener.local_addr().expect("bound"))
                .expect("awaited");
            let server = tonic::transport::Server::builder().add_service(service);
            server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
        });
        let address = listening.await.expect("bound");
        let runtime = Some(runtime);
        (Self { health, runtime }, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn pool(pools: &Pools, endpoints: &[String]) -> SharedPool {
    let mut config = PoolConfig::new(endpoints.iter().cloned());
    config.resolve = Duration::from_secs(1);
    config.health = Some(HealthConfig {
        interval: 40 * MS,
        timeout: 1_000 * MS,
        ..HealthConfig::default()
    });
    let key = PoolKey {
        pipeline: "echo".into(),
        hop: "worker".into(),
        tier: 0,
    };
    let checks = Checks::default();
    pools.get(
        Timestamp::ZERO,
        key,
        PoolSpec {
            pool: config,
            checks,
        },
    )
}

/// Keeps the pools until all members are as they should be; says how they were last if they never are.
async fn until(pools: &Pools, resolver: &dyn Resolver, be: impl Fn(&[EndpointState]) -> bool) {
    let connector = Connector::new(ConnectorConfig::default());
    let began = Instant::now();
    let clock = || Timestamp::ZERO + Duration::from_secs(1) + began.elapsed();
    let states = || pools.snapshot(clock()).remove(0).endpoints;
    let watch = async {
        let mut look = tokio::time::interval(5 * MS);
        while !be(&states()) {
            look.tick().await;
        }
    };
    tokio::select! {
        _ = pools.run(&connector, resolver, clock) => {}
        met = tokio::time::timeout(PATIENCE, watch) => assert!(met.is_ok(), "{:?}", states()),
    }
}

#[tokio::test]
async fn fr_016_a_server_that_dies_goes_down_and_comes_up_when_it_returns() {
    let (mut server, address) = Server::start(loopback()).await;
    let (other, second) = Server::start(loopback()).await;
    let pools = Pools::new(1);
    let _pool = pool(&pools, &[address, second].map(|at| format!("http://{at}")));
    let up = |expected: [bool; 2]| {
        move |states: &[EndpointState]| [states[0].up, states[1].up] == expected
    };
    let measured = |states: &[EndpointState]| states.iter().all(|s| s.round_trip.is_some());
    until(&pools, &SystemResolver, measured).await;
    drop(server);
    until(&pools, &SystemResolver, up([false, true])).await;
    (server, _) = Server::start(address).await;
    until(&pools, &SystemResolver, up([true, true])).await;
    let not = tonic_health::ServingStatus::NotServing;
    other.health.set_service_status("", not).await;
    until(&pools, &SystemResolver, up([true, false])).await;
    drop(server);
}

/// One name with the addresses of the moment.
struct Names(Arc<Mutex<Vec<SocketAddr>>>);

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a Name) -> Resolving<'a> {
        assert_eq!(name.host, "worker.invalid");
        let addresses = self.0.lock().expect("not poisoned").clone();
        Box::pin(async { Ok(addresses) })
    }
}

#[tokio::test]
async fn each_address_of_a_name_is_checked_and_the_members_follow_when_they_change() {
    let (_first, a) = Server::start(loopback()).await;
    let (_second, b) = Server::start(loopback()).await;
    let dead: SocketAddr = (Ipv4Addr::LOCALHOST, 1).into();
    let answer = Arc::new(Mutex::new(vec![a, dead]));
    let names = Names(Arc::clone(&answer));
    let pools = Pools::new(1);
    let _pool = pool(&pools, &["http://worker.invalid:7001".into()]);
    let are = |mut expected: Vec<(SocketAddr, bool)>| {
        expected.sort_unstable();
        move |states: &[EndpointState]| {
            let one = |state: &EndpointState| Some((state.address?, state.up));
            let mut found: Vec<_> = states.iter().filter_map(one).collect();
            found.sort_unstable();
            found == expected
                && states
                    .iter()
                    .all(|s| &*s.endpoint == "http://worker.invalid:7001")
        }
    };
    until(&pools, &names, are(vec![(a, true), (dead, false)])).await;
    *answer.lock().expect("not poisoned") = vec![a, b];
    until(&pools, &names, are(vec![(a, true), (b, true)])).await;
}
