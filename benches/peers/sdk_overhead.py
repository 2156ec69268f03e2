"""What a hop of the Python SDK costs beside a bare grpc.aio service that echoes the same frames.

    make bench-sdk

Both run in processes of their own and are driven in turns by the same client, which neither builds nor reads messages while it
measures. Ping-pong: a frame is sent when the one before has come back. CPU is the server's own, user and system, per frame. The SDK is measured as
any client may call it, and as the gateway does, with credit and acknowledgements, which the bare service does not have.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

import grpc

from tidegate_sdk import Array, Audio, Samples, Tensor, per_frame
from tidegate_sdk._generated.tidegate.v1 import gateway_pb2 as pb

OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", -1), ("grpc.http2.max_frame_size", 1 << 20)]
TICK = os.sysconf("SC_CLK_TCK")


@per_frame(takes=Audio(), gives=Audio())
async def audio(samples: Samples) -> Samples:
    return samples


@per_frame(takes=Tensor(), gives=Tensor())
async def tensor(array: Array) -> Array:
    return array


async def stream(_: Any, context: Any) -> None:
    """The bare service: as little as can be done with the generated classes."""
    await context.read()
    await context.write(pb.ServerMessage(opened=pb.Opened(session_id="1")))
    seq = 0
    while (message := await context.read()) is not grpc.aio.EOF:
        seq += 1
        frame = message.frame
        out = pb.Frame(port="out", seq=seq, media_time=frame.media_time, caused_by=frame.seq)
        if frame.HasField("audio"):
            out.audio.CopyFrom(frame.audio)
        else:
            out.tensor.CopyFrom(frame.tensor)
        await context.write(pb.ServerMessage(frame=out))


async def bare() -> None:
    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(stream, pb.ClientMessage.FromString, pb.ServerMessage.SerializeToString)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tidegate.v1.Gateway", {"Stream": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"serving bare on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


class Peer:
    """A server's process."""

    def __init__(self, *arguments: str) -> None:
        here = pathlib.Path(__file__).parent
        self.child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=here)
        assert self.child.stdout is not None
        self.address = self.child.stdout.readline().split()[-1]

    def cpu(self) -> float:
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK


async def ping_pong(peer: Peer, pipeline: str, features: list[str], frames: list[bytes], warm: int) -> dict[str, float]:
    """Latencies of a session in which each frame waits for the one before."""
    async with grpc.aio.insecure_channel(peer.address, options=OPTIONS) as channel:
        call = channel.stream_stream("/tidegate.v1.Gateway/Stream")()
        await call.write(pb.ClientMessage(open=pb.Open(pipeline=pipeline, features=features)).SerializeToString())
        while not pb.ServerMessage.FromString(await call.read()).HasField("opened"):
            pass
        if "credits" in features:
            await call.write(pb.ClientMessage(credit=pb.Credit(port="out", frames=len(frames))).SerializeToString())
        took = []
        began = 0.0
        for number, frame in enumerate(frames):
            if number == warm:
                began = peer.cpu()
            sent = time.perf_counter()
            await call.write(frame)
            # Of the messages that come between, only the field's number is looked at: 2 is a frame.
            while (await call.read())[0] >> 3 != 2:
                pass
            took.append(time.perf_counter() - sent)
        cpu = (peer.cpu() - began) / (len(frames) - warm)
        call.cancel()
    return {"p50_us": statistics.median(took[warm:]) * 1e6, "cpu_us": cpu * 1e6}


def messages(kind: str, count: int) -> list[bytes]:
    made = []
    for seq in range(1, count + 1):
        frame = pb.Frame(port="in", seq=seq, media_time=seq * 20_000)
        if kind == "audio":
            frame.audio.data = bytes(640)
        else:
            frame.tensor.CopyFrom(pb.Tensor(dtype="DTYPE_F32", shape=[512, 512], data=bytes(1 << 20)))
        made.append(pb.ClientMessage(frame=frame).SerializeToString())
    return made


async def measure(rounds: int, scale: float) -> dict[str, Any]:
    peers = {
        "bare": Peer(__file__, "--bare"),
        "sdk": Peer("-m", "tidegate_sdk", "serve", "sdk_overhead", "--listen", "127.0.0.1:0"),
    }
    result: dict[str, Any] = {"load": os.getloadavg()[0], "rounds": rounds}
    try:
        for kind, count in (("audio", 400), ("tensor", 40)):
            frames = messages(kind, max(20, round(count * scale)))
            warm = len(frames) // 10
            seen: dict[str, list[dict[str, float]]] = {"bare": [], "sdk": [], "sdk_as_gateway": []}
            for _ in range(rounds):
                seen["bare"].append(await ping_pong(peers["bare"], kind, [], frames, warm))
                seen["sdk"].append(await ping_pong(peers["sdk"], kind, [], frames, warm))
                seen["sdk_as_gateway"].append(await ping_pong(peers["sdk"], kind, ["credits", "acks"], frames, warm))
            figures = {
                who: {name: round(statistics.median(one[name] for one in all_rounds), 1) for name in ("p50_us", "cpu_us")}
                for who, all_rounds in seen.items()
            }
            for who in ("sdk", "sdk_as_gateway"):
                # Of each round, whose three runs were next to each other.
                for name in ("p50_us", "cpu_us"):
                    ratios = [ours[name] / theirs[name] for ours, theirs in zip(seen[who], seen["bare"], strict=True) if theirs[name]]
                    figures[who][name.replace("_us", "_ratio")] = round(statistics.median(ratios), 2) if ratios else 0.0
            result["640_bytes" if kind == "audio" else "1_mib"] = figures
    finally:
        for peer in peers.values():
            peer.child.kill()
            peer.child.wait()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bare", action="store_true", help="be the bare service")
    parser.add_argument("--rounds", type=int, default=30, help="short ones, so that what else the machine does hits all alike")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer frames")
    arguments = parser.parse_args()
    if arguments.bare:
        asyncio.run(bare())
    else:
        print(json.dumps(asyncio.run(measure(arguments.rounds, arguments.scale)), indent=2))


if __name__ == "__main__":
    main()
