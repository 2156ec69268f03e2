"""A microphone at the native stream: it never stops, so what is said has its place in time, and it knows when speech began and ended."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from processes import Client
from recordings import RATE, say
from tidegate_sdk import Samples

from loudness import speech_within

PIECE = RATE // 50


@dataclass
class Said:
    """A recording that is being said, and when its first and last sound of speech are, by the clock."""

    samples: Samples
    not_before: float
    onset: float = 0.0
    end: float = 0.0


class Mic:
    """Sends 20 ms when they are complete, as a microphone does: silence, or what it is told to say."""

    def __init__(self, client: Client) -> None:
        self._client, self._waiting, self._stopped = client, deque[Said](), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, samples: Samples, after: float = 0.0) -> Said:
        """Begins with the first piece that is due after so many seconds."""
        said = Said(samples, time.monotonic() + after)
        self._waiting.append(said)
        return said

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        began, at, left = time.monotonic(), 0, np.empty(0, np.int16)
        while not self._stopped.wait(max(0.0, began + (at + PIECE) / RATE - time.monotonic())):
            now = began + at / RATE
            if len(left) == 0 and self._waiting and self._waiting[0].not_before <= now:
                said = self._waiting.popleft()
                first, last = speech_within(said.samples, RATE)
                said.onset, said.end, left = now + first, now + last, said.samples
            piece, left = left[:PIECE], left[PIECE:]
            say(self._client, np.pad(piece, (0, PIECE - len(piece))), from_sample=at)
            at += PIECE
