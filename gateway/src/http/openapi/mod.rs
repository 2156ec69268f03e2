//! `GET /openapi.json`: the HTTP API, described (OpenAPI 3.1).
//!
//! The text is `api.yaml` beside this file; what the program knows better (its version, the error codes, the answer to an error) is
//! filled in. The tests hold it against the routes and against real answers.

use std::sync::OnceLock;

use axum::Json;
use serde_json::{Value, json};
use tidegate_nodes::Code;

use crate::errors::mapping;

#[cfg(test)]
mod fits;
#[cfg(test)]
mod tests;

const TEXT: &str = include_str!("api.yaml");

/// The document.
pub(crate) async fn document() -> Json<&'static Value> {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    Json(DOCUMENT.get_or_init(describe))
}

/// The document as a value. Built from the same table of codes as the answers.
fn describe() -> Value {
    // It is part of the program and parsed by its tests.
    let mut document: Value = serde_saphyr::from_str(TEXT).unwrap_or_default();
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let statuses = Code::ALL.iter().map(|code| {
        let status = mapping(*code).http.as_u16();
        (code.as_str().to_owned(), json!(status))
    });
    let statuses: serde_json::Map<String, Value> = statuses.collect();
    let problem = &mut document["components"]["schemas"]["Problem"];
    problem["properties"]["code"] =
        json!({"type": "string", "enum": codes, "x-http-status": statuses});
    let refused = json!({
        "description": "Refused or failed",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, path) in paths {
        for (method, operation) in path.as_object_mut().into_iter().flatten() {
            if method != "parameters" {
                let responses = &mut operation["responses"];
                // Some interfaces have errors of their own.
                if responses["default"].is_null() {
                    responses["default"] = refused.clone();
                }
            }
        }
    }
    document
}
