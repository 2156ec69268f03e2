"""The time in which a function works on something, and the reasons for which it may be cut short.

Only what is waited for is cancelled, never a write that is under way: half a message must not go out.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal

Why = Literal["interrupted", "deadline", "timeout"]


class Scope:
    """`with Scope(…) as scope:` ends early, without an exception, when it is stopped; `scope.why` then says why."""

    __slots__ = ("_before", "_loop", "_registry", "_task", "_timers", "_writing", "why")

    def __init__(self, registry: set[Scope], deadline: float | None = None, timeout: float | None = None) -> None:
        """`deadline` by the loop's clock, which is the monotonic one; `timeout` in seconds from now."""
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "a scope belongs to a task"
        self._task = task
        self._timers: list[asyncio.TimerHandle] = []
        self.renew(deadline, timeout)

    def renew(self, deadline: float | None, timeout: float | None) -> Scope:
        """For the next call of the same task."""
        self.why: Why | None = None
        self._writing = False
        self._before = self._task.cancelling()
        if deadline is not None:
            self._timers.append(self._loop.call_at(deadline, self.stop, "deadline"))
        if timeout is not None:
            self._timers.append(self._loop.call_later(timeout, self.stop, "timeout"))
        return self

    def __enter__(self) -> Scope:
        self._registry.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self._registry.discard(self)
        while self._timers:
            self._timers.pop().cancel()
        if self.why is None:
            return False
        ours = self._task.cancelling() <= self._before or self._task.uncancel() <= self._before
        return ours and kind is asyncio.CancelledError

    def stop(self, why: Why) -> None:
        """Cuts it short. The first reason counts."""
        if self.why is None:
            self.why = why
            if not self._writing:
                self._task.cancel()

    def begin_write(self) -> None:
        """From here on it is not cancelled."""
        if self.why is not None:
            raise asyncio.CancelledError
        self._writing = True

    def end_write(self) -> None:
        """What was asked for meanwhile happens now."""
        self._writing = False
        if self.why is not None:
            raise asyncio.CancelledError
