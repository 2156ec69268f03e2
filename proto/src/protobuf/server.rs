//! Messages of the server between generated types and the program's own.

use tidegate_media::Timestamp;

use super::client::{decode_ack, decode_credit, encode_credit, features, optional_port};
use super::format::{decode_port, encode_port};
use super::frame::{decode_frame, encode_frame};
use crate::error::{WireMessageError, at_most};
use crate::limits::{HOPS, PORTS};
use crate::message::{
    Ack, HopStats, Latency, Limits, Opened, PortFormats, ServerMessage, Stats, WireError,
};
use crate::name::PortName;
use crate::v1::server_message::Message;
use crate::{v1, validate};

type Result<T> = std::result::Result<T, WireMessageError>;

/// A server's message; `formats` are those of its `opened`. `None`: a kind that a newer server knows and this version lacks,
/// which is to be ignored.
///
/// # Errors
/// A field is missing or cannot be.
pub fn decode_server(
    message: v1::ServerMessage,
    now: Timestamp,
    formats: &PortFormats,
) -> Result<Option<ServerMessage>> {
    let Some(message) = message.message else {
        return Ok(None);
    };
    Ok(Some(match message {
        Message::Frame(mut frame) => {
            let cause = std::mem::take(&mut frame.caused_port);
            let caused_port = optional_port("frame.caused_port", cause)?;
            let (port, frame) = decode_frame(frame, now, formats)?;
            ServerMessage::Frame {
                port,
                caused_port,
                frame,
            }
        }
        Message::Credit(credit) => ServerMessage::Credit(decode_credit(credit)?),
        Message::Ack(ack) => ServerMessage::Ack(decode_ack("ack.port", ack.port, ack.seq)?),
        Message::Opened(opened) => ServerMessage::Opened(Box::new(decode_opened(opened)?)),
        Message::Interrupted(interrupted) => ServerMessage::Interrupted {
            port: optional_port("interrupted.port", interrupted.port)?,
            reason: validate::for_people(interrupted.reason),
        },
        Message::Error(error) => ServerMessage::Error(Box::new(decode_error(error)?)),
        Message::Stats(stats) => ServerMessage::Stats(Box::new(decode_stats(stats)?)),
        Message::ReplayFrom(from) => {
            ServerMessage::ReplayFrom(decode_ack("replay_from.port", from.port, from.seq)?)
        }
        Message::Draining(draining) => ServerMessage::Draining {
            deadline: std::time::Duration::from_micros(draining.deadline),
        },
        Message::Ended(ended) => ServerMessage::Ended {
            reason: validate::for_people(ended.reason),
        },
        Message::End(end) => ServerMessage::End {
            port: PortName::at("end.port", end.port)?,
        },
    }))
}

/// A server's message for the wire.
#[must_use]
pub fn encode_server(message: ServerMessage, now: Timestamp) -> v1::ServerMessage {
    let message = match message {
        ServerMessage::Frame {
            port,
            caused_port,
            frame,
        } => Message::Frame(v1::Frame {
            caused_port: caused_port.map(PortName::into_string).unwrap_or_default(),
            ..encode_frame(port.into_string(), frame, now)
        }),
        ServerMessage::Credit(credit) => Message::Credit(encode_credit(credit)),
        ServerMessage::Ack(Ack { port, seq }) => Message::Ack(v1::Ack {
            port: port.into_string(),
            seq,
        }),
        ServerMessage::Opened(opened) => Message::Opened(encode_opened(*opened)),
        ServerMessage::Interrupted { port, reason } => Message::Interrupted(v1::Interrupted {
            port: port.map(PortName::into_string).unwrap_or_default(),
            reason,
        }),
        ServerMessage::Error(error) => Message::Error(encode_error(*error)),
        ServerMessage::Stats(stats) => Message::Stats(encode_stats(*stats)),
        ServerMessage::ReplayFrom(Ack { port, seq }) => Message::ReplayFrom(v1::ReplayFrom {
            port: port.into_string(),
            seq,
        }),
        ServerMessage::Draining { deadline } => Message::Draining(v1::Draining {
            deadline: validate::micros(deadline),
        }),
        ServerMessage::Ended { reason } => Message::Ended(v1::Ended { reason }),
        ServerMessage::End { port } => Message::End(v1::End {
            port: port.into_string(),
        }),
    };
    v1::ServerMessage {
        message: Some(message),
    }
}

fn decode_opened(opened: v1::Opened) -> Result<Opened> {
    at_most("opened.ports", opened.ports.len(), PORTS, "ports")?;
    let limits = opened.limits.unwrap_or_default();
    Ok(Opened {
        session_id: validate::short("opened.session_id", opened.session_id)?,
        ports: opened
            .ports
            .into_iter()
            .map(decode_port)
            .collect::<Result<_>>()?,
        features: features("opened.features", opened.features)?,
        limits: Limits {
            message_bytes: limits.message_bytes,
            session: validate::optional_micros(limits.session),
            idle: validate::optional_micros(limits.idle),
        },
        pipeline: validate::short("opened.pipeline", opened.pipeline)?,
        gateway: validate::short("opened.gateway", opened.gateway)?,
        deterministic: opened.deterministic,
    })
}

fn encode_opened(opened: Opened) -> v1::Opened {
    v1::Opened {
        session_id: opened.session_id,
        ports: opened.ports.into_iter().map(encode_port).collect(),
        features: opened.features,
        limits: Some(v1::Limits {
            message_bytes: opened.limits.message_bytes,
            session: validate::some_micros(opened.limits.session),
            idle: validate::some_micros(opened.limits.idle),
        }),
        pipeline: opened.pipeline,
        gateway: opened.gateway,
        deterministic: opened.deterministic,
    }
}

/// An error as it travels.
///
/// # Errors
/// A name in it is longer than names are.
pub fn decode_error(error: v1::Error) -> Result<WireError> {
    Ok(WireError {
        code: validate::short("error.code", error.code)?,
        message: validate::for_people(error.message),
        fault: validate::short("error.fault", error.fault)?,
        retryable: error.retryable,
        hop: validate::optional("error.hop", error.hop)?,
        endpoint: validate::optional("error.endpoint", error.endpoint)?,
        phase: validate::optional("error.phase", error.phase)?,
        retry_after: validate::optional_micros(error.retry_after),
        attempt: (error.attempt > 0).then_some(error.attempt),
        elapsed: validate::optional_micros(error.elapsed),
    })
}

/// An error for the wire, or for the details of a gRPC status.
#[must_use]
pub fn encode_error(error: WireError) -> v1::Error {
    v1::Error {
        code: error.code,
        message: error.message,
        fault: error.fault,
        retryable: error.retryable,
        hop: error.hop.unwrap_or_default(),
        endpoint: error.endpoint.unwrap_or_default(),
        phase: error.phase.unwrap_or_default(),
        retry_after: validate::some_micros(error.retry_after),
        attempt: error.attempt.unwrap_or_default(),
        elapsed: validate::some_micros(error.elapsed),
    }
}

fn decode_stats(stats: v1::Stats) -> Result<Stats> {
    at_most("stats.hops", stats.hops.len(), HOPS, "hops")?;
    let hop = |hop: v1::HopStats| {
        Ok(HopStats {
            hop: validate::short("stats.hops.hop", hop.hop)?,
            frames_in: hop.frames_in,
            frames_out: hop.frames_out,
            dropped: hop.dropped,
            queue_frames: hop.queue_frames,
            queue: hop.queue.map(decode_latency),
            service: hop.service.map(decode_latency),
            wire: hop.wire.map(decode_latency),
        })
    };
    let hops = stats.hops.into_iter().map(hop).collect::<Result<_>>()?;
    Ok(Stats { hops })
}

fn decode_latency(latency: v1::Latency) -> Latency {
    let micros = std::time::Duration::from_micros;
    Latency {
        count: latency.count,
        p50: micros(latency.p50),
        p90: micros(latency.p90),
        p99: micros(latency.p99),
        max: micros(latency.max),
    }
}

fn encode_stats(stats: Stats) -> v1::Stats {
    let hop = |hop: HopStats| v1::HopStats {
        hop: hop.hop,
        frames_in: hop.frames_in,
        frames_out: hop.frames_out,
        dropped: hop.dropped,
        queue_frames: hop.queue_frames,
        queue: hop.queue.map(encode_latency),
        service: hop.service.map(encode_latency),
        wire: hop.wire.map(encode_latency),
    };
    v1::Stats {
        hops: stats.hops.into_iter().map(hop).collect(),
    }
}

fn encode_latency(latency: Latency) -> v1::Latency {
    v1::Latency {
        count: latency.count,
        p50: validate::micros(latency.p50),
        p90: validate::micros(latency.p90),
        p99: validate::micros(latency.p99),
        max: validate::micros(latency.max),
    }
}
