//! A worker that fails as it is told to: a fault that no real worker produces on demand. It answers `Execute` with what it was
//! asked, after a time, or with `UNAVAILABLE`, and says at `/control` what it did.
//!
//! `faulty ADDRESS`; `GET /control?fail=0.1&millis=20` sets what it does from then on and gives its counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, Request as HttpRequest, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response as HttpResponse;
use axum::routing::get;
use tidegate_benches::hops::faulty::{Control, Counts};
use tidegate_benches::{Failure, clock, net};
use tidegate_proto::v1::gateway_server::{Gateway, GatewayServer};
use tidegate_proto::v1::{
    ClientMessage, DescribePipelineRequest, DescribePipelineResponse, ExecuteRequest,
    ExecuteResponse, ListPipelinesRequest, ListPipelinesResponse, ServerMessage,
};
use tokio_stream::Empty;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// The output that answers come on, as the manifests of the runs name it.
const OUTPUT: &str = "speaker";

#[derive(Debug)]
struct Inner {
    control: Control,
    counts: Counts,
    busy: u32,
    changed: Instant,
}

/// What it does and did.
#[derive(Clone, Debug)]
struct Worker(Arc<Mutex<Inner>>);

impl Worker {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Adds up for how long how many calls were open.
    fn settle(&mut self) {
        let now = clock::now();
        self.counts.busy_seconds += (now - self.changed).as_secs_f64() * f64::from(self.busy);
        self.changed = now;
    }
}

/// A call that is open; dropped with it, however it ends.
struct Busy(Worker);

impl Busy {
    fn begin(worker: &Worker) -> Self {
        let mut inner = worker.lock();
        inner.settle();
        inner.busy += 1;
        Self(worker.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.settle();
        inner.busy -= 1;
    }
}

#[tonic::async_trait]
impl Gateway for Worker {
    type StreamStream = Empty<Result<ServerMessage, Status>>;

    async fn stream(
        &self,
        _: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        Err(Status::unimplemented("this one takes calls only"))
    }

    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        let _busy = Busy::begin(self);
        let (fails, time) = {
            let mut inner = self.lock();
            let fails = rand::random::<f64>() < inner.control.fail;
            inner.counts.calls += 1;
            inner.counts.failed += u64::from(fails);
            (fails, Duration::from_millis(inner.control.millis))
        };
        if fails {
            return Err(Status::unavailable("it fails as it was told to"));
        }
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        let frames = request.into_inner().inputs.into_values();
        let outputs = frames.map(|frames| (OUTPUT.to_owned(), frames)).collect();
        Ok(Response::new(ExecuteResponse { outputs }))
    }

    async fn list_pipelines(
        &self,
        _: Request<ListPipelinesRequest>,
    ) -> Result<Response<ListPipelinesResponse>, Status> {
        Err(Status::unimplemented("this one takes calls only"))
    }

    async fn describe_pipeline(
        &self,
        _: Request<DescribePipelineRequest>,
    ) -> Result<Response<DescribePipelineResponse>, Status> {
        Err(Status::unimplemented("this one takes calls only"))
    }
}

/// Checks are answered "no such service", as by a worker that has none, and counted.
async fn count_checks(
    State(worker): State<Worker>,
    request: HttpRequest,
    next: Next,
) -> HttpResponse {
    if request.uri().path().starts_with("/grpc.health.v1.") {
        worker.lock().counts.checks += 1;
    }
    next.run(request).await
}

async fn control(State(worker): State<Worker>, Query(wish): Query<Control>) -> String {
    let mut inner = worker.lock();
    inner.settle();
    inner.control = wish;
    inner.counts.to_string()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let listener = net::listen().await?;
    let inner = Inner {
        control: Control::default(),
        counts: Counts::default(),
        busy: 0,
        changed: clock::now(),
    };
    let worker = Worker(Arc::new(Mutex::new(inner)));
    let app: Router = Routes::new(GatewayServer::new(worker.clone()))
        .into_axum_router()
        .merge(
            Router::new()
                .route("/control", get(control))
                .with_state(worker.clone()),
        )
        .layer(from_fn_with_state(worker, count_checks));
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
        socket.set_nodelay(true).ok();
    });
    Ok(axum::serve(listener, app).await?)
}
