"""What the gateway adds to a turn of `interpreter`, and how soon `voice-agent` is silent when somebody speaks.

Real services, recordings in real time over WebSocket, one caller. `make bench-voice`.

- *Turn*: from the arrival of the frame that ends an utterance at the gateway to the departure of the first sound that it causes, which the
  gateway says itself. Of it, the services' own times, as each says them; the rest is added.
- *Silence*: from the `speech_start` event to `interrupted`, behind which no sound of the answer comes; both as the client gets them, and
  0 where the event is the later one.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import tempfile
import threading
import time

import numpy as np
from processes import Client, Gateway, Process, Worker
from recordings import RATE, Recording, english, say
from tidegate_sdk import Samples

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKERS = {
    "STT_WORKER": "timed:TimedStt",
    "TRANSLATE_WORKER": "timed:TimedTranslation",
    "SPEAK_WORKER": "timed:TimedSpeech",
    "REPLY_WORKER": "tidegate_services.reply:reply",
}
PIECE = RATE // 50
EVENTS = ("outputs:\n", "outputs:\n  - {name: events, kind: json}\n"), ("edges:\n", "edges:\n  - vad.speech_start -> events\n")


class Talk:
    """Says sound in real time beside whoever listens."""

    def __init__(self, client: Client, samples: Samples, start: int = 0) -> None:
        self._client, self._samples, self._start = client, samples, start
        self._thread = threading.Thread(target=self._say)
        self._thread.start()

    def _say(self) -> None:
        began = time.monotonic()
        for at in range(0, len(self._samples), PIECE):
            time.sleep(max(0.0, began + at / RATE - time.monotonic()))
            say(self._client, self._samples[at : at + PIECE], from_sample=self._start + at)

    def join(self) -> None:
        self._thread.join()


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


def turn(gateway: Gateway, workers: dict[str, Worker], recording: Recording) -> dict[str, float]:
    """One turn, in milliseconds."""
    with gateway.session("interpreter", mode="live") as client:
        talk = Talk(client, np.concatenate([quiet(0.3), recording.samples(), quiet(1.5)]))
        while (frame := client.next("frame"))["port"] != "speaker":
            pass
        talk.join()
    parts = {"turn": frame["service"] / 1e3}
    for variable, hop in (("STT_WORKER", "stt"), ("TRANSLATE_WORKER", "translate"), ("SPEAK_WORKER", "speak")):
        parts[hop] = float(workers[variable].line(rf"took {hop} (\S+)").group(1)) * 1e3
    parts["added"] = parts["turn"] - parts["stt"] - parts["translate"] - parts["speak"]
    return parts


def silence(gateway: Gateway, answer: Recording, barge: Recording) -> float:
    """One interruption, in milliseconds."""
    with gateway.session("voice-agent", mode="live") as client:
        first = np.concatenate([quiet(0.3), answer.samples(), quiet(1)])
        talk = Talk(client, first)
        while client.next("frame")["port"] != "speaker":
            pass
        talk.join()
        again = Talk(client, barge.samples(), len(first))
        # Either may come first: they leave at the same moment.
        seen: dict[str, float] = {}
        while len(seen) < 2:
            message = client.message()
            if "interrupted" in message or message.get("frame", {}).get("port") == "events":
                seen["silent" if "interrupted" in message else "started"] = time.monotonic()
            assert "silent" not in seen or message.get("frame", {}).get("port") != "speaker", "it speaks on"
        again.join()
    return max(0.0, seen["silent"] - seen["started"]) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    recordings = {one.name: one for one in english()}
    short = [recordings[f"audioeval/en/{name}.wav"] for name in ("quick_brown_fox", "hello_world")]
    running: list[Process] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            workers = {}
            for variable, place in WORKERS.items():
                workers[variable] = Worker(place, cwd=pathlib.Path(__file__).parent)
                running.append(workers[variable])
            manifests = [(ROOT / f"pipelines/{name}.yaml").read_text() for name in ("interpreter", "voice-agent")]
            for old, new in EVENTS:
                manifests[1] = manifests[1].replace(old, new)
            gateway = Gateway(pathlib.Path(folder), manifests, **{v: f"http://{one.address}" for v, one in workers.items()})
            running.append(gateway)
            # The first of all is for connections and caches.
            turns = [turn(gateway, workers, short[number % 2]) for number in range(options.turns + 1)][1:]
            silences = [silence(gateway, short[0], short[0]) for _ in range(options.turns // 2)]
        finally:
            for process in reversed(running):
                process.stop()
    print("| of a turn | p50 ms | p99 ms |\n| --- | --- | --- |")
    for part in ("turn", "stt", "translate", "speak", "added"):
        print(row(part, [one[part] for one in turns]))
    print(row("speech start to silence", silences))


def row(name: str, values: list[float]) -> str:
    return f"| {name} | {statistics.median(values):.1f} | {np.percentile(values, 99):.1f} |"


if __name__ == "__main__":
    main()
