"""Speech to text behind the gateway: as good as the model by itself, whatever happens to its replicas."""

from __future__ import annotations

import pathlib
import signal
import urllib.request
from typing import Any

import numpy as np
from conftest import SHIPPED, SPEECH_TO_TEXT, Start
from processes import WAIT, Client, Gateway, Worker
from recordings import RATE, english, say, word_error_rate
from tidegate_sdk import Samples

from tidegate_services.stt import Recogniser

# In points of a hundred; what the pipeline may cost beside the same model on the same sound.
WORSE_AT_MOST = 2.0


def finals(frames: list[dict[str, Any]], port: str = "captions") -> list[str]:
    return [frame["text"]["text"] for frame in frames if frame["port"] == port and frame.get("final")]


def transcribe(gateway: Gateway, samples: Samples, **parameters: Any) -> list[dict[str, Any]]:
    with gateway.session("transcribe", parameters=parameters) as client:
        say(client, samples)
        client.send("end")
        return client.rest()


def test_the_words_are_as_right_as_those_of_the_model_by_itself(gateway: Gateway) -> None:
    recordings = english()
    assert len(recordings) >= 10
    model = Recogniser("tiny.en")
    alone = [model.recognise(one.samples(), "en") for one in recordings]
    through = [" ".join(finals(transcribe(gateway, one.samples(), partial_seconds=0))) for one in recordings]
    rates = [100 * word_error_rate(recordings, heard) for heard in (alone, through)]
    shown = "\n".join(f"{one.name}: {a!r} / {b!r}" for one, a, b in zip(recordings, alone, through, strict=True))
    print(f"word error rate of {len(recordings)} recordings: {rates[0]:.1f} % alone, {rates[1]:.1f} % through the gateway")
    assert rates[1] <= rates[0] + WORSE_AT_MOST, f"{rates}\n{shown}"
    # The recordings are not so hard that anything would do.
    assert rates[0] < 15, shown


def test_each_partial_result_replaces_the_one_before_and_the_final_one_them_all(gateway: Gateway) -> None:
    frames = transcribe(gateway, english()[0].samples(), partial_seconds=0.5, hangover="500ms")
    by_utterance: dict[int, list[dict[str, Any]]] = {}
    for frame in frames:
        by_utterance.setdefault(frame["utterance"], []).append(frame)
    # The speaker pauses.
    assert len(by_utterance) >= 2
    for said in by_utterance.values():
        assert [one["revision"] for one in said] == list(range(1, len(said) + 1))
        assert [one.get("final", False) for one in said] == [False] * (len(said) - 1) + [True]
    assert any(len(said) > 1 for said in by_utterance.values())
    assert "country" in " ".join(finals(frames))


def test_the_first_syllable_is_kept(gateway: Gateway) -> None:
    recording = next(one for one in english() if "quick_brown_fox" in one.name)
    out_of_silence = np.append(np.zeros(RATE, np.int16), recording.samples())
    frames = transcribe(gateway, out_of_silence, partial_seconds=0)
    assert finals(frames)[0].lower().startswith("the quick")


def test_silence_is_no_words(gateway: Gateway) -> None:
    assert transcribe(gateway, np.zeros(RATE * 2, np.int16)) == []


def test_the_final_words_are_the_same_if_the_replica_that_hears_them_is_killed(start: Start, tmp_path: pathlib.Path) -> None:
    replicas = [start(Worker, SPEECH_TO_TEXT, "--metrics", "127.0.0.1:0") for _ in range(2)]
    one = '["${env:STT_WORKER:-http://127.0.0.1:7001}"]'
    both = "[" + ", ".join(f'"http://{replica.address}"' for replica in replicas) + "]"
    manifest = SHIPPED["transcribe"].replace(one, f"{both}\n      health: {{interval: 200ms, timeout: 200ms}}")
    assert both in manifest
    gateway = start(Gateway, tmp_path, [manifest])
    samples = english()[0].samples()
    expected = finals(transcribe(gateway, samples, hangover="500ms"))
    assert len(expected) >= 2
    with gateway.session("transcribe", parameters={"hangover": "500ms"}) as client:
        say(client, samples[: len(samples) // 2])
        first = client.next("frame")
        serving(replicas).signal(signal.SIGKILL)
        rest_of(client, samples)
        frames = [first, *client.rest()]
    assert finals(frames) == expected
    for utterance in {frame["utterance"] for frame in frames}:
        revisions = [frame["revision"] for frame in frames if frame["utterance"] == utterance]
        assert revisions == sorted(set(revisions))
    assert 'tidegate_hop_failovers_total{pipeline="transcribe"' in gateway.get("/metrics")


def rest_of(client: Client, samples: Samples) -> None:
    """The second half, at its time."""
    say(client, samples[len(samples) // 2 :], from_sample=len(samples) // 2)
    client.send("end")


def serving(replicas: list[Worker]) -> Worker:
    """The one that has the gateway's one session."""
    busy = [replica for replica in replicas if sessions(replica) > 0]
    assert len(busy) == 1
    return busy[0]


def sessions(worker: Worker) -> float:
    with urllib.request.urlopen(worker.metrics, timeout=WAIT) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("tidegate_worker_sessions_active"))
