"""Speech in one language, captions in both and speech in the other; and what an interrupt does to it."""

from __future__ import annotations

import pathlib
import socket
from typing import Any

import jiwer
import pytest
from conftest import SERVICES, SHIPPED, Start
from hearing import loudness, resampled, seconds, sound, texts
from processes import Client, Gateway
from recordings import RATE, Recording, english, say, word_error_rate, words

from tidegate_services.stt import Recogniser

# The speaker's pauses are shorter than this: one utterance, whose Spanish takes many seconds.
ONE_SENTENCE = english()[0]
WHOLE = {"hangover": "1s"}


@pytest.fixture(scope="module")
def interpreted(gateway: Gateway) -> list[dict[str, Any]]:
    """All frames that one sentence makes, for a client that waits and asks for partial results."""
    with gateway.session("interpreter", parameters={**WHOLE, "partial_seconds": 1}) as client:
        say(client, ONE_SENTENCE.samples())
        client.send("end")
        return client.rest()


def test_captions_are_in_both_languages(interpreted: list[dict[str, Any]]) -> None:
    (heard,) = texts(interpreted, "captions")
    (said,) = texts(interpreted, "translation")
    assert jiwer.wer(words(ONE_SENTENCE.text), words(heard)) < 0.1, heard
    assert "país" in words(said).split(), said


def test_partial_captions_are_replaced_in_both_languages(interpreted: list[dict[str, Any]]) -> None:
    for port in ("captions", "translation"):
        said = [frame for frame in interpreted if frame["port"] == port]
        assert len(said) > 1, f"{port}: no partial result in {said}"
        revisions = [frame["revision"] for frame in said]
        assert revisions == sorted(set(revisions))
        assert [frame.get("final", False) for frame in said] == [False] * (len(said) - 1) + [True]


def test_it_says_when_speech_begins_and_ends(interpreted: list[dict[str, Any]]) -> None:
    turns = [frame["json"]["value"] for frame in interpreted if frame["port"] == "turns"]
    assert [(turn["type"], turn["utterance"]) for turn in turns] == [("speech_start", 1), ("speech_stop", 1)]


def test_the_spanish_that_is_heard_is_the_spanish_that_is_shown(interpreted: list[dict[str, Any]]) -> None:
    samples, rate = sound(interpreted)
    assert len(samples) / rate > 3
    assert loudness(samples) > 0.02
    (said,) = texts(interpreted, "translation")
    understood = Recogniser("base").recognise(resampled(samples, rate, RATE), "es")
    # espeak-ng is hard to understand for a recogniser too.
    assert jiwer.wer(words(said), words(understood)) < 0.5, f"{said!r} was understood as {understood!r}"


def test_only_final_texts_are_spoken(interpreted: list[dict[str, Any]]) -> None:
    last = max(frame["caused_by"] for frame in interpreted if frame["port"] == "translation")
    assert {frame["caused_by"] for frame in interpreted if frame["port"] == "speaker"} == {last}


def test_a_client_s_interrupt_silences_it_and_the_next_sentence_is_heard(gateway: Gateway, interpreted: list[dict[str, Any]]) -> None:
    with gateway.session("interpreter", mode="live", parameters=WHOLE) as client:
        say(client, ONE_SENTENCE.samples(), quiet_seconds=1.5)
        first = speaking(client)
        client.send("interrupt")
        until = frames_until(client, "interrupted")
        # What was heard until then is a fraction of the whole, since sound goes out as it is played.
        assert seconds([first, *until]) < seconds(interpreted) / 2
        say(client, english()[-1].samples(), quiet_seconds=1, from_sample=len(ONE_SENTENCE.samples()) + RATE * 3 // 2)
        client.send("end")
        after = client.rest()
    assert {frame["utterance"] for frame in after if frame["port"] == "speaker"} == {2}
    assert loudness(sound(after)[0]) > 0.02


def test_it_interprets_the_other_way_round_too(gateway: Gateway) -> None:
    counting = Recording("audioeval/es/conteo.wav", "one two three four five six seven eight nine ten")
    with gateway.session("interpreter", parameters={"from": "es", "to": "en"}) as client:
        say(client, counting.samples())
        client.send("end")
        frames = client.rest()
    samples, rate = sound(frames)
    understood = Recogniser("tiny.en").recognise(resampled(samples, rate, RATE), "en")
    assert word_error_rate([counting], [understood]) < 0.3, understood


def test_whoever_speaks_is_not_talked_over_by_the_agent(gateway: Gateway) -> None:
    fox = english()[-1]
    with gateway.session("voice-agent", mode="live", parameters=WHOLE) as client:
        say(client, ONE_SENTENCE.samples(), quiet_seconds=1.5)
        speaking(client)
        say(client, fox.samples(), quiet_seconds=1.5, from_sample=len(ONE_SENTENCE.samples()) + RATE * 3 // 2)
        before = frames_until(client, "interrupted")
        client.send("end")
        after = client.rest()
    # Its answer was not over, and nothing of it comes behind the news that somebody speaks.
    old = [frame for frame in before if frame["port"] == "speaker"]
    assert not any(frame.get("final") for frame in old)
    speaks = [frame["port"] == "turns" and frame["json"]["value"]["utterance"] == 2 for frame in before].index(True)
    assert before[speaks]["json"]["value"]["type"] == "speech_start"
    assert "speaker" not in [frame["port"] for frame in before[speaks:]]
    spoken = {frame["utterance"] for frame in after if frame["port"] == "speaker"}
    assert spoken == {2}, spoken
    assert texts(after, "heard")[-1].lower().startswith("the quick")
    assert texts(after, "answer")[-1].startswith("You said: ")
    samples, rate = sound(after)
    understood = Recogniser("tiny.en").recognise(resampled(samples, rate, RATE), "en")
    assert "quick brown fox" in words(understood), understood


def test_without_its_services_it_says_which_is_missing_and_the_others_are_served(start: Start, tmp_path: pathlib.Path) -> None:
    # Bound and not listened to: nobody else gets it, and nobody answers.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        once = SHIPPED["interpreter"].replace("pipeline: stt", "pipeline: stt\n      retry: {attempts: 1}")
        gateway = start(Gateway, tmp_path, [once], **dict.fromkeys(SERVICES, address))
        assert gateway.get("/readyz").strip() == "ready"
        problem = gateway.execute("interpreter", {"mic": []})
        assert (problem["code"], problem["hop"], problem["endpoint"]) == ("network", "stt", address), problem
        assert "look whether the worker runs" in problem["detail"]
        assert "echo" in gateway.get("/v1/pipelines")


def speaking(client: Client) -> dict[str, Any]:
    """The first frame of sound."""
    while (frame := client.next("frame"))["port"] != "speaker":
        pass
    return frame


def frames_until(client: Client, kind: str) -> list[dict[str, Any]]:
    """What comes before a message."""
    frames = []
    while kind not in (message := client.message()):
        assert "error" not in message, message
        frames += [message["frame"]] if "frame" in message else []
    return frames
