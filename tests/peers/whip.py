"""aiortc as a WHIP client: says something to a pipeline over WebRTC and measures the answer.

Prints one JSON object: what the server said at each step, and what was heard. Judges nothing.
"""

import argparse
import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

import audio

# aioice leaves loopback out; these tests have no other network.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


async def http(method, url, body=None, headers=None):
    """One request in a thread: (status, headers, body)."""

    def send():
        data = body.encode() if body is not None else None
        request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers, answer.read().decode()

    return await asyncio.to_thread(send)


def fragment(sdp):
    """The offer's credentials, first media line and candidates as a trickle fragment (RFC 8840)."""
    lines = sdp.splitlines()
    first = lambda start: next(line for line in lines if line.startswith(start))
    media = lines.index(first("m="))
    return "\r\n".join(
        [first("a=ice-ufrag:"), first("a=ice-pwd:"), lines[media], first("a=mid:")]
        + [line for line in lines if line.startswith("a=candidate:")][:4]
        + ["a=end-of-candidates", ""]
    )


async def run(options):
    report = {"events": [], "states": []}
    said = audio.load(options.wav) if options.wav else audio.tone(options.tone, options.seconds)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    speaker, listener = audio.Speaker(said), audio.Listener()
    connected, listening = asyncio.Event(), []

    @peer.on("connectionstatechange")
    def on_state():
        report["states"].append(peer.connectionState)
        if peer.connectionState == "connected":
            connected.set()

    @peer.on("track")
    def on_track(track):
        listening.append(asyncio.create_task(listener.listen(track)))

    if options.direction == "recvonly":
        peer.addTransceiver("audio", direction="recvonly")
    else:
        peer.addTransceiver(speaker, direction=options.direction)
    if options.events:
        channel = peer.createDataChannel("events", protocol=options.events_protocol)
        channel.on("message", lambda message: report["events"].append(json.loads(message)))
        if options.say_on_events:
            channel.on("open", lambda: channel.send(options.say_on_events))

    await peer.setLocalDescription(await peer.createOffer())
    began = time.monotonic()
    headers = {"Content-Type": "application/sdp"}
    report["told_to_wait"] = []
    while True:
        status, answer_headers, answer = await http("POST", options.url, peer.localDescription.sdp, headers)
        wait = answer_headers.get("Retry-After")
        # As often as it is told: whoever started this ends it.
        if status != 409 or not wait or options.impatient:
            break
        report["told_to_wait"].append(wait)
        await asyncio.sleep(float(wait))
    report["post"] = {
        "status": status,
        "retry_after": wait,
        "type": answer_headers.get("Content-Type"),
        "location": answer_headers.get("Location"),
        "etag": answer_headers.get("ETag"),
    }
    if status != 201:
        report["post"]["body"] = answer
        return report
    report["answer"] = answer
    resource = urllib.parse.urljoin(options.url, answer_headers["Location"])
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    trickle = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": answer_headers.get("ETag") or "*"}
    report["patch"], _, _ = await http("PATCH", resource, fragment(peer.localDescription.sdp), trickle)
    del trickle["If-Match"]
    report["patch_without_match"], _, _ = await http(
        "PATCH", resource, fragment(peer.localDescription.sdp), trickle
    )

    await asyncio.wait_for(connected.wait(), 40)
    report["connect_seconds"] = time.monotonic() - began
    await asyncio.sleep(len(said) / audio.RATE + options.linger)

    received = listener.samples()
    loud = audio.heard(received)
    report["first_media_seconds"] = listener.first_at and listener.first_at - began
    report["received_seconds"] = len(received) / audio.RATE
    report["heard_seconds"] = len(loud) / audio.RATE
    report["heard_rms"], report["said_rms"] = audio.loud_rms(loud), audio.loud_rms(said)
    report["heard_hertz"], report["purity"] = audio.pitch(loud), audio.purity(loud)
    if len(loud):
        report["likeness"], report["delay_seconds"] = audio.likeness(said, received)
    if options.record:
        audio.save(options.record, received)

    report["delete"], _, _ = await http("DELETE", resource)
    report["delete_again"], _, _ = await http("DELETE", resource)
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    await peer.close()
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the WHIP or WHEP address")
    parser.add_argument("--tone", type=float, default=440, help="say a tone of so many Hz")
    parser.add_argument("--seconds", type=float, default=3, help="length of the tone")
    parser.add_argument("--wav", help="say this recording instead")
    parser.add_argument("--linger", type=float, default=1, help="seconds to listen on afterwards")
    parser.add_argument("--impatient", action="store_true", help="leave when told to come again later")
    parser.add_argument("--direction", default="sendrecv", choices=["sendrecv", "sendonly", "recvonly"])
    parser.add_argument("--events", action="store_true", help="open the data channel `events`")
    parser.add_argument("--events-protocol", default="")
    parser.add_argument("--say-on-events", help="a message to send once it is open")
    parser.add_argument("--record", help="write what was heard to this WAV file")
    try:
        report = asyncio.run(run(parser.parse_args()))
    except MediaStreamError as error:
        report = {"failed": repr(error)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
