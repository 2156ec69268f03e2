"""What came out of a session: its sound and its words."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from tidegate_sdk import Samples


def texts(frames: list[dict[str, Any]], port: str) -> list[str]:
    """Final ones of an output."""
    return [frame["text"]["text"] for frame in frames if frame["port"] == port and frame.get("final")]


def sound(frames: list[dict[str, Any]], port: str = "speaker") -> tuple[Samples, int]:
    """All of an output, and its rate."""
    heard = [frame["audio"] for frame in frames if frame["port"] == port]
    rates = {audio["format"]["sample_rate"] for audio in heard}
    assert len(rates) == 1, f"sound of one rate: {rates}"
    pieces = [np.frombuffer(base64.b64decode(audio["data"]), np.int16) for audio in heard]
    return np.concatenate(pieces), rates.pop()


def seconds(frames: list[dict[str, Any]], port: str = "speaker") -> float:
    """How much sound there is; none is none."""
    if not any(frame["port"] == port for frame in frames):
        return 0.0
    samples, rate = sound(frames, port)
    return len(samples) / rate


def loudness(samples: Samples) -> float:
    """Root of the mean square, of full scale."""
    return float(np.sqrt(np.mean((samples.astype(np.float64) / 32768) ** 2)))


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    """By straight lines, which a recogniser minds little."""
    at = np.arange(0, len(samples), rate / wanted)
    return np.asarray(np.interp(at, np.arange(len(samples)), samples), np.int16)
