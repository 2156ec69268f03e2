"""Text to speech behind the gateway, of texts that come bit by bit and of texts that are replaced."""

from __future__ import annotations

from hearing import loudness, resampled, seconds, sound
from processes import Gateway
from recordings import RATE, words

from tidegate_services.stt import Recogniser


def test_a_sentence_is_heard_while_the_next_one_is_being_written(gateway: Gateway) -> None:
    with gateway.session("speak") as client:
        for piece in ("The quick brown ", "fox jumps over the la", "zy dog. And then"):
            client.frame("text", utterance=1, text={"text": piece})
        # The rest is not written before the first sentence is heard.
        first = client.next("frame")
        client.frame("text", utterance=1, final=True, text={"text": " he sleeps in the sun."})
        client.send("end")
        frames = [first, *client.rest()]
    assert [frame["caused_by"] for frame in frames] == sorted(frame["caused_by"] for frame in frames)
    assert {frame["caused_by"] for frame in frames} == {3, 4}
    assert [frame.get("final", False) for frame in frames] == [False] * (len(frames) - 1) + [True]
    samples, rate = sound(frames)
    understood = words(Recogniser("tiny.en").recognise(resampled(samples, rate, RATE), "en"))
    assert "quick brown fox jumps over the lazy dog" in understood, understood
    assert "sun" in understood, understood


def test_what_is_to_be_replaced_is_not_said(gateway: Gateway) -> None:
    with gateway.session("speak") as client:
        for revision, text in enumerate(("Good.", "Good mourning. Every", "Good morning, everybody."), 1):
            client.frame("text", utterance=1, revision=revision, final=revision == 3, text={"text": text})
        client.send("end")
        frames = client.rest()
    assert {frame["caused_by"] for frame in frames} == {3}
    assert 0.5 < seconds(frames) < 4
    assert loudness(sound(frames)[0]) > 0.01


def test_nothing_to_say_is_no_sound_and_keeps_nobody_waiting(gateway: Gateway) -> None:
    with gateway.session("speak") as client:
        for utterance, text in enumerate(("", "…", "Yes."), 1):
            client.frame("text", utterance=utterance, final=True, text={"text": text})
        client.send("end")
        frames = client.rest()
    assert {frame["utterance"] for frame in frames} == {3}
