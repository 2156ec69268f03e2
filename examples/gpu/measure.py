"""Starts the service and a gateway in front of it, and measures 1, 8 and 64 sessions with and without batching.

    make gpu                                                    # or, in an environment that has torch and the SDK:
    python examples/gpu/measure.py target/release/tidegate

Each session sends a piece of speech, waits for its vector, and sends the next. `round trip` is what it sees; `service` is the worker's own
time from a frame's arrival to its answer, the wait for a batch and for the calls before it included; `hop` is the rest: client, gateway and
transport there and back. `call` is one call of the model with the copies to the GPU and from it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "proto"))
# Messages straight from the schema: nothing is generated beforehand.
api: Any
api, _ = grpc.protos_and_services("tidegate/v1/gateway.proto")

PIPELINES = (("embed", "batched"), ("embed-alone", "alone"))
SHAPE = (100, 80)
CHANNELS = 4
START_SECONDS = 300.0


@contextlib.contextmanager
def child(command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with this one."""
    together = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=together)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """What it says when it can be used."""
    assert process.stdout is not None
    ends = time.monotonic() + START_SECONDS
    seen = []
    while time.monotonic() < ends and (line := process.stdout.readline()):
        seen.append(line)
        if found := re.search(pattern, line):
            return found.group(1)
    raise SystemExit(f"{process.args!r} was never ready:\n{''.join(seen)}")


class Session:
    """A closed loop: one frame on its way at a time."""

    def __init__(self, channel: grpc.aio.Channel, pipeline: str) -> None:
        self._call = channel.stream_stream("/tidegate.v1.Gateway/Stream", lambda raw: raw, api.ServerMessage.FromString)()
        self._pipeline = pipeline
        self._seq = 0

    async def open(self) -> None:
        await self._call.write(api.ClientMessage(open=api.Open(pipeline=self._pipeline, mode=api.MODE_WAITS)).SerializeToString())
        await self._next("opened")

    async def trip(self, frame: bytes) -> tuple[float, float]:
        """How long a frame and its answer took, and the worker's part of it, in seconds."""
        self._seq += 1
        # A field that comes again replaces the one before: the number stands behind a frame that was written once.
        body = frame + api.Frame(seq=self._seq).SerializeToString()
        sent = time.monotonic()
        await self._call.write(b"\x12" + _varint(len(body)) + body)
        message = await self._next("frame")
        return time.monotonic() - sent, message.frame.service / 1e6

    async def _next(self, kind: str) -> Any:
        while True:
            message: Any = await self._call.read()
            if message is grpc.aio.EOF:
                raise SystemExit(f"{self._pipeline}: the stream has ended: {await self._call.details()}")
            if message.HasField("error"):
                raise SystemExit(f"{self._pipeline}: {message.error.message}")
            if message.HasField(kind):
                return message

    def close(self) -> None:
        self._call.cancel()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def pieces() -> list[bytes]:
    """Frames, as the wire has them."""
    chance = np.random.default_rng(7)
    data = [chance.standard_normal(SHAPE, np.float32).tobytes() for _ in range(8)]
    return [api.Frame(port="features", tensor=api.Tensor(dtype=api.DTYPE_F32, shape=SHAPE, data=one)).SerializeToString() for one in data]


@dataclass
class Figures:
    """What came of a run; times in seconds."""

    trips: list[float]
    services: list[float]
    seconds: float
    calls: float
    call_seconds: float

    def row(self, name: str, sessions: int) -> str:
        count, hops = len(self.trips), [trip - service for trip, service in zip(self.trips, self.services, strict=True)]
        cells = [
            name,
            str(sessions),
            f"{count / self.seconds:.0f}",
            f"{count / self.calls:.1f}",
            milliseconds(self.call_seconds / self.calls),
            f"{milliseconds(statistics.median(self.trips))} ({milliseconds(float(np.percentile(self.trips, 99)))})",
            milliseconds(statistics.median(self.services)),
            f"{milliseconds(statistics.median(hops))} ({milliseconds(float(np.percentile(hops, 99)))})",
        ]
        return f"| {' | '.join(cells)} |"


HEADINGS = ("", "sessions", "frames/s", "frames a call", "call ms", "round trip p50 (p99) ms", "service p50 ms", "hop p50 (p99) ms")


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


async def drive(gateway: str, metrics: str, pipeline: str, sessions: int, seconds: float) -> Figures:
    """So many sessions at once."""
    frames, seen, window = pieces(), list[tuple[float, float]](), list[float]()
    warm = asyncio.Barrier(sessions)
    before: dict[str, float] = {}

    async def one(channel: grpc.aio.Channel, at: int) -> None:
        session = Session(channel, pipeline)
        await session.open()
        # The first answers are for connections and caches.
        for _ in range(3):
            await session.trip(frames[at % len(frames)])
        if await warm.wait() == 0:
            before.update(await asyncio.to_thread(batches, metrics, pipeline))
            window.append(time.monotonic())
        await warm.wait()
        while time.monotonic() < window[0] + seconds:
            seen.append(await session.trip(frames[len(seen) % len(frames)]))
        session.close()

    async with contextlib.AsyncExitStack() as stack:
        # A subchannel pool of its own makes each a connection of its own.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [await stack.enter_async_context(grpc.aio.insecure_channel(gateway, options)) for _ in range(min(CHANNELS, sessions))]
        async with asyncio.TaskGroup() as group:
            for at in range(sessions):
                group.create_task(one(channels[at % len(channels)], at))
    took = time.monotonic() - window[0]
    after = await asyncio.to_thread(batches, metrics, pipeline)
    # By the service's own count: calls, and the time in them.
    return Figures([trip for trip, _ in seen], [service for _, service in seen], took, *(after[name] - before[name] for name in after))


def batches(metrics: str, hop: str) -> dict[str, float]:
    """How many calls there were until now, and how long they took together."""
    with urllib.request.urlopen(metrics, timeout=10) as answer:
        text = answer.read().decode()
    labels = re.escape(f'{{hop="{hop}"}}')
    found = {name: re.search(rf"^tidegate_worker_batch_seconds_{name}{labels} (\S+)$", text, re.MULTILINE) for name in ("count", "sum")}
    return {name: float(one.group(1)) if one else 0.0 for name, one in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gateway", help="the program `tidegate`")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--device", default="", help="cuda or cpu; without it CUDA where there is one")
    options = parser.parse_args()
    serve = [sys.executable, "-m", "tidegate_sdk", "serve", "embed:Embed", "--sessions", "256"]
    local = ["--listen", "127.0.0.1:0"]
    front = [str(pathlib.Path(options.gateway).resolve()), "serve", *local, "--media", "127.0.0.1:0", "--pipelines", "pipelines"]
    with child([*serve, *local, "--metrics", "127.0.0.1:0"], GPU_DEVICE=options.device) as service:
        print(f"{said(service, r'(torch .*)')}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
        metrics = said(service, r"metrics on (\S+)")
        address = said(service, r"serving .* on (\S+)")
        with child(front, EMBED_WORKER=f"http://{address}", TIDEGATE_LOG_FILTER="warn") as gateway:
            target = said(gateway, r"listening on http://([^/\s]+)")
            print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}", flush=True)
            for sessions in options.sessions:
                for pipeline, name in PIPELINES:
                    figures = asyncio.run(drive(target, metrics, pipeline, sessions, options.seconds))
                    print(figures.row(name, sessions), flush=True)


if __name__ == "__main__":
    main()
