"""The four methods of `tidegate.v1.Gateway`."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import hmac
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, Never

import grpc
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict

from ._generated.tidegate.v1 import gateway_pb2 as pb
from .context import SessionInfo
from .errors import HopError
from .exchange import Exchange
from .hop import Hop, Parameter, Running
from .lanes import Input, Output
from .live import Live, MemorySink, StreamSink
from .metrics import Metrics
from .ports import Port
from .reader import Reader, Rpc
from .settings import Settings
from .wire import Received

VERSION = version("tidegate-sdk")
ACKS, CREDITS = "acks", "credits"


class Service:
    """What the gateway asks of a worker."""

    def __init__(
        self, hops: Mapping[str, Running], settings: Settings, metrics: Metrics, calls: ThreadPoolExecutor, streams: ThreadPoolExecutor
    ) -> None:
        self.sessions: set[Live] = set()
        self._hops = hops
        self._settings = settings
        self._metrics = metrics
        self._calls = calls
        self._streams = streams
        self._tokens = [token.encode() for token in settings.tokens]
        self._id = str(uuid.uuid4())
        self._drain_until: float | None = None
        self._left = asyncio.Event()

    def handlers(self, decode: Callable[[bytes], Received]) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """By method."""
        unary = grpc.unary_unary_rpc_method_handler
        return {
            "Stream": grpc.stream_stream_rpc_method_handler(self._guarded(self._stream), request_deserializer=decode),
            "Execute": unary(self._guarded(self._execute), request_deserializer=pb.ExecuteRequest.FromString),
            "ListPipelines": unary(self._guarded(self._list), request_deserializer=pb.ListPipelinesRequest.FromString),
            "DescribePipeline": unary(self._guarded(self._describe), request_deserializer=pb.DescribePipelineRequest.FromString),
        }

    def _guarded(self, method: Callable[[Any, Rpc], Awaitable[Any]]) -> Callable[[Any, Rpc], Awaitable[Any]]:
        """Credentials are looked at before anything is read; errors leave as the protocol has them."""

        async def guarded(request: Any, context: Rpc) -> Any:
            try:
                self._authorise(context)
                return await method(request, context)
            except HopError as error:
                await _abort(context, error)

        return guarded

    def _authorise(self, context: Rpc) -> None:
        if not self._tokens:
            return
        given = _metadata(context, "authorization") or ""
        scheme, _, token = given.partition(" ")
        # All are compared, in constant time each, so that the time says nothing of which was nearly right.
        known = [hmac.compare_digest(token.strip().encode(), one) for one in self._tokens]
        if scheme.lower() != "bearer" or not any(known):
            raise HopError("no bearer token, or a wrong one", code="unauthenticated")

    # Sessions.

    async def _stream(self, _: Any, context: Rpc) -> None:
        received = await self._first(context)
        opening = received.open
        running = self._find(opening.pipeline, opening.manifest)
        if opening.session:
            raise HopError("a worker's sessions cannot be shared", code="incompatible")
        features = [feature for feature in dict.fromkeys(opening.features) if feature in (ACKS, CREDITS)]
        acks, credits = bool(features), CREDITS in features
        inputs = agreed_inputs(running.hop, opening.inputs, counted=credits)
        outputs = agreed_outputs(running.hop, opening.outputs, counted=credits)
        info = self._info(running.hop, opening.parameters, opening.mode, opening.deadline, inputs, outputs, context)
        sink = StreamSink(context)
        exchange = Exchange(running, info, inputs, outputs, sink, self._metrics.of(running.hop.name), acks=acks)
        opened = pb.Opened(
            session_id=info.id,
            ports=_ports(inputs, outputs),
            features=features,
            limits=pb.Limits(message_bytes=self._settings.message_bytes),
            pipeline=running.hop.name,
            gateway=f"tidegate-sdk {VERSION}",
            deterministic=running.hop.deterministic,
        )
        async with self._live(exchange) as live:
            await exchange.say(pb.ServerMessage(opened=opened))
            if credits:
                for lane in inputs.values():
                    await exchange.say(pb.ServerMessage(credit=lane.first_credit()))
            await live.run(Reader(context, exchange, bounded=not credits))
            await exchange.finish()

    async def _first(self, context: Rpc) -> pb.ClientMessage:
        try:
            async with asyncio.timeout(self._settings.open_seconds):
                received = await context.read()
        except TimeoutError:
            raise HopError(f"no 'open' within {self._settings.open_seconds:g} s", code="bad_request") from None
        message = received.message if isinstance(received, Received) else None
        if message is None or not message.HasField("open"):
            raise HopError("the first message is to be 'open'", code="bad_request")
        return message

    async def _execute(self, request: pb.ExecuteRequest, context: Rpc) -> bytes:
        running = self._find(request.pipeline, request.manifest)
        for port in request.inputs:
            if port not in {known.name for known in running.hop.inputs}:
                raise HopError(f"unknown input '{port[:64]}' of hop '{running.hop.name}'", code="bad_request")
        inputs = agreed_inputs(running.hop, _first_formats(request.inputs), counted=False)
        outputs = agreed_outputs(running.hop, request.outputs, counted=False)
        info = self._info(running.hop, request.parameters, pb.MODE_WAITS, request.deadline, inputs, outputs, context)
        sink = MemorySink(self._settings.message_bytes)
        exchange = Exchange(running, info, inputs, outputs, sink, self._metrics.of(running.hop.name))
        async with self._live(exchange) as live:
            lists = [_with_port(port, frames.frames) for port, frames in request.inputs.items()]
            for frame in heapq.merge(*lists, key=lambda frame: frame.media_time):
                exchange.feed(frame, frame.ByteSize())
            exchange.end("")
            await live.run(None)
            return sink.response()

    def _find(self, pipeline: str, manifest: str) -> Running:
        if manifest:
            raise HopError("this worker runs its own hops, and no manifests: name one in 'pipeline'", code="incompatible")
        if not pipeline and len(self._hops) == 1:
            return next(iter(self._hops.values()))
        running = self._hops.get(pipeline)
        if running is None:
            known = ", ".join(self._hops)
            raise HopError(f"no pipeline '{pipeline[:64]}': this worker serves {known}", code="unknown_pipeline")
        return running

    def _live(self, exchange: Exchange) -> Live:
        if self._drain_until is not None:
            raise HopError("this worker is shutting down", code="draining")
        if len(self.sessions) >= self._settings.sessions:
            raise HopError(f"all {self._settings.sessions} sessions of this worker are taken", code="overloaded")
        return Live(self.sessions, self.left, exchange)

    def left(self) -> None:
        """A session has ended."""
        self._left.set()

    async def drain(self, until: float) -> None:
        """Until no session runs, or it is too late."""
        self._drain_until = until
        for live in list(self.sessions):
            live.drain(until)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                while self.sessions:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            for live in list(self.sessions):
                live.fail(HopError("this worker's time to shut down is over", code="draining"))

    def shut(self) -> None:
        """Leaves the threads alone: what they still do, nobody waits for."""
        for pool in (self._calls, self._streams):
            pool.shutdown(wait=False, cancel_futures=True)

    def _info(
        self,
        hop: Hop,
        parameters: struct_pb2.Struct,
        mode: int,
        deadline: int,
        inputs: Mapping[str, Input],
        outputs: Mapping[str, Output],
        context: Rpc,
    ) -> SessionInfo:
        lanes: list[Input | Output] = [*inputs.values(), *outputs.values()]
        left = [deadline / 1e6] if deadline else []
        remaining = context.time_remaining()
        if remaining is not None:
            left.append(remaining)
        return SessionInfo(
            id=uuid.uuid4().hex,
            hop=hop.name,
            parameters=checked_parameters(hop, parameters),
            mode="waits" if mode == pb.MODE_WAITS else "live",
            formats={lane.port.name: lane.format for lane in lanes if lane.format is not None},
            deadline=time.monotonic() + min(left) if left else None,
            traceparent=_metadata(context, "traceparent"),
            tracestate=_metadata(context, "tracestate"),
            peer=context.peer(),
            threads=self._calls,
            streams=self._streams,
        )

    # What there is.

    async def _list(self, _: pb.ListPipelinesRequest, context: Rpc) -> bytes:
        return pb.ListPipelinesResponse(pipelines=[_summary(one.hop) for one in self._hops.values()]).SerializeToString()

    async def _describe(self, request: pb.DescribePipelineRequest, context: Rpc) -> bytes:
        summary = _summary(self._find(request.pipeline, request.manifest).hop)
        text = json.dumps({"name": summary.name, "description": summary.description, "digest": summary.digest})
        response = pb.DescribePipelineResponse(summary=summary, description=text, gateway_id=self._id, gateway=f"tidegate-sdk {VERSION}")
        return response.SerializeToString()


def _with_port(port: str, frames: Iterable[pb.Frame]) -> list[pb.Frame]:
    # Within one call frames count from where they stand.
    listed = list(frames)
    for seq, frame in enumerate(listed, 1):
        frame.port, frame.seq = port, seq
    return listed


def _first_formats(inputs: Mapping[str, pb.Frames]) -> list[pb.PortFormat]:
    formats = []
    for port, frames in inputs.items():
        first = frames.frames[0] if frames.frames else pb.Frame()
        if first.audio.HasField("format"):
            formats.append(pb.PortFormat(port=port, audio=first.audio.format))
    return formats


def agreed_inputs(hop: Hop, asked: Iterable[pb.PortFormat], counted: bool) -> dict[str, Input]:
    """A session's inputs, in the formats that its client asks for where the hop leaves them open."""
    known = {one.port: one for one in asked}
    return {port.name: Input(port, port.agree(known.get(port.name)), hop.queue, hop.queue_bytes, counted) for port in hop.inputs}


def agreed_outputs(hop: Hop, asked: Iterable[pb.PortFormat], counted: bool) -> dict[str, Output]:
    """Its outputs, alike."""
    known = {one.port: one for one in asked}
    return {port.name: Output(port, port.agree(known.get(port.name)), counted) for port in hop.outputs}


def _ports(inputs: Mapping[str, Input], outputs: Mapping[str, Output]) -> list[pb.Port]:
    takes = [_port(lane.port, pb.DIRECTION_INPUT, lane) for lane in inputs.values()]
    return takes + [_port(lane.port, pb.DIRECTION_OUTPUT, lane) for lane in outputs.values()]


def _port(port: Port[Any], direction: pb.Direction, lane: Input | Output | None = None) -> pb.Port:
    message = pb.Port(name=port.name, direction=direction, kind=port.kind)
    port.describe(message, lane.format if lane is not None else None)
    return message


def _summary(hop: Hop) -> pb.PipelineSummary:
    ports = [_port(port, pb.DIRECTION_INPUT) for port in hop.inputs]
    ports += [_port(port, pb.DIRECTION_OUTPUT) for port in hop.outputs]
    summary = pb.PipelineSummary(name=hop.name, description=hop.description, ports=ports)
    summary.digest = hashlib.sha256(summary.SerializeToString(deterministic=True)).hexdigest()
    return summary


def checked_parameters(hop: Hop, given: struct_pb2.Struct) -> dict[str, Parameter]:
    """All of a hop's parameters, with the values that a client gives."""
    values: dict[str, Parameter] = dict(hop.parameters)
    for name, value in MessageToDict(given).items():
        if name not in values:
            known = ", ".join(values) or "none"
            raise HopError(f"unknown parameter '{name[:64]}' of hop '{hop.name}', which has {known}", code="bad_request")
        usual = values[name]
        # Numbers of the wire are all floats.
        if isinstance(usual, int) and not isinstance(usual, bool) and isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(usual, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(usual):
            raise HopError(f"parameter '{name}' of hop '{hop.name}' is to be of type {type(usual).__name__}", code="bad_request")
        values[name] = value
    return values


def _metadata(context: Rpc, key: str) -> str | None:
    for name, value in context.invocation_metadata() or ():
        if name == key:
            return value if isinstance(value, str) else value.decode("ascii", "replace")
    return None


async def _abort(context: Rpc, error: HopError) -> Never:
    await context.abort(error.status, error.message, (("grpc-status-details-bin", error.details()),))
