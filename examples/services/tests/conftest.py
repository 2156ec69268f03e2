"""The services as their teams start them, and the gateway with the pipelines that ship."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from processes import Gateway, Process, Worker
from recordings import english

from tidegate_services.stt import Recogniser

PIPELINES = pathlib.Path(__file__).resolve().parents[3] / "pipelines"
SHIPPED = {name: (PIPELINES / f"{name}.yaml").read_text() for name in ("transcribe", "interpreter", "speak", "voice-agent")}
SERVICES = {
    "STT_WORKER": "tidegate_services.stt:SpeechToText",
    "TRANSLATE_WORKER": "tidegate_services.translate:Translation",
    "SPEAK_WORKER": "tidegate_services.speak:Speech",
    "REPLY_WORKER": "tidegate_services.reply:reply",
}
"""Each by the variable that names its address."""

Start = Callable[..., Any]

# The same texts and sounds on every machine; test_device.py asks for others.
for setting in ("STT_DEVICE", "PIPER_DEVICE"):
    os.environ.setdefault(setting, "cpu")


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
    one = Gateway(tmp_path_factory.mktemp("pipelines"), list(SHIPPED.values()), **addresses)
    yield one
    one.stop()


@pytest.fixture(scope="session")
def alone() -> list[str]:
    """What the model by itself makes of the recordings."""
    model = Recogniser("tiny.en")
    return [model.recognise(one.samples(), "en") for one in english()]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that end with the test: `start(Worker, …)`."""
    with contextlib.ExitStack() as stack:

        def begin(kind: Callable[..., Process], *arguments: Any, **named: Any) -> Process:
            process = kind(*arguments, **named)
            stack.callback(process.stop)
            return process

        yield begin


@pytest.fixture(scope="module")
def nobody() -> Iterator[str]:
    """An address at which nobody answers, nor comes to: it is bound, and not listened at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture(scope="session", autouse=True)
def _no_proxy() -> None:
    """Loopback only."""
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
