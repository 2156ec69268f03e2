"""One direction of Apertium: its chain of programs, fed with one text at a time, and begun anew if it dies."""

from __future__ import annotations

import asyncio
import os
import re
import shlex

from tidegate_sdk import HopError, Refused

from .programs import Died, Kept
from .programs import end as end_program

# A sentence takes 1 to 3 ms; a chain that stands still is begun anew.
_ANSWER_SECONDS = 10.0
_ANSWER_BYTES = 1 << 20
_END = b"\0"
# What means something in Apertium's own stream is written with a backslash before it.
_SPECIAL = re.compile(r"([\^$@\\/<>{}\[\]])")


def stages(mode: str) -> list[list[str]]:
    """The commands of a mode file, each told to pass on what it has when a text ends (`-z`).

    `$1` stands for options of generation, `-n` leaves unknown words as they are; `$2` for options that nobody needs.
    """
    words = shlex.split(mode, posix=True)
    chain: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            chain.append([])
        elif word == "$1":
            chain[-1].append("-n")
        elif word != "$2":
            chain[-1].append(word)
    return [[command[0], "-z", *command[1:]] for command in chain if command]


class Apertium(Kept[str]):
    """See the module."""

    def __init__(self, name: str, stages: list[list[str]]) -> None:
        super().__init__(f"apertium, {name}", _ANSWER_SECONDS)
        self._stages = stages
        self._chain: _Chain | None = None

    @property
    def processes(self) -> list[int]:
        """Of the chain, if it runs."""
        return self._chain.processes if self._chain else []

    async def start(self) -> None:
        """Begins the chain, and sees that it translates."""
        try:
            await self.ask("hello")
        except HopError as error:
            raise Refused(f"{error}: {error.__cause__}") from error

    async def translate(self, text: str) -> str:
        """A text in the other language."""
        return await self.ask(text) if text.strip() else text

    async def _exchange(self, text: str) -> str:
        if self._chain is None:
            self._chain = await _Chain.start(self._stages)
        return await self._chain.ask(text)

    async def _drop(self) -> None:
        chain, self._chain = self._chain, None
        if chain is not None:
            await chain.stop()


class _Chain:
    """The running programs, each with its output in the next one's input."""

    def __init__(self, programs: list[asyncio.subprocess.Process]) -> None:
        self._programs = programs

    @property
    def processes(self) -> list[int]:
        return [program.pid for program in self._programs]

    @classmethod
    async def start(cls, stages: list[list[str]]) -> _Chain:
        programs: list[asyncio.subprocess.Process] = []
        chain = cls(programs)
        before: int = asyncio.subprocess.PIPE
        try:
            for number, command in enumerate(stages):
                last = number == len(stages) - 1
                reading, writing = (asyncio.subprocess.PIPE, asyncio.subprocess.PIPE) if last else os.pipe()
                try:
                    # In a session of its own: Ctrl-C in a terminal is for the service, which ends the chain itself.
                    program = await asyncio.create_subprocess_exec(
                        *command, stdin=before, stdout=writing, limit=_ANSWER_BYTES, start_new_session=True
                    )
                    programs.append(program)
                finally:
                    for end in (before, writing):
                        if end >= 0:
                            os.close(end)
                    before = reading
        except BaseException as error:
            # Of a chain that is given up in the midst of its start, nothing stays.
            if before >= 0:
                os.close(before)
            await chain.stop()
            if isinstance(error, OSError):
                raise Died(f"{error.filename}: {error.strerror}") from error
            raise
        return chain

    async def ask(self, text: str) -> str:
        first, last = self._programs[0].stdin, self._programs[-1].stdout
        assert first is not None
        assert last is not None
        escaped = _SPECIAL.sub(r"\\\1", text.replace("\0", " "))
        try:
            # Without a blank that is no text at the end, the last word would wait for what follows it.
            first.write(escaped.encode() + b"[]" + _END)
            await first.drain()
            answer = await last.readuntil(_END)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Died("a program of the chain has ended, or says too much") from error
        plain = answer.removesuffix(_END).decode(errors="replace")
        # Of a chain that breaks, the programs behind the break end with an answer that lacks what was asked.
        if not plain.endswith("[]"):
            raise Died("the chain broke over a text")
        return re.sub(r"\\(.)", r"\1", plain.removesuffix("[]"))

    async def stop(self) -> None:
        await asyncio.gather(*(end_program(program) for program in self._programs))
        stdin = self._programs[0].stdin if self._programs else None
        if stdin is not None:
            stdin.close()
