"""The voice agent with a language model: `voice-agent-chat` as it ships, before llama.cpp's own server. Its model is so small that nothing
is asked of its words but that there are some, of which its server sees to it."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jiwer
import pytest
from conftest import PIPELINES, SHIPPED
from hearing import loudness, resampled, seconds, sound, texts
from processes import Gateway, Process, Worker
from recordings import RATE, english, say, words

from tidegate_services.stt import Recogniser

ROOT = PIPELINES.parent
MANIFEST = (PIPELINES / "voice-agent-chat.yaml").read_text()
COUNTRY, FOX = english()[0], english()[-1]
# Longer than the speakers' own pauses: one utterance.
WHOLE = {"hangover": "1s"}
QUIET_SECONDS = 1.5
HOP = re.compile(r'- id: (\w+)\n +type: remote\n(?: +.*\n)*? +endpoints: \["\${env:(\w+):-(\S+)}"\]')


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """Where it answers, as `make setup-test` has installed it."""
    python = ROOT / ".cache" / "chat-venv" / "bin" / "python"
    server = Process([str(python), "-u", str(ROOT / "tests" / "peers" / "chat_server.py")])
    try:
        yield server.line(r"listening on (\S+)").group(1)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def agent(model: str, workers: dict[str, Worker], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    hops = {name: f"http://{workers[name].address}" for name in ("STT_WORKER", "SPEAK_WORKER")}
    gateway = Gateway(tmp_path_factory.mktemp("pipelines"), [MANIFEST], CHAT_SERVER=model, CHAT_MODEL="smollm2", **hops)
    try:
        yield gateway
    finally:
        gateway.stop()


def of(frames: list[dict[str, Any]], port: str, utterance: int) -> list[dict[str, Any]]:
    return [frame for frame in frames if frame["port"] == port and frame["utterance"] == utterance]


def written(frames: list[dict[str, Any]], utterance: int) -> str:
    """An answer, which comes in pieces."""
    return "".join(frame["text"]["text"] for frame in of(frames, "answer", utterance))


def test_it_hears_and_a_language_model_s_answer_is_written_and_spoken(agent: Gateway) -> None:
    with agent.session("voice-agent-chat", parameters=WHOLE) as client:
        say(client, COUNTRY.samples())
        client.send("end")
        frames = client.rest()
    (heard,) = texts(frames, "heard")
    assert jiwer.wer(words(COUNTRY.text), words(heard)) < 0.1, heard
    pieces = of(frames, "answer", 1)
    assert len(pieces) > 1, "it is written bit by bit"
    assert [piece.get("final", False) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    answer = written(frames, 1)
    samples, rate = sound(frames)
    assert loudness(samples) > 0.02
    understood = Recogniser("tiny.en").recognise(resampled(samples, rate, RATE), "en")
    # What a model writes may hold what is hard to say.
    assert jiwer.wer(words(answer), words(understood)) < 0.5, f"{answer!r} was understood as {understood!r}"


def test_who_speaks_up_ends_the_model_s_answer_and_gets_another(agent: Gateway) -> None:
    with agent.session("voice-agent-chat", mode="live", parameters=WHOLE) as client:
        say(client, COUNTRY.samples(), quiet_seconds=QUIET_SECONDS)
        first = [client.next("frame")]
        while first[-1]["port"] != "speaker":
            first.append(client.next("frame"))
        begun = len(COUNTRY.samples()) + int(QUIET_SECONDS * RATE)
        say(client, FOX.samples(), quiet_seconds=QUIET_SECONDS, from_sample=begun)
        while "interrupted" not in (message := client.message()):
            assert not {"error", "ended"} & message.keys(), message
            first += [message["frame"]] if "frame" in message else []
        # The next answer, of which a second is enough.
        after: list[dict[str, Any]] = []
        while seconds(after) < 1:
            after.append(client.next("frame"))
    assert written(first, 1), "it was answering"
    assert not of(first, "speaker", 1)[-1].get("final"), "and had not said all of it"
    assert {frame["utterance"] for frame in after if frame["port"] == "speaker"} == {2}
    assert texts(after, "heard")[-1].lower().startswith("the quick")
    assert written(after, 2), "an answer of its own"
    assert loudness(sound(after)[0]) > 0.02


def test_without_its_server_it_says_who_is_missing(workers: dict[str, Worker], nobody: str, tmp_path: pathlib.Path) -> None:
    server = f"http://{nobody}/v1"
    once = MANIFEST.replace("protocol: openai.chat", "protocol: openai.chat\n      retry: {attempts: 1}")
    hops = {name: f"http://{workers[name].address}" for name in ("STT_WORKER", "SPEAK_WORKER")}
    gateway = Gateway(tmp_path, [once], CHAT_SERVER=server, **hops)
    try:
        with gateway.session("voice-agent-chat", parameters=WHOLE) as client:
            say(client, FOX.samples())
            client.send("end")
            problem = client.next("error")
    finally:
        gateway.stop()
    assert (problem["code"], problem["hop"], problem["endpoint"]) == ("network", "reply", server), problem
    assert "look whether the worker runs" in problem["message"], problem


def test_the_guide_says_by_which_variable_each_hop_is_found() -> None:
    guide = (ROOT / "docs" / "voice.md").read_text()
    for name in [*SHIPPED, "voice-agent-chat"]:
        hops = HOP.findall((PIPELINES / f"{name}.yaml").read_text())
        assert hops, name
        for hop, variable, default in hops:
            row = rf"\| `{hop}`( of `{name}`)? \| `{variable}` \| `{re.escape(default)}` \|"
            assert re.search(row, guide), f"{name}: {hop} by {variable}"
