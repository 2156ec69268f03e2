"""aiortc as an echo server: what comes in is decoded and encoded back, as aiortc does by itself
when a received track is sent."""

import asyncio

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

import offers

peers = set()


async def answer(offer):
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peers.add(peer)
    peer.on("track", lambda track: peer.addTrack(track))
    await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return peer.localDescription.sdp


host, port = offers.arguments(__doc__)
# aioice leaves loopback out.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]
asyncio.run(offers.serve(host, port, answer))
