"""What a hop's client is owed, asked for directly: acknowledgements, replay points, credit, interrupts, deadlines, errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import services
from google.protobuf import struct_pb2
from peer import WAIT, on_a_loop, serving

from tidegate_sdk import (
    Audio,
    Batch,
    Context,
    Final,
    HopError,
    Json,
    Out,
    Partial,
    Settings,
    Tensor,
    Text,
    Utterance,
    batched,
    current,
    per_frame,
    per_utterance,
)
from tidegate_sdk._generated.tidegate.v1 import gateway_pb2 as pb
from tidegate_sdk.drive import started


@per_frame(takes=Text(), gives=Text())
async def echo(text: str) -> str:
    return text


@per_utterance(takes=Text(), gives=Text())
async def spell(words: Utterance[str]) -> AsyncIterator[Partial[str] | Final[str]]:
    said: list[str] = []
    async for word in words:
        said.append(word)
        if not words.complete:
            yield Partial(" ".join(said))
    yield Final(" ".join(said))


def order(messages: list[pb.ServerMessage]) -> list[tuple[str, int]]:
    """Acknowledgements and replay points, and which input caused each frame."""
    found = []
    for message in messages:
        match message.WhichOneof("message"):
            case "frame":
                found.append(("frame", message.frame.caused_by))
            case "ack":
                found.append(("ack", message.ack.seq))
            case "replay_from":
                found.append(("replay_from", message.replay_from.seq))
    return found


@on_a_loop
async def test_a_frame_is_acknowledged_after_what_it_caused() -> None:
    async with serving(echo) as worker:
        peer = await worker.open("echo", features=("acks",))
        for number in range(1, 41):
            await peer.text(str(number), seq=number)
        await peer.end()
        answered = 0
        for kind, seq in order(peer.seen):
            assert kind in ("frame", "ack")
            assert seq <= answered + (kind == "frame")
            answered = max(answered, seq)
        assert order(peer.seen)[-1] == ("ack", 40)
        # Not one for each frame: that would double the messages.
        assert len([kind for kind, _ in order(peer.seen) if kind == "ack"]) < 20


@on_a_loop
async def test_within_an_utterance_a_replay_begins_at_its_start() -> None:
    async with serving(spell) as worker:
        peer = await worker.open("spell", features=("acks", "credits"))
        await peer.send(credit=pb.Credit(port="out", frames=100))
        for seq in range(1, 4):
            await peer.text("a", seq=seq, utterance=1, final=seq == 3)
        assert await peer.texts(3) == ["a", "a a", "a a a"]
        assert (await peer.next("ack")).seq == 3
        for seq in range(4, 7):
            await peer.text("b", seq=seq, utterance=2)
        # The newest may still be the last, and is held until the next one comes.
        assert (await peer.next("replay_from")).seq == 4
        assert (await peer.next("ack")).seq == 5
        await peer.text("b", seq=7, utterance=2, final=True)
        end = order(await peer.end())
        assert end[-3:] == [("frame", 7), ("replay_from", 8), ("ack", 7)]


@on_a_loop
async def test_an_utterance_that_the_next_one_ends_has_its_final_result_too() -> None:
    async with serving(spell) as worker:
        peer = await worker.open("spell")
        await peer.text("a", utterance=1)
        await peer.text("b", utterance=2)
        frames = [message.frame for message in await peer.end() if message.HasField("frame")]
        finals = [(frame.utterance, frame.text.text) for frame in frames if frame.final]
        assert finals == [(1, "a"), (2, "b")]


@on_a_loop
async def test_a_slow_function_stops_its_client_by_credit() -> None:
    go = asyncio.Event()

    @per_frame(takes=Text(), gives=Text(), queue=4)
    async def slow(text: str) -> str:
        await go.wait()
        return text

    async with serving(slow) as worker:
        peer = await worker.open("slow", features=("credits",))
        await peer.send(credit=pb.Credit(port="out", frames=2))
        credit = await peer.next("credit")
        assert (credit.port, credit.frames, credit.bytes > 0) == ("in", 4, True)
        for number in range(1, 5):
            await peer.text(str(number), seq=number)
        go.set()
        assert await peer.texts(2) == ["1", "2"]
        # Two outputs were allowed for: the third waits, and no more is taken in than half of the window twice.
        assert worker.figure("frames_total", hop="slow", direction="out") <= 2
        await peer.send(credit=pb.Credit(port="out", frames=2))
        assert await peer.texts(2) == ["3", "4"]
        granted = sum(message.credit.frames for message in peer.seen if message.HasField("credit"))
        await peer.end()
        assert granted <= 4 + 4


@on_a_loop
async def test_a_client_that_overdraws_its_credit_is_refused() -> None:
    async with serving(services.stuck_for_good) as worker:
        greedy = await worker.open(features=("credits",))
        granted = (await greedy.next("credit")).frames
        for _ in range(granted + 1):
            await greedy.text("x")
        error = await greedy.error()
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "beyond the credit" in str(error.details())


@on_a_loop
async def test_without_credit_a_slow_function_stops_the_reading() -> None:
    ahead: list[float] = []

    @per_frame(takes=Text(), gives=Text(), queue=4)
    async def slow(text: str) -> str:
        def taken() -> float:
            return worker.figure("frames_total", hop="slow", direction="in") - len(ahead)

        # The reader runs ahead as far as it may, and has every chance to go further.
        async with asyncio.timeout(10):
            while not ahead and taken() < 5:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        ahead.append(taken())
        return text

    async with serving(slow) as worker:
        peer = await worker.open("slow")
        for _ in range(100):
            await peer.text("x")
        assert len(await peer.texts(100)) == 100
    # The one that is worked on, and a full queue.
    assert max(ahead) == 5


@on_a_loop
async def test_an_interrupt_drops_what_waits_and_cancels_what_runs() -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    @per_frame(takes=Text(), gives=Text())
    async def wait(text: str) -> str:
        if text == "stay":
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        return text

    async with serving(wait) as worker:
        peer = await worker.open("wait", features=("acks",))
        await peer.text("stay")
        await peer.text("void")
        await began.wait()
        await peer.send(interrupt=pb.Interrupt())
        await cancelled.wait()
        assert (await peer.next("ack")).seq == 2
        await peer.text("after")
        assert await peer.texts(1) == ["after"]
        await peer.end()
        assert worker.figure("dropped_frames_total", hop="wait", reason="interrupted") >= 1


@on_a_loop
async def test_an_interrupt_lets_a_thread_know() -> None:
    began, heard = threading.Event(), threading.Event()

    @per_frame(takes=Text(), gives=Text())
    def think(text: str, context: Context) -> str:
        began.set()
        while text == "long" and not context.cancelled:
            heard.wait(0.01)
        heard.set()
        return text

    async with serving(think) as worker:
        peer = await worker.open("think")
        await peer.text("long")
        await asyncio.to_thread(began.wait)
        await peer.send(interrupt=pb.Interrupt())
        assert await asyncio.to_thread(heard.wait, 30)
        await peer.text("short")
        assert await peer.texts(1) == ["short"]


@on_a_loop
async def test_a_client_that_leaves_ends_the_function() -> None:
    began, closed = asyncio.Event(), asyncio.Event()

    @per_utterance(takes=Text(), gives=Text())
    async def listen(words: Utterance[str]) -> AsyncIterator[Partial[str]]:
        try:
            async for word in words:
                began.set()
                yield Partial(word)
        finally:
            closed.set()

    async with serving(listen) as worker:
        peer = await worker.open("listen")
        await peer.text("a")
        await began.wait()
        peer.cancel()
        async with asyncio.timeout(30):
            await closed.wait()
    assert worker.figure("sessions_active", hop="listen") == 0
    assert worker.figure("sessions_total", hop="listen", outcome="left") == 1


@on_a_loop
async def test_what_is_past_its_deadline_is_not_worked_on() -> None:
    began: list[str] = []

    @per_frame(takes=Text(), gives=Text())
    async def late(text: str) -> str:
        began.append(text)
        if text == "hangs":
            await asyncio.Event().wait()
        return text

    async with serving(late) as worker:
        peer = await worker.open("late")
        await peer.text("hangs", deadline=50_000)
        await peer.text("waits too long", deadline=1)
        await peer.text("in time", deadline=60_000_000)
        assert await peer.texts(1) == ["in time"]
        assert began == ["hangs", "in time"]
        assert worker.figure("dropped_frames_total", hop="late", reason="deadline") == 2

        session = await worker.open("late", deadline=50_000)
        await session.text("hangs")
        error = await session.error()
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@on_a_loop
async def test_frames_of_many_sessions_share_a_call() -> None:
    sizes: list[int] = []

    @per_frame(takes=Tensor(), gives=Tensor(), batch=Batch(frames=8, wait=30.0))
    def embed(arrays: list[np.ndarray[Any, Any]]) -> list[Any]:
        sizes.append(len(arrays))
        return [array * 2 if array[0] else ValueError("zero") for array in arrays]

    async with serving(embed) as worker:
        peers = [await worker.open("embed") for _ in range(8)]
        for number, peer in enumerate(peers):
            data = np.full(3, number, "<f4").tobytes()
            await peer.send(frame=pb.Frame(port="in", tensor=pb.Tensor(dtype=pb.DTYPE_F32, shape=[3], data=data)))
        for number, peer in enumerate(peers[1:], 1):
            frame = await peer.next("frame")
            assert np.frombuffer(frame.tensor.data, "<f4").tolist() == [number * 2.0] * 3
        # Who gave what cannot be is refused alone.
        assert "zero" in str((await peers[0].error()).details())
        assert sizes == [8]
        assert worker.figure("batch_frames_sum", hop="embed") == 8


@on_a_loop
async def test_a_batch_that_does_not_fill_is_called_after_its_wait() -> None:
    @batched(frames=100, wait=0.01)
    async def model(values: list[int]) -> list[int]:
        return [len(values)] * len(values)

    assert await asyncio.gather(*(model(number) for number in range(3))) == [3, 3, 3]


@pytest.mark.parametrize("whole", [True, False])
def test_a_batch_function_that_ends_cancelled_fails_its_callers_and_takes_the_next(whole: bool) -> None:
    async def body() -> None:
        broken = True

        @batched(frames=2, wait=0.001)
        async def model(values: list[int]) -> list[Any]:
            if not broken:
                return values
            given_up = asyncio.get_running_loop().create_future()
            given_up.cancel()
            return await asyncio.gather(*[given_up] * len(values), return_exceptions=not whole)

        async with asyncio.timeout(WAIT):
            ends = await asyncio.gather(model(1), model(2), return_exceptions=True)
            assert ["'model' was cancelled by something" in str(one) for one in ends if isinstance(one, HopError)] == [True, True], ends
            broken = False
            assert await asyncio.gather(*map(model, [1, 2])) == [1, 2]

    asyncio.run(body())


def test_a_batch_that_runs_ends_with_its_loop() -> None:
    callers: list[asyncio.Task[int]] = []

    async def body() -> None:
        called = asyncio.Event()

        @batched(frames=1)
        async def model(values: list[int]) -> list[int]:
            called.set()
            await asyncio.Event().wait()
            return values

        async def call() -> int:
            return await model(1)

        callers.append(asyncio.create_task(call()))
        await called.wait()

    # It cancels what still runs, and returns when that has ended.
    asyncio.run(body())
    assert callers[0].cancelled()


@on_a_loop
async def test_frames_worked_on_in_parallel_keep_their_order() -> None:
    reached = asyncio.Barrier(4)

    @per_frame(takes=Text(), gives=Text(), parallel=4)
    async def together(text: str) -> str:
        await reached.wait()
        return text

    async with serving(together) as worker:
        peer = await worker.open("together")
        for number in range(12):
            await peer.text(str(number))
        assert await peer.texts(12) == [str(number) for number in range(12)]


@on_a_loop
async def test_errors_have_code_fault_and_advice() -> None:
    @per_frame(takes=Text(), gives=Text())
    def fail(text: str) -> str:
        raise HopError("the GPU is full", code="overloaded", retry_after=0.25)

    async with serving(fail) as worker:
        peer = await worker.open("fail")
        await peer.text("x")
        error = await peer.error()
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
        assert isinstance(details, bytes)
        for part in (b"overloaded", b"tidegate.v1", b"retryable", b"true", b"RetryInfo"):
            assert part in details
        request = pb.ExecuteRequest(pipeline="fail", inputs={"in": pb.Frames(frames=[pb.Frame(text=pb.Text(text="x"))])})
        with pytest.raises(grpc.aio.AioRpcError, match="the GPU is full"):
            await worker.call("Execute", request, pb.ExecuteResponse)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([pb.ClientMessage(frame=pb.Frame(port="in", seq=2, text=pb.Text(text="")))], "where 1 was due"),
        ([pb.ClientMessage(frame=pb.Frame(port="out", text=pb.Text(text="")))], "unknown input 'out'"),
        ([pb.ClientMessage(frame=pb.Frame(port="in", binary=pb.Binary()))], "a frame of binary"),
        ([pb.ClientMessage(end=pb.End(port="in")), pb.ClientMessage(frame=pb.Frame(port="in", text=pb.Text()))], "after its end"),
        ([pb.ClientMessage(open=pb.Open())], "twice"),
    ],
)
def test_what_breaks_the_protocol_is_said(messages: list[pb.ClientMessage], said: str) -> None:
    @on_a_loop
    async def check() -> None:
        # The function is kept busy, so that the session does not end by itself first.
        async with serving(services.stuck_for_good) as worker:
            peer = await worker.open("stuck-for-good")
            await peer.text("x")
            for message in messages:
                name = message.WhichOneof("message")
                assert name is not None
                if name == "frame" and message.frame.seq == 2:
                    message.frame.seq = 3
                await peer.send(**{name: getattr(message, name)})
            error = await peer.error()
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert said.replace("1 was", "2 was") in str(error.details())

    check()


@on_a_loop
async def test_opening_is_refused_with_the_reason() -> None:
    async with serving(echo, services.translate, services.stt, settings=Settings(sessions=1)) as worker:
        telephony = pb.PortFormat(port="speech", audio=pb.AudioFormat(codec="AUDIO_CODEC_PCMU", sample_rate=8000, channels=1))
        cases = [
            (pb.Open(pipeline="other"), grpc.StatusCode.NOT_FOUND, "echo, translate, stt"),
            (pb.Open(manifest="version: tidegate/v1"), grpc.StatusCode.FAILED_PRECONDITION, "no manifests"),
            (pb.Open(pipeline="echo", session="shared"), grpc.StatusCode.FAILED_PRECONDITION, "shared"),
            (pb.Open(pipeline="translate", parameters=_struct({"lud": True})), grpc.StatusCode.INVALID_ARGUMENT, "which has loud, times"),
            (pb.Open(pipeline="translate", parameters=_struct({"times": "two"})), grpc.StatusCode.INVALID_ARGUMENT, "of type int"),
            (pb.Open(pipeline="stt", inputs=[telephony]), grpc.StatusCode.FAILED_PRECONDITION, "pcm_s16/16000/1, not pcmu/8000/1"),
        ]
        for opening, status, said in cases:
            error = await (await worker.raw(opening)).error()
            assert (error.code(), said in str(error.details())) == (status, True), error.details()
        first = await worker.raw(None)
        await first.text("before open")
        assert (await first.error()).code() is grpc.StatusCode.INVALID_ARGUMENT

        held = await worker.open("echo")
        error = await (await worker.raw(pb.Open(pipeline="echo"))).error()
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await held.end()


def _struct(values: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


@on_a_loop
async def test_the_caller_s_trace_is_known_wherever_the_function_is() -> None:
    @per_frame(takes=Text(), gives=Json())
    def trace(text: str, context: Context) -> dict[str, Any]:
        inner = current()
        assert inner is context
        return {"traceparent": context.traceparent, "mode": context.session.mode}

    async with serving(trace) as worker:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        peer = await worker.open("trace", metadata=(("traceparent", parent),), mode=pb.MODE_WAITS)
        await peer.text("x")
        frame = await peer.next("frame")
        assert frame.json.value == f'{{"traceparent":"{parent}","mode":"waits"}}'


@on_a_loop
async def test_sound_of_a_generator_follows_without_gaps_and_its_end_is_marked() -> None:
    @per_frame(takes=Text(), gives=Audio("speech", 16_000, channels=2))
    def speak(text: str) -> Iterator[Any]:
        for _ in text:
            yield np.zeros((800, 2), np.float32)

    async with serving(speak) as worker:
        peer = await worker.open("speak")
        await peer.text("ab", utterance=1, final=True, media_time=1_000_000)
        await peer.text("c", utterance=2, final=True, media_time=1_000_001)
        frames = [message.frame for message in await peer.end() if message.HasField("frame")]
        assert [(frame.utterance, frame.media_time, len(frame.audio.data), frame.final) for frame in frames] == [
            (1, 1_000_000, 3200, False),
            (1, 1_050_000, 3200, False),
            (1, 1_100_000, 0, True),
            (2, 1_100_000, 3200, False),
            (2, 1_150_000, 0, True),
        ]


@on_a_loop
async def test_all_inputs_of_a_session_come_to_one_function() -> None:
    async with serving(services.scribe) as worker:
        peer = await worker.open("scribe")
        await peer.send(frame=pb.Frame(port="mic", audio=pb.Audio(data=b"\0\0")))
        await peer.send(frame=pb.Frame(port="notes", text=pb.Text(text="hello")))
        frames = [message.frame for message in await peer.end() if message.HasField("frame")]
        assert [(frame.port, frame.caused_port, frame.caused_by) for frame in frames] == [
            ("frames", "mic", 1),
            ("frames", "notes", 1),
            ("log", "notes", 1),
        ]
        assert frames[2].text.text == "note 1: hello"


@on_a_loop
async def test_an_output_says_what_it_is_told_to() -> None:
    @per_frame(takes=Text(), gives=[Text("a"), Text("b")])
    def both(text: str) -> Iterator[Out[str]]:
        yield Out(text, "a", utterance=9, revision=4, final=True, media_time_us=77, deadline=2.0)
        yield Out(text, "b")

    async with serving(both) as worker:
        request = pb.ExecuteRequest(inputs={"in": pb.Frames(frames=[pb.Frame(text=pb.Text(text="x"))])})
        answer = await worker.call("Execute", request, pb.ExecuteResponse)
        a, b = answer.outputs["a"].frames[0], answer.outputs["b"].frames[0]
        assert (a.utterance, a.revision, a.final, a.media_time, a.deadline) == (9, 4, True, 77, 2_000_000)
        assert (b.port, b.text.text, b.caused_by) == ("b", "x", 1)


@on_a_loop
async def test_a_call_that_was_begun_is_awaited_like_any_other() -> None:
    seen: list[str] = []

    async def work(wait: bool, event: asyncio.Event) -> str:
        try:
            if wait:
                await event.wait()
            async with asyncio.timeout(WAIT):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)
            raise
        return "done"

    event = asyncio.Event()
    rest, _ = started(work(False, event))
    assert rest is not None
    assert await rest == "done"
    rest, _ = started(work(True, event))
    assert rest is not None
    event.set()
    assert await rest == "done"
    event.clear()

    async def cut_short() -> None:
        rest, _ = started(work(True, event))
        assert rest is not None
        await rest

    task = asyncio.create_task(cut_short())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]

    async def at_once() -> int:
        return 7

    assert started(at_once()) == (None, 7)
