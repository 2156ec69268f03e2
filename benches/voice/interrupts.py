"""A caller over WebSocket who says the same again and again, each time into `voice-agent`'s answer to the time before."""

from __future__ import annotations

import base64
import random
import time
from collections import defaultdict
from typing import Any

import numpy as np
from processes import Client, Gateway
from recordings import Recording

from loudness import Piece, audible, interruption, loudness
from mic import Mic

# Of the answer so much is heard at least, and left unheard at least where its words are said without interrupting it.
MARGIN_SECONDS = 0.2, 1.0


class Ear:
    """Reads the session: sound by the utterance that it answers, and when speech began."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.sound: dict[int, list[Piece]] = defaultdict(list)
        self.started: dict[int, float] = {}
        self.interrupted = 0

    def frame(self) -> dict[str, Any]:
        """The next one."""
        while True:
            message = self._client.message()
            now = time.monotonic()
            assert not {"error", "ended"} & message.keys(), message
            self.interrupted += "interrupted" in message
            if frame := message.get("frame"):
                self._note(frame, now)
                return dict(frame)

    def _note(self, frame: dict[str, Any], now: float) -> None:
        if frame["port"] == "turns" and frame["json"]["value"]["type"] == "speech_start":
            self.started[frame["json"]["value"]["utterance"]] = now
        if frame["port"] == "speaker":
            samples = np.frombuffer(base64.b64decode(frame["audio"]["data"]), np.int16)
            self.sound[frame["utterance"]].append(Piece(now, len(samples) / frame["audio"]["format"]["sample_rate"], loudness(samples)))

    def until_sound(self, utterance: int) -> None:
        while not audible(self.sound[utterance]):
            self.frame()


def interruptions(gateway: Gateway, recording: Recording, times: int, chance: random.Random) -> list[dict[str, float]]:
    """One of each, in milliseconds, and the onset of speech until its event."""
    found = []
    with gateway.session("voice-agent", mode="live") as client:
        mic, ear = Mic(client), Ear(client)
        said = mic.say(recording.samples())
        while not (frame := ear.frame()).get("final") or frame["port"] != "speaker":
            pass
        whole = sum(piece.seconds for piece in ear.sound[1])
        least, left = MARGIN_SECONDS
        said = mic.say(recording.samples())
        for utterance in range(2, times + 2):
            ear.until_sound(utterance)
            said = mic.say(recording.samples(), after=chance.uniform(least, whole - left))
            # Whatever comes of the old answer until the new one sounds, seconds later, is found by its number.
            ear.until_sound(utterance + 1)
            started = ear.started[utterance + 1]
            one = interruption(ear.sound[utterance], started)
            assert one["heard"] < whole - left / 2, f"the answer was over: {one['heard']} of {whole} s"
            found.append({**one, "noticed": (started - said.onset) * 1e3})
        assert ear.interrupted >= times
        mic.stop()
    return found
