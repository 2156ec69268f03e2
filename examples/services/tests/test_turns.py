"""Who goes on after a pause is not talked over, and is answered as a whole, where recognition is slower than the pause."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from conftest import SERVICES, SHIPPED, Start
from hearing import texts
from processes import Client, Gateway, Worker
from recordings import RATE, english, say

AGENT = SHIPPED["voice-agent"]
# The recording's own pauses are shorter, the one between its two times is longer.
HANGOVER, PAUSE_SECONDS = "1s", 1.5


@pytest.fixture
def agent(start: Start, tmp_path: pathlib.Path) -> Gateway:
    """The agent, and `hasty`, which is the same without its gate; both with a recogniser that lags behind."""
    slow = start(Worker, "slow_stt:SlowToUnderstand", cwd=pathlib.Path(__file__).parent)
    others = {name: start(Worker, SERVICES[name]) for name in ("REPLY_WORKER", "SPEAK_WORKER")}
    addresses = {name: f"http://{worker.address}" for name, worker in {"STT_WORKER": slow, **others}.items()}
    gated = (
        "  - stt -> turn.text\n",
        "  - vad.speech_start -> turn.start\n",
        "  - vad.speech_stop -> turn.stop\n",
        "  - {id: turn, type: turn.gate}\n",
    )
    hasty = AGENT.replace("name: voice-agent", "name: hasty").replace("from: turn, to: reply", "from: stt, to: reply")
    for line in gated:
        assert line in hasty
        hasty = hasty.replace(line, "")
    gateway: Gateway = start(Gateway, tmp_path, [AGENT, hasty], **addresses)
    return gateway


def goes_on(client: Client) -> tuple[list[dict[str, Any]], int]:
    """Somebody speaks, pauses, and speaks again when the first is understood: frames until then, and how much of the second was said."""
    fox = english()[-1].samples()
    say(client, fox, quiet_seconds=PAUSE_SECONDS)
    say(client, fox[:RATE], from_sample=len(fox) + int(PAUSE_SECONDS * RATE))
    frames = [client.next("frame")]
    while frames[-1]["port"] != "heard":
        frames.append(client.next("frame"))
    return frames, RATE


def test_who_goes_on_after_a_pause_is_not_talked_over_and_is_answered_as_a_whole(agent: Gateway) -> None:
    fox = english()[-1].samples()
    with agent.session("voice-agent", mode="live", parameters={"hangover": HANGOVER}) as client:
        frames, said = goes_on(client)
        say(client, fox[said:], quiet_seconds=PAUSE_SECONDS, from_sample=len(fox) + int(PAUSE_SECONDS * RATE) + said)
        client.send("end")
        frames += client.rest()
    assert texts(frames, "heard") == ["the first half", "and the second"]
    assert texts(frames, "answer") == ["You said: the first half and the second"]
    turns = [(frame["json"]["value"]["type"], frame["utterance"]) for frame in frames if frame["port"] == "turns"]
    assert turns == [("speech_start", 1), ("speech_stop", 1), ("speech_start", 2), ("speech_stop", 2)]
    ports = [frame["port"] for frame in frames]
    stopped = max(place for place, port in enumerate(ports) if port == "turns")
    assert "speaker" not in ports[:stopped]
    assert "speaker" in ports[stopped:]


def test_without_the_gate_they_would_be_talked_over(agent: Gateway) -> None:
    with agent.session("hasty", mode="live", parameters={"hangover": HANGOVER}) as client:
        frames, _ = goes_on(client)
        # Of the second utterance more is to come: this is said into it.
        while frames[-1]["port"] != "speaker":
            frames.append(client.next("frame"))
    assert [frame["json"]["value"]["type"] for frame in frames if frame["port"] == "turns"] == [
        "speech_start",
        "speech_stop",
        "speech_start",
    ]
