"""What the gateway adds to a turn of `interpreter`, what else a turn consists of, and how soon `voice-agent` is silent if somebody speaks.

Real services, recordings in real time. `make bench-voice`.

- *Turn*: from the arrival of the frame that ends an utterance at the gateway to the departure of the first sound that it causes, which the
  gateway says itself. Of it, the services' own times, as each says them; the rest is added. Callers over WebSocket, one after another.
- Before a turn: *hangover*, as configured, and *VAD window*: from the last sound of speech in the recording to the `speech_stop` event,
  less the hangover. Of a caller over WebRTC, besides, the *jitter buffer*, as the gateway says on its admin API.
- *Silence*: from the arrival of the `speech_start` event at the client to that of the last audible sound (above -50 dB) of the answer that
  is interrupted, at a random moment of it. Negative: the last sound was there before the event. Over WebSocket all that comes until the
  next answer is looked at, over WebRTC (packets, as they arrive) two seconds.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

import numpy as np
from processes import Gateway, Process, Worker
from recordings import Recording, english

from interrupts import interruptions
from mic import Mic

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).parent
WORKERS = {
    "STT_WORKER": "timed:TimedStt",
    "TRANSLATE_WORKER": "timed:TimedTranslation",
    "SPEAK_WORKER": "timed:TimedSpeech",
    "REPLY_WORKER": "tidegate_services.reply:reply",
}
HOPS = {"STT_WORKER": "stt", "TRANSLATE_WORKER": "translate", "SPEAK_WORKER": "speak"}
HANGOVER_MS = 500
# Longer than anything that is measured, on a busy machine too.
CALL_SECONDS = 400


def call(gateway: Gateway, workers: dict[str, Worker], recordings: list[Recording], turns: int) -> list[dict[str, float]]:
    """Turns of one caller, in milliseconds."""
    found = []
    with gateway.session("interpreter", mode="live", parameters={"hangover": f"{HANGOVER_MS}ms"}) as client:
        mic = Mic(client)
        for number in range(turns):
            said = mic.say(recordings[number % len(recordings)].samples())
            stopped = 0.0
            while (frame := client.next("frame"))["port"] != "speaker" or frame["utterance"] != number + 1:
                if frame["port"] == "turns" and frame["json"]["value"]["type"] == "speech_stop":
                    stopped = time.monotonic()
            parts = {"window": (stopped - said.end) * 1e3 - HANGOVER_MS, "turn": frame["service"] / 1e3}
            parts["whole"] = (time.monotonic() - said.end) * 1e3
            for variable, hop in HOPS.items():
                parts[hop] = float(workers[variable].line(rf"took {hop} (\S+)").group(1)) * 1e3
            parts["added"] = parts["turn"] - parts["stt"] - parts["translate"] - parts["speak"]
            found.append(parts)
            # The rest of the answer is not waited for.
            client.send("interrupt")
        mic.stop()
    return found


def turns(gateway: Gateway, workers: dict[str, Worker], options: argparse.Namespace) -> None:
    hello, fox = recording("hello_world"), recording("quick_brown_fox")
    # The first of all is for connections and caches.
    call(gateway, workers, [fox, hello], 2)
    each = -(-options.turns // options.callers)
    found = [one for _ in range(options.callers) for one in call(gateway, workers, [hello, hello, hello, fox], each)]
    head(f"{len(found)} turns of {options.callers} callers over WebSocket", "p99")
    row("end of speech to its event, less the hangover (VAD window)", found, "window")
    print(f"| hangover, as configured | {HANGOVER_MS} | | |")
    for part in ("turn", "stt", "translate", "speak", "added"):
        row(part, found, part)
    row("end of speech to the first sound of the answer at the caller", found, "whole")


def silences(name: str, found: list[dict[str, float]], options: argparse.Namespace) -> None:
    head(f"{len(found)} interruptions of `voice-agent` over {name}, seed {options.seed}", "least")
    row("speech start to the arrival of the last audible sound", found, "silent", "least")
    row("to the end of that, for who plays on what has arrived", found, "over", "least")
    if "noticed" in found[0]:
        row("before: first sound of speech to its event", found, "noticed", "least")
    late = sorted(round(one["silent"], 1) for one in found if one["silent"] > 0)
    print(f"\nold answer still heard after the speech start: {len(late)} of {len(found)}; ms: {late}", flush=True)


def over_websocket(gateway: Gateway, options: argparse.Namespace) -> None:
    found = interruptions(gateway, recording("quick_brown_fox"), options.interrupts, random.Random(options.seed))
    silences("WebSocket", found, options)


def over_webrtc(gateway: Gateway, options: argparse.Namespace) -> None:
    """A caller in the environment of the peers."""
    command = [str(ROOT / ".cache/venv/bin/python"), "webrtc.py", gateway.address, str(recording("quick_brown_fox").file)]
    command += ["--times", str(options.interrupts), "--seed", str(options.seed)]
    environment = {"PYTHONPATH": str(ROOT / "tests/peers"), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=CALL_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    silences("WebRTC", report["interruptions"], options)
    seen = report["reception"]
    head(f"that caller's packets, {len(seen)} looks at its session", "p99")
    row("jitter buffer's delay", seen, "jitter_buffer_ms")
    row("jitter", seen, "jitter_ms")


def recording(name: str) -> Recording:
    return next(one for one in english() if one.name == f"audioeval/en/{name}.wav")


def head(title: str, second: str) -> None:
    print(f"\n## {title}\n\n| ms | p50 | {second} | worst |\n| --- | --- | --- | --- |")


def row(name: str, found: list[dict[str, float]], part: str, second: str = "p99") -> None:
    values = [one[part] for one in found]
    middle = min(values) if second == "least" else float(np.percentile(values, 99))
    print(f"| {name} | {statistics.median(values):.1f} | {middle:.1f} | {max(values):.1f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=64)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--interrupts", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    running: list[Process] = []
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            workers = {}
            for variable, place in WORKERS.items():
                workers[variable] = Worker(place, cwd=HERE)
                running.append(workers[variable])
            manifests = [(ROOT / f"pipelines/{name}.yaml").read_text() for name in ("interpreter", "voice-agent")]
            gateway = Gateway(pathlib.Path(folder), manifests, **{v: f"http://{one.address}" for v, one in workers.items()})
            running.append(gateway)
            parts = [lambda: turns(gateway, workers, options)]
            parts += [lambda: over_websocket(gateway, options), lambda: over_webrtc(gateway, options)]
            for part in parts:
                try:
                    part()
                except (AssertionError, TimeoutError, OSError):
                    # What else there is to measure can still be.
                    traceback.print_exc(file=sys.stdout)
                    failed = 1
        finally:
            for process in reversed(running):
                process.stop()
    return failed


if __name__ == "__main__":
    sys.exit(main())
