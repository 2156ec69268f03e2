"""Speech to text by Whisper: what is understood so far while somebody speaks, and the whole when the utterance has ended.

    python -m tidegate_sdk serve tidegate_services.stt:SpeechToText --listen 127.0.0.1:7001

Settings come from the environment: `STT_MODELS`, loaded before it listens (default `tiny.en`; others when they are first asked for), and
`STT_THREADS` of one recognition (default: all cores). `STT_DEVICE` is `cpu`, `cuda`, or `auto` (the default): CUDA where CTranslate2 finds
a device that it can use, the CPU otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator

import numpy as np
from tidegate_sdk import Audio, Context, Final, HopError, Partial, Refused, Samples, Text, Utterance, per_utterance

from .device import asked, chosen
from .weights import WHISPER

try:
    import ctranslate2
    from faster_whisper import WhisperModel
except ModuleNotFoundError as error:
    raise Refused("faster-whisper is not installed: pip install faster-whisper==1.2.1, or run tests/setup/services.sh") from error

log = logging.getLogger(__name__)

DEVICE = "STT_DEVICE"
# The weights are int8: what is computed with, the best first. Older GPUs lack the first.
_COMPUTE = {"cpu": ("int8", "float32"), "cuda": ("int8_float16", "float16", "int8_float32", "float32")}
_DEFAULT = "tiny.en"
RATE = 16_000
# Whisper looks at windows of this length; in longer sound it needs time stamps to find where the next begins.
_WINDOW_SECONDS = 30.0
# Of an utterance that does not end so much is kept; then what was said up to the quietest moment of its last seconds is settled. Where
# that is depends on the sound alone, never on when it came.
_KEPT = 28 * RATE
_QUIETEST_AFTER = 22 * RATE
_QUIET_STEP = RATE // 10
# How much more must have been said until a live client gets another partial result.
_PARTIAL_SECONDS = 1.0
# How often it is looked whether a partial result is due.
_LOOK_SECONDS = 0.2
# A pause: two tenths of a second, each with less than this part of the power of the loudest.
_PAUSE_STEPS = 2
_PAUSE_POWER = 0.003
# Nobody says more tokens in a second. A model that repeats itself over noise ends there.
_TOKENS_PER_SECOND = 12
_TOKENS_MAX = 224


class Recogniser:
    """One model. The same samples give the same text on the same kind of device."""

    def __init__(self, name: str, threads: int = 0, device: str = "cpu") -> None:
        folder = WHISPER[name].find()
        self._english_only = name.endswith(".en")
        supported = ctranslate2.get_supported_compute_types(device)
        compute = next((one for one in _COMPUTE[device] if one in supported), None)
        if compute is None:
            raise RuntimeError(f"on this {device} there is none of {', '.join(_COMPUTE[device])}, only {', '.join(sorted(supported))}")
        self.compute = compute
        self._model = WhisperModel(str(folder), device=device, compute_type=self.compute, cpu_threads=threads, local_files_only=True)

    def recognise(self, samples: Samples, language: str) -> str:
        """What is said in 16-bit samples of 16 kHz."""
        if self._english_only and language != "en":
            raise HopError(f"this model knows English only, not '{language}'", code="bad_request")
        if len(samples) == 0:
            return ""
        seconds = len(samples) / RATE
        segments, _ = self._model.transcribe(
            samples.astype(np.float32) / 32768,
            language=language,
            # No chance and no memory of what was said before: a replica that takes over hears the same.
            temperature=0.0,
            condition_on_previous_text=False,
            beam_size=5,
            without_timestamps=seconds <= _WINDOW_SECONDS,
            max_new_tokens=min(_TOKENS_MAX, 16 + int(seconds * _TOKENS_PER_SECOND)),
        )
        return " ".join(segment.text.strip() for segment in segments)


def _named() -> list[str]:
    """The models that are loaded before it listens."""
    names = [name.strip() for name in os.environ.get("STT_MODELS", _DEFAULT).split(",") if name.strip()]
    for name in names:
        if name not in WHISPER:
            raise Refused(f"STT_MODELS names '{name}': there are {', '.join(WHISPER)}")
    return names


def device() -> str:
    """Where models run: `cpu` or `cuda`."""
    where = chosen(DEVICE, _lacking)
    if where == "cuda":
        try:
            # Its libraries are looked for when something is computed, and not before: by a model that is loaded anyway.
            Recogniser(next(iter(_named()), _DEFAULT), device=where).recognise(np.zeros(RATE, np.int16), "en")
        except RuntimeError as error:
            if asked(DEVICE) == "cuda":
                raise Refused(f"{DEVICE} is cuda, but CTranslate2 cannot use it: {error} (README.md, On a GPU)") from error
            log.warning("speech is recognised on the CPU: there is a CUDA device, but CTranslate2 cannot use it: %s", error)
            return "cpu"
    return where


def _lacking() -> str | None:
    if ctranslate2.get_cuda_device_count():
        return None
    return "CTranslate2 finds no CUDA device: see that nvidia-smi shows one, or say cpu or auto"


class SpeechToText:
    """The service."""

    def __init__(self) -> None:
        self.device = device()
        self._threads = int(os.environ.get("STT_THREADS", "0"))
        self._loading = threading.Lock()
        self._loaded: dict[str, Recogniser] = {}
        self._busy = 0
        for name in _named():
            self._model(name)
        log.info("speech is recognised on the %s", self.device)

    @per_utterance(takes=Audio("speech", RATE), gives=Text("words"), parameters={"language": "en", "model": "", "partial_seconds": -1.0})
    async def stt(self, speech: Utterance[Samples], context: Context) -> AsyncIterator[Partial[str] | Final[str]]:
        """Says what is said. Without a `model` it is tiny.en for English, and base for other languages.

        `partial_seconds` is how much more must have been said until another partial result; 0: none is wanted. Below 0 a live client gets
        one a second, and one that waits none: each costs as much as the final one, and nobody would read it.
        """
        language = str(context.parameters["language"])
        name = str(context.parameters["model"]) or ("tiny.en" if language == "en" else "base")
        live = context.session.mode == "live"
        asked_for = float(context.parameters["partial_seconds"])
        partial = asked_for if asked_for >= 0 else _PARTIAL_SECONDS if live else 0.0
        settled: list[str] = []
        heard = np.empty(0, np.int16)
        fresh = 0.0
        ready = time.monotonic()
        async for piece in speech.chunks(seconds=_LOOK_SECONDS if partial else _KEPT / RATE):
            # What comes much faster than it was said has waited, here or at the gateway, which sends no more than is taken: more may wait.
            behind = live and time.monotonic() - ready < len(piece) / RATE / 2
            heard = np.append(heard, piece)
            fresh += len(piece) / RATE
            while len(heard) >= _KEPT:
                cut = _quietest(heard)
                settled.append(await self._recognise(name, heard[:cut], language, context))
                heard = heard[cut:]
            # A partial result is worth nothing that a final one would have to wait for: that of somebody else, this one's in a
            # moment, or that of sound which waits already.
            if partial and fresh >= partial and not (speech.complete or behind or self._busy or _pauses(heard)):
                fresh = 0.0
                yield Partial(_joined(settled, await self._recognise(name, heard, language, context)))
            ready = time.monotonic()
        yield Final(_joined(settled, await self._recognise(name, heard, language, context)))

    async def _recognise(self, name: str, samples: Samples, language: str, context: Context) -> str:
        self._busy += 1
        work = asyncio.ensure_future(context.run(self._in_thread, name, samples, language))
        # Counted until the thread has ended: an interrupt ends the wait for it, and not the work.
        work.add_done_callback(self._ended)
        return await asyncio.shield(work)

    def _ended(self, work: asyncio.Future[str]) -> None:
        self._busy -= 1
        if not work.cancelled():
            work.exception()

    def _in_thread(self, name: str, samples: Samples, language: str) -> str:
        return self._model(name).recognise(samples, language)

    def _model(self, name: str) -> Recogniser:
        if name not in WHISPER:
            raise HopError(f"there is no model '{name}': this service has {', '.join(WHISPER)}", code="bad_request")
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = Recogniser(name, self._threads, self.device)
            return self._loaded[name]


def _quietest(samples: Samples) -> int:
    """Where to cut: the middle of the quietest tenth of a second near the end of what may be kept."""
    steps = samples[_QUIETEST_AFTER:_KEPT].reshape(-1, _QUIET_STEP).astype(np.float32)
    return _QUIETEST_AFTER + int(np.argmin(np.square(steps).sum(axis=1))) * _QUIET_STEP + _QUIET_STEP // 2


def _pauses(samples: Samples) -> bool:
    """Whether the speaker is silent at the moment, so that the utterance may be about to end."""
    whole = np.square(samples[len(samples) % _QUIET_STEP :].reshape(-1, _QUIET_STEP).astype(np.float32)).mean(axis=1)
    return len(whole) > _PAUSE_STEPS and bool(whole[-_PAUSE_STEPS:].max() < whole.max() * _PAUSE_POWER)


def _joined(settled: list[str], last: str) -> str:
    return " ".join(filter(None, [*settled, last]))
