//! `GET /openapi.json`: the HTTP API, described (OpenAPI 3.1).

use axum::Json;
use serde_json::{Value, json};
use tidegate_nodes::Code;

use crate::errors::mapping;

/// The document.
pub(crate) async fn document() -> Json<Value> {
    Json(describe())
}

/// The document as a value. Built from the same table of codes as the answers.
pub(crate) fn describe() -> Value {
    let mut paths = serde_json::Map::new();
    for (path, method, summary, ok, kind) in OPERATIONS {
        let parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| {
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
            })
            .collect();
        let operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {
                *ok: {"description": "done", "content": {*kind: {}}},
                "default": {
                    "description": "problem details (RFC 9457)",
                    "content": {"application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/Problem"}
                    }},
                },
            },
        });
        let entry = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        entry[*method] = operation;
    }
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let statuses: serde_json::Map<String, Value> = Code::ALL
        .iter()
        .map(|code| {
            (
                code.as_str().to_owned(),
                json!(mapping(*code).http.as_u16()),
            )
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A streaming media gateway.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "code", "retryable"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "code": {"type": "string", "enum": codes, "x-http-status": statuses},
                    "fault": {"type": "string", "enum": ["client", "gateway", "worker"]},
                    "retryable": {"type": "boolean"},
                    "hop": {"type": "string"},
                    "endpoint": {"type": "string"},
                    "phase": {"type": "string"},
                },
            }},
        },
        "security": [{"bearer": []}, {}],
    })
}

/// Path, method, summary, status of success, content type.
const OPERATIONS: &[(&str, &str, &str, &str, &str)] = &[
    ("/healthz", "get", "Alive", "200", "text/plain"),
    (
        "/readyz",
        "get",
        "Ready for new sessions; 503 while full or draining",
        "200",
        "text/plain",
    ),
    (
        "/metrics",
        "get",
        "Prometheus text format 0.0.4",
        "200",
        "text/plain",
    ),
    ("/v1/nodes", "get", "Node types", "200", "application/json"),
    (
        "/v1/pipelines",
        "get",
        "Pipelines",
        "200",
        "application/json",
    ),
    (
        "/v1/pipelines/{name}",
        "get",
        "One pipeline: ports, hops, edges",
        "200",
        "application/json",
    ),
    (
        "/v1/sessions",
        "get",
        "Running sessions",
        "200",
        "application/json",
    ),
    (
        "/v1/sessions/{id}",
        "get",
        "One session: per-hop figures",
        "200",
        "application/json",
    ),
    (
        "/v1/sessions/{id}",
        "delete",
        "Ends a session",
        "204",
        "text/plain",
    ),
    (
        "/v1/pipelines/{name}/execute",
        "post",
        "Runs a pipeline over frames (JSON) or a media file; Accept: application/x-ndjson streams",
        "200",
        "application/json",
    ),
    (
        "/v1/execute",
        "post",
        "The same for a pipeline or manifest that the body (JSON) names or holds",
        "200",
        "application/json",
    ),
    (
        "/v1/pipelines/{name}/ws",
        "get",
        "Native WebSocket",
        "101",
        "text/plain",
    ),
    (
        "/v1/ws",
        "get",
        "Native WebSocket whose open says what to run",
        "101",
        "text/plain",
    ),
    (
        "/v1/pipelines/{name}/whip",
        "post",
        "WHIP (RFC 9725)",
        "201",
        "application/sdp",
    ),
    (
        "/v1/pipelines/{name}/whep",
        "post",
        "WHEP",
        "201",
        "application/sdp",
    ),
    (
        "/v1/pipelines/{name}/whip/{resource}",
        "patch",
        "Trickled candidates (204) or ICE restart (200)",
        "204",
        "application/trickle-ice-sdpfrag",
    ),
    (
        "/v1/pipelines/{name}/whip/{resource}",
        "delete",
        "Ends the session",
        "200",
        "text/plain",
    ),
    (
        "/v1/pipelines/{name}/whep/{resource}",
        "patch",
        "Trickled candidates (204) or ICE restart (200)",
        "204",
        "application/trickle-ice-sdpfrag",
    ),
    (
        "/v1/pipelines/{name}/whep/{resource}",
        "delete",
        "Ends the session",
        "200",
        "text/plain",
    ),
];
