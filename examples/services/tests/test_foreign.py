"""Hops at real servers of others: wyoming-piper and wyoming-faster-whisper as they come, and a plain WebSocket that speaks as Vosk's server
does over a real recogniser (Vosk's own models are in no package index)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hearing import sound, texts
from processes import Gateway, Process
from recordings import PCM, RATE, say
from tidegate_sdk import Samples
from websockets.sync.server import ServerConnection, serve

from tidegate_services.stt import Recogniser
from tidegate_services.weights import PIPER, WHISPER

TEXT = "Ask what you can do for your country."
WORDS = "what you can do for your country"


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def wyoming(module: str, *arguments: str) -> Iterator[str]:
    """A server of Wyoming, as its users start it."""
    port = free()
    command = [sys.executable, "-m", module, "--uri", f"tcp://127.0.0.1:{port}", "--local-files-only", *arguments]
    server = Process(command, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        server.line("Ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def vosk(connection: ServerConnection, recogniser: Recogniser) -> None:
    sound = b""
    for message in connection:
        if isinstance(message, bytes):
            sound += message
            if len(sound) % (4 * RATE) == 0:
                connection.send(json.dumps({"partial": ""}))
        elif "eof" in message:
            samples: Samples = np.frombuffer(sound, np.int16)
            connection.send(json.dumps({"text": recogniser.recognise(samples, "en")}))
            return


@contextlib.contextmanager
def websocket() -> Iterator[str]:
    recogniser = Recogniser("tiny.en")
    with serve(lambda connection: vosk(connection, recogniser), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def hop(name: str, ports: tuple[str, str], **params: Any) -> str:
    (source, from_kind), (sink, to_kind) = [{"audio": ("mic", "audio"), "text": ("words", "text")}[port] for port in ports]
    queue = {"frames": 4000, "bytes": "64MiB", "when_full": "drop_oldest"}
    if to_kind == "audio":
        sink = "speaker"
    return json.dumps(
        {
            "version": "tidegate/v1",
            "name": name,
            "inputs": [{"name": source, "kind": from_kind}],
            "outputs": [{"name": sink, "kind": to_kind}],
            "nodes": [{"id": "hop", "type": "remote", "params": params}],
            "edges": [{"from": source, "to": "hop", "queue": queue}, {"from": "hop", "to": sink, "queue": queue}],
        }
    )


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    data = tmp_path_factory.mktemp("data")
    voice, model = PIPER.find(), WHISPER["tiny.en"].find()
    with (
        wyoming("wyoming_piper", "--voice", "en_US-joe-medium", "--data-dir", str(voice)) as piper,
        wyoming(
            "wyoming_faster_whisper", "--model", str(model), "--data-dir", str(data), "--language", "en", "--stt-library", "faster-whisper"
        ) as whisper,
        websocket() as plain,
    ):
        options = {"start": {"config": {"sample_rate": RATE}}, "end": {"eof": 1}, "partial": "/partial"}
        pipelines = [
            hop("speak", ("text", "audio"), protocol="wyoming.tts", endpoints=[piper], health={"interval": "1s"}),
            hop("hear", ("audio", "text"), protocol="wyoming.asr", endpoints=[whisper], health={"interval": "1s"}),
            hop("plain", ("audio", "text"), protocol="websocket.stt", endpoints=[plain], options=options),
        ]
        gateway = Gateway(tmp_path_factory.mktemp("pipelines"), pipelines)
        try:
            yield gateway
        finally:
            gateway.stop()


@pytest.fixture(scope="module")
def spoken(foreign: Gateway) -> Samples:
    """The text as Piper says it, at the rate of recognisers."""
    with foreign.session("speak", outputs=[{"port": "speaker", "audio": PCM}]) as client:
        client.frame("words", text={"text": TEXT}, utterance=1, final=True)
        client.send("end")
        samples, rate = sound(client.rest())
    assert rate == RATE
    return samples


@pytest.mark.parametrize("pipeline", ["hear", "plain"])
def test_what_one_server_says_another_understands(foreign: Gateway, spoken: Samples, pipeline: str) -> None:
    assert len(spoken) > RATE, "a second of speech"
    with foreign.session(pipeline, inputs=[{"port": "mic", "audio": PCM}]) as client:
        say(client, spoken)
        client.send("end")
        heard = " ".join(texts(client.rest(), "words"))
    assert WORDS in heard.lower(), heard
