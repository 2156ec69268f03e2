"""`interpreter` while one of two replicas of each service is killed and restarted all the time: what callers notice.

Real services; callers that wait speak recordings in real time, again and again, and each final caption, translation and the sound is held
against what the same recording gave before anything was killed. `make bench-voice`.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from conftest import SERVICES, SHIPPED
from hearing import sound, texts
from processes import Client, Gateway, Process
from recordings import RATE, Recording, english, say

PIECE = RATE // 50
NAMES = ("librivox/sense_and_sensibility_01_austen_64kb-0930.wav", "audioeval/en/quick_brown_fox.wav", "jfk.wav")
OUTCOMES = ("captions", "translation", "speaker")


class Replica:
    """A service that comes back where it was."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._process = self._start("127.0.0.1:0")
        self.address = self._process.line(r"serving .* on (\S+)").group(1)

    def _start(self, listen: str) -> Process:
        return Process([sys.executable, "-u", "-m", "tidegate_sdk", "serve", self._place, "--listen", listen])

    def kill_and_restart(self) -> None:
        """Returns when it serves again."""
        self._process.stop()
        self._process = self._start(self.address)
        self._process.line(r"serving .* on")

    def stop(self) -> None:
        self._process.stop()


@dataclass
class Tally:
    """What came of all calls."""

    calls: int = 0
    kills: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def call(gateway: Gateway, recording: Recording) -> tuple[list[Any], float]:
    """What is final of a call, and how long after its last word that was."""
    samples = recording.samples()
    with gateway.session("interpreter") as client:
        speak(client, samples)
        client.send("end")
        spoken = time.monotonic()
        frames = client.rest()
    heard = sound(frames)[0]
    return [texts(frames, "captions"), texts(frames, "translation"), heard.tobytes()], time.monotonic() - spoken


def speak(client: Client, samples: np.ndarray[Any, Any]) -> None:
    began = time.monotonic()
    for at in range(0, len(samples), PIECE):
        time.sleep(max(0.0, began + at / RATE - time.monotonic()))
        say(client, samples[at : at + PIECE], from_sample=at)


def caller(gateway: Gateway, expected: dict[str, list[Any]], recordings: list[Recording], until: float, tally: Tally) -> None:
    number = 0
    while time.monotonic() < until:
        recording = recordings[number % len(recordings)]
        number += 1
        try:
            got, late = call(gateway, recording)
            changed = [name for name, a, b in zip(OUTCOMES, got, expected[recording.name], strict=True) if a != b]
            tally.wrong += [f"{recording.name}: {name} {got[:2]}" for name in changed]
            tally.seconds.append(late)
        except (AssertionError, TimeoutError, OSError) as error:
            tally.wrong.append(f"{recording.name}: {error}")
        tally.calls += 1


def killer(replicas: dict[str, list[Replica]], every: float, stopped: threading.Event, tally: Tally) -> None:
    turn = 0
    while not stopped.wait(every):
        for both in replicas.values():
            both[turn % 2].kill_and_restart()
            tally.kills += 1
        turn += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--every", type=float, default=10, help="seconds from a restart to the next kill")
    parser.add_argument("--callers", type=int, default=2)
    options = parser.parse_args()
    recordings = [one for one in english() if one.name in NAMES]
    running: list[Replica | Gateway] = []
    manifest, tally, stopped = SHIPPED["interpreter"], Tally(), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        try:
            replicas: dict[str, list[Replica]] = {}
            for variable in (one for one in SERVICES if one in manifest):
                replicas[variable] = [Replica(SERVICES[variable]) for _ in range(2)]
                running += replicas[variable]
                both = ", ".join(f'"http://{one.address}"' for one in replicas[variable])
                manifest = re.sub(rf'\["\${{env:{variable}:[^"]*"\]', f"[{both}]", manifest)
            gateway = Gateway(pathlib.Path(folder), [manifest])
            running.append(gateway)
            expected = {one.name: call(gateway, one)[0] for one in recordings}
            until = time.monotonic() + options.seconds
            callers = [threading.Thread(target=caller, args=(gateway, expected, recordings, until, tally)) for _ in range(options.callers)]
            killing = threading.Thread(target=killer, args=(replicas, options.every, stopped, tally))
            for thread in [*callers, killing]:
                thread.start()
            for thread in callers:
                thread.join()
            stopped.set()
            killing.join()
            moved = sum(int(float(one)) for one in re.findall(r"^tidegate_hop_failovers_total{.*} (\S+)$", gateway.get("/metrics"), re.M))
        finally:
            for process in reversed(running):
                process.stop()
    print(f"{tally.calls} calls, {tally.kills} kills, {moved} takeovers, {len(tally.wrong)} outcomes changed or failed")
    print(f"from the last word to the last sound: p50 {statistics.median(tally.seconds):.1f} s, worst {max(tally.seconds):.1f} s")
    print("\n".join(tally.wrong))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
