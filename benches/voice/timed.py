"""The example services, each saying how long it took over what a turn waits for."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from tidegate_sdk import Context, Final, Hop, Utterance
from tidegate_services.speak import Speech
from tidegate_services.stt import SpeechToText
from tidegate_services.translate import Translation


def took(name: str, arrived: float) -> None:
    """From the arrival of what caused it until now, in the worker."""
    print(f"took {name} {time.monotonic() - arrived:.6f}", flush=True)


def timed(hop: Hop) -> Hop:
    """Says it of the first output of each utterance that is not to be replaced."""

    async def function(self: object, words: Utterance[Any], context: Context) -> AsyncIterator[Any]:
        said = False
        async with aclosing(hop.function(self, words, context)) as outputs:
            async for out in outputs:
                if not said and (hop.name != "stt" or isinstance(out, Final)):
                    said = True
                    assert words.frame is not None
                    took(hop.name, words.frame.arrived)
                yield out

    return dataclasses.replace(hop, function=function)


def timed_call(hop: Hop) -> Hop:
    """Says it of each final input."""

    async def function(self: object, text: str, context: Context) -> Any:
        result = await hop.function(self, text, context)
        assert context.frame is not None
        if context.frame.final:
            took(hop.name, context.frame.arrived)
        return result

    return dataclasses.replace(hop, function=function)


class TimedStt(SpeechToText):
    stt = timed(SpeechToText.stt)


class TimedTranslation(Translation):
    translate = timed_call(Translation.translate)


class TimedSpeech(Speech):
    speak = timed(Speech.speak)
