"""What a function may know beside its input."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

from .errors import in_future
from .ports import Format
from .values import Frame

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What holds for a whole session."""

    id: str
    hop: str
    parameters: Mapping[str, Any]
    mode: Literal["live", "waits"]
    """`live`: somebody listens now. `waits`: a file, which may take its time."""
    formats: Mapping[str, Format]
    """Audio formats by port."""
    deadline: float | None
    """When the session ends at the latest, by `time.monotonic()`."""
    traceparent: str | None
    """W3C trace context of the caller, as it came."""
    tracestate: str | None
    peer: str
    threads: Executor
    """For calls."""
    streams: Executor
    """For functions that wait for input in their thread: one a session."""


class Context:
    """What a function may know beside its input: of the session, and of the call."""

    __slots__ = ("_stopped", "frame", "session")

    def __init__(self, session: SessionInfo, frame: Frame[Any] | None, stopped: Callable[[], bool]) -> None:
        self.session = session
        self.frame = frame
        """The frame that the function was called with."""
        self._stopped = stopped

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Values of the hop's parameters."""
        return self.session.parameters

    @property
    def traceparent(self) -> str | None:
        """W3C trace context of the caller."""
        return self.session.traceparent

    @property
    def cancelled(self) -> bool:
        """Nobody wants the result any more: look at it in long synchronous work. An async function is cancelled instead."""
        return self._stopped()

    async def run(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Blocking work in the bounded thread pool, so that other sessions go on meanwhile."""
        context = contextvars.copy_context()

        def work() -> R:
            return context.run(function, *arguments, **named)

        return await asyncio.get_running_loop().run_in_executor(self.session.threads, in_future, work)


_current: contextvars.ContextVar[Context | None] = contextvars.ContextVar("tidegate_context", default=None)


def current() -> Context | None:
    """The context of the call that runs, wherever in it: what logs and traces can hang on to."""
    return _current.get()


def enter(context: Context) -> None:
    """Makes it the current one of this task."""
    _current.set(context)
