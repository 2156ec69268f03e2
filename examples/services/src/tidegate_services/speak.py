"""Text to speech, sentence by sentence: Piper for English, espeak-ng for Spanish.

    python -m tidegate_sdk serve tidegate_services.speak:Speech --listen 127.0.0.1:7003

Both programs are GPL and run beside this process. A sentence is spoken as soon as it is complete, while the next one is still being
written; an interrupt ends it in its midst.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Protocol

from tidegate_sdk import Audio, Context, HopError, Samples, Text, Utterance, per_utterance

from .espeak import Espeak
from .piper import Piper
from .sentences import Sentences

RATE = 22_050


class Voice(Protocol):
    """A program that speaks."""

    async def start(self) -> None:
        """Sees that it is there."""

    async def stop(self) -> None:
        """Ends what runs."""

    def say(self, sentence: str) -> AsyncGenerator[Samples]:
        """A sentence as 16-bit sound of `RATE`, in pieces of the same length each time."""


class Speech:
    """The service."""

    def __init__(self) -> None:
        self._voices: Mapping[str, Voice] = {"en": Piper(), "es": Espeak("es")}

    async def __aenter__(self) -> Speech:
        for voice in self._voices.values():
            await voice.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for voice in self._voices.values():
            await voice.stop()

    # Deterministic: if this process dies in the midst of a sentence, another goes on where it was.
    @per_utterance(takes=Text("text"), gives=Audio("speech", RATE), deterministic=True, parameters={"language": "en"})
    async def speak(self, words: Utterance[str], context: Context) -> AsyncIterator[Samples]:
        """Speaks what is not to be replaced any more: final texts, and the pieces of a text that comes bit by bit."""
        language = str(context.parameters["language"])
        voice = self._voices.get(language)
        if voice is None:
            raise HopError(f"no voice speaks '{language}': there are {', '.join(self._voices)}", code="bad_request")
        sentences = Sentences()
        async for text in words:
            frame = words.frame
            if frame is None or (frame.revision > 0 and not frame.final):
                continue
            # A text of no utterance is a whole; of one that has a number, more may come.
            for sentence in sentences.add(text, whole=frame.final or frame.utterance == 0):
                # Closed here and now if it is interrupted, and not when somebody collects it.
                async with aclosing(voice.say(sentence)) as pieces:
                    async for piece in pieces:
                        yield piece
