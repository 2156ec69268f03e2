"""What happens to callers when processes die, drain, or keep to themselves; through a real gateway where callers come in."""

from __future__ import annotations

import base64
import json
import pathlib
import signal
import struct
import urllib.error
import urllib.request
from typing import Any

import grpc
import pytest
from certificates import make_certificates
from conftest import Start
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import WAIT, Client, Gateway, Worker, pipeline

from tidegate_sdk.__main__ import main

PCM = {"codec": "pcm_s16", "sample_rate": 16000, "channels": 1}


def say(client: Client, utterance: int, numbers: range, last: int = 40) -> None:
    for number in numbers:
        data = base64.b64encode(struct.pack("<320h", *[utterance] * 320)).decode()
        client.frame("in", utterance=utterance, final=number == last, media_time=number * 20_000, audio={"format": PCM, "data": data})


def serving(gateway: Gateway, workers: list[Worker]) -> Worker:
    """The one that has the gateway's one session."""
    busy = [worker for worker in workers if sum_of(worker.metrics, "tidegate_worker_sessions_active") > 0]
    assert len(busy) == 1
    return busy[0]


def sum_of(url: str, name: str, label: str = "") -> float:
    with urllib.request.urlopen(url, timeout=WAIT) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name) and label in line)


@pytest.mark.parametrize("hop", ["stt", "audio"])
def test_a_caller_does_not_notice_that_a_service_is_killed(start: Start, tmp_path: pathlib.Path, hop: str) -> None:
    workers = [start(Worker, "services", "services:Echo", "--metrics", "127.0.0.1:0") for _ in range(2)]
    gateway = start(Gateway, tmp_path, [pipeline("p", hop, ("audio", "text" if hop == "stt" else "audio"), [w.address for w in workers])])
    with gateway.session("p") as client:
        say(client, 1, range(1, 41))
        first = [client.next("frame")]
        say(client, 2, range(1, 21))
        if hop == "audio":
            first += [client.next("frame") for _ in range(49)]
        else:
            while first[-1]["utterance"] == 1:
                first.append(client.next("frame"))
        serving(gateway, workers).signal(signal.SIGKILL)
        say(client, 2, range(21, 41))
        client.send("end")
        frames = first + client.rest()
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    if hop == "audio":
        assert [(frame["utterance"], frame["media_time"]) for frame in frames] == [(u, n * 20_000) for u in (1, 2) for n in range(1, 41)]
    else:
        finals = [(frame["utterance"], frame["text"]["text"]) for frame in frames if frame.get("final")]
        assert finals == [(1, "12800 samples, sum 12800"), (2, "12800 samples, sum 25600")]
        # What was said before the loss is replaced by what is said after it, never repeated.
        revisions = [frame["revision"] for frame in frames if frame["utterance"] == 2]
        assert revisions == sorted(set(revisions))
    assert "tidegate_hop_failovers_total" in gateway.get("/metrics")


def test_a_service_that_is_told_to_stop_hands_its_sessions_over(start: Start, tmp_path: pathlib.Path) -> None:
    workers = [start(Worker, "services", "services:Echo", "--metrics", "127.0.0.1:0", "--grace", "20") for _ in range(2)]
    gateway = start(Gateway, tmp_path, [pipeline("p", "audio", ("audio", "audio"), [w.address for w in workers])])
    with gateway.session("p") as client:
        say(client, 1, range(1, 11))
        frames = [client.next("frame") for _ in range(10)]
        leaving = serving(gateway, workers)
        leaving.signal(signal.SIGTERM)
        leaving.line("draining 1 sessions")
        # It leaves as soon as its session has moved, long before its time is over.
        assert leaving.ended() == 0
        say(client, 1, range(11, 41))
        client.send("end")
        frames += client.rest()
    assert [frame["media_time"] for frame in frames] == [number * 20_000 for number in range(1, 41)]


def test_a_slow_service_slows_its_caller_down_and_loses_nothing(start: Start, tmp_path: pathlib.Path) -> None:
    worker = start(Worker, "services:sleepy", "--metrics", "127.0.0.1:0")
    gateway = start(Gateway, tmp_path, [pipeline("p", "sleepy", ("text", "text"), [worker.address])])
    with gateway.session("p") as client:
        for number in range(200):
            client.frame("in", text={"text": str(number)})
        client.send("end")
        frames = client.rest()
    assert [frame["text"]["text"] for frame in frames] == [str(number) for number in range(200)]
    # Never more in its queue than it gave credit for.
    assert max(json.loads(frame["text"]["text"]) for frame in frames) == 199
    assert sum_of(worker.metrics, "tidegate_worker_frames_total", 'direction="in"') == 200


def test_sessions_share_a_call(gateway: Gateway, worker: Worker) -> None:
    before = sum_of(worker.metrics, "tidegate_worker_batch_frames_count")
    data = base64.b64encode(struct.pack("<f", 5)).decode()
    with gateway.session("embed") as a, gateway.session("embed") as b, gateway.session("embed") as c, gateway.session("embed") as d:
        clients = [a, b, c, d]
        for _ in range(10):
            for client in clients:
                client.frame("in", tensor={"dtype": "f32", "shape": [1], "data": data})
        sizes = []
        for client in clients:
            client.send("end")
            for frame in client.rest():
                size, value = struct.unpack("<2f", base64.b64decode(frame["tensor"]["data"]))
                assert value == 5
                sizes.append(size)
    assert len(sizes) == 40
    assert max(sizes) == 4
    assert sum_of(worker.metrics, "tidegate_worker_batch_frames_count") - before == sum(1 / size for size in sizes)


def test_a_bearer_token_is_asked_for(start: Start, tmp_path: pathlib.Path) -> None:
    worker = start(Worker, "services:translate", TIDEGATE_SDK_TOKEN="s3cret")
    right = ", auth: {bearer: s3cret}, retry: {attempts: 1}"
    wrong = ", auth: {bearer: guessed}, retry: {attempts: 1}"
    pipelines = [
        pipeline(name, "translate", ("text", "text"), [worker.address], auth) for name, auth in (("right", right), ("wrong", wrong))
    ]
    gateway = start(Gateway, tmp_path, pipelines)
    assert gateway.execute("right", TEXT)["out"][0]["text"]["text"] == "there hello"
    assert gateway.execute("wrong", TEXT)["code"] == "unauthenticated"
    # Health says nothing that is secret, and is asked by those who have no token.
    with grpc.insecure_channel(worker.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


TEXT: dict[str, list[dict[str, Any]]] = {"in": [{"text": {"text": "hello there"}}]}


def test_clients_show_a_certificate(start: Start, tmp_path: pathlib.Path) -> None:
    make_certificates(tmp_path)
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "server", "server-key", "client", "client-key")}
    worker = start(
        Worker, "services:translate", "--tls-cert", files["server"], "--tls-key", files["server-key"], "--client-ca", files["ca"]
    )
    endpoint = [f"https://{worker.address}"]
    known = f", auth: {{tls: {{ca: {files['ca']}, cert: {files['client']}, key: {files['client-key']}}}}}, retry: {{attempts: 1}}"
    stranger = f", auth: {{tls: {{ca: {files['ca']}}}}}, retry: {{attempts: 1}}"
    folder = tmp_path / "pipelines"
    folder.mkdir()
    kinds = ("text", "text")
    gateway = start(
        Gateway,
        folder,
        [pipeline("known", "translate", kinds, endpoint, known), pipeline("stranger", "translate", kinds, endpoint, stranger)],
    )
    assert gateway.execute("known", TEXT)["out"][0]["text"]["text"] == "there hello"
    assert gateway.execute("stranger", TEXT)["code"] in ("network", "circuit_open")


def test_health_and_metrics_say_how_it_is(worker: Worker, gateway: Gateway) -> None:
    gateway.execute("translate", TEXT)
    with grpc.insecure_channel(worker.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", "tidegate.v1.Gateway"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=WAIT)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for name in ("sessions_total", "frames_total", "bytes_total", "service_seconds_count"):
        assert sum_of(worker.metrics, f"tidegate_worker_{name}", 'hop="translate"') > 0, name


def test_describe_prints_what_a_manifest_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "services:tts"]) == 0
    printed = capsys.readouterr().out
    assert "inputs: [{name: in, kind: text}]" in printed
    assert "outputs: [{name: speech, kind: audio, format: pcm_s16/16000/1}]" in printed
