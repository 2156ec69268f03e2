"""Arrays of other frameworks, by DLPack: read in place where the CPU can, copied once from a GPU, in the thread that made them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from peer import Peer, on_a_loop, serving

from tidegate_sdk import Array, Audio, Batch, Out, Tensor, arrays, per_frame
from tidegate_sdk._generated.tidegate.v1 import gateway_pb2 as pb

CPU = (1, 0)
CUDA = (2, 0)


class Foreign:
    """An array of a framework that is not numpy. It counts its copies, and knows which thread made them."""

    def __init__(self, array: Array, device: tuple[int, int] = CPU) -> None:
        self.array = array
        self.device = device
        self.copies: list[str] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, dl_device: tuple[int, int] | None = None, **more: Any) -> Any:
        if self.device == CPU:
            return self.array.__dlpack__(dl_device=dl_device, **more)
        if dl_device != CPU:
            raise BufferError("it lies elsewhere")
        self.copies.append(threading.current_thread().name)
        return self.array.copy().__dlpack__()


class Learning(Foreign):
    """As torch has it, of what has a gradient."""

    def __dlpack__(self, **more: Any) -> Any:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")

    def detach(self) -> Foreign:
        return Foreign(self.array)


def test_an_array_on_the_cpu_is_read_where_it_lies() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    for foreign in (Foreign(array), Learning(array)):
        _, _, data = Tensor("x").encode(foreign, None)
        assert np.shares_memory(np.frombuffer(data, np.uint8), array)


def test_one_on_a_gpu_is_copied_once() -> None:
    foreign = Foreign(np.arange(12, dtype=np.float32), CUDA)
    field, head, data = Tensor("x").encode(foreign, None)
    message = pb.Frame.FromString(_field(field, head + bytes(data)))
    assert np.array_equal(Tensor("x").decode(message, None, None), foreign.array)
    assert len(foreign.copies) == 1


def _field(number: int, data: bytes) -> bytes:
    tag, length = number << 3 | 2, len(data)
    return bytes((tag & 0x7F | 0x80, tag >> 7, length)) + data


def test_sound_of_another_framework_is_sound() -> None:
    _, _, data = Audio("x", 16_000).encode(Foreign(np.array([0.0, 0.5], np.float32), CUDA), None)
    assert np.frombuffer(data, np.int16).tolist() == [0, 16384]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_what_came_in_is_handed_on_in_place_and_may_be_written_to(dtype: Any) -> None:
    message = pb.Tensor(dtype=arrays.tensor_parts(np.zeros(2, dtype))[0], shape=[2, 8])
    array = arrays.tensor(message, memoryview(bytes(16 * np.dtype(dtype).itemsize)))
    handed = np.from_dlpack(array)
    assert np.shares_memory(handed, array)
    array[0, 0] = True
    assert handed[0, 0] == 1


def test_bfloat16_is_handed_on_as_the_integers_of_its_bits() -> None:
    array = arrays.tensor(pb.Tensor(dtype=pb.DTYPE_BF16, shape=[2]), b"\x80\x3f\x00\x40")
    bits = np.from_dlpack(array.view(np.int16))
    assert np.shares_memory(bits, array)
    assert bits.view(ml_dtypes.bfloat16).astype(float).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("value", [Foreign(np.ones(2, np.complex64), CUDA), type("Sparse", (), {"__dlpack__": None})()])
def test_what_cannot_be_read_is_refused_with_its_reason(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be"):
        Tensor("x").encode(value, None)


MADE: list[Foreign] = []


def made(value: Any) -> Foreign:
    MADE.append(Foreign(np.asarray(value, np.float32), CUDA))
    return MADE[-1]


@per_frame(takes=Tensor(), gives=Tensor())
def returned(array: Array) -> Foreign:
    return made(array + 1)


@per_frame(takes=Tensor(), gives=Tensor())
def labelled(array: Array) -> Out[Foreign]:
    return Out(made(array + 1))


@per_frame(takes=Tensor(), gives=Tensor())
def yielded(array: Array) -> Iterator[Foreign]:
    yield made(array + 1)


@per_frame(takes=Tensor(), gives=Tensor(), batch=Batch(4, wait=0.001))
def listed(values: list[Array]) -> list[Any]:
    return [made(array + 1) for array in values]


@per_frame(takes=Tensor(), gives=Tensor(), batch=Batch(4, wait=60))
def stacked(values: list[Array]) -> Any:
    return made(np.stack(values) + 1)


def tensor_frame(value: float) -> pb.Frame:
    dtype, array = arrays.tensor_parts(np.array([value], np.float32))
    return pb.Frame(port="in", tensor=pb.Tensor(dtype=dtype, shape=[1], data=array.tobytes()))


async def answer(peer: Peer) -> list[float]:
    frame = await peer.next("frame")
    return [float(one) for one in arrays.tensor(frame.tensor, frame.tensor.data)]


@on_a_loop
async def test_the_copy_out_of_a_gpu_holds_up_nobody_else() -> None:
    MADE.clear()
    hops = (returned, labelled, yielded, listed)
    async with serving(*hops) as worker:
        for hop in hops:
            peer = await worker.open(hop.name)
            await peer.send(frame=tensor_frame(1))
            assert await answer(peer) == [2.0]
            peer.cancel()
    assert [len(one.copies) for one in MADE] == [1] * len(hops)
    assert threading.main_thread().name not in {name for one in MADE for name in one.copies}


@on_a_loop
async def test_a_batch_may_answer_with_one_array_which_is_copied_whole() -> None:
    MADE.clear()
    async with serving(stacked) as worker:
        peers = [await worker.open("stacked") for _ in range(4)]
        for number, peer in enumerate(peers):
            await peer.send(frame=tensor_frame(number))
        assert await asyncio.gather(*map(answer, peers)) == [[1.0], [2.0], [3.0], [4.0]]
    assert [len(one.copies) for one in MADE] == [1]
