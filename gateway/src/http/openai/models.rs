//! `GET /v1/models` and `/v1/models/{name}`: the pipelines that a caller may use, as models.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::refusal::{About as _, Refusal};
use crate::auth::Caller;
use crate::http::Shared;

/// All of them.
pub(in crate::http) async fn models(caller: Caller, State(gateway): Shared) -> Json<Value> {
    let all = gateway.pipelines.all();
    let granted = all.keys().filter(|name| caller.grants.covers(name));
    let list: Vec<_> = granted.map(|name| about(name)).collect();
    Json(json!({"object": "list", "data": list}))
}

/// One of them.
pub(in crate::http) async fn model(
    caller: Caller,
    State(gateway): Shared,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let found = gateway.named(&caller, &name);
    found.map_err(|error| error.about("model"))?;
    Ok(Json(about(&name)))
}

/// When a pipeline was made nobody knows: its manifest does not say.
fn about(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "tidegate"})
}
