"""Messages that are cut and joined by hand are what the generated classes would have made of them."""

from __future__ import annotations

import platform
import random
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from google.protobuf.message import DecodeError

from tidegate_sdk import Audio, Binary, EncodedAudio, Json, Picture, Tensor, Text, Video, arrays
from tidegate_sdk._generated.tidegate.v1 import gateway_pb2 as pb
from tidegate_sdk.ports import Format, Port
from tidegate_sdk.wire import LARGE, decode_client, server_frame

DATA = random.Random(7).randbytes(3 * LARGE)
PAYLOADS: list[dict[str, Any]] = [
    {"audio": pb.Audio(format=pb.AudioFormat(codec="AUDIO_CODEC_PCM_S16", sample_rate=16000, channels=1), data=DATA)},
    {"audio": pb.Audio(data=DATA)},
    {"video": pb.Video(format=pb.VideoFormat(codec="VIDEO_CODEC_VP8"), key=True, data=DATA)},
    {"binary": pb.Binary(data=DATA)},
    {"tensor": pb.Tensor(dtype="DTYPE_F32", shape=[3, LARGE // 4], data=DATA)},
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_is_cut_out_of_a_large_frame_and_the_rest_stays(payload: dict[str, Any]) -> None:
    whole = pb.Frame(port="in", seq=2**40, media_time=-5, final=True, caused_port="x", service=7, **payload)
    received = decode_client(pb.ClientMessage(frame=whole).SerializeToString())
    assert received.message is not None
    assert received.data is not None
    assert bytes(received.data) == DATA
    frame = received.message.frame
    kind = frame.WhichOneof("payload")
    assert kind is not None
    assert getattr(frame, kind).data == b""
    getattr(frame, kind).data = DATA
    assert frame == whole


@pytest.mark.parametrize("seed", range(300))
def test_damaged_messages_are_read_or_refused_as_the_generated_classes_do(seed: int) -> None:
    chance = random.Random(seed)
    raw = bytearray(pb.ClientMessage(frame=pb.Frame(port="in", seq=9, **PAYLOADS[seed % len(PAYLOADS)])).SerializeToString())
    for _ in range(chance.randint(1, 3)):
        raw[chance.randrange(24)] = chance.randrange(256)
    received = decode_client(bytes(raw))
    try:
        expected = pb.ClientMessage.FromString(bytes(raw))
    except DecodeError:
        expected = None
    if received.message is not None and received.data is not None and expected is not None:
        kind = received.message.frame.WhichOneof("payload")
        assert kind is not None
        getattr(received.message.frame, kind).data = bytes(received.data)
    assert received.message == expected


VALUES: list[tuple[Port[Any], Any]] = [
    (Audio("x", 16_000), np.arange(-500, 500, dtype=np.int16)),
    (Audio("x", 48_000, channels=2, codec="pcm_f32"), np.linspace(-1, 1, 400, dtype=np.float32).reshape(200, 2)),
    (EncodedAudio("x"), b"\x01\x02"),
    (Video("x"), Picture(b"abc", "h264", key=True)),
    (Text("x"), "ü"),
    (Binary("x"), bytes(300)),
    (Json("x"), {"a": [1, None]}),
    (Tensor("x"), np.arange(24, dtype=np.int64).reshape(2, 3, 4)),
    (Tensor("x"), np.ones((2, 2), ml_dtypes.bfloat16)),
    (Tensor("x"), np.zeros((0, 4), np.float16)),
    (Tensor("x"), np.float64(2.5)),
]


@pytest.mark.parametrize(("port", "value"), VALUES)
def test_what_is_encoded_by_hand_is_read_by_the_generated_classes(port: Port[Any], value: Any) -> None:
    agreed = port.agree(None)
    raw = server_frame(pb.Frame(port="x", seq=3).SerializeToString(), *port.encode(value, agreed))
    frame = pb.ServerMessage.FromString(raw).frame
    assert (frame.port, frame.seq) == ("x", 3)
    back = port.decode(frame, None, agreed)
    if isinstance(value, np.ndarray | np.generic):
        assert back.dtype == value.dtype
        assert np.array_equal(back, value)
    else:
        assert back == value


def test_arrays_that_come_in_can_be_handed_to_other_frameworks() -> None:
    array = arrays.of_bytes(memoryview(b"?" + bytes(range(16)))[1:], np.dtype("<f4"), (4,))
    # DLPack hands on neither what is read-only nor what is not aligned.
    assert array.flags.writeable
    assert array.flags.aligned
    assert np.shares_memory(np.from_dlpack(array), array)


def test_arrays_that_go_out_are_read_in_place() -> None:
    array = np.arange(1000, dtype=np.float32).reshape(10, 100)
    assert np.shares_memory(np.frombuffer(arrays.bytes_of(array), np.uint8), array)
    strided = array[:, ::2]
    assert bytes(arrays.bytes_of(strided)) == strided.tobytes()


@pytest.mark.parametrize("value", ["text", {1: 2}, np.array(["a"]), np.array([1 + 2j])])
def test_what_is_no_tensor_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        Tensor("x").encode(value, None)


def test_sound_is_converted_to_what_the_port_carries() -> None:
    s16 = arrays.pcm(np.array([0.0, 0.5, -1.0, 1.0, 7.0]), arrays.INT16, 1)
    assert s16.tolist() == [0, 16384, -32768, 32767, 32767]
    assert arrays.pcm(np.array([-32768, 16384], np.int16), arrays.FLOAT32, 1).tolist() == [-1.0, 0.5]
    with pytest.raises(TypeError, match="2 channel"):
        arrays.pcm(np.zeros(4, np.int16), arrays.INT16, 2)


@pytest.mark.parametrize(("shape", "length"), [((2, 3), 23), ((2**40, 2**40), 0), ((), 0)])
def test_bytes_that_do_not_fill_a_shape_are_refused(shape: tuple[int, ...], length: int) -> None:
    with pytest.raises(ValueError, match="needs"):
        arrays.of_bytes(bytes(length), np.dtype("<f4"), shape)


def test_a_port_without_a_rate_takes_the_session_s() -> None:
    asked = pb.PortFormat(port="x", audio=Format("pcm_s16", 8_000, 1).message())
    assert Audio("x").agree(asked) == Format("pcm_s16", 8_000, 1)


def test_a_process_of_services_keeps_the_memory_of_large_frames() -> None:
    """Page faults of a megabyte that comes and goes: as many as it has pages each time, or none."""
    program = f"""
import resource
from tidegate_sdk import memory
assert memory.keep() is {platform.libc_ver()[0] == "glibc"}
for _ in range(8):
    held = [bytearray(1 << 20) for _ in range(4)]
    del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(64):
    held = [bytearray(1 << 20) for _ in range(4)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    if platform.libc_ver()[0] == "glibc":
        # 64 times 1024 pages would be 65536.
        assert int(done.stdout) < 1000
