"""What functions take and give beside plain values: pictures, frames with what belongs to them, outputs with what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

Samples: TypeAlias = npt.NDArray[Any]
"""PCM audio: `int16`, or `float32` where the port says `pcm_f32`; shaped `(samples,)`, or `(samples, channels)` where there are several."""

Array: TypeAlias = npt.NDArray[Any]
"""A tensor."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture."""

    data: bytes
    codec: Literal["vp8", "h264"] = "vp8"
    key: bool = False


@dataclass(slots=True)
class Frame(Generic[T]):
    """One unit of an input, with what belongs to it."""

    port: str
    value: T
    seq: int
    """Counts per input from 1 by 1."""
    media_time_us: int
    """Place in the stream's own time, in microseconds."""
    utterance: int
    """The run of frames that it belongs to; 0: none."""
    revision: int
    """A higher one of the same utterance replaces a lower one."""
    final: bool
    """The last of its utterance."""
    deadline: float | None
    """When nobody wants it any more, by `time.monotonic()`."""
    replayed: bool
    """Sent again after another replica was lost."""
    arrived: float
    """By `time.monotonic()`."""


@dataclass(slots=True)
class Out(Generic[T]):
    """An output with what is said of it; what is left out follows the input that caused it.

    `revision` replaces what was said of the same utterance with a lower one. `deadline` is in seconds from now.
    """

    value: T
    port: str | None = None
    final: bool | None = None
    revision: int | None = None
    utterance: int | None = None
    media_time_us: int | None = None
    deadline: float | None = None


@dataclass(slots=True)
class Partial(Out[T]):
    """What is known of the utterance so far; the next `Partial` or `Final` replaces it."""


@dataclass(slots=True)
class Final(Out[T]):
    """The last word on the utterance; it replaces every `Partial`."""


REPLACING = (Partial, Final)
"""What replaces what was said before."""


def join(pieces: list[Samples]) -> Samples:
    """Audio of several frames as one array."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
