"""Speech to text behind the gateway: as good as the model by itself."""

from __future__ import annotations

import json
import pathlib
import subprocess
import urllib.parse
from typing import Any

import numpy as np
from hearing import texts
from processes import Gateway
from recordings import RATE, Recording, as_right, english, say, word_error_rate
from tidegate_sdk import Samples

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Many times what the recordings last.
TALK_SECONDS = 300


def transcribe(gateway: Gateway, samples: Samples, **parameters: Any) -> list[dict[str, Any]]:
    with gateway.session("transcribe", parameters=parameters) as client:
        say(client, samples)
        client.send("end")
        return client.rest()


def test_the_words_are_as_right_as_those_of_the_model_by_itself(gateway: Gateway, alone: list[str]) -> None:
    through = [texts(transcribe(gateway, one.samples(), partial_seconds=0), "captions") for one in english()]
    as_right("over WebSocket", english(), alone, [" ".join(finals) for finals in through])


def test_they_are_over_webrtc_too(gateway: Gateway, alone: list[str]) -> None:
    # In real time through Opus, the network, the jitter buffer and the decoder, by aiortc in the environment of its own tests.
    query = urllib.parse.quote(json.dumps({"partial_seconds": 0}))
    url = f"http://{gateway.address}/v1/pipelines/transcribe/whip?parameters={query}"
    command = [str(ROOT / ".cache/venv/bin/python"), str(ROOT / "tests/peers/captions.py"), url, *(str(one.file) for one in english())]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=TALK_SECONDS, check=False)
    assert answer.returncode == 0, answer.stderr
    as_right("over WebRTC", english(), alone, [" ".join(finals) for finals in json.loads(answer.stdout)])


def test_each_partial_result_replaces_the_one_before_and_the_final_one_them_all(gateway: Gateway) -> None:
    frames = transcribe(gateway, english()[0].samples(), partial_seconds=0.5, hangover="500ms")
    by_utterance: dict[int, list[dict[str, Any]]] = {}
    for frame in frames:
        if frame["port"] == "captions":
            by_utterance.setdefault(frame["utterance"], []).append(frame)
    # The speaker pauses.
    assert len(by_utterance) >= 2
    for said in by_utterance.values():
        assert [one["revision"] for one in said] == list(range(1, len(said) + 1))
        assert [one.get("final", False) for one in said] == [False] * (len(said) - 1) + [True]
    assert any(len(said) > 1 for said in by_utterance.values())
    assert "country" in " ".join(texts(frames, "captions"))


def test_a_client_that_waits_gets_what_is_final_unless_it_asks_for_more(gateway: Gateway) -> None:
    captions = [frame for frame in transcribe(gateway, english()[0].samples()) if frame["port"] == "captions"]
    assert captions
    assert all(frame.get("final", False) for frame in captions), captions


def test_the_first_syllable_is_kept(gateway: Gateway) -> None:
    recording = next(one for one in english() if "quick_brown_fox" in one.name)
    out_of_silence = np.append(np.zeros(RATE, np.int16), recording.samples())
    frames = transcribe(gateway, out_of_silence, partial_seconds=0)
    assert texts(frames, "captions")[0].lower().startswith("the quick")


def test_silence_is_no_words(gateway: Gateway) -> None:
    assert transcribe(gateway, np.zeros(RATE * 2, np.int16)) == []


def test_a_talk_without_a_pause_is_heard_in_windows(gateway: Gateway) -> None:
    # The pauses in it are shorter than the hangover: one utterance, longer than what a model looks at.
    jfk = english()[0]
    long = [jfk] * 4
    frames = transcribe(gateway, np.concatenate([one.samples() for one in long]), partial_seconds=0, hangover="3s")
    (heard,) = texts(frames, "captions")
    assert word_error_rate([Recording("four times", " ".join(one.text for one in long))], [heard]) < 0.15, heard


def test_the_second_model_hears_other_languages(gateway: Gateway) -> None:
    clip = Recording("audioeval/fr/bonjour_monde.wav", "bonjour le monde")
    (heard,) = texts(transcribe(gateway, clip.samples(), language="fr", partial_seconds=0), "captions")
    assert word_error_rate([clip], [heard]) == 0, heard


def test_a_model_that_does_not_know_the_language_says_so(gateway: Gateway) -> None:
    with gateway.session("transcribe", parameters={"language": "fr", "model": "tiny.en"}) as client:
        say(client, english()[-1].samples())
        client.send("end")
        error = client.next("error")
    assert (error["code"], error["fault"], error["hop"], error["retryable"]) == ("bad_request", "client", "stt", False)
    assert "knows English only" in error["message"]
