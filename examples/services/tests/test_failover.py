"""Two replicas of each service: what a caller notices when the one that serves them is killed."""

from __future__ import annotations

import pathlib
import re
import signal
import time
import urllib.request
from typing import Any

import numpy as np
from conftest import SERVICES, SHIPPED, Start
from hearing import sound, texts
from processes import WAIT, Client, Gateway, Worker
from recordings import english, say


def test_no_word_and_no_sound_changes_when_a_replica_of_each_service_is_killed(start: Start, tmp_path: pathlib.Path) -> None:
    variables = [variable for variable in SERVICES if variable in SHIPPED["interpreter"]]
    replicas = {v: [start(Worker, SERVICES[v], "--metrics", "127.0.0.1:0") for _ in range(2)] for v in variables}
    gateway = start(Gateway, tmp_path, [with_replicas(SHIPPED["interpreter"], replicas)])
    with gateway.session("interpreter") as client:
        say(client, english()[0].samples())
        client.send("end")
        expected = client.rest()
    assert len(texts(expected, "captions")) >= 2, "the speaker pauses"

    with gateway.session("interpreter") as client:
        frames = []
        samples = english()[0].samples()
        half = len(samples) // 2
        say(client, samples[:half])
        for variable, port in (("STT_WORKER", "captions"), ("TRANSLATE_WORKER", "translation"), ("SPEAK_WORKER", "speaker")):
            frames += until(client, port)
            serving(replicas[variable]).signal(signal.SIGKILL)
        say(client, samples[half:], from_sample=half)
        client.send("end")
        frames += client.rest()

    for port in ("captions", "translation"):
        assert texts(frames, port) == texts(expected, port)
        for utterance in {frame["utterance"] for frame in frames}:
            revisions = [frame["revision"] for frame in frames if (frame["port"], frame["utterance"]) == (port, utterance)]
            assert revisions == sorted(set(revisions)), f"{port} of utterance {utterance}"
    # Not even what was being said.
    assert np.array_equal(sound(frames)[0], sound(expected)[0])
    metrics = gateway.get("/metrics")
    for hop in ("stt", "translate", "speak"):
        moved = re.search(rf'tidegate_hop_failovers_total{{[^}}]*hop="{hop}"[^}}]*}} (\d+)', metrics)
        assert moved is not None, hop
        assert int(moved[1]) >= 1, hop


def with_replicas(manifest: str, replicas: dict[str, list[Worker]]) -> str:
    """A pipeline that ships, with two endpoints for each of its services."""
    for variable, workers in replicas.items():
        both = ", ".join(f'"http://{worker.address}"' for worker in workers)
        manifest, changed = re.subn(rf'\["\${{env:{variable}:[^"]*"\]', f"[{both}]", manifest)
        assert changed == 1, variable
    return manifest


def until(client: Client, port: str) -> list[dict[str, Any]]:
    """Frames up to the first of an output."""
    frames = [client.next("frame")]
    while frames[-1]["port"] != port:
        frames.append(client.next("frame"))
    return frames


def serving(replicas: list[Worker]) -> Worker:
    """The one that has the gateway's one session. A session before it may still be leaving."""
    late = time.monotonic() + WAIT
    while len(busy := [replica for replica in replicas if sessions(replica) > 0]) != 1:
        assert time.monotonic() < late, f"{len(busy)} replicas have sessions"
    return busy[0]


def sessions(worker: Worker) -> float:
    """How many it has."""
    with urllib.request.urlopen(worker.metrics, timeout=WAIT) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("tidegate_worker_sessions_active"))
