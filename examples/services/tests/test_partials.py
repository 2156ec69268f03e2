"""When speech to text computes partial results, each of which costs as much as the final one: by a recogniser that counts its calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, cast

import numpy as np
import pytest
from tidegate_sdk import Context, Final, Partial, Samples, Utterance
from tidegate_sdk.context import SessionInfo

from tidegate_services.stt import RATE, Recogniser, SpeechToText

SECONDS = 3.0
LIVE: Literal["live", "waits"] = "live"
WAITS: Literal["live", "waits"] = "waits"


class Counting:
    """A recogniser that understands how much there is."""

    def __init__(self) -> None:
        self.calls = 0

    def recognise(self, samples: Samples, language: str) -> str:
        self.calls += 1
        return f"{len(samples) / RATE:.1f} s"


class Spoken:
    """An utterance that comes as fast as it is said from here on; what was said before waits already."""

    def __init__(self, waiting: float) -> None:
        self.complete = False
        self._left = SECONDS
        self._waiting = waiting

    async def chunks(self, seconds: float) -> AsyncIterator[Samples]:
        while not self.complete:
            length = min(seconds, self._left)
            await asyncio.sleep(max(0.0, length - self._waiting))
            self._waiting = max(0.0, self._waiting - length)
            self._left -= length
            self.complete = self._left < 1e-6
            # Loud all the time: no pause.
            yield np.full(round(length * RATE), 9_000, np.int16)


async def _said(recogniser: Counting, spoken: Spoken, mode: Literal["live", "waits"], partial_seconds: float) -> tuple[int, list[str]]:
    """How many partial results there were, and the final ones."""
    service = SpeechToText()
    service._loaded["tiny.en"] = cast(Recogniser, recogniser)
    parameters = {"language": "en", "model": "", "partial_seconds": partial_seconds}
    with ThreadPoolExecutor(1) as threads:
        info = SessionInfo("test", "stt", parameters, mode, {}, None, None, None, "", threads, threads)
        speech = cast(Utterance[Samples], spoken)
        said = [one async for one in service.stt(speech, Context(info, None, lambda: False))]
    assert recogniser.calls == len(said)
    return sum(isinstance(one, Partial) for one in said), [one.value for one in said if isinstance(one, Final)]


@pytest.mark.parametrize(
    ("mode", "waiting", "partial_seconds", "least", "most"),
    [
        # Nobody reads them.
        (WAITS, SECONDS, -1, 0, 0),
        (WAITS, SECONDS, 0, 0, 0),
        # They are asked for; its sound waits always.
        (WAITS, SECONDS, 1, 2, 2),
        (LIVE, 0, -1, 1, 2),
        (LIVE, 0, 0.5, 2, 5),
        (LIVE, 0, 0, 0, 0),
        # Behind what is said to its end, and until it has caught up.
        (LIVE, SECONDS, -1, 0, 0),
        (LIVE, SECONDS, 0.5, 0, 0),
        (LIVE, 2, 0.5, 1, 2),
    ],
)
def test_there_are_partial_results_where_somebody_reads_them_in_time(
    monkeypatch: pytest.MonkeyPatch, mode: Literal["live", "waits"], waiting: float, partial_seconds: float, least: int, most: int
) -> None:
    # None is loaded.
    monkeypatch.setenv("STT_MODELS", "")
    partials, finals = asyncio.run(_said(Counting(), Spoken(waiting), mode, partial_seconds))
    assert least <= partials <= most
    assert finals == [f"{SECONDS:.1f} s"]
