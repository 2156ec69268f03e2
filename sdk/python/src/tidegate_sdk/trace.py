"""The trace that a session belongs to, for what its functions log and for OpenTelemetry, where that is installed."""

from __future__ import annotations

import logging
import re
from typing import Any

from .context import Context, SessionInfo, current, enter

try:  # Its API package alone; whoever wants spans installs the rest.
    from opentelemetry import context as otel
except ImportError:
    otel = None  # type: ignore[assignment, unused-ignore]

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


def begin(context: Context) -> None:
    """Makes it the current one of this task and of all that it starts: ours, and OpenTelemetry's."""
    enter(context)
    if otel is not None and context.session.traceparent is not None:
        # Never detached: the task is the session's, and ends with it.
        otel.attach(_extracted(context.session))


def _extracted(session: SessionInfo) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": session.traceparent or ""}
    if session.tracestate:
        carrier["tracestate"] = session.tracestate
    return TraceContextTextMapPropagator().extract(carrier)


def ids(traceparent: str | None) -> tuple[str, str] | None:
    """Trace and span of a `traceparent`, if it is one."""
    found = _PARENT.fullmatch(traceparent or "")
    return (found[1], found[2]) if found else None


class TraceFilter(logging.Filter):
    """Gives each record `session`, `trace_id` and `span_id` of the call that it was made in, else empty texts, and `trace`, which has all
    three to be written behind a message. Put it on a handler: `handler.addFilter(TraceFilter())`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets everything pass."""
        context = current()
        session = context.session if context is not None else None
        trace_id, span_id = (ids(session.traceparent) if session is not None else None) or ("", "")
        named = {"session": session.id if session is not None else "", "trace_id": trace_id, "span_id": span_id}
        record.__dict__.update(named)
        record.trace = "".join(f" {name}={value}" for name, value in named.items() if value)
        return True
