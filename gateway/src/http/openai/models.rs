//! `GET /v1/models` and `/v1/models/{name}`: the pipelines that serve one of OpenAI's interfaces and that a caller may use, as models.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::interfaces;
use super::refusal::{About as _, Refusal};
use crate::auth::Caller;
use crate::http::Shared;

/// All of them.
pub(in crate::http) async fn models(caller: Caller, State(gateway): Shared) -> Json<Value> {
    let all = gateway.pipelines.all();
    let granted = all.iter().filter(|(name, _)| caller.grants.covers(name));
    let serving = granted.filter(|(_, pipeline)| interfaces::any(&pipeline.describe()).is_ok());
    // One that a reload took away in this moment is no model any more.
    let list =
        serving.filter_map(|(name, _)| Some(about(name, gateway.pipelines.since(name).ok()?)));
    let list: Vec<_> = list.collect();
    Json(json!({"object": "list", "data": list}))
}

/// One of them. Of a pipeline that is none it is said why.
pub(in crate::http) async fn model(
    caller: Caller,
    State(gateway): Shared,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let found = gateway.named(&caller, &name);
    let pipeline = found.map_err(|error| error.about("model"))?.describe();
    if let Err(error) = interfaces::any(&pipeline) {
        return Ok((StatusCode::NOT_FOUND, error.about("model")).into_response());
    }
    let created = gateway.pipelines.since(&name)?;
    Ok(Json(about(&name, created)).into_response())
}

/// It was made when its manifest was loaded as it is.
fn about(name: &str, created: u64) -> Value {
    json!({"id": name, "object": "model", "created": created, "owned_by": "tidegate"})
}
