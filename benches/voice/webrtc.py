"""A caller over WebRTC (aiortc) who says a recording again and again, each time into `voice-agent`'s answer to the time before.

Sound is looked at as its packets arrive, before any buffer of the listener's, and for two seconds after each speech start; events come by
the data channel. Prints one JSON object: interruptions, and what the gateway said of its jitter buffer meanwhile. `turns.py` starts it in
the environment of the peers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
import urllib.parse
from typing import Any

import aiortc.rtcrtpreceiver
import audio
import numpy as np
import whip
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame

from loudness import Piece, audible, interruption, loudness

LOOKED_SECONDS = 2.0
WAIT_SECONDS = 60.0
LEAST_SECONDS, LEFT_SECONDS = 0.2, 1.0
# A pause of the answer's is shorter.
OVER_SECONDS = 1.2


class Caller:
    """What is said and heard in one session."""

    def __init__(self, said: np.ndarray[Any, Any]) -> None:
        self._said = said
        self._speaker = audio.Speaker(np.zeros(0, np.float32))
        self._decoder = OpusDecoder()
        self._news = asyncio.Event()
        self.sound: list[Piece] = []
        self.events: dict[tuple[str, int], float] = {}
        self.interrupted = 0
        self.onset = 0.0

    async def open(self, url: str) -> tuple[RTCPeerConnection, str]:
        """The connection, and the session's address."""
        self._listen()
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTransceiver(self._speaker, direction="sendrecv")
        peer.createDataChannel("events").on("message", self._event)
        await peer.setLocalDescription(await peer.createOffer())
        status, headers, answer = await whip.http("POST", url, peer.localDescription.sdp, {"Content-Type": "application/sdp"})
        if status != 201:
            raise SystemExit(f"{status}: {answer}")
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return peer, urllib.parse.urljoin(url, headers["Location"])

    def _listen(self) -> None:
        """Packets come here first, as they arrive."""
        handle = aiortc.rtcrtpreceiver.RTCRtpReceiver._handle_rtp_packet

        async def arrived(receiver: Any, packet: Any, arrival_time_ms: int) -> None:
            now = time.monotonic()
            if packet.payload:
                for frame in self._decoder.decode(JitterFrame(data=packet.payload, timestamp=packet.timestamp)):
                    samples = frame.to_ndarray().reshape(-1)
                    self.sound.append(Piece(now, frame.samples / frame.sample_rate, loudness(samples)))
                self._news.set()
            await handle(receiver, packet, arrival_time_ms)

        aiortc.rtcrtpreceiver.RTCRtpReceiver._handle_rtp_packet = arrived

    def _event(self, message: str) -> None:
        said, now = json.loads(message), time.monotonic()
        assert not {"error", "ended"} & said.keys(), said
        self.interrupted += "interrupted" in said
        frame = said.get("frame", {})
        if frame.get("port") == "turns":
            self.events.setdefault((frame["json"]["value"]["type"], frame["json"]["value"]["utterance"]), now)
        elif frame:
            self.events.setdefault((frame["port"], frame["utterance"]), now)
        self._news.set()

    def say(self) -> None:
        """From now on, by putting it where the speaker is; it says the silence behind it for as long as nobody does that."""
        speaker = self._speaker
        speaker.samples = np.concatenate([np.zeros(speaker.position, np.float32), self._said])

    async def event(self, kind: str, utterance: int) -> float:
        return await self._until(lambda: self.events.get((kind, utterance)))

    async def first_sound(self, since: float) -> float:
        return await self._until(lambda: next((piece.at for piece in audible(self.between(since))), None))

    async def over(self, since: float) -> None:
        """Until it has been silent for long enough."""
        last = await self.first_sound(since)
        while (quiet := time.monotonic() - last) < OVER_SECONDS:
            await asyncio.sleep(OVER_SECONDS - quiet)
            last = audible(self.between(since))[-1].at

    def between(self, since: float, until: float = float("inf")) -> list[Piece]:
        return [piece for piece in self.sound if since < piece.at <= until]

    async def _until(self, found: Any) -> float:
        async with asyncio.timeout(WAIT_SECONDS):
            while (at := found()) is None:
                self._news.clear()
                await self._news.wait()
        return float(at)


async def interruptions(caller: Caller, times: int, chance: random.Random) -> list[dict[str, float]]:
    """One of each, in milliseconds."""
    found = []
    caller.say()
    await caller.over(await caller.event("speech_stop", 1))
    whole = sum(piece.seconds for piece in audible(caller.sound))
    caller.say()
    for utterance in range(2, times + 2):
        stopped = await caller.event("speech_stop", utterance)
        await caller.first_sound(stopped)
        await asyncio.sleep(chance.uniform(LEAST_SECONDS, whole - LEFT_SECONDS))
        caller.say()
        started = await caller.event("speech_start", utterance + 1)
        await asyncio.sleep(started + LOOKED_SECONDS - time.monotonic())
        # Packets have no numbers of utterances: the new answer's sound must not be among them yet.
        assert ("answer", utterance + 1) not in caller.events, "the new answer came within the time that was looked at"
        one = interruption(caller.between(stopped, started + LOOKED_SECONDS), started)
        assert one["heard"] < whole - LEFT_SECONDS / 4, f"the answer was over: {one['heard']} of {whole} s"
        found.append(one)
    assert caller.interrupted >= times
    return found


async def watch(gateway: str, seen: list[dict[str, float]]) -> None:
    """What the gateway says of the packets of the only caller by WebRTC."""
    while True:
        _, _, body = await whip.http("GET", f"http://{gateway}/v1/sessions")
        for session in json.loads(body)["sessions"]:
            _, _, body = await whip.http("GET", f"http://{gateway}/v1/sessions/{session['id']}")
            if reception := json.loads(body).get("webrtc"):
                seen.append(reception)
        await asyncio.sleep(1)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    caller = Caller(audio.load(options.wav))
    url = f"http://{options.gateway}/v1/pipelines/voice-agent/whip"
    peer, address = await caller.open(url)
    seen: list[dict[str, float]] = []
    watching = asyncio.create_task(watch(options.gateway, seen))
    try:
        found = await interruptions(caller, options.times, random.Random(options.seed))
    finally:
        watching.cancel()
        await whip.http("DELETE", address)
        await peer.close()
    return {"interruptions": found, "reception": seen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gateway", help="host and port")
    parser.add_argument("wav", help="the recording")
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
