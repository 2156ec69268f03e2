"""One call for several callers: what waits for a GPU is gathered over sessions.

A call is made as soon as `frames` are there, or when the first of fewer has waited for `wait`; while one runs, the next gathers.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .errors import HopError, in_future

T = TypeVar("T")
R = TypeVar("R")

# Waiting callers, in batches; of more, each waits until one of them goes.
_QUEUE_BATCHES = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """At most so many frames in one call, and at most so long, in seconds, until the first of them is called."""

    frames: int
    wait: float = 0.005
    calls: int = 1
    """Calls at a time."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.calls < 1 or not 0 <= self.wait <= 60:
            raise ValueError("a batch has at least one frame, one call, and waits for 0 to 60 seconds")


Whole = Callable[[list[T]], Sequence[R | Exception] | Awaitable[Sequence[R | Exception]]]


def batched(frames: int, *, wait: float = 0.005, calls: int = 1) -> Callable[[Whole[T, R]], Batcher[T, R]]:
    """Makes an async function of one value from a function of a list of them.

    The function gives as many results as it gets values; one that is an exception fails its caller alone.
    """

    def decorate(function: Whole[T, R]) -> Batcher[T, R]:
        return Batcher(function, Batch(frames, wait, calls), getattr(function, "__name__", "batch"))

    return decorate


@dataclass(eq=False, slots=True)
class _Caller(Generic[T, R]):
    value: T
    result: asyncio.Future[R]
    due: float


class Batcher(Generic[T, R]):
    """Gathers values of many callers. Belongs to the loop that it is first called on."""

    def __init__(self, function: Whole[T, R], batch: Batch, name: str) -> None:
        self._function = function
        self._batch = batch
        self._name = name
        self._waiting: deque[_Caller[T, R]] = deque()
        self._room = asyncio.Semaphore(batch.frames * _QUEUE_BATCHES)
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._threads: ThreadPoolExecutor | None = None
        self.on_call: Callable[[int, float], None] | None = None
        """Hears of each call: how many frames, and how long it took."""

    async def __call__(self, value: T) -> R:
        loop = asyncio.get_running_loop()
        async with self._room:
            caller: _Caller[T, R] = _Caller(value, loop.create_future(), loop.time() + self._batch.wait)
            self._waiting.append(caller)
            self._go()
            try:
                return await caller.result
            except asyncio.CancelledError:
                if caller in self._waiting:
                    self._waiting.remove(caller)
                raise

    def _go(self) -> None:
        """Calls what is to be called now."""
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._calls) < self._batch.calls:
            if len(self._waiting) < self._batch.frames and loop.time() < self._waiting[0].due:
                if self._timer is None:
                    self._timer = loop.call_at(self._waiting[0].due, self._due)
                return
            count = min(self._batch.frames, len(self._waiting))
            callers = [self._waiting.popleft() for _ in range(count)]
            task = asyncio.create_task(self._call(callers))
            self._calls.add(task)
            task.add_done_callback(self._called)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._go()

    def _called(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._go()

    async def _call(self, callers: list[_Caller[T, R]]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        results: Sequence[R | Exception]
        try:
            results = await self._run([caller.value for caller in callers])
            if len(results) != len(callers):
                raise HopError(f"the batch function '{self._name}' gave {len(results)} results for {len(callers)} values")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The loop ends, and with it whoever waits.
                for caller in callers:
                    caller.result.cancel()
                raise
            # The function's own: something that it waited for was cancelled. Its callers were not.
            results = [self._cancelled()] * len(callers)
        except Exception as error:
            results = [error] * len(callers)
        if self.on_call is not None:
            self.on_call(len(callers), loop.time() - began)
        for caller, result in zip(callers, results, strict=True):
            if caller.result.done():
                continue
            if isinstance(result, asyncio.CancelledError):
                # As `asyncio.gather(…, return_exceptions=True)` gives it.
                caller.result.set_exception(self._cancelled())
            elif isinstance(result, StopIteration):
                caller.result.set_exception(RuntimeError("StopIteration"))
            elif isinstance(result, Exception):
                caller.result.set_exception(result)
            else:
                caller.result.set_result(result)

    def _cancelled(self) -> HopError:
        return HopError(f"the batch function '{self._name}' was cancelled by something that it waited for")

    async def _run(self, values: list[T]) -> Sequence[R | Exception]:
        function: Callable[[list[T]], Any] = self._function
        if inspect.iscoroutinefunction(function):
            results: Sequence[R | Exception] = await function(values)
            return results
        if self._threads is None:
            # Threads of its own: what is bound to a thread, as a CUDA context is, stays there.
            self._threads = ThreadPoolExecutor(self._batch.calls, f"batch-{self._name}")
        return await asyncio.get_running_loop().run_in_executor(self._threads, in_future, lambda: function(values))
