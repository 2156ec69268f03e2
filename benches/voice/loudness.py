"""What is audible: of recordings that callers say, and of the answer that they hear until they interrupt it.

Both environments import it, that of the services and that of the peers: numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Of full scale, root of the mean square: -50 dB. Below it nobody hears a voice; the noise of an encoder's silence is far below.
AUDIBLE = 0.003
# Of the loudest hundredth of a second: -30 dB. What is quieter at the ends of a clean recording is no speech.
SPEECH = 10 ** (-30 / 20)


@dataclass
class Piece:
    """Sound as it arrived."""

    at: float
    seconds: float
    loudness: float


def loudness(samples: np.ndarray[Any, Any]) -> float:
    """Of 16-bit samples."""
    return float(np.sqrt(np.mean(np.square(samples.astype(np.float64) / 32768)))) if len(samples) else 0.0


def speech_within(samples: np.ndarray[Any, Any], rate: int) -> tuple[float, float]:
    """Where in a clean recording speech begins and ends, in seconds."""
    step = rate // 100
    whole = samples[: len(samples) // step * step].reshape(-1, step).astype(np.float64)
    power = np.sqrt(np.square(whole).mean(axis=1))
    loud = np.nonzero(power >= power.max() * SPEECH)[0]
    return float(loud[0]) / 100, float(loud[-1] + 1) / 100


def audible(pieces: list[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece.loudness > AUDIBLE]


def interruption(answer: list[Piece], started: float) -> dict[str, float]:
    """When the old answer's last audible sound arrived, and when it is over for who plays all that arrived; milliseconds after `started`.
    And how many seconds of it were audible."""
    playing, over = 0.0, 0.0
    for piece in answer:
        playing = max(playing, piece.at) + piece.seconds
        over = playing if piece.loudness > AUDIBLE else over
    heard = audible(answer)
    return {
        "silent": (heard[-1].at - started) * 1e3,
        "over": (over - started) * 1e3,
        "heard": sum(piece.seconds for piece in heard),
    }
