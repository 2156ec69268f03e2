"""Reads what a stream's client says.

A hop that is called frame by frame reads by itself while it has nothing to do: handing each frame from a task to another would cost as
much as all else that is done with it. A call that takes longer than a moment has a task beside it that reads on, so that interrupts,
credit and the client's leaving are heard at once. Other hops have that task all the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

from .errors import HopError
from .exchange import Exchange, Source

Rpc: TypeAlias = grpc.aio.ServicerContext[Any, Any]

# How long a call may take before somebody else listens to the client meanwhile, in seconds.
_MOMENT = 0.001


class Reader(Source):
    """Of one stream."""

    def __init__(self, context: Rpc, exchange: Exchange, bounded: bool) -> None:
        """`bounded`: the client does not count credit, so nothing is read while the queue is full."""
        self.reading = False
        self._read = context.read
        self._exchange = exchange
        self._bounded = bounded
        self._over = False
        self._task: asyncio.Task[None] | None = None
        self._fail: Callable[[HopError], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_turns = exchange.hop.per == "frame" and exchange.hop.parallel == 1

    def start(self, fail: Callable[[HopError], None]) -> None:
        """`fail` hears what the client did wrong."""
        self._fail = fail
        if self._in_turns:
            self._exchange.source = self
        else:
            self.behind()

    def behind(self) -> None:
        """Reads on, in a task of its own, until the driver has nothing else to do."""
        if not self.reading and not self._over:
            self.reading = True
            self._task = asyncio.get_running_loop().create_task(self._behind())

    def called(self) -> None:
        """One timer for many calls: to set and cancel one for each would cost more than it saves."""
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + _MOMENT, self._look)

    def returned(self) -> None:
        """The function has ended."""
        self._since = None

    def _look(self) -> None:
        self._timer = None
        if self._since is None:
            return
        if self._loop.time() >= self._since + _MOMENT:
            self.behind()
        else:
            self._timer = self._loop.call_at(self._since + _MOMENT, self._look)

    async def _behind(self) -> None:
        try:
            while not self._over and not (self._in_turns and self._exchange.waits):
                await self.pull()
                if self._bounded:
                    await self._exchange.room()
        except HopError as error:
            assert self._fail is not None, "it was started"
            self._fail(error)
        finally:
            self.reading = False
            # It may wait for what nobody reads any more.
            self._exchange.wake()

    async def close(self) -> None:
        """Nobody listens any more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def pull(self) -> None:
        """Reads one message, and feeds it."""
        received = await self._read()
        exchange = self._exchange
        if received is grpc.aio.EOF:
            self._over = True
            exchange.end("")
            return
        message = received.message
        if message is None:
            raise HopError("bytes that are no message", code="bad_request")
        match message.WhichOneof("message"):
            case "frame":
                exchange.feed(message.frame, received.size, received.data)
            case "interrupt":
                exchange.interrupt()
            case "end":
                exchange.end(message.end.port)
            case "credit":
                exchange.grant(message.credit)
            case "open":
                raise HopError("'open' came twice", code="bad_request")
            # Acknowledgements of outputs are not used, and messages of a newer version are ignored.
            case _:
                pass
