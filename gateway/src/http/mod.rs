//! HTTP: the routes, and what every request passes before it reaches one.
//!
//! Order matters: foreign hosts and origins are refused before credentials are looked at, credentials before anything is read.

pub(crate) mod api;
pub(crate) mod body;
pub(crate) mod execute;
pub(crate) mod formats;
pub(crate) mod guard;
mod keys;
mod kserve;
mod offers;
pub(crate) mod openai;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod ping;
mod rejections;
mod sound;
#[cfg(test)]
mod tests;
pub(crate) mod twilio;
mod upgrade;
pub(crate) mod whip;
pub(crate) mod ws;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::{HeaderMap, StatusCode, Uri, header};
use tidegate_nodes::{Code, Error};
use tidegate_signaling::Role;

use crate::auth::Caller;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::metrics::page::Format;

/// Largest body that is read by an extractor: an offer, with every candidate and codec that there is.
const SDP_BYTES: usize = 256 << 10;

/// Shared state of handlers.
pub(crate) type Shared = State<Arc<Gateway>>;

/// All routes, HTTP and gRPC.
pub(crate) fn router(gateway: &Arc<Gateway>) -> Router {
    let whip_resource = get(whip::resource_get)
        .patch(whip::resource_patch)
        .delete(whip::resource_delete)
        .options(whip::options);
    let api = Router::new()
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/v1/nodes", get(api::nodes))
        .route("/v1/pipelines", get(api::pipelines))
        .route("/v1/pipelines/{name}", get(api::pipeline))
        .route("/v1/sessions", get(api::sessions))
        .route(
            "/v1/sessions/{id}",
            get(api::session).delete(api::end_session),
        )
        .route("/v1/realtime/client_secrets", post(keys::client_secret))
        .route("/v1/keys", post(keys::key))
        .route("/v1/keys/{id}", delete(keys::revoke))
        .route("/v1/pipelines/{name}/execute", post(execute::execute))
        .route("/v1/execute", post(execute::execute_any))
        .route("/v1/pipelines/{name}/ws", get(ws::upgrade))
        .route("/v1/ws", get(ws::upgrade_any))
        .route("/v1/realtime", get(openai::realtime::upgrade))
        .route("/v1/realtime/calls", post(openai::calls::call))
        .route(
            "/v1/realtime/calls/{resource}/hangup",
            post(openai::calls::hang_up),
        )
        .route("/v1/whip", post(whip::whip_any))
        .route("/v1/whip/ping", post(ping::ping))
        .route(
            "/v1/pipelines/{name}/whip",
            post(|c, g, n, q, h, b| whip::named(Role::Whip, (c, g), n, q, h, b))
                .options(whip::options),
        )
        .route(
            "/v1/pipelines/{name}/whep",
            post(|c, g, n, q, h, b| whip::named(Role::Whep, (c, g), n, q, h, b))
                .options(whip::options),
        )
        .route(
            "/v1/pipelines/{name}/whip/{resource}",
            whip_resource.clone(),
        )
        .route("/v1/pipelines/{name}/whep/{resource}", whip_resource)
        .with_state(Arc::clone(gateway))
        .layer(DefaultBodyLimit::max(SDP_BYTES))
        .layer(middleware::map_response(rejections::as_problem))
        .merge(crate::grpc::router(gateway))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(gateway),
            guard::authenticate,
        ));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(gateway))
        .merge(api)
        .merge(openai(gateway))
        .merge(late(gateway))
        .merge(page::router())
        .merge(kserve::router(gateway))
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(
            Arc::clone(gateway),
            guard::refuse_foreign,
        ))
}

/// Twilio sends no credentials with a request but in its first message.
fn late(gateway: &Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/pipelines/{name}/twilio", get(twilio::upgrade))
        .with_state(Arc::clone(gateway))
        .layer(middleware::map_response(rejections::as_problem))
}

/// What clients of OpenAI's interfaces ask for; its errors have their form.
fn openai(gateway: &Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{name}", get(openai::model))
        .route("/v1/audio/transcriptions", post(openai::transcriptions))
        .route("/v1/audio/speech", post(openai::speech))
        .with_state(Arc::clone(gateway))
        .layer(middleware::map_response(rejections::as_problem))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(gateway),
            guard::authenticate,
        ))
        .layer(middleware::map_response(openai::as_openai))
}

async fn ready(State(gateway): Shared) -> Response {
    if gateway.sessions.ready() {
        return "ready\n".into_response();
    }
    // First: a gateway that drains is not worth coming back to, however full it is.
    let text = if gateway.sessions.draining() {
        "draining\n"
    } else {
        "full\n"
    };
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn metrics(
    caller: Caller,
    State(gateway): Shared,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    caller.grants.may_scrape()?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of tasks is far below 2^52"
    )]
    let tasks = gateway.tasks.running() as f64;
    gateway
        .metrics
        .gauge("tidegate_tasks", Vec::new())
        .set(tasks);
    if let Some(webrtc) = &gateway.webrtc {
        let media = Arc::clone(&webrtc.media);
        let asked = gateway.tasks.compute(move || media.count_unread()).await;
        // It does not panic; if it did, the page would have the count of the last time.
        drop(asked);
    }
    let (pools, now) = (gateway.remotes.pools(), gateway.clock.now());
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let format = Format::wanted(accept.unwrap_or_default());
    let text = gateway.metrics.render_with(format, |page| {
        crate::remote::state::publish(pools, now, page)
    });
    let kind = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::VARY, "accept"),
    ];
    Ok((kind, text).into_response())
}

async fn not_found(uri: Uri) -> Response {
    if uri.path().starts_with("/v1/") {
        return openai::unknown_path().await;
    }
    let text = "no such path: GET /openapi.json describes what there is";
    HttpError::with_status(Error::new(Code::BadRequest, text), StatusCode::NOT_FOUND)
        .into_response()
}
