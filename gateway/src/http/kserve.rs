//! The Open Inference Protocol over REST, under `/v2`: pipelines are its models (docs/kserve.md).
//!
//! Tensors are JSON, or bytes behind the JSON (the header `Inference-Header-Content-Length`), as each request says. Refusals are problem
//! details like all others, with the member `error` besides, where clients of the protocol look.

mod unserved;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidegate_nodes::{Code, Error};
use tidegate_proto::kserve::json as codec;

use super::{Shared, guard, rejections};
use crate::auth::Caller;
use crate::errors::HttpError;
use crate::gateway::Gateway;
use crate::grpc::kserve::EXTENSIONS;
use crate::links::kserve::{answer, model, statistics};
use crate::links::wire::malformed;
use crate::session::link::Transport;

/// Larger than any refusal.
const REFUSAL_BYTES: usize = 64 << 10;

/// A model as a path names it.
#[derive(Debug, Deserialize)]
struct Named {
    model: String,
    #[serde(default)]
    version: String,
}

/// The routes.
pub(super) fn router(gateway: &Arc<Gateway>) -> Router {
    let models = Router::new()
        .route("/v2", get(server))
        .route("/v2/models/{model}", get(metadata))
        .route("/v2/models/{model}/ready", get(ready))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/config", get(config))
        .route("/v2/models/{model}/stats", get(figures))
        .route("/v2/models/stats", get(all_figures))
        .route("/v2/repository/index", post(index))
        .route("/v2/models/{model}/versions/{version}", get(metadata))
        .route("/v2/models/{model}/versions/{version}/config", get(config))
        .route("/v2/models/{model}/versions/{version}/stats", get(figures))
        .route("/v2/models/{model}/versions/{version}/ready", get(ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer))
        .with_state(Arc::clone(gateway))
        .merge(unserved::router())
        .layer(middleware::map_response(rejections::as_problem))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(gateway),
            guard::authenticate,
        ));
    // Health checks carry no token, as on `/healthz`.
    let health = Router::new()
        .route(
            "/v2/health/live",
            get(|| async { Json(json!({"live": true})) }),
        )
        .route("/v2/health/ready", get(server_ready))
        .with_state(Arc::clone(gateway));
    models
        .merge(health)
        .layer(middleware::map_response(with_error))
}

async fn server() -> Json<Value> {
    Json(json!({
        "name": "tidegate",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": EXTENSIONS,
    }))
}

async fn server_ready(State(gateway): Shared) -> Response {
    let ready = gateway.sessions.ready();
    (status(ready), Json(json!({"ready": ready}))).into_response()
}

fn status(ready: bool) -> StatusCode {
    if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn metadata(
    caller: Caller,
    State(gateway): Shared,
    Path(Named { model, version }): Path<Named>,
) -> Result<Response, HttpError> {
    let model = model::named(&gateway, &caller, &model, &version)?;
    Ok(Json(model).into_response())
}

async fn ready(
    caller: Caller,
    State(gateway): Shared,
    Path(Named { model, version }): Path<Named>,
) -> Result<Response, HttpError> {
    // One that there is not is not found, rather than not ready yet.
    model::named(&gateway, &caller, &model, &version)?;
    let ready = gateway.sessions.ready();
    let body = json!({"name": model, "ready": ready});
    Ok((status(ready), Json(body)).into_response())
}

/// A model as Triton's configuration says it.
async fn config(
    caller: Caller,
    State(gateway): Shared,
    Path(Named { model, version }): Path<Named>,
) -> Result<Response, HttpError> {
    let model = model::named(&gateway, &caller, &model, &version)?;
    let tensor = |tensor: &model::Tensor| {
        json!({
            "name": tensor.name,
            "data_type": model::config_type(tensor.datatype),
            "dims": tensor.shape,
        })
    };
    let input = |given: &model::Tensor| {
        let mut input = tensor(given);
        input["optional"] = true.into();
        input
    };
    let inputs: Vec<_> = model.inputs.iter().map(input).collect();
    let outputs: Vec<_> = model.outputs.iter().map(tensor).collect();
    let parameters = model.parameters.iter();
    let parameters: Map<String, Value> = parameters
        .map(|(name, value)| (name.clone(), json!({"string_value": value})))
        .collect();
    let config = json!({
        "name": model.name,
        "platform": model.platform,
        "backend": model.platform,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
        "parameters": parameters,
        "model_transaction_policy": {"decoupled": false},
    });
    Ok(Json(config).into_response())
}

async fn figures(
    caller: Caller,
    State(gateway): Shared,
    Path(Named { model, version }): Path<Named>,
) -> Result<Response, HttpError> {
    let figures = statistics::figures(&gateway, &caller, &model, &version)?;
    Ok(Json(json!({"model_stats": figures})).into_response())
}

async fn all_figures(caller: Caller, State(gateway): Shared) -> Result<Response, HttpError> {
    let figures = statistics::figures(&gateway, &caller, "", "")?;
    Ok(Json(json!({"model_stats": figures})).into_response())
}

/// What a client wants to be listed.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    ready: bool,
}

async fn index(caller: Caller, State(gateway): Shared, body: Bytes) -> Result<Response, HttpError> {
    let wanted = if body.is_empty() {
        Wanted::default()
    } else {
        let bad = |error| {
            Error::new(
                Code::BadRequest,
                format!("the body is no index request: {error}"),
            )
        };
        serde_json::from_slice(&body).map_err(bad)?
    };
    let models = model::index(&gateway, &caller).into_iter();
    let models = models.filter(|model| !wanted.ready || model.is_ready());
    Ok(Json(models.collect::<Vec<_>>()).into_response())
}

async fn infer(
    caller: Caller,
    State(gateway): Shared,
    Path(Named { model, version }): Path<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    // Before the body: what it is matters to nobody where there is nothing to run.
    model::named(&gateway, &caller, &model, &version)?;
    if let Some(coding) = headers.get(header::CONTENT_ENCODING) {
        let text = format!("content encoding {coding:?}: send the body as it is");
        return Err(Error::new(Code::UnsupportedMedia, text).into());
    }
    let length = header_length(&headers)?;
    let body = gateway.bodies.gather(&headers, body).await?;
    let request = codec::decode_request(&model, &version, &body.bytes, length);
    let mut request = request.map_err(|error| malformed(&error))?;
    let otherwise = request.take_binary();
    let wanted = request.outputs.clone();
    let by = (caller, Transport::Http);
    let response = answer::run(&gateway, by, request, 0, None).await?;
    let is_binary = |name: &str| {
        let named = wanted.iter().find(|wanted| wanted.name == name);
        named.map_or(otherwise, |wanted| wanted.binary.unwrap_or(false))
    };
    let (text, tail) = codec::encode_response(response, is_binary).map_err(|e| malformed(&e))?;
    if tail.is_empty() {
        return Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response());
    }
    let headers = [
        (
            header::CONTENT_TYPE.as_str(),
            "application/octet-stream".to_owned(),
        ),
        (codec::HEADER_LENGTH, text.len().to_string()),
        (
            header::CONTENT_LENGTH.as_str(),
            (text.len() + tail.iter().map(Bytes::len).sum::<usize>()).to_string(),
        ),
    ];
    let pieces = std::iter::once(Bytes::from(text)).chain(tail);
    let frames = pieces.map(|piece| Ok::<_, std::convert::Infallible>(Frame::data(piece)));
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    Ok((headers, body).into_response())
}

fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Error> {
    let Some(value) = headers.get(codec::HEADER_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|value| value.parse().ok());
    length.map(Some).ok_or_else(|| {
        let text = format!(
            "{} is {value:?}: say how many bytes are JSON",
            codec::HEADER_LENGTH
        );
        Error::new(Code::BadRequest, text)
    })
}

/// A refusal with the member `error`: what went wrong, once more.
async fn with_error(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != "application/problem+json") {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = to_bytes(body, REFUSAL_BYTES).await.unwrap_or_default();
    let Ok(mut problem) = serde_json::from_slice::<Value>(&body) else {
        return Response::from_parts(head, Body::from(body));
    };
    problem["error"] = problem["detail"].clone();
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(problem.to_string()))
}
