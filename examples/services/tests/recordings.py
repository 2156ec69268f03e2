"""Recordings with what is said in them, and how wrong a transcript of one is."""

from __future__ import annotations

import base64
import pathlib
import re
from dataclasses import dataclass

import jiwer
import numpy as np
from faster_whisper import decode_audio
from processes import Client
from tidegate_sdk import Samples

RATE = 16_000
PCM = {"codec": "pcm_s16", "sample_rate": RATE, "channels": 1}
_FRAME = RATE // 50
# In points of a hundred; what a path may cost beside the same model on the same sound.
_WORSE_AT_MOST = 2.0
_FIXTURES = pathlib.Path(__file__).resolve().parents[3] / ".cache" / "fixtures"
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@dataclass(frozen=True)
class Recording:
    """One."""

    name: str
    text: str

    @property
    def file(self) -> pathlib.Path:
        """Where it lies."""
        return _FIXTURES / self.name

    def samples(self) -> Samples:
        """At 16 kHz."""
        decoded = decode_audio(str(self.file), RATE)
        return np.asarray(np.clip(decoded * 32767, -32768, 32767), np.int16)


def english() -> list[Recording]:
    """A speech, read sentences, and short clips, some of them hard."""
    jfk = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
    found = [Recording("jfk.wav", jfk)]
    for folder in ("librivox", "cards"):
        for line in (_FIXTURES / folder / "transcription").read_text().splitlines():
            if said := re.match(r"<s> (.*?) *</s> \((\S+)\)", line):
                found.append(Recording(f"{folder}/{said[2]}.wav", said[1]))
    for text in sorted((_FIXTURES / "audioeval" / "en").glob("*.txt")):
        found.append(Recording(f"audioeval/en/{text.stem}.wav", text.read_text()))
    return found


def words(text: str) -> str:
    """What ways of writing the same have in common: no marks, and numbers digit by digit, since a count may be written as one number."""
    plain = re.sub(r"[^\w\s']", " ", text.lower().replace("mr.", "mister")).split()
    numbers = [str(_NUMBERS.index(word)) if word in _NUMBERS else word for word in plain]
    return " ".join(" ".join(word) if word.isdecimal() else word for word in numbers)


def word_error_rate(recordings: list[Recording], heard: list[str]) -> float:
    """Over all of them."""
    return float(jiwer.wer([words(one.text) for one in recordings], [words(one) for one in heard]))


def as_right(path: str, recordings: list[Recording], alone: list[str], through: list[str]) -> None:
    """Looks that the words of recordings are as right on a path as those of the model by itself."""
    assert len(recordings) >= 7
    rates = [100 * word_error_rate(recordings, heard) for heard in (alone, through)]
    shown = "\n".join(f"{one.name}: {a!r} / {b!r}" for one, a, b in zip(recordings, alone, through, strict=True))
    print(f"word error rate of {len(recordings)} recordings: {rates[0]:.1f} % alone, {rates[1]:.1f} % {path}")
    assert rates[1] <= rates[0] + _WORSE_AT_MOST, f"{rates}\n{shown}"
    # The recordings are not so hard that anything would do.
    assert rates[0] < 15, shown


def say(client: Client, samples: Samples, quiet_seconds: float = 0.0, from_sample: int = 0) -> None:
    """Sends sound in frames of 20 ms, and silence behind it. It begins at `from_sample` of the stream's time."""
    whole = np.append(samples, np.zeros(int(quiet_seconds * RATE), np.int16))
    for start in range(0, len(whole), _FRAME):
        data = base64.b64encode(whole[start : start + _FRAME].tobytes()).decode()
        client.frame("mic", media_time=(from_sample + start) * 1_000_000 // RATE, audio={"format": PCM, "data": data})
