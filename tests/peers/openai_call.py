"""A call by WebRTC as OpenAI's guide describes it: `openai` posts the offer, the data channel `oai-events` carries the events.

Prints one JSON object: the events, and what was heard. Judges nothing.
"""

import argparse
import asyncio
import json

import aioice.ice
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from openai import AsyncOpenAI

import audio
from openai_events import problems

# aioice leaves loopback out; these tests have no other network.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


async def run(options):
    report = {"events": [], "problems": []}
    client = AsyncOpenAI(api_key=options.key, base_url=options.url)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    # One thing that is said, and quiet for as long as anybody listens.
    said = np.concatenate([audio.load(options.wav)[: 2 * audio.RATE], np.zeros(120 * audio.RATE, np.float32)])
    listener, listening = audio.Listener(), []
    peer.on("track", lambda track: listening.append(asyncio.create_task(listener.listen(track))))
    peer.addTrack(audio.Speaker(said))
    channel = peer.createDataChannel("oai-events")
    arrived = asyncio.Event()

    @channel.on("message")
    def on_message(message):
        report["events"].append(json.loads(message))
        report["problems"] += problems(message)
        arrived.set()

    async def until(kind):
        async with asyncio.timeout(90):
            while not (found := [event for event in report["events"] if event["type"] == kind]):
                arrived.clear()
                await arrived.wait()
        return found[0]

    await peer.setLocalDescription(await peer.createOffer())
    session = {"type": "realtime", "model": options.model, "instructions": "Be brief."}
    answer = await client.realtime.calls.with_raw_response.create(sdp=peer.localDescription.sdp, session=session)
    report["status"], report["location"] = answer.http_response.status_code, answer.headers["location"]
    await peer.setRemoteDescription(RTCSessionDescription(answer.http_response.text, "answer"))
    await until("output_audio_buffer.started")
    # Two seconds of the answer, however long it takes until they are here.
    async with asyncio.timeout(90):
        while len(audio.heard(listener.samples())) < 2 * audio.RATE:
            await asyncio.sleep(0.1)
    report["hertz"] = audio.pitch(audio.heard(listener.samples()))
    channel.send(json.dumps({"type": "response.cancel"}))
    report["cancelled"] = await until("response.done")
    await until("output_audio_buffer.cleared")
    call = answer.headers["location"].rsplit("/", 1)[1]
    hung_up = await client.realtime.calls.with_raw_response.hangup(call)
    report["hangup"] = hung_up.http_response.status_code
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    await peer.close()
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="what the package takes for OpenAI: http://…/v1")
    parser.add_argument("model", help="the pipeline")
    parser.add_argument("wav", help="what is said")
    parser.add_argument("--key", default="none")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
