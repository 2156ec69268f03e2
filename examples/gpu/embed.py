"""Vectors of pieces of speech, by torch: on CUDA where there is one, on the CPU otherwise.

    python -m tidegate_sdk serve embed:Embed --listen 127.0.0.1:7005 --metrics 127.0.0.1:9105

What waits is gathered over all sessions into one call. The weights are random, from a fixed seed: what is shown is the way of a tensor
from a session to the GPU and back, not what it means.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from tidegate_sdk import Array, Batch, HopError, Tensor, per_frame

STEPS, BANDS = 100, 80
"""A second of speech: a spectrum of so many bands each 10 ms."""
WIDTH = 256
LAYERS = 4
# Frames in one call at most. More gain little once a GPU is busy, and the first waits for the last.
FRAMES = 64
# How long the first waits for others, in seconds: little beside what a call takes.
WAIT = 0.002


class Encoder(torch.nn.Module):
    """A small transformer whose outputs are averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = torch.nn.Linear(BANDS, WIDTH)
        layer = torch.nn.TransformerEncoderLayer(WIDTH, nhead=4, dim_feedforward=4 * WIDTH, batch_first=True)
        self.layers = torch.nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = torch.nn.functional.normalize(self.layers(self.entry(features)).mean(dim=1), dim=-1)
        return vectors


class Embed:
    """Loaded once, for all sessions."""

    def __init__(self) -> None:
        self.device = torch.device(os.environ.get("GPU_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.manual_seed(20)
        self._model = Encoder().eval().to(self.device)
        # Where a batch is gathered. From pinned memory a GPU fetches it by itself.
        self._gathered = torch.empty((FRAMES, STEPS, BANDS), pin_memory=self.device.type == "cuda")
        self._alone = torch.empty((1, STEPS, BANDS), pin_memory=self.device.type == "cuda")
        # What the first call would wait for: libraries that are loaded, kernels that are chosen.
        for count in (1, FRAMES):
            self.run([np.zeros((STEPS, BANDS), np.float32)] * count, self._gathered).cpu()
        named = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"torch {torch.__version__} on {self.device.type}, {named}", flush=True)

    @per_frame(takes=Tensor("features"), gives=Tensor("embedding"), batch=Batch(FRAMES, WAIT))
    def embed(self, values: list[Array]) -> torch.Tensor | list[torch.Tensor | Exception]:
        """One call for up to `FRAMES` sessions."""
        return self._answers(values, self._gathered)

    @per_frame(takes=Tensor("features"), gives=Tensor("embedding"), name="embed-alone", batch=Batch(1, 0))
    def embed_alone(self, values: list[Array]) -> torch.Tensor | list[torch.Tensor | Exception]:
        """The same, a call for each frame: what batching is compared with."""
        return self._answers(values, self._alone)

    def run(self, values: list[Array], gathered: torch.Tensor) -> torch.Tensor:
        """One call of the model. An incoming array is torch's as it is; gathering them is the one copy on the host."""
        batch = torch.stack([torch.from_numpy(value) for value in values], out=gathered[: len(values)])
        with torch.inference_mode():
            vectors: torch.Tensor = self._model(batch.to(self.device, non_blocking=True))
        return vectors

    def _answers(self, values: list[Array], gathered: torch.Tensor) -> torch.Tensor | list[torch.Tensor | Exception]:
        good = [value for value in values if value.shape == (STEPS, BANDS) and value.dtype == np.float32]
        # One tensor with a row for each, wherever it lies: the SDK brings it to the host in one copy, in this thread.
        results = self.run(good, gathered) if good else torch.empty((0, WIDTH))
        if len(good) == len(values):
            return results
        # A session that sends something else fails alone.
        rows = iter(results.cpu())
        fits = {id(value) for value in good}
        return [next(rows) if id(value) in fits else _misfit(value) for value in values]


def _misfit(value: Array) -> HopError:
    return HopError(f"a {value.dtype} of shape {list(value.shape)}: give float32 of [{STEPS}, {BANDS}]", code="bad_request")
