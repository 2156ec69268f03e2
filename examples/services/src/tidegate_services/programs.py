"""What the programs that the services keep or start have in common: how they are asked, and their end."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
from typing import Generic, TypeVar

from tidegate_sdk import HopError

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_ATTEMPTS = 2


class Died(Exception):
    """A program has ended, or does not answer."""


class Kept(abc.ABC, Generic[Answer]):
    """A program, or a chain of them, that is asked one text at a time, and begun anew if it dies or hangs."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._asked: set[asyncio.Task[Answer]] = set()

    @abc.abstractmethod
    async def _exchange(self, text: str) -> Answer:
        """One answer, of a program that is begun if none runs. Raises `Died`."""

    @abc.abstractmethod
    async def _drop(self) -> None:
        """Ends the program, if one runs."""

    async def ask(self, text: str) -> Answer:
        """The answer. Raises `HopError` if there was none twice."""
        # Whoever asked may be interrupted; the answer comes all the same, and must not be taken for that to the next text.
        task = asyncio.create_task(self._attempts(text))
        self._asked.add(task)
        task.add_done_callback(self._answered)
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Ends it, and whatever waits for it."""
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self._drop()

    def _answered(self, task: asyncio.Task[Answer]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()

    async def _attempts(self, text: str) -> Answer:
        async with self._turn:
            failed: Exception | None = None
            for attempt in range(_ATTEMPTS):
                try:
                    async with asyncio.timeout(self._seconds):
                        return await self._exchange(text)
                except (Died, TimeoutError) as error:
                    failed = Died(str(error) or "no answer")
                    log.warning("%s: %s (attempt %d)", self._name, failed, attempt + 1)
                    await self._drop()
                except asyncio.CancelledError:
                    await self._drop()
                    raise
            raise HopError(f"{self._name} failed twice over a text of {len(text)} characters") from failed


async def end(program: asyncio.subprocess.Process) -> None:
    """Kills it, and waits until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        program.kill()
    # asyncio calls a process ended once its pipes are closed too, and a pipe whose reader has paused over what nobody takes never is.
    await program.communicate()
