"""Messages as bytes, without needless copies.

The generated classes copy a payload twice on its way in and twice on its way out. Here the payload of a large frame is cut out of the
message before they see it, and an output's payload is joined with its header once. Everything else is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from google.protobuf.message import DecodeError

from ._generated.tidegate.v1 import gateway_pb2 as pb

Buffer: TypeAlias = bytes | memoryview

# From here on cutting a payload out costs less than copying it.
LARGE = 16 << 10
_LEN = 2
_BYTES = [bytes((value,)) for value in range(0x80)]
_FRAME = 2  # ClientMessage.frame, ServerMessage.frame
# Payload of a frame: its field, and the field of its data.
_DATA_FIELDS = {16: 2, 17: 3, 19: 1, 20: 3}


@dataclass(slots=True)
class Received:
    """A message of a client, its size, and the payload that was cut out of it; no message: it could not be read."""

    message: pb.ClientMessage | None
    size: int = 0
    data: memoryview | None = None


def decode_client(raw: bytes) -> Received:
    """Reads a message."""
    if len(raw) >= LARGE:
        try:
            cut = _cut(raw)
        except DecodeError:
            # The generated classes say whether it is one.
            cut = None
        if cut is not None:
            return cut
    try:
        return Received(pb.ClientMessage.FromString(raw), len(raw))
    except DecodeError:
        return Received(None)


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    if value < 0x80:
        return _BYTES[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# Frames of a stream are of few lengths.
@lru_cache(maxsize=4096)
def length_prefixed(field: int, length: int) -> bytes:
    """What stands before the bytes of a field."""
    return varint(field << 3 | _LEN) + varint(length)


def server_frame(meta: bytes, field: int, head: bytes, data: Buffer) -> bytes:
    """`ServerMessage.frame` of its other fields and its payload: the one copy of a payload on its way out."""
    payload = len(head) + (data.nbytes if isinstance(data, memoryview) else len(data))
    before = length_prefixed(field, payload)
    return b"".join((length_prefixed(_FRAME, len(meta) + len(before) + payload), meta, before, head, data))


def nested(field: int, pieces: list[Buffer]) -> list[Buffer]:
    """Pieces as a field of a message around them."""
    return [length_prefixed(field, size(pieces)), *pieces]


def size(pieces: Iterable[Buffer]) -> int:
    """Bytes of all."""
    return sum(piece.nbytes if isinstance(piece, memoryview) else len(piece) for piece in pieces)


def _cut(raw: bytes) -> Received | None:
    """A frame without its data, and its data; `None` where the message is anything but one large frame."""
    message = _only(_fields(raw, 0, len(raw)))
    if message is None or message[0] != _FRAME:
        return None
    _, _, frame_at, frame_end = message
    payload = _only([field for field in _fields(raw, frame_at, frame_end) if field[0] >= 16])
    if payload is None or payload[0] not in _DATA_FIELDS:
        return None
    number, payload_start, payload_at, payload_end = payload
    data = _only([field for field in _fields(raw, payload_at, payload_end) if field[0] == _DATA_FIELDS[number]])
    if data is None:
        return None
    _, data_start, data_at, data_end = data
    view = memoryview(raw)
    rest: list[Buffer] = [view[payload_at:data_start], view[data_end:payload_end]]
    frame: list[Buffer] = [view[frame_at:payload_start], *nested(number, rest), view[payload_end:frame_end]]
    return Received(pb.ClientMessage.FromString(b"".join(nested(_FRAME, frame))), len(raw), view[data_at:data_end])


_Field = tuple[int, int, int, int]


def _only(fields: list[_Field]) -> _Field | None:
    return fields[0] if len(fields) == 1 else None


def _fields(raw: bytes, at: int, end: int) -> list[_Field]:
    """Length-delimited fields: number, where the field starts, and where its bytes start and end."""
    found: list[_Field] = []
    while at < end:
        start = at
        tag, at = _varint(raw, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(raw, at)
        elif kind == _LEN:
            length, at = _varint(raw, at)
            found.append((tag >> 3, start, at, at + length))
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise DecodeError("a group, or a wire type that does not exist")
    if at != end:
        raise DecodeError("a field goes beyond its message")
    return found


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise DecodeError("a number that does not end")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
