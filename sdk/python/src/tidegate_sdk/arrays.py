"""Arrays and their bytes: dtypes of the wire, and the two conversions.

An array that comes in is a copy of its own, aligned and writable, because what DLPack hands on must be both; it is the only copy. One
that goes out is read in place, if it lies in C order.
"""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ._generated.tidegate.v1 import gateway_pb2 as pb
from .values import Out
from .wire import Buffer

_DTYPES: dict[pb.Dtype, np.dtype[Any]] = {
    pb.DTYPE_BOOL: np.dtype(np.bool_),
    pb.DTYPE_U8: np.dtype("u1"),
    pb.DTYPE_I8: np.dtype("i1"),
    pb.DTYPE_U16: np.dtype("<u2"),
    pb.DTYPE_I16: np.dtype("<i2"),
    pb.DTYPE_U32: np.dtype("<u4"),
    pb.DTYPE_I32: np.dtype("<i4"),
    pb.DTYPE_U64: np.dtype("<u8"),
    pb.DTYPE_I64: np.dtype("<i8"),
    pb.DTYPE_F16: np.dtype("<f2"),
    pb.DTYPE_BF16: np.dtype(ml_dtypes.bfloat16),
    pb.DTYPE_F32: np.dtype("<f4"),
    pb.DTYPE_F64: np.dtype("<f8"),
}
_NUMBERS = {dtype: number for number, dtype in _DTYPES.items()}
INT16 = np.dtype("<i2")
FLOAT32 = np.dtype("<f4")
# DLPack's numbers of what the CPU may read: its own memory, and that which it shares with CUDA or ROCm.
_HOST_DEVICES = (1, 3, 11)


def of_bytes(data: Buffer, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array of its own."""
    # Counted by Python's integers, which do not overflow as a product of a stranger's dimensions may.
    length = dtype.itemsize
    for side in shape:
        length *= side
    given = len(data) if isinstance(data, bytes) else data.nbytes
    if length != given:
        raise ValueError(f"{given} bytes where shape {list(shape)} of {dtype} needs {length}")
    if not length:
        return np.empty(shape, dtype)
    array = np.frombuffer(bytearray(data), dtype)
    return array if len(shape) == 1 else array.reshape(shape)


def bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """Its bytes, in place where they lie in order."""
    if array.flags.c_contiguous and array.dtype.isbuiltin == 1:
        return array.data
    # The dtype is taken off, because the buffer protocol does not know bfloat16.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def tensor(message: pb.Tensor, data: Buffer) -> npt.NDArray[Any]:
    """A tensor of the wire."""
    dtype = _DTYPES.get(message.dtype)
    if dtype is None:
        raise ValueError(f"a tensor of unknown dtype {message.dtype}")
    return of_bytes(data, dtype, tuple(message.shape))


def tensor_parts(value: object) -> tuple[pb.Dtype, npt.NDArray[Any]]:
    """The wire's number of its dtype, and the array in little-endian order."""
    array = as_array(value)
    dtype = array.dtype.newbyteorder("<") if array.dtype.isbuiltin == 1 else array.dtype
    number = _NUMBERS.get(dtype)
    if number is None:
        known = ", ".join(str(one) for one in _DTYPES.values())
        raise TypeError(f"a tensor of {array.dtype} cannot be sent: {known} can")
    return number, array.astype(dtype, copy=False)


def as_array(value: object) -> npt.NDArray[Any]:
    """What a function gave, as an array: numpy's own, or another framework's by DLPack, in place on the CPU and copied once from a GPU."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic | int | float | bool | list | tuple):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        return _by_dlpack(value)
    raise TypeError(f"a {type(value).__name__} is no array: give a numpy array, or what has `__dlpack__`")


def on_host(value: Any) -> Any:
    """What lies in a GPU's memory is brought out of it; everything else is given back as it is.

    Called in the thread that made it, since the copy waits for the GPU.
    """
    if isinstance(value, Out):
        value.value = on_host(value.value)
        return value
    device = None if isinstance(value, np.ndarray) else getattr(value, "__dlpack_device__", None)
    return value if device is None or device()[0] in _HOST_DEVICES else as_array(value)


def rows_on_host(results: Any) -> Any:
    """The results of a batch function. One array with a row for each is brought out of a GPU's memory whole."""
    if isinstance(results, list | tuple):
        return [on_host(result) for result in results]
    return as_array(results) if hasattr(results, "__dlpack__") else results


def _by_dlpack(value: Any) -> npt.NDArray[Any]:
    # Torch hands on no tensor that would take its gradient along.
    detach = getattr(value, "detach", None)
    if detach is not None:
        value = detach()
    try:
        if str(getattr(value, "dtype", "")) == "torch.bfloat16":
            # numpy has no bfloat16 that DLPack could name: as the integers of the same bits.
            return np.from_dlpack(value.view(sys.modules["torch"].int16), device="cpu").view(ml_dtypes.bfloat16)
        return np.from_dlpack(value, device="cpu")
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        kind = type(value).__name__
        raise TypeError(f"a {kind} cannot be read ({error}): give a dense array of a plain type, or a numpy array") from error


def pcm(value: object, dtype: np.dtype[Any], channels: int) -> npt.NDArray[Any]:
    """Samples as a port carries them; full scale is 1.0 of `float32` and 32768 of `int16`."""
    # The usual case first: it is that of every frame.
    if isinstance(value, np.ndarray) and value.dtype == dtype and channels == 1 and value.ndim == 1:
        return value
    array = as_array(value)
    wanted = (channels,) if channels > 1 else ()
    if array.ndim == 2 and channels == 1 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 + len(wanted) or array.shape[1:] != wanted:
        shape = f"(samples, {channels})" if wanted else "(samples,)"
        raise TypeError(f"audio of shape {array.shape} where the port has {channels} channel(s): give {shape}")
    if array.dtype == dtype:
        return array
    floats = array.dtype.kind == "f"
    if dtype == INT16 and floats:
        return np.clip(np.rint(array * 32768.0), -32768, 32767).astype(INT16)
    if dtype == FLOAT32 and floats:
        return array.astype(FLOAT32)
    if dtype == FLOAT32 and array.dtype == np.int16:
        return array.astype(FLOAT32) / np.float32(32768)
    raise TypeError(f"audio of {array.dtype} cannot be sent as {dtype}: give int16, or floats from -1 to 1")
