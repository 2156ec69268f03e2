"""Clients of OpenAI before the real models: the `openai` package, unmodified, writes down, speaks and talks."""

from __future__ import annotations

import json
import pathlib
import subprocess
import wave
from typing import Any

import numpy as np
import pytest
from hearing import resampled
from processes import Gateway
from recordings import RATE, as_right, english, word_error_rate, words

from tidegate_services.stt import Recogniser

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Many times what one of these takes.
WAIT = 600.0
# Each second one: enough to tell, and as many minutes less.
RECORDINGS = english()[::2]
TEXT = "Ask what you can do for your country."


def peer(gateway: Gateway, script: str, *arguments: str) -> dict[str, Any]:
    """What a client found, in the environment of its own tests."""
    python, url = ROOT / ".cache/venv/bin/python", f"http://{gateway.address}/v1"
    command = [str(python), str(ROOT / "tests/peers" / script), url, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def written(gateway: Gateway) -> dict[str, Any]:
    return peer(gateway, "openai_speech.py", *(str(one.file) for one in RECORDINGS))


def test_a_file_is_written_down_as_well_as_by_the_model_itself(written: dict[str, Any], alone: list[str]) -> None:
    as_right("by the openai package", RECORDINGS, alone[::2], written["json"])


def test_a_transcript_is_the_same_in_every_form(written: dict[str, Any]) -> None:
    [plain, *_] = written["json"]
    assert word_error_rate(english()[:1], [plain]) < 0.1, plain
    *deltas, done = written["stream"]
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert (done["type"], done["text"]) == ("transcript.text.done", plain)
    assert "".join(event["delta"] for event in deltas) == plain
    verbose = written["verbose"]
    assert verbose["text"] == plain
    assert abs(verbose["duration"] - len(english()[0].samples()) / RATE) < 0.1
    segments = verbose["segments"]
    assert " ".join(segment["text"].strip() for segment in segments) == plain
    assert all(0 <= one["start"] < one["end"] <= verbose["duration"] + 0.1 for one in segments), segments
    # A number, a time from and to, and the words.
    blocks = [block.splitlines() for block in written["srt"].strip().split("\n\n")]
    assert [int(block[0]) for block in blocks] == list(range(1, len(segments) + 1))
    assert all(" --> " in block[1] for block in blocks)
    assert " ".join(" ".join(block[2:]) for block in blocks) == plain


def test_what_is_spoken_is_understood_in_every_format(gateway: Gateway) -> None:
    report = peer(gateway, "openai_speech.py", "--text", TEXT)
    for kind, heard in report["heard"].items():
        assert words(TEXT) in words(heard), f"{kind}: {heard}"
    for voice, sound in report["voices"].items():
        assert 1 < sound["seconds"] < 10, f"{voice}: {sound}"
        assert sound["rms"] > 0.01, f"{voice}: {sound}"


def test_somebody_talks_with_the_agent_and_is_not_talked_over(gateway: Gateway, tmp_path: pathlib.Path) -> None:
    question, [fox] = tmp_path / "question.wav", [one for one in english() if "quick_brown_fox" in one.name]
    # What stands in TEXT, out of a longer speech.
    with wave.open(str(question), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(english()[0].samples()[78 * RATE // 10 :].tobytes())
    # The speaker's pauses are shorter than that.
    query = json.dumps({"parameters": json.dumps({"hangover": "1s"})})
    out = tmp_path / "answer.wav"
    scene = ["voice-agent", "agent", "--query", query, "--wav", f"{question},{fox.file}", "--out", str(out)]
    report = peer(gateway, "openai_realtime.py", *scene)
    assert report["problems"] == []
    events = report["events"]
    heard = [one["transcript"] for one in events if one["type"] == "conversation.item.input_audio_transcription.completed"]
    assert len(heard) == 2, heard
    assert "do for your country" in words(heard[0]), heard
    assert "quick brown fox" in words(heard[1]), heard

    first, second = report["answers"]
    status = first["response"]["status_details"]
    assert (status["type"], status["reason"]) == ("cancelled", "turn_detected"), first
    assert first["seconds"] > 0.9, first
    assert first["rms"] > 0.01, first
    said = first["response"]["output"][0]["content"][0]["transcript"]
    assert said.startswith("Ask what you can do for your country."), said
    assert report["truncated"]["audio_end_ms"] == 500
    # Nothing more is heard of it once it has ended, which is when somebody begins to speak.
    order = report["order"]
    ended = order.index("response.done")
    after = order[ended : order.index("response.created", ended)]
    assert "response.output_audio.delta" not in after, after
    # Right before that the client was told who interrupts; in between are the ends of what it was made of.
    assert order[ended - 6] == "input_audio_buffer.speech_started", order
    assert all(kind.endswith(".done") for kind in order[ended - 5 : ended]), order

    assert second["response"]["status"] == "completed", second
    with wave.open(str(out)) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
    understood = words(Recogniser("tiny.en").recognise(resampled(samples, rate, RATE), "en"))
    assert "quick brown fox" in understood, understood
