"""A gateway's hop, as a test plays it: the messages of one stream, on the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc

from tidegate_sdk import Hop, Server, Settings
from tidegate_sdk._generated.tidegate.v1 import gateway_pb2 as pb

WAIT = 60.0


class Peer:
    """One stream."""

    def __init__(self, call: grpc.aio.StreamStreamCall[pb.ClientMessage, pb.ServerMessage]) -> None:
        self._call = call
        self.seen: list[pb.ServerMessage] = []

    async def send(self, **message: Any) -> None:
        await self._call.write(pb.ClientMessage(**message))

    async def text(self, text: str, **about: Any) -> None:
        await self.send(frame=pb.Frame(port="in", text=pb.Text(text=text), **about))

    async def message(self) -> pb.ServerMessage:
        async with asyncio.timeout(WAIT):
            message = await self._call.read()
        assert message is not grpc.aio.EOF, await self._call.details()
        assert isinstance(message, pb.ServerMessage)
        self.seen.append(message)
        return message

    async def next(self, kind: str) -> Any:
        """The next message of a kind; others are passed over, and kept in `seen`."""
        while (message := await self.message()).WhichOneof("message") != kind:
            pass
        return getattr(message, kind)

    async def texts(self, count: int) -> list[str]:
        return [(await self.next("frame")).text.text for _ in range(count)]

    async def end(self) -> list[pb.ServerMessage]:
        """Ends all input; gives what came until the end."""
        await self.send(end=pb.End())
        before = len(self.seen)
        await self.next("ended")
        return self.seen[before:]

    async def error(self) -> grpc.aio.AioRpcError:
        """What the stream ends with."""
        try:
            async with asyncio.timeout(WAIT):
                while await self._call.read() is not grpc.aio.EOF:
                    pass
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("the stream ended in order")

    def cancel(self) -> None:
        self._call.cancel()


class Worker:
    """Hops, served and called on one loop."""

    def __init__(self, server: Server, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.channel = channel

    async def raw(self, opening: pb.Open | None, metadata: tuple[tuple[str, str], ...] = ()) -> Peer:
        stream: Any = self.channel.stream_stream(
            "/tidegate.v1.Gateway/Stream", pb.ClientMessage.SerializeToString, pb.ServerMessage.FromString
        )
        peer = Peer(stream(metadata=metadata))
        if opening is not None:
            await peer.send(open=opening)
        return peer

    async def open(
        self, pipeline: str = "", features: tuple[str, ...] = (), metadata: tuple[tuple[str, str], ...] = (), **more: Any
    ) -> Peer:
        peer = await self.raw(pb.Open(pipeline=pipeline, features=features, **more), metadata)
        await peer.next("opened")
        return peer

    async def call(self, method: str, request: Any, answer: Any) -> Any:
        unary: Any = self.channel.unary_unary(f"/tidegate.v1.Gateway/{method}", type(request).SerializeToString, answer.FromString)
        return await unary(request, timeout=WAIT)

    def figure(self, name: str, **labels: str) -> float:
        return self.server.metrics.registry.get_sample_value(f"tidegate_worker_{name}", labels) or 0.0


@contextlib.asynccontextmanager
async def serving(*hops: Hop, settings: Settings | None = None) -> AsyncIterator[Worker]:
    async with Server(hops, settings or Settings()) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield Worker(server, channel)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """An async test."""

    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
