"""What functions iterate over: the frames of an utterance, or of a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, ParamSpec, TypeVar

from .context import Context
from .exchange import Exchange
from .item import Item
from .values import Frame, Out, join

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# Far less than a sample's time.
_ROUNDING = 1e-7


class Utterance(Generic[T]):
    """The values of one utterance, as they come: `async for` in an async function, `for` in one that runs in a thread.

    Where the input knows no utterances, all of it is one.
    """

    def __init__(self, exchange: Exchange, first: Item, number: int, context: Context) -> None:
        self.number = number
        self.context = context
        self.complete = False
        """The last of its frames was taken: what comes next is the `Final`."""
        self.seconds = 0.0
        """How much audio was taken."""
        self._exchange = exchange
        self._of = first.message.utterance
        self._lane = first.lane
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._asked: Future[Item | None] | None = None
        self.last: Item | None = None
        first.lane.keep = first.seq

    @property
    def frame(self) -> Frame[T] | None:
        """The newest frame that was taken."""
        return self.last.frame() if self.last else None

    def __aiter__(self) -> Utterance[T]:
        return self

    async def __anext__(self) -> T:
        item = await self.next()
        if item is None:
            raise StopAsyncIteration
        value: T = item.frame().value
        return value

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        # In a thread of the pool. It ends when the session does, which cancels what is awaited.
        if self._closed:
            raise CancelledError
        self._asked = asyncio.run_coroutine_threadsafe(self.next(), self._loop)
        item = self._asked.result()
        if item is None:
            raise StopIteration
        value: T = item.frame().value
        return value

    async def chunks(self, seconds: float) -> AsyncIterator[T]:
        """Audio in pieces of at least so many seconds, the last one shorter. A slow function gets longer pieces, not more of them."""
        pieces: list[Any] = []
        began = self.seconds
        while (item := await self.next()) is not None:
            pieces.append(item.frame().value)
            follows = self._exchange.waiting
            # Pieces of 0.02 s add up to a little less than what they are asked for.
            if self.complete or (self.seconds - began >= seconds - _ROUNDING and (follows is None or not self._owns(follows))):
                piece: Any = join(pieces)
                pieces, began = [], self.seconds
                yield piece
        if pieces:
            yield join(pieces)  # type: ignore[misc]

    async def run(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Blocking work in the bounded thread pool, so that other sessions go on meanwhile."""
        return await self.context.run(function, *arguments, **named)

    def _owns(self, item: Item) -> bool:
        return item.message.utterance == self._of

    async def next(self) -> Item | None:
        """The next frame. The one before is settled only now: it might have been the last, of which the final result comes."""
        if self.complete:
            return None
        head = await self._exchange.head()
        if head is None or not self._owns(head):
            self.complete = True
            return None
        item = self._exchange.take()
        before, self.last = self.last, item
        self.complete = item.message.final
        self.seconds += item.lane.port.duration_us(item.frame().value, item.lane.format) / 1e6
        if before is not None:
            self._exchange.settle(before)
        return item

    async def rest(self) -> None:
        """The function has ended. What it left of the utterance is not wanted."""
        while await self.next() is not None:
            self._exchange.figures.drop("unused")

    def close(self) -> None:
        """All was said of it, or nobody wants it. A thread that still asks for more hears that it is cancelled."""
        self._closed = True
        if self._asked is not None:
            self._asked.cancel()
        self._lane.keep = 0
        if self.last is not None:
            self._exchange.settle(self.last)


class Session:
    """The frames of all inputs of a session, as they come, and its outputs.

    A frame counts as answered when the next one is asked for. `keep_from` says what a replica that takes over would need again.
    """

    def __init__(self, exchange: Exchange, context: Context) -> None:
        self.context = context
        self._exchange = exchange
        self._last: Item | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._asked: Future[Frame[Any] | None] | None = None
        self._seen = 0

    def __aiter__(self) -> Session:
        return self

    def __iter__(self) -> Session:
        return self

    def __next__(self) -> Frame[Any]:
        # In a thread of the pool, as of an utterance.
        if self._closed:
            raise CancelledError
        self._asked = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        frame = self._asked.result()
        if frame is None:
            raise StopIteration
        return frame

    async def __anext__(self) -> Frame[Any]:
        frame = await self._next()
        if frame is None:
            raise StopAsyncIteration
        return frame

    async def _next(self) -> Frame[Any] | None:
        self._settle()
        if await self._exchange.head() is None:
            return None
        self._last = self._exchange.take()
        return self._last.frame()

    def _settle(self) -> None:
        if self._last is not None:
            last, self._last = self._last, None
            self._exchange.settle(last)

    def close(self) -> None:
        """The session is over."""
        self._closed = True
        if self._asked is not None:
            self._asked.cancel()
        self.keep_nothing()
        self._settle()

    @property
    def last(self) -> Item | None:
        """The newest frame that was taken, if it is not settled."""
        return self._last

    @property
    def interrupted(self) -> bool:
        """Whether there was an interrupt since this was last asked: what was said and not yet heard is void."""
        before, self._seen = self._seen, self._exchange.interrupts
        return self._seen > before

    async def send(self, value: Any, port: str | None = None) -> None:
        """Gives an output, which the newest frame caused. Waits while the caller takes nothing."""
        out = value if isinstance(value, Out) else Out(value)
        if port is not None:
            out.port = port
        await self._exchange.emit(out, self._last, None)

    def keep_from(self, frame: Frame[Any]) -> None:
        """If this replica is lost, the next one gets this input again from this frame on."""
        lane = self._exchange.inputs[frame.port]
        lane.keep = max(lane.keep, frame.seq)

    def keep_nothing(self, port: str | None = None) -> None:
        """What was answered is needed no more."""
        for lane in self._exchange.inputs.values():
            if port in (None, lane.port.name):
                lane.keep = 0

    async def run(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Blocking work in the bounded thread pool, so that other sessions go on meanwhile."""
        return await self.context.run(function, *arguments, **named)
