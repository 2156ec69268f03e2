"""The interpreter as a person has it: the gateway's page in a real browser, whose microphone is a recording."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import wave

import numpy as np
from processes import Gateway
from recordings import RATE, english

PEERS = pathlib.Path(__file__).resolve().parents[3] / "tests" / "peers"
# Between one saying and the next: longer than the answer.
QUIET_SECONDS = 9
# Many times what a turn and the browser's start take.
WAIT = 300.0


def spoken(place: pathlib.Path) -> pathlib.Path:
    """A sentence, and silence behind it."""
    [fox] = [one for one in english() if one.name.endswith("quick_brown_fox.wav")]
    said = np.concatenate([np.zeros(RATE, np.int16), fox.samples(), np.zeros(QUIET_SECONDS * RATE, np.int16)])
    with wave.open(str(place), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(said.tobytes())
    return place


def test_the_page_shows_captions_as_they_come_and_what_each_hop_had_of_a_turn(gateway: Gateway, tmp_path: pathlib.Path) -> None:
    command = ["node", "interpreter.mjs", f"http://{gateway.address}/", str(spoken(tmp_path / "said.wav")), "1", str(tmp_path / "page.png")]
    done = subprocess.run(command, cwd=PEERS, stdout=subprocess.PIPE, text=True, timeout=WAIT, check=True)
    report = json.loads(done.stdout)
    assert report["problems"] == [], report
    assert report["alert"] == ""
    captions = " ".join(report["captions"])
    assert re.search(r"captions.*(fox|lazy|dog)", captions, re.IGNORECASE), captions
    assert re.search(r"translation.*(zorro|perezoso|perro)", captions, re.IGNORECASE), captions
    # In a small laptop's window nobody scrolls to read what is said, see the graph, or stop it.
    assert report["hidden"] == []
    # From the end of speech to the first sound: the pause, and the three services by their names.
    parts = [line for line in report["turn"] if line in ("pause", "stt", "translate", "speak")]
    # A translation that comes more than a second behind its own sound, on a machine that is that busy, is a part of `speak`.
    assert [part for part in parts if part != "translate"] == ["pause", "stt", "speak"], report["turn"]
    assert any(hop.startswith("stt, ") and "service" in hop for hop in report["hops"]), report["hops"]
