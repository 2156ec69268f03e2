"""Piper: one process that keeps its voice loaded, takes a sentence a line and writes a file for each.

`PIPER_DEVICE` is `cpu`, `cuda`, or `auto` (the default): CUDA where the installed onnxruntime has it and finds a device, the CPU otherwise.
"""

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

from .device import asked, chosen
from .programs import Died, Kept, end
from .weights import PIPER

log = logging.getLogger(__name__)

_PIECE = 2205
"""100 ms at 22,050 Hz."""
# A sentence takes 0.1 to 0.4 s, and the first one waits for the voice to be loaded.
_SENTENCE_SECONDS = 30.0
_WROTE = re.compile(r"Wrote (\S.*)$")
# What onnxruntime says when it goes on with the CPU instead.
_NO_CUDA = re.compile(r"(?:Failed to create CUDAExecutionProvider|EP Error|Specified provider 'CUDAExecutionProvider' is not)[^\x1b]*")
_LINES_KEPT = 5
DEVICE = "PIPER_DEVICE"
_FOLDER = "tidegate-piper-"


class Piper(Kept[Samples]):
    """A voice. Sentences of all sessions are spoken one after the other."""

    def __init__(self) -> None:
        super().__init__("piper", _SENTENCE_SECONDS)
        if importlib.util.find_spec("piper") is None:
            raise Refused("Piper is not installed: pip install piper-tts==1.8.0, or run tests/setup/services.sh")
        model = PIPER.find() / f"{PIPER.name}.onnx"
        # Without noise the same sentence always sounds the same.
        self._command = [sys.executable, "-m", "piper", "-m", str(model), "--noise-scale", "0", "--noise-w-scale", "0"]
        self.device = chosen(DEVICE, _lacking)
        self._program: asyncio.subprocess.Process | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def process(self) -> int | None:
        """Its number, if it runs."""
        return self._program.pid if self._program else None

    async def start(self) -> None:
        """Loads the voice, and sees that it speaks."""
        _remove_what_the_killed_left()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-")
        try:
            await self.ask("Hello.")
        except HopError as error:
            raise Refused(f"{error}: {error.__cause__}") from error
        log.info("English is spoken on the %s", self.device)

    async def stop(self) -> None:
        """Ends the process."""
        await super().stop()
        if self._folder is not None:
            self._folder.cleanup()

    async def say(self, sentence: str) -> AsyncGenerator[Samples]:
        """The sentence, in pieces of 100 ms."""
        sound = await self.ask(sentence)
        for start in range(0, len(sound), _PIECE):
            yield sound[start : start + _PIECE]

    async def _exchange(self, text: str) -> Samples:
        assert self._folder is not None, "it was started"
        if self._program is None:
            self._program = await asyncio.create_subprocess_exec(
                *self._command,
                *(["--cuda"] if self.device == "cuda" else []),
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
            said.write(text.encode() + b"\n")
            await said.drain()
            file = pathlib.Path(await self._written(answers))
            return await asyncio.to_thread(_sound, file)
        except (OSError, wave.Error) as error:
            raise Died(str(error)) from error

    async def _written(self, answers: asyncio.StreamReader) -> str:
        """The next file that it says it wrote. What else it says matters only if it ends, or cannot use the GPU."""
        said: list[str] = []
        while raw := await answers.readline():
            line = raw.decode(errors="replace").rstrip()
            if found := _WROTE.search(line):
                return found.group(1)
            if self.device == "cuda" and (lacks := _NO_CUDA.search(line)):
                if asked(DEVICE) == "cuda":
                    raise Died(f"{DEVICE} is cuda, but onnxruntime cannot use it: {lacks.group()} (README.md, On a GPU)")
                log.warning("English is spoken on the CPU: onnxruntime cannot use CUDA: %s", lacks.group())
                self.device = "cpu"
            said = [*said, line][-_LINES_KEPT:]
        raise Died("; ".join(said) or "it has ended")

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


def _lacking() -> str | None:
    """What a GPU's use lacks, as far as that is known before the voice is loaded."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return None
    return "the installed onnxruntime is made for the CPU only: say cpu or auto, or add what README.md names (On a GPU)"


def _sound(file: pathlib.Path) -> Samples:
    with wave.open(str(file)) as opened:
        samples = np.frombuffer(opened.readframes(opened.getnframes()), np.int16)
    file.unlink()
    return samples
