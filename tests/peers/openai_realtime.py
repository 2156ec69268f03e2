"""The `openai` package, unmodified, talking to a pipeline by its Realtime interface.

Prints one JSON object: what each step was answered, and what was heard. Judges nothing.
"""

import argparse
import asyncio
import base64
import json

import numpy as np
from openai import AsyncOpenAI

import audio

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


class Call:
    """A connection whose events are kept."""

    def __init__(self, connection):
        self.connection, self.events, self.sound = connection, [], b""
        self._arrived = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self):
        async for event in self.connection:
            shown = json.loads(event.to_json())
            shown["class"] = type(event).__name__
            if event.type == "response.output_audio.delta":
                self.sound += base64.b64decode(event.delta)
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
    """A tone and back, with turns that the client ends; then in µ-law."""
    tone = at_24k(audio.tone(440, 1.5))
    await call.say(pcm(tone))
    await call.connection.input_audio_buffer.commit()
    await call.connection.response.create()
    await call.until("response.done")
    report = {"types": call.types(), "done": call.events[-1]}
    report["pcm"] = heard(np.frombuffer(call.sound, "<i2") / 32768, RATE)

    call.sound = b""
    g711 = {"type": "audio/pcmu"}
    await call.connection.session.update(
        session={"type": "realtime", "audio": {"input": {"format": g711}, "output": {"format": g711}}}
    )
    report["updated"] = await call.until("session.updated")
    await call.say(mu_law(tone), piece=800)
    await call.connection.input_audio_buffer.commit()
    await call.until("response.done", 2)
    report["pcmu"] = heard(from_mu_law(call.sound), 8_000)
    return report


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
    report["updated"] = [event["session"] for event in call.events if event["type"] == "session.updated"]
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


async def run(options):
    client = AsyncOpenAI(api_key=options.key, base_url=options.url)
    async with client.realtime.connect(model=options.model, extra_query=json.loads(options.query)) as connection:
        call = Call(connection)
        created = await call.until("session.created")
        report = await globals()[options.scene](call, options)
        return {"session": created["session"], "first_event": call.events[0]["type"], **report}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="what the package takes for OpenAI: http://…/v1")
    parser.add_argument("model", help="the pipeline")
    parser.add_argument("scene", choices=["echo", "refusals", "turns", "letters"])
    parser.add_argument("--key", default="none")
    parser.add_argument("--query", default="{}")
    parser.add_argument("--wav")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
