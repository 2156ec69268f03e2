"""Hops in tests: what a function says to what it is given, without a gateway, a network or another process.

    from tidegate_sdk.testing import play

    def test_it_shouts() -> None:
        assert [said.value for said in play(shout, ["hello"])] == ["HELLO"]

It is the hop as it is served: the same values, threads, batches, utterances and errors, and every value goes through the bytes of the
wire. Only credit, acknowledgements and failover are not there: they are the package's own affair, and tested with it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

from google.protobuf import struct_pb2

from ._generated.tidegate.v1 import gateway_pb2 as pb
from .context import SessionInfo
from .errors import HopError
from .exchange import Exchange, Sink
from .hop import Hop, Parameter
from .lanes import Input, Output
from .live import Live
from .metrics import Metrics
from .ports import Audio, Payload
from .rpc import agreed_inputs, agreed_outputs, checked_parameters
from .settings import Settings
from .wire import nested

_PIECES_A_SECOND = 50


@dataclass(frozen=True, slots=True)
class Given:
    """One frame, with what belongs to it; what `play` is given otherwise is made into these."""

    value: Any
    port: str | None = None
    """May be left out where the hop has one input."""
    utterance: int = 0
    revision: int = 0
    final: bool = False
    deadline: float | None = None
    """Seconds from now until nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Said:
    """One frame of an output."""

    port: str
    value: Any
    utterance: int
    revision: int
    """A higher one of the same utterance replaces a lower one."""
    final: bool
    media_time_us: int
    caused_by: int
    """The newest input that it comes of: inputs count from 1, each port by itself. 0: of none."""


def play(
    hop: Hop,
    inputs: Iterable[Any],
    *,
    parameters: Mapping[str, Parameter] | None = None,
    mode: Literal["live", "waits"] = "waits",
    traceparent: str | None = None,
    timeout: float = 60.0,
) -> list[Said]:
    """One session of a hop: gives it all inputs, then the end of them, and returns all that it said.

    An input is a value as the function gets it, or a `Given`. Sound comes to the function in pieces of 20 ms, as from the gateway. Of a
    `per_utterance` hop each input is one utterance: its sound, or a list of its values. A frame comes when the one before was taken, so
    that there are the same partial results each time. Raises `HopError` where a caller would be told of an error, and `TimeoutError` if the
    hop has not ended within `timeout` seconds.
    """
    return asyncio.run(play_async(hop, inputs, parameters=parameters, mode=mode, traceparent=traceparent, timeout=timeout))


async def play_async(
    hop: Hop,
    inputs: Iterable[Any],
    *,
    parameters: Mapping[str, Parameter] | None = None,
    mode: Literal["live", "waits"] = "waits",
    traceparent: str | None = None,
    timeout: float = 60.0,  # noqa: ASYNC109 (the same as of `play`)
) -> list[Said]:
    """`play` for a test that has a loop already."""
    usual = Settings()
    takes, gives = agreed_inputs(hop, (), counted=False), agreed_outputs(hop, (), counted=False)
    lanes: list[Input | Output] = [*takes.values(), *gives.values()]
    frames = list(_frames(hop, takes, inputs))
    given = struct_pb2.Struct()
    given.update(dict(parameters or {}))
    calls, streams = ThreadPoolExecutor(usual.threads, "hop"), ThreadPoolExecutor(1, "hop-stream")
    info = SessionInfo(
        id=uuid.uuid4().hex,
        hop=hop.name,
        parameters=checked_parameters(hop, given),
        mode=mode,
        formats={lane.port.name: lane.format for lane in lanes if lane.format is not None},
        deadline=None,
        traceparent=traceparent,
        tracestate=None,
        peer="test",
        threads=calls,
        streams=streams,
    )
    sink = _Heard(gives)
    # One frame at a time, so that it is not left to chance what a function finds waiting.
    exchange = Exchange(replace(hop, queue=1).ready(), info, takes, gives, sink, Metrics().of(hop.name))
    try:
        async with asyncio.timeout(timeout), Live(set(), lambda: None, exchange) as live:
            feeding = asyncio.create_task(_feed(exchange, frames, live))
            try:
                await live.run(None)
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
    finally:
        for pool in (calls, streams):
            pool.shutdown(wait=False, cancel_futures=True)
    return sink.said


async def _feed(exchange: Exchange, frames: list[pb.Frame], live: Live) -> None:
    try:
        for frame in frames:
            await exchange.room()
            exchange.feed(frame, frame.ByteSize())
        exchange.end("")
    except HopError as error:
        live.fail(error)


def _frames(hop: Hop, takes: Mapping[str, Input], inputs: Iterable[Any]) -> Iterator[pb.Frame]:
    at_us = dict.fromkeys(takes, 0)
    for number, one in enumerate(inputs, 1):
        for given in [one] if isinstance(one, Given) else _given(hop, takes, number, one):
            lane = takes.get(_port_of(hop, given))
            if lane is None:
                raise ValueError(f"hop '{hop.name}' has no input '{given.port}': there are {', '.join(takes)}")
            field, head, data = lane.port.encode(given.value, lane.format)
            frame = pb.Frame.FromString(b"".join(nested(field, [head, data])))
            frame.port = lane.port.name
            frame.media_time = at_us[frame.port]
            frame.utterance, frame.revision, frame.final = given.utterance, given.revision, given.final
            if given.deadline is not None:
                frame.deadline = max(1, round(given.deadline * 1e6))
            at_us[frame.port] += lane.port.duration_us(given.value, lane.format)
            yield frame


def _port_of(hop: Hop, given: Given) -> str:
    if given.port is not None:
        return given.port
    names = [port.name for port in hop.inputs]
    if len(names) != 1:
        raise ValueError(f"hop '{hop.name}' has several inputs or none: say Given(value, port), with one of {', '.join(names)}")
    return names[0]


def _given(hop: Hop, takes: Mapping[str, Input], number: int, value: Any) -> list[Given]:
    """A plain value as the gateway sends it: sound in pieces, and an utterance as what it is."""
    if len(hop.inputs) != 1:
        return [Given(value)]
    [port] = hop.inputs
    pieces: list[Any] = [value]
    if isinstance(port, Audio) and not isinstance(value, list):
        format = takes[port.name].format
        size = max(1, format.rate // _PIECES_A_SECOND) if format is not None else len(value)
        pieces = [value[at : at + size] for at in range(0, len(value), size)] or [value]
    elif hop.per == "utterance" and isinstance(value, list):
        pieces = value
    if hop.per != "utterance":
        return [Given(piece) for piece in pieces]
    return [Given(piece, utterance=number, final=at == len(pieces)) for at, piece in enumerate(pieces, 1)]


class _Heard(Sink):
    """Keeps what was said."""

    def __init__(self, gives: Mapping[str, Output]) -> None:
        self.said: list[Said] = []
        self._gives = gives

    async def frame(self, port: str, meta: bytes, payload: Payload) -> None:
        field, head, data = payload
        frame = pb.Frame.FromString(b"".join([meta, *nested(field, [head, data])]))
        lane = self._gives[port]
        value = lane.port.decode(frame, None, lane.format)
        self.said.append(Said(port, value, frame.utterance, frame.revision, frame.final, frame.media_time, frame.caused_by))

    async def say(self, message: pb.ServerMessage) -> None:
        pass
