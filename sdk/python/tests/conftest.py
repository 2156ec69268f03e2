"""What the tests start: processes that end with them."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from processes import Gateway, Process, Worker, pipeline

Start = Callable[..., Any]


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """All services of the tests in one process."""
    one = Worker("services", "services:Echo", "--metrics", "127.0.0.1:0")
    yield one
    one.stop()


KINDS = {
    "audio": ("audio", "audio"),
    "text": ("text", "text"),
    "binary": ("binary", "binary"),
    "tensor": ("tensor", "tensor"),
    "json": ("json", "json"),
    "video": ("video", "video"),
    "stt": ("audio", "text"),
    "stt-in-thread": ("audio", "text"),
    "translate": ("text", "text"),
    "embed": ("tensor", "tensor"),
}


@pytest.fixture(scope="session")
def gateway(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in front of it."""
    pipelines = [pipeline(hop, hop, kinds, [worker.address]) for hop, kinds in KINDS.items()]
    # An output's format is the worker's to say: the manifest repeats what `describe` prints.
    ports = ", inputs: [{name: in, kind: text}], outputs: [{name: speech, kind: audio, format: pcm_s16/16000/1}]"
    pipelines.append(pipeline("tts", "tts", ("text", "audio"), [worker.address], ports))
    # What passes is tried again, with pauses that a test has no time for.
    once = ", retry: {attempts: 1}"
    pipelines += [pipeline(hop, hop, ("text", "text"), [worker.address], once) for hop in ("faulty", "stuck")]
    pipelines.append(pipeline("misfit", "translate", ("audio", "text"), [worker.address]))
    pipelines.append(pipeline("unknown", "nobody", ("text", "text"), [worker.address]))
    pipelines.append(pipeline("loud", "translate", ("text", "text"), [worker.address], ", parameters: {loud: true, times: 2}"))
    one = Gateway(tmp_path_factory.mktemp("pipelines"), pipelines)
    yield one
    one.stop()


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Start]:
    """Starts processes that end with the test: `start(Worker, …)`."""
    with contextlib.ExitStack() as stack:

        def begin(kind: Callable[..., Process], *arguments: Any, **named: Any) -> Process:
            process = kind(*arguments, **named)
            stack.callback(process.stop)
            return process

        yield begin
