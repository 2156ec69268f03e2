"""The trace of a call: in what is logged, and where OpenTelemetry looks for it."""

import json
import logging
from typing import Any

import pytest
from opentelemetry import trace as otel
from peer import on_a_loop, serving

from tidegate_sdk import Json, Session, Text, TraceFilter, per_frame, per_session
from tidegate_sdk.trace import ids

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
METADATA = (("traceparent", PARENT), ("tracestate", "congo=t61"))


def logged() -> dict[str, Any]:
    record = logging.LogRecord("here", logging.INFO, "", 0, "words", None, None)
    assert TraceFilter().filter(record)
    return {"trace_id": record.trace_id, "span_id": record.span_id, "trace": record.trace, "session": record.session}  # type: ignore[attr-defined]


@on_a_loop
async def test_a_function_without_a_context_logs_its_trace_and_opentelemetry_knows_it() -> None:
    @per_frame(takes=Text(), gives=Json())
    def look(text: str) -> dict[str, Any]:
        span = otel.get_current_span().get_span_context()
        state = span.trace_state.to_header()
        return {"span": otel.format_span_id(span.span_id), "trace": otel.format_trace_id(span.trace_id), "state": state, "log": logged()}

    async with serving(look) as worker:
        peer = await worker.open("look", metadata=METADATA)
        await peer.text("x")
        seen = json.loads((await peer.next("frame")).json.value)
        assert (seen["trace"], seen["span"], seen["state"]) == (TRACE, SPAN, "congo=t61")
        log = seen["log"]
        assert (log["trace_id"], log["span_id"]) == (TRACE, SPAN)
        assert log["trace"] == f" session={log['session']} trace_id={TRACE} span_id={SPAN}"


@on_a_loop
async def test_a_session_s_function_is_in_its_trace_to_its_end() -> None:
    @per_session(takes=Text(), gives=Text())
    async def look(session: Session) -> None:
        async for _ in session:
            await session.send(logged()["trace_id"])

    async with serving(look) as worker:
        peer = await worker.open("look", metadata=METADATA)
        await peer.text("x")
        assert (await peer.next("frame")).text.text == TRACE


def test_outside_of_a_call_a_record_has_empty_texts() -> None:
    assert logged() == {"trace_id": "", "span_id": "", "trace": "", "session": ""}


@pytest.mark.parametrize("parent", [None, "", "00", PARENT.upper(), PARENT[:-1], f"ff{PARENT[2:]}", f"00-{'0' * 32}-{SPAN}-01"])
def test_what_is_no_traceparent_names_no_trace(parent: str | None) -> None:
    assert ids(parent) is None
    assert ids(PARENT) == (TRACE, SPAN)
