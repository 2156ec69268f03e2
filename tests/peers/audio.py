"""Sound for the test peers: what they say, and measures of what they hear.

All samples here are float32 in -1..1, mono, 48 kHz, the rate that aiortc sends and receives.
"""

import asyncio
import fractions
import struct
import time

import av
import numpy as np
from aiortc import MediaStreamTrack

RATE = 48_000
FRAME = RATE // 50  # 20 ms


def tone(hertz, seconds, level=0.5):
    """A sine with 10 ms of fade at both ends, so that it starts without a click."""
    at = np.arange(int(seconds * RATE)) / RATE
    wave = level * np.sin(2 * np.pi * hertz * at)
    fade = np.minimum(1, np.minimum(at, at[-1] - at) / 0.01)
    return (wave * fade).astype(np.float32)


def load(path):
    """A recording of any format that libav reads."""
    with av.open(str(path)) as container:
        to_mono = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        parts = [
            part.to_ndarray().reshape(-1)
            for frame in container.decode(audio=0)
            for part in to_mono.resample(frame)
        ]
        parts += [part.to_ndarray().reshape(-1) for part in to_mono.resample(None)]
    return np.concatenate(parts)


def save(path, samples):
    """Writes a 16-bit WAV file."""
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(pcm), b"WAVE", b"fmt ", 16, 1, 1,
        RATE, RATE * 2, 2, 16, b"data", len(pcm),
    )
    with open(path, "wb") as file:
        file.write(head + pcm)


def rms(samples):
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def heard(samples, threshold=0.01):
    """The part from the first to the last 20 ms that are louder than `threshold`."""
    loud = [i for i in range(0, len(samples) - FRAME, FRAME) if rms(samples[i : i + FRAME]) > threshold]
    return samples[loud[0] : loud[-1] + FRAME] if loud else samples[:0]


def windows(samples, seconds):
    """Whole windows of so many seconds, a row each."""
    size = int(seconds * RATE)
    count = len(samples) // size
    return samples[: count * size].reshape(count, size)


def pitches(samples):
    """The strongest frequency in Hz of each fifth of a second, and what part of its power it is. A gap spoils
    one of them, where it would smear a transform of the whole."""
    found = []
    for window in windows(samples, 0.2):
        power = np.abs(np.fft.rfft(window * np.hanning(len(window)), 4 * len(window))) ** 2
        at = int(np.argmax(power))
        near = power[max(0, at - 10) : at + 11].sum()
        found.append((at * RATE / (4 * len(window)), float(near / max(power.sum(), 1e-12))))
    return found


def pitch(samples):
    """The strongest frequency in Hz, 0 for silence."""
    return float(np.median([hertz for hertz, _ in pitches(samples)] or [0.0]))


def purity(samples):
    """What part of the power the strongest frequency is, 0..1."""
    return float(np.median([part for _, part in pitches(samples)] or [0.0]))


def loud_rms(samples, threshold=0.01):
    """Root mean square of the 20 ms that are louder than `threshold`: gaps make a sound shorter, not softer."""
    power = np.square(windows(samples, 0.02), dtype=np.float64).mean(axis=1)
    loud = power[power > threshold**2]
    return float(np.sqrt(loud.mean())) if len(loud) else 0.0


PIECE = 100  # of 20 ms: two seconds
STEP = 50


def likeness(sent, received):
    """How alike two sounds are in loudness over time, -1..1: the median over pieces of two seconds of `sent`, each
    where it is most like `received`, in order and at most two seconds further apart than they were said. So a gap
    or a stretch of time, as a busy machine makes them, costs the piece that it is in and not all that follow. And
    by how much the first piece is late, in seconds."""
    loudness = lambda samples: np.sqrt(np.square(windows(samples, 0.02), dtype=np.float64).mean(axis=1))
    a, b = loudness(sent), loudness(received)
    if len(a) < PIECE or len(b) < PIECE:
        return -1.0, 0.0
    views = np.lib.stride_tricks.sliding_window_view(b, PIECE)
    views = views - views.mean(axis=1, keepdims=True)
    norms = np.maximum(np.linalg.norm(views, axis=1), 1e-9)
    starts = [at for at in range(0, len(a) - PIECE + 1, STEP) if a[at : at + PIECE].max() > 0.02]
    best, froms, tables = None, [], []
    for at in starts:
        piece = a[at : at + PIECE] - a[at : at + PIECE].mean()
        score = views @ piece / (norms * np.linalg.norm(piece))
        tables.append(score)
        if best is None:
            best = score
            continue
        # 0.2 s nearer to 2 s further than it was said after the piece before.
        total, come = np.full(len(score), -np.inf), np.zeros(len(score), int)
        for further in range(STEP - 10, STEP + 101):
            if further >= len(score):
                break
            better = best[: len(score) - further] > total[further:]
            total[further:][better] = best[: len(score) - further][better]
            come[further:][better] = np.nonzero(better)[0]
        froms.append(come)
        best = total + score
    if best is None or not np.isfinite(best).any():
        return -1.0, 0.0
    place = int(np.argmax(best))
    scores = []
    for index in range(len(tables) - 1, -1, -1):
        scores.append(float(tables[index][place]))
        if index:
            place = int(froms[index - 1][place])
    return float(np.median(scores)), (place - starts[0]) / 50


class Speaker(MediaStreamTrack):
    """Says the samples once in real time, then silence for ever."""

    kind = "audio"

    def __init__(self, samples):
        super().__init__()
        self.samples = samples
        self.position = 0
        self.started = None

    async def recv(self):
        now = time.monotonic()
        if self.started is None:
            self.started = now
        await asyncio.sleep(max(0, self.started + self.position / RATE - now))
        part = self.samples[self.position : self.position + FRAME]
        part = np.pad(part, (0, FRAME - len(part)))
        pcm = (np.clip(part, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(pcm, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = RATE
        frame.pts = self.position
        frame.time_base = fractions.Fraction(1, RATE)
        self.position += FRAME
        return frame


class Listener:
    """Keeps what a remote track says."""

    def __init__(self):
        self.parts = []
        self.first_at = None

    async def listen(self, track):
        while True:
            # aiortc's Opus decoder always gives 48 kHz, 16 bits, interleaved stereo.
            frame = await track.recv()
            self.first_at = self.first_at or time.monotonic()
            pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
            self.parts.append(pcm.mean(axis=1).astype(np.float32) / 32768)

    def samples(self):
        return np.concatenate(self.parts) if self.parts else np.zeros(0, np.float32)
