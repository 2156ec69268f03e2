"""Services that the tests serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np

from tidegate_sdk import (
    Array,
    Audio,
    Batch,
    Binary,
    Context,
    EncodedAudio,
    Final,
    Frame,
    HopError,
    Json,
    Partial,
    Picture,
    Refused,
    Samples,
    Session,
    Tensor,
    Text,
    Utterance,
    Video,
    per_frame,
    per_session,
    per_utterance,
)


class Echo:
    """Each kind there and back."""

    @per_frame(takes=Audio(), gives=Audio(), deterministic=True)
    async def audio(self, value: Samples) -> Samples:
        return value

    @per_frame(takes=EncodedAudio(), gives=EncodedAudio())
    async def opus(self, value: bytes) -> bytes:
        return value

    @per_frame(takes=Video(), gives=Video())
    async def video(self, value: Picture) -> Picture:
        return value

    @per_frame(takes=Text(), gives=Text())
    def text(self, value: str) -> str:
        return value

    @per_frame(takes=Binary(), gives=Binary())
    async def binary(self, value: bytes) -> bytes:
        return value

    @per_frame(takes=Tensor(), gives=Tensor(), deterministic=True)
    async def tensor(self, value: Array) -> Array:
        return value

    @per_frame(takes=Json(), gives=Json())
    async def json(self, value: Any) -> Any:
        return value


@per_utterance(takes=Audio("speech", 16_000), gives=Text("words"))
async def stt(speech: Utterance[Samples]) -> AsyncIterator[Partial[str] | Final[str]]:
    """Counts samples, as if it recognised them."""
    heard = np.empty(0, np.int16)
    async for piece in speech.chunks(seconds=0.1):
        heard = np.append(heard, piece)
        if not speech.complete:
            yield Partial(await speech.run(_recognise, heard))
    yield Final(await speech.run(_recognise, heard))


def _recognise(samples: Samples) -> str:
    return f"{len(samples)} samples, sum {int(samples.sum(dtype=np.int64))}"


@per_utterance(takes=Audio("speech", 16_000), gives=Text("words"), name="stt-in-thread")
def stt_in_thread(speech: Utterance[Samples]) -> Iterator[Partial[str] | Final[str]]:
    """The same, as a synchronous generator."""
    heard = [np.empty(0, np.int16)]
    for piece in speech:
        heard.append(piece)
        if not speech.complete and len(heard) % 5 == 0:
            yield Partial(_recognise(np.concatenate(heard)))
    yield Final(_recognise(np.concatenate(heard)))


@per_frame(takes=Text(), gives=Text(), parameters={"loud": False, "times": 1})
def translate(text: str, context: Context) -> str:
    """Text to text."""
    said = " ".join(reversed(text.split())) * int(context.parameters["times"])
    return said.upper() if context.parameters["loud"] else said


@per_frame(takes=Text(), gives=Audio("speech", 16_000), finals_only=True)
def tts(text: str) -> Iterator[Samples]:
    """A piece of sound for each word."""
    for word in text.split():
        yield np.full(1600, len(word), np.int16)


@per_frame(takes=Text(), gives=Text())
async def faulty(text: str) -> str:
    """Fails as it is told to."""
    match text:
        case "value":
            raise ValueError("no such voice")
        case "busy":
            raise HopError("the GPU is full", code="overloaded", retry_after=0.5)
        case "nonsense":
            raise HopError("no voice speaks 'xx'", code="bad_request")
        case "odd":
            raise HopError("that is no sentence", fault="client")
        case "wrong":
            return 7  # type: ignore[return-value]
    return text


@per_frame(takes=Text(), gives=Text(), timeout=0.1)
async def stuck(text: str) -> str:
    """Never answers."""
    await asyncio.Event().wait()
    return text


@per_frame(takes=Tensor(), gives=Tensor(), batch=Batch(frames=4, wait=0.02))
def embed(arrays: list[Array]) -> list[Array]:
    """How many there were in this call, and what was given."""
    return [np.append(np.float32(len(arrays)), array.astype(np.float32)) for array in arrays]


@per_session(takes=[Audio("mic", 16_000), Text("notes")], gives=[Text("log"), Json("frames")])
async def scribe(session: Session) -> None:
    """All of a session's inputs."""
    async for frame in session:
        await session.send({"port": frame.port, "seq": frame.seq}, port="frames")
        if frame.port == "notes":
            await session.send(_note(frame), port="log")


def _note(frame: Frame[Any]) -> str:
    return f"note {frame.seq}: {frame.value}"


@per_frame(takes=Text(), gives=Text(), name="stuck-for-good")
async def stuck_for_good(text: str) -> str:
    """Never answers, and nobody minds."""
    await asyncio.Event().wait()
    return text


@per_frame(takes=Text(), gives=Text(), queue=4)
async def sleepy(text: str) -> str:
    """Slower than its caller."""
    await asyncio.sleep(0.002)
    return text


class Lacking:
    """What it needs is not there."""

    def __init__(self) -> None:
        raise Refused("the model is missing: fetch it first")

    @per_frame(takes=Text(), gives=Text())
    def useless(self, text: str) -> str:
        return text
