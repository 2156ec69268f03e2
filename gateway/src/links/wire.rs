//! What the native stream says the same to every client: ports, errors and figures as they travel.

use std::time::Duration;

use tidegate_nodes::{Code, Error, StreamFormat};
use tidegate_proto::message::{Direction, HopStats, Latency, Port, StreamSpec, WireError};
use tidegate_proto::{PortName, WireMessageError};

use crate::metrics::window::Percentiles;
use crate::session::link::HopFigures;

/// A port of an opened session, with the format agreed for it.
pub(super) fn port(name: PortName, direction: Direction, format: StreamFormat) -> Port {
    let spec = match format {
        StreamFormat::Audio { format, .. } => Some(StreamSpec::Audio(format)),
        StreamFormat::Video(format) => Some(StreamSpec::Video(format)),
        _ => None,
    };
    Port {
        name,
        direction,
        kind: format.kind(),
        format: spec,
    }
}

/// A message that cannot be taken, as the session's error.
pub(crate) fn malformed(error: &WireMessageError) -> Error {
    let code = match error {
        WireMessageError::TooLarge { .. } => Code::TooLarge,
        _ => Code::BadRequest,
    };
    Error::new(code, error.to_string())
}

/// An error as it travels.
pub(crate) fn wire_error(error: Error) -> WireError {
    WireError {
        retry_after: crate::errors::retry_after(&error),
        code: error.code.as_str().to_owned(),
        message: error.message,
        fault: error.fault.as_str().to_owned(),
        retryable: error.retryable,
        hop: error.hop,
        endpoint: error.endpoint,
        phase: error.phase.map(|phase| phase.as_str().to_owned()),
        attempt: error.attempt,
        elapsed: error.elapsed,
    }
}

/// One hop's figures, as a client that asked for them gets them.
pub(super) fn stats(hop: HopFigures) -> HopStats {
    let latency = |p: Percentiles| {
        let micros = |us: f64| Duration::from_secs_f64(us / 1e6);
        Latency {
            count: p.count,
            p50: micros(p.p50_us),
            p90: micros(p.p90_us),
            p99: micros(p.p99_us),
            max: micros(p.max_us),
        }
    };
    HopStats {
        hop: hop.hop,
        frames_in: hop.frames_in,
        frames_out: hop.frames_out,
        dropped: hop.dropped.values().sum(),
        queue_frames: hop.queue_frames,
        queue: hop.queue.map(latency),
        service: hop.service.map(latency),
        wire: hop.wire.map(latency),
    }
}
