"""espeak-ng: started for each sentence, since it speaks after 13 ms."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator

import numpy as np
from tidegate_sdk import HopError, Refused, Samples

from .programs import end

_WAV_HEADER = 44
_PIECE = 2205 * 2
"""100 ms at 22,050 Hz."""
_SENTENCE_SECONDS = 20.0


class Espeak:
    """A voice."""

    def __init__(self, language: str) -> None:
        # UTF-8 from standard input, where no text can be taken for an option; a WAV file to standard output.
        self._command = ["espeak-ng", "-v", language, "-b", "1", "--stdin", "--stdout"]

    async def start(self) -> None:
        """Sees that it is installed."""
        if shutil.which(self._command[0]) is None:
            raise Refused("espeak-ng is not installed: apt-get install espeak-ng")

    async def stop(self) -> None:
        """Nothing runs between sentences."""

    async def say(self, sentence: str) -> AsyncGenerator[Samples]:
        """The sentence, in pieces of 100 ms as they are made."""
        program = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            async with asyncio.timeout(_SENTENCE_SECONDS):
                program.stdin.write(sentence.encode())
                program.stdin.close()
                await program.stdout.readexactly(_WAV_HEADER)
            while True:
                async with asyncio.timeout(_SENTENCE_SECONDS):
                    piece = await _read(program.stdout)
                if len(piece) >= 2:
                    yield np.frombuffer(piece[: len(piece) // 2 * 2], np.int16)
                if len(piece) < _PIECE:
                    break
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            raise HopError("espeak-ng did not speak", retryable=True) from error
        finally:
            # Somebody who interrupts wants no more of it.
            await asyncio.shield(end(program))


async def _read(source: asyncio.StreamReader) -> bytes:
    """A whole piece, or what is left."""
    try:
        return await source.readexactly(_PIECE)
    except asyncio.IncompleteReadError as error:
        return error.partial
