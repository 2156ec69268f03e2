"""Python's `websockets` against the native WebSocket, in either subprotocol or with raw audio.
Prints one JSON object; judges nothing."""

import argparse
import asyncio
import base64
import json
import time

import websockets
from google.protobuf import json_format

import native

TIMEOUT = 20


class Json:
    """Messages of `tidegate.v1.json`: objects with one key that names the message."""

    subprotocol = "tidegate.v1.json"

    def __init__(self, api):
        self.names = {}

    def encode(self, kind, body):
        return json.dumps({kind: body})

    def decode(self, data):
        ((kind, body),) = json.loads(data).items()
        return kind, body

    def frame(self, port, seq, media_time, rate, data):
        format = {"codec": "pcm_s16", "sample_rate": rate, "channels": 1}
        audio = {"format": format, "data": base64.b64encode(data).decode()}
        return self.encode("frame", {"port": port, "seq": seq, "media_time": media_time, "audio": audio})

    def audio(self, frame):
        return base64.b64decode(frame["audio"]["data"])


class Proto:
    """Messages of `tidegate.v1.proto`: binary protobuf, its classes learnt by reflection."""

    subprotocol = "tidegate.v1.proto"

    def __init__(self, api):
        self.api = api

    def encode(self, kind, body):
        if "mode" in body:
            body = body | {"mode": "MODE_" + body["mode"].upper()}
        message = json_format.ParseDict({kind: body}, self.api.ClientMessage())
        return message.SerializeToString()

    def decode(self, data):
        message = self.api.ServerMessage.FromString(data)
        kind = message.WhichOneof("message")
        body = getattr(message, kind)
        return kind, json_format.MessageToDict(body, preserving_proto_field_name=True)

    def frame(self, port, seq, media_time, rate, data):
        audio = self.api.Audio(format=self.api.pcm(rate), data=data)
        frame = self.api.Frame(port=port, seq=seq, media_time=media_time, audio=audio)
        return self.api.ClientMessage(frame=frame).SerializeToString()

    def audio(self, frame):
        return base64.b64decode(frame["audio"]["data"])


def is_way(port, way):
    """JSON says `input`, protobuf's JSON mapping says `DIRECTION_INPUT`."""
    return port["kind"].lower().endswith("audio") and port["direction"].lower().endswith(way)


async def run(options):
    api = native.Native(native.connect(options.address))
    speak = {"json": Json, "proto": Proto, "raw": Json}[options.messages](api)
    chunks, rate = native.chunks_of(options.wav)
    raw = options.messages == "raw"
    url = f"ws://{options.address}/v1/pipelines/{options.pipeline}/ws"
    report = {"kinds": {}, "seqs_in_order": True}
    began = time.monotonic()
    async with websockets.connect(url, subprotocols=[speak.subprotocol], max_size=8 << 20) as socket:
        report["subprotocol"] = socket.subprotocol
        opening = {"pipeline": options.pipeline, "mode": "waits"}
        if raw:
            about = await describe(api, options.pipeline)
            opening["raw"] = {"input": about[0], "output": about[1]}
            format = {"codec": "pcm_s16", "sample_rate": rate, "channels": 1}
            opening["inputs"] = [{"port": about[0], "audio": format}]
            opening["outputs"] = [{"port": about[1], "audio": format}]
        await socket.send(speak.encode("open", opening))
        data, last, sender = [], 0, None
        async for message in socket:
            if raw and isinstance(message, bytes):
                report["kinds"]["raw"] = report["kinds"].get("raw", 0) + 1
                data.append(message)
                continue
            kind, body = speak.decode(message)
            report["kinds"][kind] = report["kinds"].get(kind, 0) + 1
            if kind == "opened":
                report["opened_seconds"] = time.monotonic() - began
                report["session"] = body["session_id"]
                port = next(port["name"] for port in body["ports"] if is_way(port, "input"))
                sender = asyncio.create_task(send_all(socket, speak, port, rate, chunks, raw))
            elif kind == "frame":
                data.append(speak.audio(body))
                report["seqs_in_order"] &= int(body["seq"]) == last + 1
                last = int(body["seq"])
            elif kind in ("error", "ended"):
                report[kind] = body
        report["close"] = {"code": socket.close_code, "reason": socket.close_reason}
        if sender is not None:
            await sender
    report["frames"], report["same"] = len(data), b"".join(data) == b"".join(chunks)
    report["bytes"] = sum(map(len, data))
    return report


async def send_all(socket, speak, port, rate, chunks, raw):
    for at, chunk in enumerate(chunks):
        await socket.send(chunk if raw else speak.frame(port, at + 1, at * 20_000, rate, chunk))
    await socket.send(speak.encode("end", {}))


async def describe(api, pipeline):
    answer = await asyncio.to_thread(api.call("ListPipelines"), api.ListPipelinesRequest(), timeout=TIMEOUT)
    return api.ports(next(about.ports for about in answer.pipelines if about.name == pipeline))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("messages", choices=["json", "proto", "raw"])
    parser.add_argument("--pipeline", default="echo")
    parser.add_argument("--wav", required=True)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(asyncio.wait_for(run(options), TIMEOUT * 6))))


main()
