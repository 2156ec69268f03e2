"""A frame that came, before the function has it."""

from __future__ import annotations

from typing import Any

from ._generated.tidegate.v1 import gateway_pb2 as pb
from .errors import HopError
from .lanes import Input
from .values import Frame


class Item:
    """A frame that came."""

    __slots__ = ("_frame", "arrived", "data", "deadline", "lane", "message", "seq", "size")

    def __init__(self, lane: Input, message: pb.Frame, data: memoryview | None, seq: int, length: int, arrived: float) -> None:
        self.lane = lane
        self.message = message
        self.data = data
        self.seq = seq
        self.size = length
        self.arrived = arrived
        left = message.deadline
        self.deadline = arrived + left / 1e6 if left else None
        """When nobody wants it any more."""
        self._frame: Frame[Any] | None = None

    def value(self) -> Any:
        """What the function works on."""
        try:
            return self.lane.port.decode(self.message, self.data, self.lane.format)
        except ValueError as error:
            raise HopError(f"a frame on '{self.lane.port.name}' that cannot be read: {error}", code="bad_request") from error

    def frame(self) -> Frame[Any]:
        """As the function sees it, with what belongs to it."""
        if self._frame is None:
            message = self.message
            self._frame = Frame(
                port=self.lane.port.name,
                value=self.value(),
                seq=self.seq,
                media_time_us=message.media_time,
                utterance=message.utterance,
                revision=message.revision,
                final=message.final,
                deadline=self.deadline,
                replayed=message.replayed,
                arrived=self.arrived,
            )
        return self._frame
