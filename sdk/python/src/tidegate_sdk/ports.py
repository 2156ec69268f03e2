"""Ports: what a hop takes and gives, each kind with its natural Python value.

| port | value |
| --- | --- |
| `Audio` | numpy array of samples |
| `EncodedAudio` | `bytes`: one Opus packet, or G.711 |
| `Video` | `Picture` |
| `Text` | `str` |
| `Binary` | `bytes` |
| `Tensor` | numpy array |
| `Json` | what `json.loads` gives |
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from . import arrays
from ._generated.tidegate.v1 import gateway_pb2 as pb
from .errors import HopError
from .values import Array, Picture, Samples
from .wire import Buffer, length_prefixed

T = TypeVar("T")
Payload: TypeAlias = tuple[int, bytes, Buffer]
"""Its field in a frame, and its bytes: what stands before the data, and the data."""
Codec = Literal["pcm_s16", "pcm_f32", "opus", "pcmu", "pcma"]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_CODECS: dict[str, pb.AudioCodec] = {
    "pcm_s16": pb.AUDIO_CODEC_PCM_S16,
    "pcm_f32": pb.AUDIO_CODEC_PCM_F32,
    "opus": pb.AUDIO_CODEC_OPUS,
    "pcmu": pb.AUDIO_CODEC_PCMU,
    "pcma": pb.AUDIO_CODEC_PCMA,
}
_CODEC_NAMES = {number: name for name, number in _CODECS.items()}
_VIDEO: dict[str, pb.VideoCodec] = {"vp8": pb.VIDEO_CODEC_VP8, "h264": pb.VIDEO_CODEC_H264}
_VIDEO_NAMES: dict[int, Literal["vp8", "h264"]] = {pb.VIDEO_CODEC_VP8: "vp8", pb.VIDEO_CODEC_H264: "h264"}
_PCM: dict[str, np.dtype[Any]] = {"pcm_s16": arrays.INT16, "pcm_f32": arrays.FLOAT32}


@dataclass(frozen=True)
class Format:
    """An audio format, as agreed for a session."""

    codec: str
    rate: int
    channels: int

    def __str__(self) -> str:
        return f"{self.codec}/{self.rate}/{self.channels}"

    def message(self) -> pb.AudioFormat:
        """As the wire has it."""
        return pb.AudioFormat(codec=_CODECS[self.codec], sample_rate=self.rate, channels=self.channels)

    @cached_property
    def field(self) -> bytes:
        """The same, as a field of `Audio`: it stands in each frame."""
        message = self.message().SerializeToString()
        return length_prefixed(1, len(message)) + message

    @staticmethod
    def of(message: pb.AudioFormat) -> Format:
        """As the wire had it."""
        codec = _CODEC_NAMES.get(message.codec)
        if codec is None or not message.sample_rate or not 0 < message.channels <= 64:
            raise HopError("an audio format without codec, sample rate or channels", code="unsupported_media")
        return Format(codec, message.sample_rate, message.channels)


DEFAULT_AUDIO = Format("pcm_s16", 16_000, 1)


@dataclass(frozen=True)
class Port(Generic[T]):
    """A named place where frames of one kind go in or come out. Without a name it is `in` or `out`."""

    name: str = ""
    kind: ClassVar[pb.Kind]
    word: ClassVar[str]

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is no port's name: [a-z][a-z0-9_-]*, at most 64 characters")

    def named(self, name: str) -> Port[T]:
        """With a name, if it has none."""
        return self if self.name else replace(self, name=name)

    def agree(self, asked: pb.PortFormat | None) -> Format | None:
        """The format of a session, of what the client asks for; an error where it cannot be."""
        return None

    def describe(self, message: pb.Port, agreed: Format | None) -> None:
        """Adds the format to a port's description."""

    def decode(self, frame: pb.Frame, data: Buffer | None, agreed: Format | None) -> T:
        """A frame's value; `data` is its payload where that was cut out."""
        raise NotImplementedError

    def encode(self, value: Any, agreed: Format | None) -> Payload:
        """A value as a frame carries it."""
        raise NotImplementedError

    def empty(self, agreed: Format | None) -> Any:
        """A value that adds nothing, to say with it that an utterance is over; `None` where the kind has none."""
        return None

    def duration_us(self, value: Any, agreed: Format | None) -> int:
        """How much of the stream's time a value fills."""
        return 0


@dataclass(frozen=True)
class _Sound(Port[T]):
    rate: int | None = None
    channels: int = 1
    codec: Codec = "pcm_s16"
    kind = pb.KIND_AUDIO
    word = "audio"

    def own(self) -> Format | None:
        """What it carries, whatever a client asks for."""
        rate = 48_000 if self.codec == "opus" else self.rate
        return None if rate is None else Format(self.codec, rate, self.channels)

    def agree(self, asked: pb.PortFormat | None) -> Format:
        own = self.own()
        wanted = Format.of(asked.audio) if asked is not None and asked.HasField("audio") else None
        if own is None:
            own = wanted or DEFAULT_AUDIO
            if own.codec != self.codec:
                raise HopError(f"port '{self.name}' carries {self.codec}, not {own.codec}", code="incompatible")
            return own
        packets = own.codec == "opus" and wanted is not None and wanted.codec == "opus"
        if wanted is not None and wanted != own and not packets:
            mend = f"declare the hop's ports in the manifest, {self.name} with 'format: {own}', and the gateway converts"
            raise HopError(f"port '{self.name}' carries {own}, not {wanted}: {mend}", code="incompatible")
        return own

    def describe(self, message: pb.Port, agreed: Format | None) -> None:
        format = agreed or self.own()
        if format is not None:
            message.audio.CopyFrom(format.message())

    def _check(self, message: pb.AudioFormat, agreed: Format) -> None:
        if (message.codec, message.sample_rate, message.channels) == (_CODECS[agreed.codec], agreed.rate, agreed.channels):
            return
        given = Format.of(message)
        if given != agreed and not (given.codec == agreed.codec == "opus"):
            raise HopError(f"a frame of {given} on '{self.name}', where {agreed} was agreed", code="unsupported_media")


def _audio(agreed: Format | None, data: Buffer, length: int) -> Payload:
    return 16, (agreed or DEFAULT_AUDIO).field + length_prefixed(2, length), data


@dataclass(frozen=True)
class Audio(_Sound[Samples]):
    """Samples: `int16`, or `float32` with `codec="pcm_f32"`. Without a rate it takes or gives what the session has.

    The gateway converts what comes in to `rate` and `channels`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codec not in _PCM:
            raise ValueError(f"Audio carries pcm_s16 or pcm_f32: for {self.codec} take EncodedAudio")

    def decode(self, frame: pb.Frame, data: Buffer | None, agreed: Format | None) -> Samples:
        format = agreed or DEFAULT_AUDIO
        audio = frame.audio
        if audio.HasField("format"):
            self._check(audio.format, format)
        dtype = _PCM[format.codec]
        given = audio.data if data is None else data
        if len(given) % (dtype.itemsize * format.channels):
            raise ValueError(f"{len(given)} bytes are no whole samples of {format}")
        samples = np.frombuffer(bytearray(given), dtype) if given else np.empty(0, dtype)
        return samples if format.channels == 1 else samples.reshape(-1, format.channels)

    def encode(self, value: Any, agreed: Format | None) -> Payload:
        format = agreed or DEFAULT_AUDIO
        data = arrays.bytes_of(arrays.pcm(value, _PCM[format.codec], format.channels))
        return _audio(agreed, data, data.nbytes)

    def empty(self, agreed: Format | None) -> Samples:
        format = agreed or DEFAULT_AUDIO
        return arrays.of_bytes(b"", _PCM[format.codec], (0,) if format.channels == 1 else (0, format.channels))

    def duration_us(self, value: Any, agreed: Format | None) -> int:
        return len(value) * 1_000_000 // (agreed or DEFAULT_AUDIO).rate


@dataclass(frozen=True)
class EncodedAudio(_Sound[bytes]):
    """Opus (one packet a frame), or G.711."""

    codec: Codec = "opus"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codec in _PCM:
            raise ValueError(f"EncodedAudio carries opus, pcmu or pcma: for {self.codec} take Audio")

    def decode(self, frame: pb.Frame, data: Buffer | None, agreed: Format | None) -> bytes:
        if frame.audio.HasField("format"):
            self._check(frame.audio.format, agreed or DEFAULT_AUDIO)
        return frame.audio.data if data is None else bytes(data)

    def encode(self, value: Any, agreed: Format | None) -> Payload:
        return _audio(agreed, _bytes(value), len(value))


@dataclass(frozen=True)
class Video(Port[Picture]):
    """Encoded pictures."""

    codec: Literal["vp8", "h264"] | None = None
    kind = pb.KIND_VIDEO
    word = "video"

    def describe(self, message: pb.Port, agreed: Format | None) -> None:
        if self.codec is not None:
            message.video.codec = _VIDEO[self.codec]

    def agree(self, asked: pb.PortFormat | None) -> None:
        wanted = _VIDEO_NAMES.get(asked.video.codec) if asked is not None else None
        if self.codec is not None and wanted is not None and wanted != self.codec:
            raise HopError(f"port '{self.name}' carries {self.codec}, not {wanted}", code="incompatible")

    def decode(self, frame: pb.Frame, data: Buffer | None, agreed: Format | None) -> Picture:
        video = frame.video
        codec: Literal["vp8", "h264"] | None = _VIDEO_NAMES.get(video.format.codec) or self.codec
        if codec is None:
            raise ValueError("a picture that does not name its codec")
        return Picture(video.data if data is None else bytes(data), codec, video.key)

    def encode(self, value: Any, agreed: Format | None) -> Payload:
        if not isinstance(value, Picture):
            raise TypeError(f"a {type(value).__name__} is no Picture")
        head = pb.Video(format=pb.VideoFormat(codec=_VIDEO[value.codec]), key=value.key).SerializeToString()
        return 17, head + length_prefixed(3, len(value.data)), value.data


@dataclass(frozen=True)
class Text(Port[str]):
    """Text."""

    kind = pb.KIND_TEXT
    word = "text"

    def decode(self, frame: pb.Frame, data: Buffer | None, agreed: Format | None) -> str:
        return frame.text.text

    def encode(self, value: Any, agreed: Format | None) -> Payload:
        if not isinstance(value, str):
            raise TypeError(f"a {type(value).__name__} is no text: give a str")
        return _blob(18, value.encode())

    def empty(self, agreed: Format | None) -> str:
        return ""


@dataclass(frozen=True)
class Binary(Port[bytes]):
    """Bytes that nobody looks into."""

    kind = pb.KIND_BINARY
    word = "binary"

    def decode(self, frame: pb.Frame, data: Buffer | None, agreed: Format | None) -> bytes:
        return frame.binary.data if data is None else bytes(data)

    def encode(self, value: Any, agreed: Format | None) -> Payload:
        return _blob(19, _bytes(value))

    def empty(self, agreed: Format | None) -> bytes:
        return b""


@dataclass(frozen=True)
class Tensor(Port[Array]):
    """Arrays of any shape; out of it also whatever has `__dlpack__`, such as a torch tensor."""

    kind = pb.KIND_TENSOR
    word = "tensor"

    def decode(self, frame: pb.Frame, data: Buffer | None, agreed: Format | None) -> Array:
        return arrays.tensor(frame.tensor, frame.tensor.data if data is None else data)

    def encode(self, value: Any, agreed: Format | None) -> Payload:
        dtype, array = arrays.tensor_parts(value)
        data = arrays.bytes_of(array)
        head = pb.Tensor(dtype=dtype, shape=array.shape).SerializeToString()
        return 20, head + length_prefixed(3, data.nbytes), data


@dataclass(frozen=True)
class Json(Port[Any]):
    """Any value that JSON has."""

    kind = pb.KIND_JSON
    word = "json"

    def decode(self, frame: pb.Frame, data: Buffer | None, agreed: Format | None) -> Any:
        return json.loads(frame.json.value)

    def encode(self, value: Any, agreed: Format | None) -> Payload:
        return _blob(21, json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())


def _blob(field: int, data: bytes) -> Payload:
    return field, length_prefixed(1, len(data)), data


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"a {type(value).__name__} is not bytes")
