"""aiortc as an echo server: `POST /` with an SDP offer gets an answer; what comes in is decoded
and encoded back, which is what aiortc does by itself when a received track is sent."""

import argparse
import asyncio

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

peers = set()


async def answer(offer):
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peers.add(peer)
    peer.on("track", lambda track: peer.addTrack(track))

    @peer.on("connectionstatechange")
    async def on_state():
        if peer.connectionState in ("failed", "closed"):
            peers.discard(peer)
            await peer.close()

    await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return peer.localDescription.sdp


async def serve_one(reader, writer):
    """Just enough HTTP/1.1 for one request a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        (int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length:")), 0
    )
    offer = (await reader.readexactly(length)).decode()
    if head.startswith("POST"):
        body, status = (await answer(offer)).encode(), "201 Created"
    else:
        body, status = b"", "200 OK"
    writer.write(
        f"HTTP/1.1 {status}\r\nContent-Type: application/sdp\r\nLocation: /1\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    )
    await writer.drain()
    writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0")
    options = parser.parse_args()
    host, port = options.listen.rsplit(":", 1)
    # aioice leaves loopback out.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]
    server = await asyncio.start_server(serve_one, host, int(port))
    print("listening on http://%s:%d" % server.sockets[0].getsockname()[:2], flush=True)
    await server.serve_forever()


asyncio.run(main())
