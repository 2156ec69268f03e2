"""The services as their teams start them, and the gateway with the pipelines that ship."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from processes import Gateway, Process, Worker

PIPELINES = pathlib.Path(__file__).resolve().parents[3] / "pipelines"
SHIPPED = {name: (PIPELINES / f"{name}.yaml").read_text() for name in ("transcribe", "interpreter", "voice-agent")}
SERVICES = {
    "STT_WORKER": "tidegate_services.stt:SpeechToText",
    "TRANSLATE_WORKER": "tidegate_services.translate:Translation",
    "SPEAK_WORKER": "tidegate_services.speak:Speech",
    "REPLY_WORKER": "tidegate_services.reply:reply",
}
"""Each by the variable that names its address."""

# Text to speech by itself, as a language model's answer comes to it: bit by bit.
SAY = """
version: tidegate/v1
name: say
inputs: [{name: text, kind: text}]
outputs: [{name: speaker, kind: audio}]
nodes:
  - id: speak
    type: remote
    params:
      endpoints: ["${env:SPEAK_WORKER}"]
      pipeline: speak
      parameters: {language: en}
      inputs: [{name: text, kind: text}]
      outputs: [{name: speech, kind: audio, format: pcm_s16/22050/1}]
edges: [text -> speak, speak -> speaker]
"""

Start = Callable[..., Any]


@pytest.fixture(scope="session")
def workers() -> Iterator[dict[str, Worker]]:
    """One of each service."""
    with contextlib.ExitStack() as stack:
        started = {}
        for variable, place in SERVICES.items():
            started[variable] = Worker(place)
            stack.callback(started[variable].stop)
        yield started


@pytest.fixture(scope="session")
def gateway(workers: dict[str, Worker], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in front of them."""
    addresses = {variable: f"http://{worker.address}" for variable, worker in workers.items()}
    one = Gateway(tmp_path_factory.mktemp("pipelines"), [*SHIPPED.values(), SAY], **addresses)
    yield one
    one.stop()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that end with the test: `start(Worker, …)`."""
    with contextlib.ExitStack() as stack:

        def begin(kind: Callable[..., Process], *arguments: Any, **named: Any) -> Process:
            process = kind(*arguments, **named)
            stack.callback(process.stop)
            return process

        yield begin


@pytest.fixture(scope="session", autouse=True)
def _no_proxy() -> None:
    """Loopback only."""
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
