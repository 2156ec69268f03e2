"""A hop at a real server of OpenAI's transcriptions: faster-whisper-server as it comes, with the weights of the example services."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator

import pytest
from hearing import texts
from processes import Gateway, Process
from recordings import PCM, RATE, english, say, word_error_rate
from test_foreign import free, hop

from tidegate_services.weights import WHISPER

CLIPS = english()[:4]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """As its users start it."""
    port = free()
    program = pathlib.Path(sys.executable).with_name("faster-whisper-server")
    model = WHISPER["tiny.en"].find()
    one = Process([str(program), str(model), "--host", "127.0.0.1", "--port", str(port)], env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        one.line("Uvicorn running on")
        yield f"http://127.0.0.1:{port}"
    finally:
        one.stop()


@pytest.fixture(scope="module")
def gateway(server: str, nobody: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    params = {"protocol": "openai.transcriptions", "pipeline": "whisper-1", "parameters": {"language": "en"}, "health": {"path": "/health"}}
    pipelines = [
        hop("hear", ("audio", "text"), endpoints=[server], **params),
        hop("beside", ("audio", "text"), endpoints=[f"http://{nobody}", server], **params),
        hop("refused", ("audio", "text"), endpoints=[server], **{**params, "parameters": {"temperature": "hot"}}),
    ]
    one = Gateway(tmp_path_factory.mktemp("pipelines"), pipelines)
    try:
        yield one
    finally:
        one.stop()


def heard(gateway: Gateway, pipeline: str, clip: int = 0) -> str:
    with gateway.session(pipeline, inputs=[{"port": "mic", "audio": PCM}]) as client:
        say(client, CLIPS[clip].samples())
        client.send("end")
        return " ".join(texts(client.rest(), "words"))


def test_it_understands_recordings(gateway: Gateway) -> None:
    understood = [heard(gateway, "hear", clip) for clip in range(len(CLIPS))]
    assert word_error_rate(CLIPS, understood) < 0.1, understood


def test_an_endpoint_that_is_not_there_costs_nobody_an_answer(gateway: Gateway) -> None:
    assert word_error_rate(CLIPS[:1], [heard(gateway, "beside")]) < 0.1


def test_what_it_refuses_is_said_in_its_own_words(gateway: Gateway) -> None:
    with gateway.session("refused", inputs=[{"port": "mic", "audio": PCM}]) as client:
        say(client, CLIPS[0].samples()[: RATE // 2])
        client.send("end")
        error = client.next("error")
    assert (error["code"], error["hop"], error["retryable"]) == ("remote_execution", "hop", False), error
    assert "temperature" in error["message"], error
