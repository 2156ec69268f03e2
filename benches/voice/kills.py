"""`interpreter` while one of two replicas of each service is killed and restarted every ten seconds: what callers notice.

Real services; callers that wait speak recordings in real time, again and again, and each final caption, translation and the sound is held
against what the same recording gave before anything was killed. `make bench-voice`.

By the clock: at each tick one replica of each service is killed (SIGKILL) and begun anew at once, the one and the other by turns. A tick
that comes while a replica is still loading spares that service, since nobody would be left; how often that was is printed.
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
from collections import defaultdict
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
        self._loading = threading.Thread()
        self._serves_since = 0.0
        self.address = self._process.line(r"serving .* on (\S+)").group(1)

    def _start(self, listen: str) -> Process:
        return Process([sys.executable, "-u", "-m", "tidegate_sdk", "serve", self._place, "--listen", listen])

    @property
    def serves(self) -> bool:
        return not self._loading.is_alive()

    def served_for(self) -> float:
        """Seconds until now."""
        return time.monotonic() - self._serves_since

    def kill_and_restart(self, loads: list[float]) -> None:
        """Returns at once; `loads` gets the seconds until it serves again."""
        self._process.stop()
        began = time.monotonic()
        self._process = self._start(self.address)

        def wait() -> None:
            self._process.line(r"serving .* on")
            self._serves_since = time.monotonic()
            loads.append(self._serves_since - began)

        self._loading = threading.Thread(target=wait)
        self._loading.start()

    def wait(self) -> None:
        """Until it serves."""
        if self._loading.ident:
            self._loading.join()

    def stop(self) -> None:
        self._process.stop()


@dataclass
class Tally:
    """What came of all calls."""

    calls: int = 0
    ticks: int = 0
    kills: int = 0
    spared: int = 0
    fresh: dict[str, float] = field(default_factory=dict)
    """By service, the shortest time for which the replica that was left at a kill had served."""
    loads: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    killed: float = field(default_factory=time.monotonic)
    """When the last was."""
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
            tally.failed.append(f"{recording.name}, {time.monotonic() - tally.killed:.1f} s after a kill: {error}")
        tally.calls += 1


def killer(replicas: dict[str, list[Replica]], every: float, stopped: threading.Event, tally: Tally) -> None:
    began = time.monotonic()
    while not stopped.wait(max(0.0, began + (tally.ticks + 1) * every - time.monotonic())):
        for variable, both in replicas.items():
            one, other = both if tally.ticks % 2 else reversed(both)
            if one.serves and other.serves:
                tally.fresh[variable] = min(tally.fresh.get(variable, every), other.served_for())
                one.kill_and_restart(tally.loads[variable])
                tally.kills += 1
            else:
                tally.spared += 1
        tally.ticks += 1
        tally.killed = time.monotonic()


def report(tally: Tally, moved: int, options: argparse.Namespace, lasted: float) -> None:
    every = f"{options.every:.0f} s"
    print(f"\n## One of two replicas of each service killed every {every} by the clock, {lasted:.0f} s, {options.callers} callers\n")
    print(f"{tally.ticks} ticks, {tally.kills} kills, {tally.spared} times a service was spared because a replica was still loading")
    for variable, loads in tally.loads.items():
        late = f"longer than {every}: {sum(one > options.every for one in loads)} of {len(loads)}"
        print(f"{variable} loads in p50 {statistics.median(loads):.1f} s, worst {max(loads):.1f} s; {late}", end="; ")
        print(f"whoever was left at a kill had served for at least {tally.fresh[variable]:.1f} s")
    print(f"{tally.calls} calls, {moved} takeovers; final captions, translations or sound changed: {len(tally.wrong)}", end="; ")
    print(f"calls failed: {len(tally.failed)}")
    print(f"from the last word to the last sound: p50 {statistics.median(tally.seconds):.1f} s, worst {max(tally.seconds):.1f} s")
    print("\n".join([*tally.wrong, *tally.failed]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=185)
    parser.add_argument("--every", type=float, default=10, help="seconds from kill to kill")
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
                addresses = ", ".join(f'"http://{one.address}"' for one in replicas[variable])
                manifest = re.sub(rf'\["\${{env:{variable}:[^"]*"\]', f"[{addresses}]", manifest)
            gateway = Gateway(pathlib.Path(folder), [manifest])
            running.append(gateway)
            expected = {one.name: call(gateway, one)[0] for one in recordings}
            began = time.monotonic()
            until = began + options.seconds
            callers = [threading.Thread(target=caller, args=(gateway, expected, recordings, until, tally)) for _ in range(options.callers)]
            killing = threading.Thread(target=killer, args=(replicas, options.every, stopped, tally))
            for thread in [*callers, killing]:
                thread.start()
            for thread in callers:
                thread.join()
            stopped.set()
            killing.join()
            lasted = time.monotonic() - began
            for both in replicas.values():
                for one in both:
                    one.wait()
            moved = sum(int(float(one)) for one in re.findall(r"^tidegate_hop_failovers_total{.*} (\S+)$", gateway.get("/metrics"), re.M))
        finally:
            for process in reversed(running):
                process.stop()
    report(tally, moved, options, lasted)
    return 1 if tally.wrong or tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
