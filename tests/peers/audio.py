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


def pitch(samples):
    """The strongest frequency in Hz, by a windowed transform; 0 for silence."""
    if len(samples) < FRAME:
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE / len(samples))


def envelope(samples):
    """Loudness per 20 ms, its mean taken off."""
    count = len(samples) // FRAME
    power = np.square(samples[: count * FRAME], dtype=np.float64).reshape(count, FRAME).mean(axis=1)
    loudness = np.sqrt(power)
    return loudness - loudness.mean()


def likeness(sent, received, delay_max=3.0):
    """How alike two sounds are in loudness over time, -1..1, at the delay (0..`delay_max` s)
    that makes them most alike; and that delay in seconds."""
    a, b = envelope(sent), envelope(received)
    best, at = -1.0, 0
    for shift in range(int(delay_max * 50)):
        part = b[shift : shift + len(a)]
        if len(part) < len(a) // 2:
            break
        reference = a[: len(part)]
        scale = np.linalg.norm(reference) * np.linalg.norm(part)
        score = float(np.dot(reference, part) / scale) if scale else -1.0
        if score > best:
            best, at = score, shift
    return best, at / 50


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
