"""A telephone call as Twilio Media Streams brings it: what Twilio documents of its messages, in both directions.
https://www.twilio.com/docs/voice/media-streams/websocket-messages

There is no package for Twilio's side of it. It sends sound as it is spoken, plays what it gets as it is heard, sends marks back when all
before them was played, and all of them at a `clear`. Prints one JSON object; judges nothing."""

import argparse
import asyncio
import base64
import collections
import contextlib
import hashlib
import hmac
import json
import uuid

import av
import numpy as np
import websockets

TIMEOUT = 120
PACKET = 160  # 20 ms at 8 kHz
SILENCE = b"\xff" * PACKET


def mulaw(samples):
    """G.711: float samples in -1..1 as one byte each."""
    pcm = np.clip(samples * 32767, -32635, 32635).astype(np.int32)
    sign = np.where(pcm < 0, 0x80, 0)
    biased = np.abs(pcm) + 0x84
    exponent = np.floor(np.log2(biased)).astype(np.int32) - 7
    mantissa = (biased >> (exponent + 3)) & 0x0F
    return (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8).tobytes()


def load(path):
    """A recording as packets of 20 ms."""
    with av.open(path) as container:
        to_mono = av.AudioResampler(format="flt", layout="mono", rate=8000)
        parts = [p.to_ndarray().reshape(-1) for frame in container.decode(audio=0) for p in to_mono.resample(frame)]
        parts += [p.to_ndarray().reshape(-1) for p in to_mono.resample(None)]
    data = mulaw(np.concatenate(parts))
    return [data[at : at + PACKET] for at in range(0, len(data) - PACKET + 1, PACKET)]


class Call:
    def __init__(self, socket, options):
        self.socket, self.options = socket, options
        self.account, self.call = "AC" + uuid.uuid4().hex, "CA" + uuid.uuid4().hex
        self.stream = "MZ" + uuid.uuid4().hex
        self.sequence = 0
        self.chunk = 0
        self.waiting = collections.deque()  # what is to be played: packets, and names of marks
        self.changed = asyncio.Event()
        self.report = {"media": 0, "heard": 0, "played": 0, "cleared": 0, "clears": 0, "marks": [], "wrong": []}
        self.data = []

    async def send(self, event, **body):
        """Every message but `connected` has a number, as a string."""
        self.sequence += 1
        message = {"event": event, "sequenceNumber": str(self.sequence), **body, "streamSid": self.stream}
        await self.socket.send(json.dumps(message))

    async def begin(self):
        await self.socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        start = {
            "accountSid": self.account,
            "streamSid": self.stream,
            "callSid": self.call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(pair.split("=", 1) for pair in self.options.parameter),
        }
        await self.send("start", start=start)

    async def media(self, packet):
        self.chunk += 1
        stamp = str((self.chunk - 1) * 20)
        payload = base64.b64encode(packet).decode()
        body = {"track": "inbound", "chunk": str(self.chunk), "timestamp": stamp, "payload": payload}
        await self.send("media", media=body)

    async def dtmf(self, digit):
        await self.send("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    async def stop(self):
        await self.send("stop", stop={"accountSid": self.account, "callSid": self.call})

    async def mark(self, name):
        self.report["marks"].append(name)
        # A late player sends its last ones when no message comes any more that would wake who waits for them.
        self.changed.set()
        await self.send("mark", mark={"name": name})

    async def listen(self):
        async for text in self.socket:
            message = json.loads(text)
            if message.get("streamSid") != self.stream:
                self.report["wrong"].append(message)
            match message["event"]:
                case "media":
                    data = base64.b64decode(message["media"]["payload"], validate=True)
                    self.report["media"] += 1
                    self.report["heard"] += len(data) / 8000
                    self.data.append(data)
                    self.waiting.append(data)
                case "mark":
                    self.waiting.append(message["mark"]["name"])
                case "clear":
                    self.report["clears"] += 1
                    waiting, self.waiting = self.waiting, collections.deque()
                    for item in waiting:
                        if isinstance(item, str):
                            await self.mark(item)
                        else:
                            self.report["cleared"] += len(item) / 8000
                case _:
                    self.report["wrong"].append(message)
            self.changed.set()

    async def play(self):
        """Plays what waits, as fast as one hears."""
        while True:
            if not self.waiting:
                self.changed.clear()
                await self.changed.wait()
                continue
            item = self.waiting[0]
            if isinstance(item, str):
                self.waiting.popleft()
                await self.mark(item)
                continue
            # What is cleared while it is played stops in its middle.
            await asyncio.sleep(min(len(item), PACKET) / 8000)
            if self.waiting and self.waiting[0] is item:
                self.waiting.popleft()
                if len(item) > PACKET:
                    self.waiting.appendleft(item[PACKET:])
                self.report["played"] += min(len(item), PACKET) / 8000

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            if condition():
                break
            await self.changed.wait()

    async def talk(self, packets):
        """Says these packets as they are spoken."""
        clock = asyncio.get_running_loop()
        began = clock.time()
        for at, packet in enumerate(packets):
            await asyncio.sleep(max(0, began + at * 0.02 - clock.time()))
            await self.media(packet)

    async def silence(self):
        while True:
            await self.talk([SILENCE] * 50)


async def echo(call, packets):
    """Says it all, and hears it all."""
    await call.talk(packets)
    await call.until(lambda: sum(map(len, call.data)) >= sum(map(len, packets)))
    call.report["same"] = b"".join(call.data) == b"".join(packets)
    await call.until(lambda: len(call.report["marks"]) >= call.options.marks)


async def interrupt(call, packets):
    """Asks for a long answer by a key, and talks over it."""
    quiet = asyncio.create_task(call.silence())
    await call.dtmf("1")
    await call.until(lambda: call.report["heard"] >= 0.5)
    quiet.cancel()
    talking = asyncio.create_task(call.talk(packets))
    await call.until(lambda: call.report["clears"] > 0)
    call.report["heard_before"] = call.report["heard"]
    await talking


async def announcement(call, packets):
    """Says nothing, and hears what is said until it is hung up on."""
    await call.silence()


async def oddities(call, packets):
    """Says what Twilio says that is of no use to a pipeline which only hears and speaks."""
    await call.send("weather", weather={"degrees": 21})
    call.chunk += 1
    sound = base64.b64encode(SILENCE).decode()
    await call.send("media", media={"track": "outbound", "chunk": str(call.chunk), "timestamp": "0", "payload": sound})
    await call.dtmf("7")
    await call.mark("of-somebody-else")
    call.sequence += 3  # as if Twilio had dropped some
    await call.talk(packets)
    await call.until(lambda: sum(map(len, call.data)) >= sum(map(len, packets)))


def signature(options):
    """What Twilio signs of an upgrade, as it documents it: the address by the account's auth token.
    https://www.twilio.com/docs/usage/security#validating-requests"""
    url = f"{options.signed_url or f'wss://{options.address}'}/v1/pipelines/{options.pipeline}/twilio"
    return base64.b64encode(hmac.new(options.sign.encode(), url.encode(), hashlib.sha1).digest()).decode()


async def run(options):
    packets = load(options.wav)[: int(options.seconds * 50)]
    headers = {"Authorization": f"Bearer {options.bearer}"} if options.bearer else {}
    if options.sign:
        headers["X-Twilio-Signature"] = signature(options)
    url = f"ws://{options.address}/v1/pipelines/{options.pipeline}/twilio"
    try:
        socket = await websockets.connect(url, additional_headers=headers, user_agent_header="Twilio.TmeWs/1.0")
    except websockets.exceptions.InvalidStatus as error:
        return {"status": error.response.status_code, "body": json.loads(error.response.body)}
    call = Call(socket, options)
    scenario = {"echo": echo, "interrupt": interrupt, "announcement": announcement, "oddities": oddities}[options.scenario]
    async with socket:
        await call.begin()
        listening, playing = asyncio.create_task(call.listen()), asyncio.create_task(call.play())
        acting = asyncio.create_task(scenario(call, packets))
        await asyncio.wait([listening, acting], return_when=asyncio.FIRST_COMPLETED)
        acting.cancel()
        playing.cancel()
        with contextlib.suppress(websockets.exceptions.ConnectionClosed, asyncio.CancelledError):
            await acting
            await call.stop()
            call.report["stopped"] = True
    listening.cancel()
    await asyncio.gather(listening, playing, return_exceptions=True)
    call.report["close"] = {"code": socket.close_code, "reason": socket.close_reason}
    return call.report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("scenario", choices=["echo", "interrupt", "announcement", "oddities"])
    parser.add_argument("--pipeline", default="echo")
    parser.add_argument("--wav", required=True)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--marks", type=int, default=0)
    parser.add_argument("--bearer")
    parser.add_argument("--sign", metavar="AUTH_TOKEN")
    parser.add_argument("--signed-url", help="what stands before the path in the address that is signed")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(asyncio.wait_for(run(options), TIMEOUT))))


main()
