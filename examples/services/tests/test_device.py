"""Where the services compute: what is chosen where there is no GPU, and what is said where one was asked for."""

from __future__ import annotations

import asyncio
import os
import sys

import ctranslate2
import pytest
from conftest import Start
from processes import Process, Worker
from tidegate_sdk import Refused

from tidegate_services import piper, stt
from tidegate_services.piper import Piper
from tidegate_services.stt import SpeechToText

# What CUDA's libraries are told here; so there is no device for them on any machine.
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
SERVICES = [
    ("tidegate_services.stt:SpeechToText", "STT_DEVICE", "speech is recognised on the cpu"),
    ("tidegate_services.speak:Speech", "PIPER_DEVICE", "English is spoken on the cpu"),
]


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process as in those that are started here: nothing in it has asked for a device before."""
    for name, value in NO_GPU.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("place", "setting", "said"), SERVICES)
def test_without_a_gpu_the_cpu_is_taken_and_said(start: Start, place: str, setting: str, said: str) -> None:
    worker = start(Worker, place, **NO_GPU, **{setting: "auto"})
    assert any(line.endswith(said) for line in worker.lines), worker.lines


@pytest.mark.parametrize(
    ("place", "setting", "value", "said"),
    [
        (SERVICES[0][0], "STT_DEVICE", "cuda", "STT_DEVICE is cuda, but CTranslate2 finds no CUDA device"),
        (SERVICES[0][0], "STT_DEVICE", "gpu", "STT_DEVICE is 'gpu': write auto, cpu, cuda"),
        (SERVICES[1][0], "PIPER_DEVICE", "cuda", "PIPER_DEVICE is cuda, but "),
        (SERVICES[1][0], "PIPER_DEVICE", "CUDA", "PIPER_DEVICE is 'CUDA': write auto, cpu, cuda"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused_before_it_listens(start: Start, place: str, setting: str, value: str, said: str) -> None:
    command = [sys.executable, "-m", "tidegate_sdk", "serve", place, "--listen", "127.0.0.1:0"]
    service = start(Process, command, env={**os.environ, **NO_GPU, setting: value})
    service.line(f"^tidegate_sdk: .*{said}")
    assert service.ended() == 2
    assert not any(line.startswith("serving") for line in service.lines)


@pytest.mark.usefixtures("without_gpu")
def test_whisper_goes_on_with_the_cpu_if_cuda_fails_and_says_so_if_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A device is counted and nothing can be computed on it: as with a driver that is too old, or without cuBLAS.
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setenv("STT_MODELS", "")
    monkeypatch.setenv("STT_DEVICE", "auto")
    assert SpeechToText().device == "cpu"
    assert "CTranslate2 cannot use it: CUDA failed" in caplog.text
    monkeypatch.setenv("STT_DEVICE", "cuda")
    with pytest.raises(Refused, match="STT_DEVICE is cuda, but CTranslate2 cannot use it: CUDA failed"):
        stt.device()
    monkeypatch.setenv("STT_DEVICE", "cpu")
    assert stt.device() == "cpu"


def test_a_gpu_is_tried_with_the_first_model_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def recogniser(name: str, *_: object, **__: object) -> None:
        tried.append(name)
        raise RuntimeError("no more is wanted")

    monkeypatch.setattr(stt, "Recogniser", recogniser)
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setenv("STT_DEVICE", "auto")
    for models in ("base", " base, tiny.en", ""):
        monkeypatch.setenv("STT_MODELS", models)
        assert stt.device() == "cpu"
    assert tried == ["base", "base", "tiny.en"]
    monkeypatch.setenv("STT_MODELS", "base,small")
    with pytest.raises(Refused, match=r"STT_MODELS names 'small': there are tiny\.en, base"):
        stt.device()


def test_a_gpu_that_computes_with_nothing_that_is_wanted_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda _: {"bfloat16"})
    monkeypatch.setenv("STT_DEVICE", "cuda")
    with pytest.raises(Refused, match=r"CTranslate2 cannot use it: on this cuda there is none of .*, only bfloat16"):
        stt.device()


@pytest.mark.usefixtures("without_gpu")
def test_piper_goes_on_with_the_cpu_if_cuda_fails_and_says_so_if_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Its process is told to use CUDA, and what it says is the real onnxruntime's.
    monkeypatch.setattr(piper, "_lacking", lambda: None)

    async def started() -> tuple[str, str]:
        voice = Piper()
        before = voice.device
        try:
            await voice.start()
        finally:
            await voice.stop()
        return before, voice.device

    monkeypatch.setenv("PIPER_DEVICE", "auto")
    assert asyncio.run(started()) == ("cuda", "cpu")
    assert "English is spoken on the CPU: onnxruntime cannot use CUDA" in caplog.text
    monkeypatch.setenv("PIPER_DEVICE", "cuda")
    with pytest.raises(Refused, match="PIPER_DEVICE is cuda, but onnxruntime cannot use it"):
        asyncio.run(started())
