//! Paths of Triton's extensions that pipelines have no use for: 501, with what to do instead.

use axum::Router;
use axum::routing::any;
use http::StatusCode;
use tidegate_nodes::{Code, Error};

use crate::errors::HttpError;
use crate::links::kserve::unserved::{LOADING, LOGS, MEMORY, TRACES};

const PATHS: [(&str, &str); 7] = [
    ("/v2/repository/models/{model}/load", LOADING),
    ("/v2/repository/models/{model}/unload", LOADING),
    ("/v2/systemsharedmemory/{*rest}", MEMORY),
    ("/v2/cudasharedmemory/{*rest}", MEMORY),
    ("/v2/trace/setting", TRACES),
    ("/v2/models/{model}/trace/setting", TRACES),
    ("/v2/logging", LOGS),
];

/// The routes.
pub(super) fn router() -> Router {
    let mut router = Router::new();
    for (path, text) in PATHS {
        let refuse = move || async move {
            let error = Error::new(Code::BadRequest, text);
            HttpError::with_status(error, StatusCode::NOT_IMPLEMENTED)
        };
        router = router.route(path, any(refuse));
    }
    router
}
