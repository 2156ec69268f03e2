"""Hops at real servers of others: wyoming-piper and wyoming-faster-whisper as they come, and a plain WebSocket that speaks as Vosk's server
does over a real recogniser (Vosk's own models are in no package index)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import queue
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hearing import seconds, sound, texts
from processes import WAIT, Client, Gateway, Process
from recordings import PCM, RATE, say
from tidegate_sdk import Samples

from tidegate_services.weights import PIPER, WHISPER

HERE = pathlib.Path(__file__).parent
TEXT = "Ask what you can do for your country."
WORDS = "what you can do for your country"
LONG = "Wait. " + " ".join(f"This is sentence number {number} of a text that nobody wants to hear to its end." for number in range(2, 60))
PIECES = ["Ask what you ", "can do, Mr. Fox. It is", " a fine day", " in the", " country."]
_FRAME = RATE // 50


def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str], ready: str) -> Iterator[tuple[Process, re.Match[str]]]:
    server = Process([sys.executable, *command], cwd=HERE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield server, server.line(ready)
    finally:
        server.stop()


@contextlib.contextmanager
def wyoming(module: str, *arguments: str) -> Iterator[tuple[str, Process]]:
    """A server of Wyoming, as its users start it."""
    port = free()
    command = ["-m", module, "--uri", f"tcp://127.0.0.1:{port}", "--local-files-only", *arguments]
    with started(command, "Ready") as (server, _):
        yield f"http://127.0.0.1:{port}", server


@contextlib.contextmanager
def whisper(data: pathlib.Path) -> Iterator[tuple[str, Process]]:
    model = WHISPER["tiny.en"].find()
    arguments = ["--model", str(model), "--data-dir", str(data), "--language", "en", "--stt-library", "faster-whisper"]
    with wyoming("wyoming_faster_whisper", *arguments) as server:
        yield server


@contextlib.contextmanager
def plain(_: pathlib.Path) -> Iterator[tuple[str, Process]]:
    with started(["plain_stt.py"], r"Ready at (\S+)") as (server, found):
        yield found[1], server


class Tap:
    """Between a gateway and its server of Wyoming: tells of requests to speak, and whether their sound was whole."""

    def __init__(self, server: str) -> None:
        self._server = server.removeprefix("http://").rsplit(":", 1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = threading.Semaphore(0)
        self.whole: queue.Queue[bool] = queue.Queue()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                server = socket.create_connection((self._server[0], int(self._server[1])))
                threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        spoken = threading.Event()

        def back() -> None:
            end = b""
            with contextlib.suppress(OSError):
                while data := server.recv(1 << 16):
                    end = (end + data)[-1024:]
                    if b'"audio-stop"' in end:
                        spoken.set()
                    client.sendall(data)

        threading.Thread(target=back, daemon=True).start()
        # One event, which is written at once and far smaller than what is read.
        asked = client.recv(1 << 16)
        with contextlib.suppress(OSError):
            server.sendall(asked)
            if b'"synthesize"' in asked:
                self.asked.release()
            while data := client.recv(1 << 16):
                server.sendall(data)
        if b'"synthesize"' in asked:
            self.whole.put(spoken.is_set())
        server.close()


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
            "interrupt": {"flush": ["hop"]},
        }
    )


PLAIN: dict[str, Any] = {
    "protocol": "websocket.stt",
    "options": {"start": {"config": {"sample_rate": RATE}}, "end": {"eof": 1}, "partial": "/partial"},
}
SPOKEN: dict[str, dict[str, Any]] = {
    "hear": {"protocol": "wyoming.asr", "health": {"interval": "1s"}},
    "plain": PLAIN,
    # Neither the caller nor the server says where an utterance ends.
    "uncut": PLAIN,
}
SERVERS = {"hear": whisper, "plain": plain, "uncut": plain}


@pytest.fixture(scope="module")
def piper() -> Iterator[str]:
    """Where one speaks."""
    with wyoming("wyoming_piper", "--voice", "en_US-joe-medium", "--data-dir", str(PIPER.find())) as (address, _):
        yield address


@pytest.fixture(scope="module")
def foreign(piper: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, dict[str, Process]]]:
    """A gateway with a hop at Piper, and some that recognise speech, each at two servers."""
    data = tmp_path_factory.mktemp("data")
    with contextlib.ExitStack() as stack:
        pipelines = [hop("speak", ("text", "audio"), protocol="wyoming.tts", endpoints=[piper], health={"interval": "1s"})]
        servers: dict[str, Process] = {}
        for name, params in SPOKEN.items():
            two = dict(stack.enter_context(SERVERS[name](data)) for _ in range(2))
            servers |= two
            pipelines.append(hop(name, ("audio", "text"), endpoints=list(two), **params))
        gateway = Gateway(tmp_path_factory.mktemp("pipelines"), pipelines)
        stack.callback(gateway.stop)
        yield gateway, servers


@pytest.fixture(scope="module")
def spoken(foreign: tuple[Gateway, dict[str, Process]]) -> Samples:
    """The text as Piper says it, at the rate of recognisers."""
    gateway, _ = foreign
    with gateway.session("speak", outputs=[{"port": "speaker", "audio": PCM}]) as client:
        client.frame("words", text={"text": TEXT}, utterance=1, final=True)
        client.send("end")
        samples, rate = sound(client.rest())
    assert rate == RATE
    return samples


@pytest.mark.parametrize("pipeline", ["hear", "plain"])
def test_what_one_server_says_another_understands(foreign: tuple[Gateway, dict[str, Process]], spoken: Samples, pipeline: str) -> None:
    assert len(spoken) > RATE, "a second of speech"
    gateway, _ = foreign
    with gateway.session(pipeline, inputs=[{"port": "mic", "audio": PCM}]) as client:
        say(client, spoken)
        client.send("end")
        heard = " ".join(texts(client.rest(), "words"))
    assert WORDS in heard.lower(), heard


def test_a_text_in_pieces_is_spoken_before_it_is_written_to_its_end(foreign: tuple[Gateway, dict[str, Process]]) -> None:
    gateway, _ = foreign
    with gateway.session("speak", outputs=[{"port": "speaker", "audio": PCM}]) as client:
        for piece in PIECES[:2]:
            client.frame("words", text={"text": piece}, utterance=1)
        first = [client.next("frame")]
        for piece in PIECES[2:]:
            client.frame("words", text={"text": piece}, utterance=1)
        client.frame("words", text={"text": ""}, utterance=1, final=True)
        client.send("end")
        frames = first + client.rest()
    assert [frame.get("final", False) for frame in frames].count(True) == 1
    assert frames[-1]["final"]
    samples, _ = sound(frames)
    assert len(samples) > 2 * RATE


def test_an_interrupt_reaches_the_server_and_what_it_said_is_not_heard(piper: str, tmp_path: pathlib.Path) -> None:
    tap = Tap(piper)
    params = {"protocol": "wyoming.tts", "endpoints": [tap.address], "health": "off", "timeout": {"call": "5m"}}
    with contextlib.ExitStack() as stack:
        gateway = Gateway(tmp_path, [hop("talk", ("text", "audio"), **params)])
        stack.callback(gateway.stop)
        client = stack.enter_context(gateway.session("talk", mode="live", outputs=[{"port": "speaker", "audio": PCM}]))
        began = time.monotonic()
        client.frame("words", text={"text": LONG}, utterance=1, final=True)
        heard = [client.next("frame")]
        # The first sentence, and the seconds that Piper needs for what follows it.
        for _ in range(2):
            assert tap.asked.acquire(timeout=WAIT)
        client.send("interrupt")
        while "interrupted" not in (message := client.message()):
            heard += [message["frame"]] if "frame" in message else []
        # What goes out goes out as it is played.
        assert seconds(heard) < time.monotonic() - began + 1
        # The server is left in the midst of it, and asked for nothing more of it.
        while tap.whole.get(timeout=WAIT):
            pass
        client.frame("words", text={"text": "Yes."}, utterance=2, final=True)
        client.send("end")
        after = client.rest()
        assert {frame["utterance"] for frame in after} == {2}
        assert after[-1]["final"]
        assert 0.1 < seconds(after) < 5
        assert tap.whole.get(timeout=WAIT)
        assert tap.whole.empty()
        dropped = counts(gateway, "tidegate_hop_dropped_frames_total", 'reason="interrupted"')
        assert sum(dropped.values()) > 0, "what was made and not played"


def speak(client: Client, samples: Samples, frames: range, utterance: int, last: bool) -> None:
    """A part of an utterance."""
    for number in frames:
        data = base64.b64encode(samples[number * _FRAME : (number + 1) * _FRAME].tobytes()).decode()
        final = last and number == frames[-1]
        client.frame("mic", media_time=number * 20_000, utterance=utterance, final=final, audio={"format": PCM, "data": data})


def counts(gateway: Gateway, metric: str, *labels: str) -> dict[str, float]:
    """A metric by endpoint."""
    found: dict[str, float] = {}
    for line in gateway.get("/metrics").splitlines():
        if line.startswith(f"{metric}{{") and all(label in line for label in labels):
            endpoint = re.search(r'endpoint="([^"]*)"', line)
            name = endpoint[1] if endpoint else ""
            found[name] = found.get(name, 0) + float(line.rsplit(" ", 1)[1])
    return found


@pytest.mark.parametrize("pipeline", SPOKEN)
def test_a_server_dies_in_the_midst_of_an_utterance_and_the_transcript_is_the_same(
    foreign: tuple[Gateway, dict[str, Process]], spoken: Samples, pipeline: str
) -> None:
    gateway, servers = foreign
    label = f'pipeline="{pipeline}"'
    frames = len(spoken) // _FRAME
    middle = 2 * frames // 3
    utterance = 0 if pipeline == "uncut" else 1

    def sent() -> dict[str, float]:
        return counts(gateway, "tidegate_hop_frames_total", label, 'direction="in"')

    def heard(kill: bool) -> str:
        before = sent()
        with gateway.session(pipeline, inputs=[{"port": "mic", "audio": PCM}]) as client:
            speak(client, spoken, range(middle), utterance, last=False)
            if pipeline != "hear":
                assert not client.next("frame").get("final", False), "words come while somebody speaks"
            if kill:
                by = time.monotonic() + WAIT
                while not (busy := [one for one, count in sent().items() if one and count > before.get(one, 0)]):
                    assert time.monotonic() < by, f"nothing is sent: {sent()}"
                servers[busy[0]].stop()
            speak(client, spoken, range(middle, frames), utterance, last=utterance > 0)
            client.send("end")
            said = client.rest()
        return " ".join(texts(said, "words"))

    alone = heard(kill=False)
    assert WORDS in alone.lower(), alone
    assert heard(kill=True) == alone
    assert sum(counts(gateway, "tidegate_hop_failovers_total", label).values()) >= 1
