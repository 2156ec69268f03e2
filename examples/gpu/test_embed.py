"""Torch and the SDK: no needless copy, and the service's answers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
from tidegate_sdk import HopError, Tensor, arrays
from tidegate_sdk._generated.tidegate.v1 import gateway_pb2 as pb

from embed import BANDS, STEPS, WIDTH, Embed

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def received(array: np.ndarray) -> np.ndarray:
    """As a function gets it."""
    number, given = arrays.tensor_parts(array)
    return arrays.tensor(pb.Tensor(dtype=number, shape=array.shape), bytes(arrays.bytes_of(given)))


def test_a_tensor_that_came_in_is_torch_s_without_a_copy() -> None:
    array = received(np.arange(6, dtype=np.float32).reshape(2, 3))
    for tensor in (torch.from_numpy(array), torch.from_dlpack(array)):
        tensor[0, 0] += 7
    assert array[0, 0] == 14


def test_one_that_goes_out_is_read_where_it_lies() -> None:
    tensor = torch.arange(6, dtype=torch.float32, requires_grad=True).reshape(2, 3)
    _, _, data = Tensor("x").encode(tensor, None)
    with torch.no_grad():
        tensor[0, 0] = 7
    assert np.frombuffer(data, np.float32)[0] == 7


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_goes_both_ways_bit_for_bit(device: str) -> None:
    array = received(np.array([1.5, -0.0, np.inf], ml_dtypes.bfloat16))
    tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device)
    assert tensor.tolist() == [1.5, -0.0, float("inf")]
    _, _, data = Tensor("x").encode(tensor, None)
    assert bytes(data) == array.tobytes()


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_is_answered_as_each_alone_and_a_misfit_fails_alone(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_DEVICE", device)
    service = Embed()
    chance = np.random.default_rng(3)
    values = [chance.standard_normal((STEPS, BANDS), np.float32) for _ in range(3)]
    together = arrays.rows_on_host(service.embed.function(values))
    assert together.shape == (3, WIDTH)
    for value, row in zip(values, together, strict=True):
        assert np.allclose(arrays.rows_on_host(service.embed_alone.function([value]))[0], row, atol=1e-4)
    mixed = service.embed.function([values[0], np.zeros(3, np.float32), values[2]])
    assert isinstance(mixed[1], HopError)
    assert np.allclose(mixed[0], together[0], atol=1e-4)
    assert np.allclose(mixed[2], together[2], atol=1e-4)
