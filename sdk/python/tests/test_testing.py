"""`tidegate_sdk.testing`: hops played without a gateway say what they say behind one."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import services
from processes import WAIT

from tidegate_sdk import Batch, Context, Hop, HopError, Session, Text, per_frame, per_session
from tidegate_sdk.testing import Given, play, play_async


def test_values_go_in_and_come_out() -> None:
    said = play(services.translate, ["one two", "three"], parameters={"loud": True})
    assert [(one.port, one.value, one.caused_by) for one in said] == [("out", "TWO ONE", 1), ("out", "THREE", 2)]


def test_an_utterance_of_sound_comes_in_pieces_and_its_partials_come_before_its_final() -> None:
    sound = np.ones(8_000, np.int16)
    said = play(services.stt, [sound, sound[:1_601]])
    finals = [one for one in said if one.final]
    assert [(one.utterance, one.value) for one in finals] == [(1, "8000 samples, sum 8000"), (2, "1601 samples, sum 1601")]
    first = [one for one in said if one.utterance == 1]
    # A tenth of a second each, whatever the machine is busy with.
    assert [one.value.split()[0] for one in first] == ["1600", "3200", "4800", "6400", "8000"]
    assert [one.revision for one in first] == [1, 2, 3, 4, 5]
    assert [one.final for one in first] == [False, False, False, False, True]


def test_a_function_in_a_thread_says_the_same() -> None:
    sound = np.arange(8_000, dtype=np.int16)
    [final] = [one for one in play(services.stt_in_thread, [sound]) if one.final]
    [other] = [one for one in play(services.stt, [sound]) if one.final]
    assert final.value == other.value


def test_outputs_of_a_generator_follow_each_other_in_time() -> None:
    said = play(services.tts, [Given("a bc", utterance=3, final=True), Given("half a wo", utterance=4)])
    # Of a partial text nothing is spoken; the last output says that the utterance is over.
    assert [(one.utterance, len(one.value), one.media_time_us) for one in said] == [(3, 1600, 0), (3, 1600, 100_000), (3, 0, 200_000)]
    assert [one.final for one in said] == [False, False, True]


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None]}, "text", b"bytes", np.arange(6, dtype=np.float32).reshape(2, 3)])
def test_every_kind_goes_through_the_bytes_of_the_wire(value: Any) -> None:
    kind = {dict: "json", str: "text", bytes: "binary", np.ndarray: "tensor"}[type(value)]
    [said] = play(getattr(services.Echo(), kind), [value])
    assert said.value is not value or isinstance(value, str)
    np.testing.assert_equal(said.value, value)


def test_a_session_of_several_inputs_is_told_which() -> None:
    said = play(services.scribe, [Given(np.zeros(320, np.int16), "mic"), Given("so", "notes")])
    assert [(one.port, one.value) for one in said] == [
        ("frames", {"port": "mic", "seq": 1}),
        ("frames", {"port": "notes", "seq": 1}),
        ("log", "note 1: so"),
    ]
    with pytest.raises(ValueError, match="several inputs or none: say Given"):
        play(services.scribe, ["so"])
    with pytest.raises(ValueError, match="no input 'ears': there are mic, notes"):
        play(services.scribe, [Given("so", "ears")])


def test_errors_are_what_a_caller_would_be_told() -> None:
    with pytest.raises(HopError, match="ValueError: no such voice") as failed:
        play(services.faulty, ["fine", "value"])
    assert failed.value.code == "remote_execution"
    with pytest.raises(HopError) as failed:
        play(services.faulty, ["busy"])
    assert (failed.value.code, failed.value.retryable, failed.value.retry_after) == ("overloaded", True, 0.5)
    with pytest.raises(HopError, match="took longer than") as failed:
        play(services.stuck, ["anything"])
    assert failed.value.phase == "call"
    with pytest.raises(HopError, match="unknown parameter 'load'"):
        play(services.translate, ["one"], parameters={"load": True})
    with pytest.raises(TypeError, match="is no text"):
        play(services.translate, [7])


def test_a_hop_that_never_ends_fails_its_test() -> None:
    with pytest.raises(TimeoutError):
        play(services.stuck_for_good, ["anything"], timeout=0.2)


def test_many_inputs_are_answered_in_their_order() -> None:
    said = play(services.sleepy, [str(number) for number in range(32)])
    assert [one.value for one in said] == [str(number) for number in range(32)]


def test_batches_are_made_of_one_session_too() -> None:
    @per_frame(takes=Text(), gives=Text(), batch=Batch(frames=4, wait=5.0), parallel=4)
    def count(texts: list[str]) -> list[str]:
        return [f"{text} of {len(texts)}" for text in texts]

    assert [one.value for one in play(count, ["a", "b", "c", "d"])] == ["a of 4", "b of 4", "c of 4", "d of 4"]


def test_the_function_is_told_of_mode_trace_and_deadlines() -> None:
    seen: list[tuple[str, str | None]] = []

    @per_frame(takes=Text(), gives=Text())
    def note(text: str, context: Context) -> str:
        seen.append((context.session.mode, context.traceparent))
        return text

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert play(note, [Given("late", deadline=1e-6)], mode="live") == []
    assert [one.value for one in play(note, [Given("in time", deadline=60.0)], mode="live", traceparent=parent)] == ["in time"]
    assert seen == [("live", parent)]


def test_a_test_with_a_loop_of_its_own_awaits_it() -> None:
    @per_session(takes=Text(), gives=Text())
    async def last(session: Session) -> None:
        words = [frame.value async for frame in session]
        await session.send(words[-1])

    async def test() -> None:
        [said] = await play_async(last, ["one", "two"])
        assert said.value == "two"

    asyncio.run(test())


@per_frame(takes=Text(), gives=Text())
def exhausted(text: str) -> str:
    return next(iter([]))


@per_frame(takes=Text(), gives=Text())
async def exhausted_in_thread(text: str, context: Context) -> str:
    return await context.run(next, iter([]))


@per_frame(takes=Text(), gives=Text(), batch=Batch(frames=1))
def exhausted_batch(texts: list[str]) -> list[str]:
    return next(iter([]))


@per_frame(takes=Text(), gives=Text(), batch=Batch(frames=1))
def exhausted_for_one(texts: list[str]) -> list[Exception]:
    return [StopIteration()]


@pytest.mark.parametrize("hop", [exhausted, exhausted_in_thread, exhausted_batch, exhausted_for_one])
def test_an_iterator_that_has_ended_is_an_error_and_not_a_wait(hop: Hop) -> None:
    async def body() -> None:
        async with asyncio.timeout(WAIT):
            with pytest.raises(HopError, match="StopIteration"):
                await play_async(hop, ["x"])

    asyncio.run(body())
