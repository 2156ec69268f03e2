"""Through a real gateway: each kind there and back, what a session sees of partial results, errors and parameters."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import struct
import subprocess
import wave
from typing import Any

import pytest
from processes import WAIT, Gateway, Worker

PCM = {"codec": "pcm_s16", "sample_rate": 16000, "channels": 1}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sound(samples: int, start: int = 0) -> str:
    return b64(struct.pack(f"<{samples}h", *((start + at * 7919) % 65536 - 32768 for at in range(samples))))


def tensor(dtype: str, shape: list[int], data: bytes) -> dict[str, Any]:
    return {"tensor": {"dtype": dtype, "shape": shape, "data": b64(data)}}


PAYLOADS = [
    ("audio", {"audio": {"format": PCM, "data": sound(320)}}),
    ("audio", {"audio": {"format": PCM, "data": sound(100_000)}}),
    ("video", {"video": {"format": {"codec": "vp8"}, "key": True, "data": b64(bytes(range(256)) * 300)}}),
    ("text", {"text": {"text": "Grüße, 世界 \0 🎧"}}),
    ("text", {"text": {"text": ""}}),
    ("binary", {"binary": {"data": b64(bytes(range(256)))}}),
    ("binary", {"binary": {"data": b64(bytes(range(256)) * 4096)}}),
    ("json", {"json": {"value": {"a": [1, -2.5, True, None, "ü", 2**53 - 1], "b": {}}}}),
    ("json", {"json": {"value": [0.1, 1e-300, 1e300]}}),
    ("tensor", tensor("f32", [2, 3], struct.pack("<6f", 1, -0.0, float("inf"), float("nan"), 1e-45, 3.4e38))),
    ("tensor", tensor("f32", [256, 1024], bytes(range(256)) * 4096)),
    ("tensor", tensor("bool", [4], b"\1\0\1\1")),
    ("tensor", tensor("u8", [0, 3], b"")),
    ("tensor", tensor("f64", [], struct.pack("<d", 0.1))),
    ("tensor", tensor("bf16", [3], b"\x80\x3f\xc0\x7f\x01\x00")),
    ("tensor", tensor("f16", [2], b"\x00\x3c\x01\x7e")),
    *(("tensor", tensor(dtype, [2, 1], bytes(range(1, 1 + 2 * size)))) for dtype, size in
      (("i8", 1), ("u16", 2), ("i16", 2), ("u32", 4), ("i32", 4), ("u64", 8), ("i64", 8))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "payload"), PAYLOADS)
def test_each_kind_comes_back_bit_for_bit(gateway: Gateway, kind: str, payload: dict[str, Any]) -> None:
    formats = {"inputs": [{"port": "in", "video": {"codec": "vp8"}}]} if kind == "video" else {}
    with gateway.session(kind, **formats) as client:
        client.frame("in", media_time=1234, utterance=5, revision=2, final=True, **payload)
        frame = client.next("frame")
        client.send("end")
        assert client.rest() == []
    assert frame[kind] == payload[kind]
    about = {key: frame[key] for key in ("port", "seq", "media_time", "utterance", "revision", "final", "caused_by")}
    assert about == {"port": "out", "seq": 1, "media_time": 1234, "utterance": 5, "revision": 2, "final": True, "caused_by": 1}
    assert frame["service"] > 0


@pytest.mark.parametrize("hop", ["stt", "stt-in-thread"])
def test_partial_texts_grow_and_the_final_one_has_all(gateway: Gateway, hop: str) -> None:
    with gateway.session(hop) as client:
        for utterance in (1, 2):
            for number in range(20):
                client.frame(
                    "in",
                    utterance=utterance,
                    final=number == 19,
                    media_time=number * 20_000,
                    audio={"format": PCM, "data": b64(struct.pack("<320h", *[utterance] * 320))},
                )
        client.send("end")
        frames = client.rest()
    for utterance in (1, 2):
        said = [frame for frame in frames if frame["utterance"] == utterance]
        assert [frame["revision"] for frame in said] == list(range(1, len(said) + 1))
        assert [frame.get("final", False) for frame in said] == [False] * (len(said) - 1) + [True]
        assert said[-1]["text"]["text"] == f"6400 samples, sum {6400 * utterance}"
        assert said[-1]["caused_by"] == 20 * utterance
    assert hop != "stt-in-thread" or len(frames) == 10


def test_a_translation_keeps_the_place_of_its_text(gateway: Gateway) -> None:
    with gateway.session("loud") as client:
        client.frame("in", utterance=3, revision=1, text={"text": "good"})
        client.frame("in", utterance=3, revision=2, final=True, text={"text": "good morning"})
        client.send("end")
        frames = client.rest()
    assert [(f["text"]["text"], f["utterance"], f["revision"], f.get("final", False)) for f in frames] == [
        ("GOODGOOD", 3, 1, False),
        ("MORNING GOODMORNING GOOD", 3, 2, True),
    ]


def test_speech_of_a_text_comes_piece_by_piece_and_ends(gateway: Gateway) -> None:
    with gateway.session("tts") as client:
        client.frame("in", utterance=1, revision=1, text={"text": "not"})
        client.frame("in", utterance=1, revision=2, final=True, text={"text": "one three five"})
        client.send("end")
        frames = client.rest()
    pieces = [base64.b64decode(frame["audio"].get("data", "")) for frame in frames]
    sizes = [(len(piece) // 2, struct.unpack_from("<h", piece)[0] if piece else None) for piece in pieces]
    assert sum(size for size, _ in sizes) == 4800
    assert [first for _, first in sizes if first is not None][:1] == [3]
    assert [frame.get("final", False) for frame in frames] == [False] * (len(frames) - 1) + [True]


@pytest.mark.parametrize(
    ("text", "code", "fault", "said"),
    [
        ("value", "remote_execution", "worker", "ValueError: no such voice"),
        ("wrong", "remote_execution", "worker", "a int is no text"),
        ("busy", "overloaded", "worker", "the GPU is full"),
        ("nonsense", "bad_request", "client", "no voice speaks 'xx'"),
        ("odd", "remote_execution", "client", "that is no sentence"),
    ],
)
def test_what_a_function_raises_is_what_the_caller_hears(gateway: Gateway, text: str, code: str, fault: str, said: str) -> None:
    problem = gateway.execute("faulty", {"in": [{"text": {"text": text}}]})
    assert problem["code"] == code
    assert said in problem["detail"]
    assert problem["hop"] == "hop"
    assert problem["fault"] == fault


@pytest.mark.parametrize("text", ["nonsense", "odd"])
def test_who_asks_for_nonsense_shuts_a_hop_off_for_nobody(gateway: Gateway, text: str) -> None:
    # More than any breaker bears: a streak of failures, and a window of them.
    for _ in range(25):
        problem = gateway.execute("faulty", {"in": [{"text": {"text": text}}]})
        assert (problem["fault"], problem["retryable"]) == ("client", False), problem
    said = gateway.execute("faulty", {"in": [{"text": {"text": "sense"}}]})
    assert said["out"][0]["text"]["text"] == "sense", said


def test_a_function_that_takes_too_long_is_a_timeout_and_no_hung_stream(gateway: Gateway) -> None:
    problem = gateway.execute("stuck", {"in": [{"text": {"text": "x"}}]})
    assert (problem["code"], problem["phase"]) == ("timeout", "call")


def test_ports_that_do_not_fit_are_refused_before_anything_runs(gateway: Gateway) -> None:
    problem = gateway.execute("misfit", {"in": [{"audio": {"format": PCM, "data": ""}}]})
    assert problem["code"] in ("incompatible", "manifest_invalid")
    assert "text" in problem["detail"]
    assert "audio" in problem["detail"]
    assert gateway.execute("unknown", {"in": []})["code"] == "unknown_pipeline"


def tidegate_run(folder: pathlib.Path, hop: str, kinds: tuple[str, str], endpoint: str, *files: str) -> str:
    """One pipeline whose only node is this hop, of which no port is declared, over files: what is printed."""
    manifest = folder / f"{hop}.yaml"
    manifest.write_text(f"""
version: tidegate/v1
name: {hop}
inputs: [{{name: mine, kind: {kinds[0]}}}]
outputs: [{{name: theirs, kind: {kinds[1]}}}]
nodes: [{{id: far, type: remote, params: {{endpoints: ["http://{endpoint}"], pipeline: {hop}}}}}]
edges: [mine -> far, far -> theirs]
""")
    command = [os.environ["TIDEGATE_BIN"], "run", str(manifest), *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_tidegate_run_asks_the_service_for_ports_that_no_manifest_declares(worker: Worker, tmp_path: pathlib.Path) -> None:
    # Stereo at 48 kHz comes as what the service says that it takes.
    spoken = tmp_path / "spoken.wav"
    with wave.open(str(spoken), "wb") as file:
        file.setparams((2, 2, 48_000, 0, "NONE", ""))
        file.writeframes(bytes(4 * 48_000))
    lines = tidegate_run(tmp_path, "stt", ("audio", "text"), worker.address, "--in", str(spoken)).splitlines()
    frames = [json.loads(line)["frame"] for line in lines if line.startswith('{"frame"')]
    assert frames[-1]["port"] == "theirs"
    assert frames[-1]["final"]
    samples = int(frames[-1]["text"]["text"].split()[0])
    assert abs(samples - 16_000) < 200, frames[-1]
    # And what it gives is written in the format that it says.
    words, heard = tmp_path / "words.txt", tmp_path / "heard.wav"
    words.write_text("one three\n")
    tidegate_run(tmp_path, "tts", ("text", "audio"), worker.address, "--in", str(words), "--out", str(heard))
    with wave.open(str(heard), "rb") as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        assert file.getnframes() == 2 * 1600
