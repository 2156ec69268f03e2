//! What of Triton's extensions pipelines have no use for, and what to do instead. Both ways in say the same.

/// Loading and unloading models.
pub(crate) const LOADING: &str = "pipelines are not loaded by clients: change the folder of --pipelines, which is read again by itself";
/// Shared memory.
pub(crate) const MEMORY: &str =
    "no shared memory: the gateway may be on another machine, so send tensors in the request";
/// Settings of Triton's traces.
pub(crate) const TRACES: &str =
    "traces are set by the gateway's tracing settings, and asked for by a traceparent";
/// Settings of Triton's log.
pub(crate) const LOGS: &str = "the log is set by the gateway's log settings";
