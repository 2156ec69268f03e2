"""Begins a Janus echo test for each offer that is posted here: `janus_offers.py JANUS_URL`."""

import asyncio
import itertools
import json
import sys
import urllib.request

import offers

base = sys.argv[1]
count = itertools.count(1)


def ask(path, message=None):
    """One request to Janus; without a message it waits for the next event."""
    data = None
    if message is not None:
        data = json.dumps(message | {"transaction": f"t{next(count)}"}).encode()
    request = urllib.request.Request(base + path, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def begin(offer):
    session = ask("", {"janus": "create"})["data"]["id"]
    plugin = {"janus": "attach", "plugin": "janus.plugin.echotest"}
    handle = ask(f"/{session}", plugin)["data"]["id"]
    jsep = {"type": "offer", "sdp": offer, "trickle": False}
    ask(f"/{session}/{handle}", {"janus": "message", "body": {"audio": True}, "jsep": jsep})
    while True:
        event = ask(f"/{session}?maxev=1")
        if "jsep" in event:
            return event["jsep"]["sdp"]


async def main():
    for _ in range(100):
        try:
            ask("/info")
            break
        except OSError:
            await asyncio.sleep(0.1)
    await offers.serve("127.0.0.1", 0, lambda offer: asyncio.to_thread(begin, offer))


asyncio.run(main())
