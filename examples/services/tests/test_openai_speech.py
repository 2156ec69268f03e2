"""A hop at a real server of OpenAI's speech: local-tts-studio as it comes, with the voice of the example services."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator

import jiwer
import pytest
from hearing import loudness, seconds, sound
from processes import Gateway, Process
from recordings import PCM, RATE, words
from test_foreign import LONG, PIECES, TEXT, free, hop

from tidegate_services.stt import Recogniser
from tidegate_services.weights import PIPER

SPOKEN = [{"port": "speaker", "audio": PCM}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As its users start it: what it says with which voice is in its settings, whatever a request asks for."""
    data, port = tmp_path_factory.mktemp("studio"), free()
    settings = {"voices_dir": str(PIPER.find()), "api_default_voice": "en_US-joe-medium", "device": "cpu"}
    (data / "settings.json").write_text(json.dumps(settings))
    program = pathlib.Path(sys.executable).with_name("local-tts")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "LOCAL_TTS_DATA_DIR": str(data)}
    one = Process([str(program), "--host", "127.0.0.1", "--port", str(port)], env=environment)
    try:
        one.line("Uvicorn running on")
        yield f"http://127.0.0.1:{port}"
    finally:
        one.stop()


@pytest.fixture(scope="module")
def gateway(server: str, nobody: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    params = {
        "protocol": "openai.speech",
        "pipeline": "tts-1",
        "parameters": {"voice": "alloy"},
        # Its samples are the voice's, not at the 24 kHz of OpenAI's interface.
        "outputs": [{"name": "audio", "kind": "audio", "format": "pcm_s16/22050/1"}],
    }
    pipelines = [
        hop("speak", ("text", "audio"), endpoints=[server], **params),
        hop("beside", ("text", "audio"), endpoints=[f"http://{nobody}", server], **params),
        hop("refused", ("text", "audio"), endpoints=[server], **{**params, "parameters": {"voice": "alloy", "speed": 11}}),
    ]
    one = Gateway(tmp_path_factory.mktemp("pipelines"), pipelines)
    try:
        yield one
    finally:
        one.stop()


@pytest.mark.parametrize("pipeline", ["speak", "beside"])
def test_what_it_says_is_understood_and_an_endpoint_that_is_not_there_costs_no_word(gateway: Gateway, pipeline: str) -> None:
    with gateway.session(pipeline, outputs=SPOKEN) as client:
        client.frame("words", text={"text": TEXT}, utterance=1, final=True)
        client.send("end")
        frames = client.rest()
    assert [frame.get("final", False) for frame in frames].count(True) == 1
    assert frames[-1]["final"]
    samples, rate = sound(frames)
    assert rate == RATE
    assert loudness(samples) > 0.02
    understood = Recogniser("tiny.en").recognise(samples, "en")
    assert jiwer.wer(words(TEXT), words(understood)) < 0.2, understood


def test_a_text_in_pieces_is_spoken_before_it_is_written_to_its_end(gateway: Gateway) -> None:
    with gateway.session("speak", outputs=SPOKEN) as client:
        for piece in PIECES[:2]:
            client.frame("words", text={"text": piece}, utterance=1)
        frames = [client.next("frame")]
        for piece in PIECES[2:]:
            client.frame("words", text={"text": piece}, utterance=1)
        client.frame("words", text={"text": ""}, utterance=1, final=True)
        client.send("end")
        frames += client.rest()
    samples, _ = sound(frames)
    understood = words(Recogniser("tiny.en").recognise(samples, "en"))
    # The abbreviation's point ends no sentence.
    assert jiwer.wer(words("".join(PIECES)), understood) < 0.3, understood


def test_an_interrupt_ends_what_it_says_and_the_next_text_is_heard(gateway: Gateway) -> None:
    with gateway.session("speak", mode="live", outputs=SPOKEN) as client:
        began = time.monotonic()
        client.frame("words", text={"text": LONG}, utterance=1, final=True)
        heard = [client.next("frame")]
        client.send("interrupt")
        while "interrupted" not in (message := client.message()):
            assert not {"error", "ended"} & message.keys(), message
            heard += [message["frame"]] if "frame" in message else []
        # What goes out goes out as it is played.
        assert seconds(heard) < time.monotonic() - began + 1
        client.frame("words", text={"text": "Yes."}, utterance=2, final=True)
        client.send("end")
        after = client.rest()
    assert {frame["utterance"] for frame in after} == {2}
    assert after[-1]["final"]
    assert 0.1 < seconds(after) < 5


def test_what_it_refuses_is_said_in_its_own_words(gateway: Gateway) -> None:
    with gateway.session("refused", outputs=SPOKEN) as client:
        client.frame("words", text={"text": TEXT}, utterance=1, final=True)
        error = client.next("error")
    assert (error["code"], error["hop"], error["retryable"]) == ("remote_execution", "hop", False), error
    assert "invalid request field 'speed'" in error["message"], error
