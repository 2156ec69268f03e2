"""aiortc as a WHIP client that says recordings to a pipeline and reads its captions from the data channel.

Prints one JSON list: for each recording the final captions of its utterances, in their order. Judges nothing.
"""

import argparse
import asyncio
import json
import urllib.parse

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

import audio
import whip

# What follows the last sound of a recording: the pipeline's hangover, and recognition behind that of others.
PATIENCE = 60
# The end of speech as the pipeline hears it is before the last loud sound by less than this, in seconds.
EDGE = 0.3


def end_of_sound(samples):
    """When the last sound ends, in seconds."""
    loud = [at for at in range(0, len(samples), audio.FRAME) if audio.rms(samples[at : at + audio.FRAME]) > 0.02]
    return (loud[-1] + audio.FRAME) / audio.RATE


async def captions(url, port, wav):
    """Says one recording."""
    said = audio.load(wav)
    until = (end_of_sound(said) - EDGE) * 1e6
    finals, complete = {}, asyncio.Event()

    def on_message(message):
        frame = json.loads(message).get("frame")
        if frame and frame["port"] == port and frame.get("final"):
            finals[frame["utterance"]] = frame["text"]["text"]
            if frame["media_time"] >= until:
                complete.set()

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver(audio.Speaker(said), direction="sendonly")
    peer.createDataChannel("events").on("message", on_message)
    await peer.setLocalDescription(await peer.createOffer())
    status, headers, answer = await whip.http("POST", url, peer.localDescription.sdp, {"Content-Type": "application/sdp"})
    if status != 201:
        raise SystemExit(f"{status}: {answer}")
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.wait_for(complete.wait(), len(said) / audio.RATE + PATIENCE)
    await whip.http("DELETE", urllib.parse.urljoin(url, headers["Location"]))
    await peer.close()
    return [finals[utterance] for utterance in sorted(finals)]


async def run(options):
    turns = asyncio.Semaphore(options.at_once)

    async def one(wav):
        async with turns:
            return await captions(options.url, options.port, wav)

    return await asyncio.gather(*(one(wav) for wav in options.wavs))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the WHIP address")
    parser.add_argument("wavs", nargs="+", help="the recordings")
    parser.add_argument("--port", default="captions", help="the output that is read")
    parser.add_argument("--at-once", type=int, default=2, help="callers at a time")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
