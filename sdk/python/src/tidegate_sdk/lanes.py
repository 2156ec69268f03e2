"""What one session knows of each port: numbers, credit, and what was acknowledged. Plain counting without I/O."""

from __future__ import annotations

from typing import Any

from ._generated.tidegate.v1 import gateway_pb2 as pb
from .errors import HopError
from .ports import Format, Port


class Input:
    """An input: what came, what the function has taken, and of what all outputs have been sent."""

    __slots__ = (
        "_bytes_left",
        "_bytes_returned",
        "_bytes_window",
        "_counted",
        "_frames_left",
        "_frames_returned",
        "_frames_window",
        "_told",
        "_void",
        "acked",
        "done",
        "ended",
        "format",
        "keep",
        "newest",
        "port",
        "working",
    )

    def __init__(self, port: Port[Any], format: Format | None, frames: int, octets: int, counted: bool) -> None:
        self.port = port
        self.format = format
        self.newest = 0
        self.ended = False
        self.done = 0
        """All that comes of the frames up to here has been sent."""
        self.acked = 0
        self.keep = 0
        """What is being worked on needs the frames from here; 0: nothing is needed."""
        self.working = 0
        """Frames that the function has and has not settled."""
        self._void = 0
        self._told = 0
        self._counted = counted
        self._frames_window = frames
        self._bytes_window = octets
        self._frames_left = frames
        self._bytes_left = octets
        self._frames_returned = 0
        self._bytes_returned = 0

    def received(self, seq: int, size: int) -> int:
        """Takes note of a frame; gives its number."""
        if self.ended:
            raise HopError(f"a frame for input '{self.port.name}' after its end", code="bad_request")
        due = self.newest + 1
        if seq not in (0, due):
            raise HopError(f"frame {seq} for input '{self.port.name}' where {due} was due: seq counts by 1", code="bad_request")
        if self._counted:
            if self._frames_left <= 0 or self._bytes_left <= 0:
                raise HopError(f"a frame for input '{self.port.name}' beyond the credit", code="bad_request")
            self._frames_left -= 1
            self._bytes_left -= size
        self.newest = due
        return due

    def taken(self, size: int) -> None:
        """The function has it, or it was dropped: there is room for another."""
        self._frames_returned += 1
        self._bytes_returned += size

    def settled(self, seq: int) -> None:
        """All that comes of a frame has been sent."""
        self.working -= 1
        self.done = max(self.done, seq)
        if self.working == 0:
            self.done = max(self.done, self._void)

    def void(self) -> None:
        """Nobody wants what comes of the frames up to now."""
        self.keep = 0
        if self.working == 0:
            self.done = self.newest
        else:
            self._void = self.newest

    def first_credit(self) -> pb.Credit:
        """What the client may send before anything was taken."""
        return pb.Credit(port=self.port.name, frames=self._frames_window, bytes=self._bytes_window)

    @property
    def credit_due(self) -> bool:
        """Half of the window was taken."""
        if not self._counted or self.ended:
            return False
        return self._frames_returned * 2 >= self._frames_window or self._bytes_returned * 2 >= self._bytes_window

    def credit(self) -> pb.Credit | None:
        """More credit, if it is due."""
        if not self.credit_due:
            return None
        frames, octets = self._frames_returned, self._bytes_returned
        self._frames_returned = self._bytes_returned = 0
        self._frames_left += frames
        self._bytes_left += octets
        # No bytes beside frames would mean that bytes do not count.
        return pb.Credit(port=self.port.name, frames=frames, bytes=max(octets, 1))

    @property
    def unacked(self) -> int:
        """Settled frames of which the client does not know it yet."""
        return self.done - self.acked

    def acknowledgements(self) -> list[pb.ServerMessage]:
        """What the client does not know yet: where a replay would have to begin, and up to where all was answered."""
        messages = []
        keep = self.keep if 0 < self.keep <= self.done else 0
        if keep != self._told:
            # One behind what is acknowledged takes an earlier one back.
            seq = keep or self.done + 1
            messages.append(pb.ServerMessage(replay_from=pb.ReplayFrom(port=self.port.name, seq=seq)))
            self._told = keep
        if self.done > self.acked:
            self.acked = self.done
            messages.append(pb.ServerMessage(ack=pb.Ack(port=self.port.name, seq=self.done)))
        return messages


class Output:
    """An output: its numbers, and what was said last."""

    __slots__ = ("credit", "format", "next_us", "port", "revision", "seq", "utterance")

    def __init__(self, port: Port[Any], format: Format | None, counted: bool) -> None:
        self.port = port
        self.format = format
        self.seq = 0
        self.credit: int | None = 0 if counted else None
        """Frames that the client takes; `None`: it does not count."""
        self.utterance = 0
        self.revision = 0
        self.next_us = 0
        """Where the audio that was sent so far ends."""
