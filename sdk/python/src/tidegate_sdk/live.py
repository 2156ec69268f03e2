"""A session while it runs: its function and its reader, side by side, and where its words go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ._generated.tidegate.v1 import gateway_pb2 as pb
from .drive import drive
from .errors import HopError, of_exception
from .exchange import Exchange, Sink
from .ports import Payload
from .reader import Reader, Rpc
from .wire import Buffer, length_prefixed, nested, server_frame, size

log = logging.getLogger("tidegate_sdk")


class Live:
    """A session while it runs: `async with` counts it, and says how it ended."""

    def __init__(self, all_of_them: set[Live], left: Callable[[], None], exchange: Exchange) -> None:
        self._all = all_of_them
        self._left = left
        self._exchange = exchange
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._said: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Live:
        self._all.add(self)
        self._exchange.figures.sessions += 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._failed.cancel()
        figures = self._exchange.figures
        figures.sessions -= 1
        self._all.discard(self)
        self._left()
        await self._exchange.close()
        if error is None:
            figures.outcomes["finished"] += 1
        elif isinstance(error, asyncio.CancelledError):
            figures.outcomes["left"] += 1
        elif isinstance(error, HopError):
            figures.outcomes[error.code] += 1

    async def run(self, reader: Reader | None) -> None:
        """The function over the session, until it has said all; an error of any part ends all."""
        loop = asyncio.get_running_loop()
        if reader is not None:
            reader.start(self.fail)
        # A call is over in a moment, and there may be many.
        level = logging.INFO if reader is not None else logging.DEBUG
        driver = loop.create_task(drive_and_log(self._exchange, level))
        timer = None
        if self._exchange.info.deadline is not None:
            late = HopError("the session's time is over", code="timeout", phase="call")
            timer = loop.call_at(self._exchange.info.deadline, self.fail, late)
        try:
            await asyncio.wait([driver, self._failed], return_when=asyncio.FIRST_COMPLETED)
            if not driver.done():
                self._failed.result()
            driver.result()
        finally:
            if timer is not None:
                timer.cancel()
            self._exchange.closed = self._exchange.closed or not driver.done()
            driver.cancel()
            await asyncio.gather(driver, return_exceptions=True)
            if reader is not None:
                await reader.close()

    def fail(self, error: HopError) -> None:
        """Ends it."""
        if not self._failed.done():
            self._failed.set_exception(error)

    def drain(self, until: float) -> None:
        """Tells the client that it should leave."""
        left = max(1, round((until - time.monotonic()) * 1e6))
        message = pb.ServerMessage(draining=pb.Draining(deadline=left))
        self._said = asyncio.get_running_loop().create_task(self._exchange.say(message))
        self._said.add_done_callback(lambda said: said.cancelled() or said.exception())


async def drive_and_log(exchange: Exchange, level: int) -> None:
    began = time.monotonic()
    try:
        await drive(exchange)
    except HopError as error:
        if error.code == "remote_execution" and error.__cause__ is not None:
            log.error("hop '%s' failed: %s", exchange.hop.name, error, exc_info=error.__cause__)
        raise
    except Exception as error:
        log.exception("hop '%s' failed in session %s", exchange.hop.name, exchange.info.id)
        raise of_exception(error) from error
    finally:
        log.log(level, "hop '%s' ended after %.1f s", exchange.hop.name, time.monotonic() - began)


class StreamSink(Sink):
    """A stream's client."""

    def __init__(self, context: Rpc) -> None:
        self._write = context.write

    def frame(self, port: str, meta: bytes, payload: Payload) -> Awaitable[None]:
        return self._write(server_frame(meta, *payload))

    def say(self, message: pb.ServerMessage) -> Awaitable[None]:
        return self._write(message.SerializeToString())


class MemorySink(Sink):
    """The answer of a call, while it is made."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._frames: dict[str, list[Buffer]] = {}

    async def frame(self, port: str, meta: bytes, payload: Payload) -> None:
        field, head, data = payload
        pieces: list[Buffer] = [meta, *nested(field, [head, data])]
        self._size += size(pieces)
        if self._size > self._limit:
            raise HopError(f"the answer is larger than {self._limit} bytes: use the stream", code="too_large")
        # What a function gave may be changed by it afterwards.
        self._frames.setdefault(port, []).extend(bytes(piece) for piece in nested(1, pieces))

    async def say(self, message: pb.ServerMessage) -> None:
        pass

    def response(self) -> bytes:
        """`ExecuteResponse`: entries of a map, each with its key and its value."""
        whole: list[Buffer] = []
        for port, frames in self._frames.items():
            key = port.encode()
            whole += nested(1, [length_prefixed(1, len(key)), key, *nested(2, frames)])
        return b"".join(whole)
