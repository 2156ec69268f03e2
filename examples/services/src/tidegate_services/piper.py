"""Piper: one process that keeps its voice loaded, takes a sentence a line and writes a file for each."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import pathlib
import re
import shutil
import sys
import tempfile
import wave
from collections.abc import AsyncGenerator

import numpy as np
from tidegate_sdk import HopError, Refused, Samples

from .programs import end
from .weights import PIPER

log = logging.getLogger(__name__)

_PIECE = 2205
"""100 ms at 22,050 Hz."""
# A sentence takes 0.1 to 0.4 s, and the first one waits for the voice to be loaded.
_SENTENCE_SECONDS = 30.0
_WROTE = re.compile(r"Wrote (\S.*)$")
_LINES_KEPT = 5
_FOLDER = "tidegate-piper-"


class Died(Exception):
    """The process has ended, or does not answer."""


class Piper:
    """A voice. Sentences of all sessions are spoken one after the other."""

    def __init__(self) -> None:
        if importlib.util.find_spec("piper") is None:
            raise Refused("Piper is not installed: pip install piper-tts==1.8.0, or run tests/setup/services.sh")
        model = PIPER.find() / f"{PIPER.name}.onnx"
        # Without noise the same sentence always sounds the same.
        self._command = [sys.executable, "-m", "piper", "-m", str(model), "--noise-scale", "0", "--noise-w-scale", "0"]
        self._turn = asyncio.Lock()
        self._program: asyncio.subprocess.Process | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._asked: set[asyncio.Task[Samples]] = set()

    @property
    def process(self) -> int | None:
        """Its number, if it runs."""
        return self._program.pid if self._program else None

    async def start(self) -> None:
        """Loads the voice, and sees that it speaks."""
        _remove_what_the_killed_left()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-")
        try:
            await self._ask("Hello.")
        except HopError as error:
            raise Refused(str(error)) from error

    async def stop(self) -> None:
        """Ends the process."""
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self._drop()
        if self._folder is not None:
            self._folder.cleanup()

    async def say(self, sentence: str) -> AsyncGenerator[Samples]:
        """The sentence, in pieces of 100 ms."""
        # Whoever asked may be interrupted; the file comes all the same, and must not be taken for the next sentence.
        task = asyncio.create_task(self._ask(sentence))
        self._asked.add(task)
        task.add_done_callback(self._answered)
        sound = await asyncio.shield(task)
        for start in range(0, len(sound), _PIECE):
            yield sound[start : start + _PIECE]

    def _answered(self, task: asyncio.Task[Samples]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()

    async def _ask(self, sentence: str) -> Samples:
        async with self._turn:
            for attempt in (1, 2):
                try:
                    async with asyncio.timeout(_SENTENCE_SECONDS):
                        return await self._speak(sentence)
                except (Died, TimeoutError) as error:
                    log.warning("piper: %s (attempt %d)", error or "no answer", attempt)
                    await self._drop()
                except asyncio.CancelledError:
                    await self._drop()
                    raise
            raise HopError(f"piper failed twice over a sentence of {len(sentence)} characters")

    async def _speak(self, sentence: str) -> Samples:
        assert self._folder is not None, "it was started"
        if self._program is None:
            self._program = await asyncio.create_subprocess_exec(
                *self._command,
                "--output-dir",
                self._folder.name,
                stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        said, answers = self._program.stdin, self._program.stderr
        assert said is not None
        assert answers is not None
        try:
            said.write(sentence.encode() + b"\n")
            await said.drain()
            file = pathlib.Path(await _written(answers))
            return await asyncio.to_thread(_sound, file)
        except (OSError, wave.Error) as error:
            raise Died(str(error)) from error

    async def _drop(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            await end(program)


def _remove_what_the_killed_left() -> None:
    """A service that was killed could not remove its folder."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        number = folder.name.removeprefix(_FOLDER).split("-")[0]
        if number.isdecimal() and not _lives(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


async def _written(answers: asyncio.StreamReader) -> str:
    """The next file that it says it wrote. What else it says matters only if it ends."""
    said: list[str] = []
    while raw := await answers.readline():
        line = raw.decode(errors="replace").rstrip()
        if found := _WROTE.search(line):
            return found.group(1)
        said = [*said, line][-_LINES_KEPT:]
    raise Died("; ".join(said) or "it has ended")


def _sound(file: pathlib.Path) -> Samples:
    with wave.open(str(file)) as opened:
        samples = np.frombuffer(opened.readframes(opened.getnframes()), np.int16)
    file.unlink()
    return samples
