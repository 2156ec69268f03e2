"""The `openai` package, unmodified, talking to a pipeline by its Realtime interface.

Prints one JSON object: what each step was answered, and what was heard. Judges nothing.
"""

import argparse
import asyncio
import base64
import json

import numpy as np
import websockets
from openai import AsyncOpenAI

import audio
from openai_events import problems

RATE = 24_000
# A hundred milliseconds at a time, as a microphone would.
PIECE = RATE // 10


def at_24k(samples):
    """What `audio` makes at 48 kHz, at 24."""
    return samples[: len(samples) // 2 * 2].reshape(-1, 2).mean(axis=1)


def pcm(samples):
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def mu_law(samples):
    """G.711 by its formula, at 8 kHz."""
    samples = samples[: len(samples) // 3 * 3].reshape(-1, 3).mean(axis=1)
    magnitude = np.minimum(np.abs(samples) * 32768 + 132, 32767).astype(np.int64)
    exponent = np.clip(np.floor(np.log2(magnitude)).astype(int) - 7, 0, 7)
    mantissa = (magnitude >> (exponent + 3)) & 15
    return (~(np.where(samples < 0, 128, 0) | (exponent << 4) | mantissa) & 255).astype(np.uint8).tobytes()


def from_mu_law(data):
    code = ~np.frombuffer(data, np.uint8) & 255
    magnitude = (((code & 15).astype(np.int64) << 3) + 132 << ((code >> 4) & 7)) - 132
    return np.where(code & 128, -magnitude, magnitude) / 32768


def a_law(samples):
    """The other law of G.711."""
    samples = samples[: len(samples) // 3 * 3].reshape(-1, 3).mean(axis=1)
    magnitude = np.minimum(np.abs(samples) * 32768, 32767).astype(np.int64)
    exponent = np.clip(np.floor(np.log2(np.maximum(magnitude, 1))).astype(int) - 7, 0, 7)
    mantissa = (magnitude >> np.maximum(exponent + 3, 4)) & 15
    return ((np.where(samples < 0, 0, 128) | (exponent << 4) | mantissa) ^ 0x55).astype(np.uint8).tobytes()


def from_a_law(data):
    code = np.frombuffer(data, np.uint8) ^ 0x55
    exponent, low = (code >> 4) & 7, ((code & 15).astype(np.int64) << 4) + 8
    magnitude = np.where(exponent > 0, (low + 256) << np.maximum(exponent.astype(np.int64) - 1, 0), low)
    return np.where(code & 128, magnitude, -magnitude) / 32768


# What is said of it, how a sound is written in it, and how it is read.
G711 = {"pcmu": (mu_law, from_mu_law), "pcma": (a_law, from_a_law)}


class Call:
    """A connection whose events are kept, each held against the package's types."""

    def __init__(self, connection):
        self.connection, self.events, self.problems = connection, [], []
        # All sound since somebody last cleared it, and that of each response.
        self.sound, self.sounds = b"", {}
        self._arrived = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self):
        while True:
            try:
                text = await self.connection.recv_bytes()
            except websockets.ConnectionClosed:
                return
            self.problems += problems(text)
            event = self.connection.parse_event(text)
            shown = json.loads(event.to_json())
            shown["class"] = type(event).__name__
            if event.type == "response.output_audio.delta":
                sound = base64.b64decode(event.delta)
                self.sound += sound
                self.sounds[event.response_id] = self.sounds.get(event.response_id, b"") + sound
                shown["delta"] = len(event.delta)
            async with self._arrived:
                self.events.append(shown)
                self._arrived.notify_all()

    async def until(self, kind, count=1):
        """The event of that type, or the one that is the `count`th of it."""
        of_kind = lambda: [event for event in self.events if event["type"] == kind]
        async with self._arrived:
            await asyncio.wait_for(self._arrived.wait_for(lambda: len(of_kind()) >= count), 60)
        return of_kind()[count - 1]

    async def sound_beyond(self, count):
        """Waits until there are more bytes of sound."""
        async with self._arrived:
            await asyncio.wait_for(self._arrived.wait_for(lambda: len(self.sound) > count), 60)

    async def say(self, data, piece=2 * PIECE, seconds=0.1):
        """In real time: a live client's sound is not waited for."""
        for at in range(0, len(data), piece):
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(data[at : at + piece]).decode())
            await asyncio.sleep(seconds)

    def types(self):
        return [event["type"] for event in self.events if event["type"] != "response.output_audio.delta"]


def heard(samples, rate):
    loud = audio.heard(np.repeat(samples, audio.RATE // rate))
    return {"seconds": len(loud) / audio.RATE, "hertz": audio.pitch(loud)}


async def echo(call, options):
    """A tone and back, with turns that the client ends; then in both laws of G.711."""
    tone = at_24k(audio.tone(440, 1.5))
    await call.say(pcm(tone))
    await call.connection.input_audio_buffer.commit()
    await call.connection.response.create()
    await call.until("response.done")
    report = {"types": call.types(), "done": call.events[-1], "updated": {}}
    report["pcm"] = heard(np.frombuffer(call.sound, "<i2") / 32768, RATE)
    for turn, (name, (write, read)) in enumerate(G711.items(), 1):
        wanted = {"type": f"audio/{name}"}
        await call.connection.session.update(
            session={"type": "realtime", "audio": {"input": {"format": wanted}, "output": {"format": wanted}}}
        )
        report["updated"][name] = await call.until("session.updated", turn)
        report[name] = await in_g711(call, tone, write, read, turn + 1)
    return report


async def in_g711(call, tone, write, read, turn):
    """A tone and back in a session that has 8 kHz both ways."""
    call.sound = b""
    await call.say(write(tone), piece=800)
    await call.connection.input_audio_buffer.commit()
    await call.until("response.done", turn)
    return heard(read(call.sound), 8_000)


async def refusals(call, options):
    """What cannot be done is said, and the socket stays open."""
    connection, report = call.connection, {}
    asked = {
        "beta": {"type": "session.update", "session": {"modalities": ["audio"], "input_audio_format": "pcm16"}},
        "model": {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"voice": "marin"}}}},
        "vad": {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}},
        "unknown": {"type": "transcription_session.update", "event_id": "mine", "session": {}},
        "base64": {"type": "input_audio_buffer.append", "audio": "???"},
        "odd": {"type": "input_audio_buffer.append", "audio": "AAAA"},
        "empty": {"type": "input_audio_buffer.commit"},
        "cancel": {"type": "response.cancel"},
        "nothing": {"type": "response.create"},
        "text": {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}},
        "item": {"type": "conversation.item.retrieve", "item_id": "none"},
    }
    for name, event in asked.items():
        # A clear is always answered, and shows that what was before it has been.
        before = len(call.events)
        await connection.send(event)
        await connection.input_audio_buffer.clear()
        await call.until("input_audio_buffer.cleared", len(report) + 1)
        report[name] = [event["error"] for event in call.events[before:] if event["type"] == "error"]
    report["updated"] = [event for event in call.events if event["type"] == "session.updated"]
    report["added"] = [event for event in call.events if event["type"] == "conversation.item.added"]
    report["given_up"] = [event["response"] for event in call.events if event["type"] == "response.done"]
    return report


async def turns(call, options):
    """Somebody speaks, is answered, and speaks again meanwhile."""
    speech = pcm(at_24k(audio.load(options.wav)))[: 2 * RATE * 4]
    silence = bytes(2 * RATE)
    await call.say(speech)
    # Quiet until it is understood that the turn is over.
    saying = asyncio.create_task(call.say(silence * 30))
    report = {"created": await call.until("response.created"), "first": call.types()}
    await call.until("response.output_audio.delta")
    saying.cancel()
    await call.say(speech)
    report["cancelled"] = await call.until("response.done")
    item = report["cancelled"]["response"]["output"][0]["id"]
    await call.connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=500)
    report["truncated"] = await call.until("conversation.item.truncated")
    # In mid-speech: the client ends the turn, without silence.
    before = len([event for event in call.events if event["type"] == "input_audio_buffer.committed"])
    await call.connection.input_audio_buffer.commit()
    report["committed"] = await call.until("input_audio_buffer.committed", before + 1)
    report["understood"] = await call.until("conversation.item.input_audio_transcription.completed", before + 1)
    report["types"], report["events"] = call.types(), [e for e in call.events if "audio.delta" not in e["type"]]
    return report


async def letters(call, options):
    """Text in and text out."""
    connection = call.connection
    await connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Good morning"}]}
    )
    await connection.response.create(response={"metadata": {"turn": "1"}})
    done = await call.until("response.done")
    item = done["response"]["output"][0]["id"]
    await connection.conversation.item.retrieve(item_id=item)
    await connection.conversation.item.delete(item_id=item)
    deleted = await call.until("conversation.item.deleted")
    return {"types": call.types(), "events": call.events, "done": done, "deleted": deleted}


async def agent(call, options):
    """A question, and another while its answer is being given: what is heard of both answers."""
    sounds = [pcm(at_24k(audio.load(file))) for file in options.wav.split(",")]
    quiet = bytes(2 * RATE)
    report = {"answers": []}
    for turn, sound in enumerate(sounds, 1):
        await call.say(sound)
        # A microphone is never silent: the pipeline counts time by what it hears.
        quietly = asyncio.create_task(call.say(quiet * 60))
        await call.until("response.created", turn)
        if turn < len(sounds):
            # A second of the answer, and then nobody listens any more.
            await call.sound_beyond(2 * RATE)
        else:
            await call.until("response.done", turn)
        quietly.cancel()
    done = [event["response"] for event in call.events if event["type"] == "response.done"]
    last = np.frombuffer(call.sounds[done[-1]["id"]], "<i2") / 32768
    audio.save(options.out, np.repeat(last, audio.RATE // RATE))
    for response in done:
        samples = np.frombuffer(call.sounds.get(response["id"], b""), "<i2") / 32768
        report["answers"].append({"seconds": len(samples) / RATE, "rms": audio.rms(samples), "response": response})
    item = done[0]["output"][0]["id"]
    await call.connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=500)
    report["truncated"] = await call.until("conversation.item.truncated")
    report["events"] = [event for event in call.events if not event["type"].endswith(".delta")]
    report["order"] = [event["type"] for event in call.events]
    return report


async def secret(options):
    """A key with a session in it, and two connections that it opens: the package's, and one as a browser makes it."""
    client = AsyncOpenAI(api_key=options.key, base_url=options.url)
    wanted = {"type": "audio/pcma"}
    session = {
        "type": "realtime",
        "model": options.model,
        "instructions": "Be brief.",
        "audio": {"input": {"format": wanted}, "output": {"format": wanted}},
    }
    after = {"anchor": "created_at", "seconds": 60}
    minted = await client.realtime.client_secrets.create(expires_after=after, session=session)
    client = AsyncOpenAI(api_key=minted.value, base_url=options.url)
    report = {}
    async with client.realtime.connect(model=options.model) as connection:
        call = Call(connection)
        created = await call.until("session.created")
        # What goes unheeded of it is told with the session.
        report["ignored"] = created["ignored"]
        report["session"] = created["session"]
        report["pcma"] = await in_g711(call, at_24k(audio.tone(440, 1.5)), a_law, from_a_law, 1)
        report["problems"] = call.problems
    url = f"{options.url.replace('http', 'ws', 1)}/realtime?model={options.model}"
    asked = ["realtime", f"openai-insecure-api-key.{minted.value}"]
    async with websockets.connect(url, subprotocols=asked) as socket:
        created = json.loads(await asyncio.wait_for(socket.recv(), 60))
        report["browser"] = {"subprotocol": socket.subprotocol, "type": created["type"], "session": created["session"]}
    try:
        async with websockets.connect(url, subprotocols=["realtime", "openai-insecure-api-key.ek_forged"]):
            report["forged"] = None
    except websockets.InvalidStatus as error:
        report["forged"] = error.response.status_code
    return report


async def room(options):
    """Two clients in one session: what one says, the other hears."""
    client = AsyncOpenAI(api_key=options.key, base_url=options.url)
    join = lambda seat: client.realtime.connect(model=options.model, extra_query={"session": "room", "as": seat})
    async with join("a") as one, join("b") as other:
        speaks, hears = Call(one), Call(other)
        ids = [(await call.until("session.created"))["session"]["id"] for call in (speaks, hears)]
        saying = asyncio.create_task(speaks.say(pcm(at_24k(audio.tone(440, 60)))))
        by = asyncio.get_running_loop().time() + 60
        while (found := heard(np.frombuffer(hears.sound, "<i2") / 32768, RATE))["seconds"] < 1.5:
            assert asyncio.get_running_loop().time() < by, found
            await asyncio.sleep(0.1)
        saying.cancel()
        own = np.frombuffer(speaks.sound, "<i2") / 32768
        return {"sessions": ids, "heard": found, "own": audio.rms(own), "problems": speaks.problems + hears.problems}


async def run(options):
    # Scenes with connections of their own.
    if options.scene in ("room", "secret"):
        return await globals()[options.scene](options)
    client = AsyncOpenAI(api_key=options.key, base_url=options.url)
    async with client.realtime.connect(model=options.model, extra_query=json.loads(options.query)) as connection:
        call = Call(connection)
        created = await call.until("session.created")
        report = await globals()[options.scene](call, options)
        return {"session": created["session"], "first_event": call.events[0]["type"], "problems": call.problems, **report}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="what the package takes for OpenAI: http://…/v1")
    parser.add_argument("model", help="the pipeline")
    parser.add_argument("scene", choices=["agent", "echo", "letters", "refusals", "room", "secret", "turns"])
    parser.add_argument("--key", default="none")
    parser.add_argument("--query", default="{}")
    parser.add_argument("--wav", help="what is said; several with commas between")
    parser.add_argument("--out", help="where the last answer is written")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
