"""One session between the wire and a function: queues, numbers, credit, acknowledgements, interrupts.

The reader feeds it and the driver takes from it, both on the loop. It keeps true: nothing is taken beyond the credit that was given,
nothing is sent beyond the credit that was got, and a frame is acknowledged after all that it caused was sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from ._generated.tidegate.v1 import gateway_pb2 as pb
from .context import SessionInfo
from .errors import HopError
from .hop import Running
from .item import Item
from .lanes import Input, Output
from .metrics import Figures
from .ports import Payload
from .scope import Scope
from .values import REPLACING, Final, Out

# Settled frames that wait for one acknowledgement, and for how long at most, in seconds.
_ACK_FRAMES = 16
_ACK_DELAY = 0.02
# How long a client may give no credit while something waits for it, in seconds.
_STALLED = 60.0


class Sink(Protocol):
    """Where a session's words go."""

    # A frame, encoded: its payload beside what else it says.
    def frame(self, port: str, meta: bytes, payload: Payload) -> Awaitable[None]: ...

    # Any other message.
    def say(self, message: pb.ServerMessage) -> Awaitable[None]: ...


class Source(Protocol):
    """Where a stream's messages come from."""

    reading: bool
    """Somebody reads already."""

    async def pull(self) -> None:
        """Reads one message, and feeds it."""

    def behind(self) -> None:
        """Reads on, behind whatever runs."""

    def called(self) -> None:
        """The function was called: if it takes longer than a moment, it is read on behind it."""

    def returned(self) -> None:
        """The function has ended."""


_PAYLOADS = {pb.KIND_AUDIO: "audio", pb.KIND_VIDEO: "video", pb.KIND_TEXT: "text", pb.KIND_BINARY: "binary", pb.KIND_TENSOR: "tensor"}
_PAYLOADS[pb.KIND_JSON] = "json"


class Exchange:
    """See the module."""

    def __init__(
        self,
        running: Running,
        info: SessionInfo,
        inputs: Mapping[str, Input],
        outputs: Mapping[str, Output],
        sink: Sink,
        figures: Figures,
        acks: bool = False,
    ) -> None:
        self.running = running
        self.hop = running.hop
        self.info = info
        self.inputs = inputs
        self.outputs = outputs
        self.figures = figures
        self.closed = False
        self.scopes: set[Scope] = set()
        self.interrupts = 0
        """How many there were."""
        self.source: Source | None = None
        """Set where the driver reads by itself while it has nothing else to do."""
        self._sink = sink
        self._acks = acks
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Item] = deque()
        self._queued_bytes = 0
        self._arrival: asyncio.Future[None] | None = None
        self._credit: asyncio.Event = asyncio.Event()
        self._room: asyncio.Event = asyncio.Event()
        self._full = False
        self._busy = False
        """Somebody writes."""
        self._open = bool(inputs)
        """Something may come yet."""
        self._next: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._again = False
        self._sole = next(iter(outputs.values())) if len(outputs) == 1 else None
        self._only = next(iter(inputs.values())) if len(inputs) == 1 else None

    # What comes from the client.

    def feed(self, message: pb.Frame, length: int, data: memoryview | None = None) -> None:
        """A frame came, of so many bytes; its payload is apart if it was cut out."""
        lane = self._only
        if lane is None or message.port != lane.port.name:
            lane = self._input(message.port)
        kind = message.WhichOneof("payload")
        if kind != _PAYLOADS[lane.port.kind]:
            text = f"a frame of {kind or 'nothing'} for input '{message.port}', which takes {lane.port.word}"
            raise HopError(text, code="bad_request")
        seq = lane.received(message.seq, length)
        self._queue.append(Item(lane, message, data, seq, length, time.monotonic()))
        self._queued_bytes += length
        self.figures.frames_in += 1
        self.figures.bytes_in += length
        self.wake()

    def end(self, port: str) -> None:
        """An input has ended, or all."""
        for lane in [self._input(port)] if port else self.inputs.values():
            lane.ended = True
        self._open = any(not lane.ended for lane in self.inputs.values())
        self.wake()

    def grant(self, credit: pb.Credit) -> None:
        """The client takes more of an output."""
        output = self.outputs.get(credit.port)
        if output is None:
            raise HopError(f"credit for unknown output '{credit.port}'", code="bad_request")
        if output.credit is not None:
            output.credit += credit.frames
            self._credit.set()

    def interrupt(self) -> None:
        """Nobody wants what comes of the frames up to now."""
        self.interrupts += 1
        dropped = len(self._queue)
        while self._queue:
            self._drop(self._queue.popleft())
        self.figures.drop("interrupted", dropped)
        for lane in self.inputs.values():
            lane.void()
        for scope in list(self.scopes):
            scope.stop("interrupted")
        self._settled(now=True)

    async def room(self) -> None:
        """Waits until the queue takes another frame: for clients that do not count credit."""
        while len(self._queue) >= self.hop.queue or self._queued_bytes >= self.hop.queue_bytes:
            self._room.clear()
            self._full = True
            await self._room.wait()

    def _input(self, port: str) -> Input:
        lane = self.inputs.get(port)
        if lane is None:
            known = ", ".join(self.inputs)
            raise HopError(f"unknown input '{port[:64]}': hop '{self.hop.name}' has [{known}]", code="bad_request")
        return lane

    def wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    # What the function takes.

    async def head(self) -> Item | None:
        """The next frame, which stays in the queue; `None`: all inputs have ended."""
        while not self._queue:
            if not self._open:
                return None
            if self.source is not None and not self.source.reading:
                await self.source.pull()
                continue
            self._arrival = self._loop.create_future()
            await self._arrival
            self._arrival = None
        return self._queue[0]

    @property
    def waits(self) -> bool:
        """The function has nothing to do."""
        return self._arrival is not None

    @property
    def waiting(self) -> Item | None:
        """The next frame, if it is there already."""
        return self._queue[0] if self._queue else None

    def take(self) -> Item:
        """Takes the head. Each item that is taken must be settled."""
        item = self._queue.popleft()
        item.lane.working += 1
        self._drop(item)
        return item

    def _drop(self, item: Item) -> None:
        self._queued_bytes -= item.size
        item.lane.taken(item.size)
        if self._full:
            self._full = False
            self._room.set()

    def settle(self, item: Item) -> None:
        """All that comes of a frame has been sent, or nobody wants it."""
        item.lane.settled(item.seq)
        self._settled(item.message.final)

    def _settled(self, now: bool = False) -> None:
        due = now and self._acks
        for lane in self.inputs.values():
            due = due or lane.credit_due or (self._acks and lane.unacked >= _ACK_FRAMES)
        if due:
            # Never in the task of a function, which may be cancelled in the middle of a write.
            if self._flushing is None or self._flushing.done():
                self._flushing = self._loop.create_task(self.flush())
                # A client that has left hears nothing more, and its stream says so itself.
                self._flushing.add_done_callback(lambda task: task.cancelled() or task.exception())
            else:
                self._again = True
        elif self._acks and self._timer is None:
            self._timer = self._loop.call_later(_ACK_DELAY, self._flush_later)

    def _flush_later(self) -> None:
        self._timer = None
        if not self.closed:
            self._settled(now=True)

    async def flush(self) -> None:
        """Says what was settled, and how much more is taken."""
        self._again = True
        while self._again and not self.closed:
            self._again = False
            for lane in self.inputs.values():
                credit = lane.credit()
                if credit is not None:
                    await self.say(pb.ServerMessage(credit=credit))
                # Looked at while nobody writes: what they cover is on its way before them.
                while self._busy:
                    await self._turn()
                if self._acks:
                    for message in lane.acknowledgements():
                        await self.say(message)

    # What the function gives.

    def output(self, name: str | None) -> Output:
        """An output by its name, which may be left out where there is one."""
        if name is None and len(self.outputs) == 1:
            return next(iter(self.outputs.values()))
        output = self.outputs.get(name or "")
        if output is None:
            known = ", ".join(self.outputs)
            raise HopError(f"hop '{self.hop.name}' gave an output for port '{name}': it has [{known}]")
        return output

    async def emit(self, given: Any, cause: Item | None, scope: Scope | None, like_input: bool = False, utterance: int = 0) -> Out[Any]:
        """Sends an output; gives what was sent. `like_input`: it is its input's counterpart, and the same place of the stream.

        `utterance` is what it belongs to if the input belongs to none.
        """
        out = given if isinstance(given, Out) else Out(given)
        output = self._sole if out.port is None and self._sole is not None else self.output(out.port)
        port = output.port
        message = pb.Frame(port=port.name)
        place_us = 0
        if cause is not None:
            message.caused_by = cause.seq
            if self._only is None:
                message.caused_port = cause.lane.port.name
            given_frame = cause.message
            if given_frame.replayed:
                message.replayed = True
            number = given_frame.utterance or utterance
            if number:
                message.utterance = number
            place_us = given_frame.media_time
            if like_input:
                if given_frame.revision:
                    message.revision = given_frame.revision
                if given_frame.final:
                    message.final = True
        if out.utterance is not None:
            message.utterance = out.utterance
        if out is given or message.utterance:
            self._revise(message, out, output)
        try:
            payload = port.encode(out.value, output.format)
        except (TypeError, ValueError) as error:
            raise HopError(f"an output on '{port.name}' that cannot be sent: {error}") from error
        lasts = port.duration_us(out.value, output.format)
        if out.media_time_us is not None:
            place_us = out.media_time_us
        elif not like_input and port.kind == pb.KIND_AUDIO:
            # Sound follows sound.
            place_us = max(place_us, output.next_us)
        output.next_us = place_us + lasts
        message.media_time = place_us
        if out.deadline is not None:
            message.deadline = max(1, round(out.deadline * 1e6))
        while output.credit is not None and output.credit <= 0:
            await self._for_credit()
        if scope is not None:
            scope.begin_write()
        while self._busy:
            await self._turn()
        self._busy = True
        try:
            if output.credit is not None:
                output.credit -= 1
            output.seq += 1
            message.seq = output.seq
            if cause is not None:
                took = time.monotonic() - cause.arrived
                message.service = int(took * 1e6) or 1
                self.figures.served(took)
            await self._sink.frame(port.name, message.SerializeToString(), payload)
        finally:
            self._written()
        self.figures.frames_out += 1
        data = payload[2]
        self.figures.bytes_out += data.nbytes if isinstance(data, memoryview) else len(data)
        if scope is not None:
            scope.end_write()
        return out

    def _revise(self, message: pb.Frame, out: Out[Any], output: Output) -> None:
        """Makes partial and final results replace what was said before."""
        if message.utterance != output.utterance:
            output.utterance, output.revision = message.utterance, 0
        if out.revision is not None:
            message.revision = out.revision
        elif isinstance(out, REPLACING):
            message.revision = output.revision + 1
        if isinstance(out, REPLACING):
            message.final = isinstance(out, Final)
        if out.final is not None:
            message.final = out.final
        output.revision = max(output.revision, message.revision)

    async def _turn(self) -> None:
        """Until nobody writes."""
        if self._next is None:
            self._next = self._loop.create_future()
        await asyncio.shield(self._next)

    def _written(self) -> None:
        self._busy = False
        if self._next is not None:
            self._next.set_result(None)
            self._next = None

    async def _for_credit(self) -> None:
        self._credit.clear()
        if self.source is not None:
            self.source.behind()
        try:
            async with asyncio.timeout(_STALLED):
                await self._credit.wait()
        except TimeoutError:
            raise HopError(f"the client took nothing for {_STALLED:.0f} s", code="session_expired") from None

    async def say(self, message: pb.ServerMessage) -> None:
        """Sends a message that is no frame."""
        while self._busy:
            await self._turn()
        self._busy = True
        try:
            await self._sink.say(message)
        finally:
            self._written()

    async def finish(self) -> None:
        """The function has given all."""
        if self._flushing is not None:
            await self._flushing
        await self.flush()
        for name in self.outputs:
            await self.say(pb.ServerMessage(end=pb.End(port=name)))
        await self.say(pb.ServerMessage(ended=pb.Ended(reason="finished")))

    async def close(self) -> None:
        """Nothing more is said. What runs hears that nobody listens."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
