"""The `wyoming` package's own client against the gateway. Prints one JSON object; judges nothing."""

import argparse
import asyncio
import json
import wave

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop, wav_to_chunks
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice

TIMEOUT = 120


async def events(client, last):
    """All events up to one of these types, or the end."""
    read = []
    while (event := await client.read_event()) is not None:
        read.append(event)
        if event.type in last:
            break
    return read


def told(read):
    """What kinds of events came, repeats as one."""
    kinds = []
    for event in read:
        if not kinds or kinds[-1] != event.type:
            kinds.append(event.type)
    return kinds


def failure(read):
    return next((vars(Error.from_event(event)) for event in read if Error.is_type(event.type)), None)


async def describe(client, options):
    await client.write_event(Ping(text="there?").event())
    pong = Pong.from_event(await client.read_event())
    await client.write_event(Describe().event())
    info = Info.from_event(await client.read_event())
    return {
        "pong": pong.text,
        "asr": {model.name: model.languages for program in info.asr for model in program.models},
        "tts": {voice.name: voice.languages for program in info.tts for voice in program.voices},
        "streaming": [program.supports_transcript_streaming for program in info.asr]
        + [program.supports_synthesize_streaming for program in info.tts],
    }


async def oddities(client, options):
    """What other parts of the protocol are for, between requests and within one."""
    await client.write_event(Event("detection", {"name": "ok_nabu"}))
    await client.write_event(Transcribe(name=options.name).event())
    with wave.open(options.wav, "rb") as file:
        sound = list(wav_to_chunks(file, 1024, start_event=True, stop_event=True))
    await client.write_event(sound[0].event())
    await client.write_event(Event("voice-started", {"timestamp": 0}))
    for event in sound[1:]:
        await client.write_event(event.event())
    return {"told": told(await events(client, {"transcript-stop", "error"}))}


async def transcribe(client, options):
    with wave.open(options.wav, "rb") as file:
        sound = list(wav_to_chunks(file, 1024, start_event=True, stop_event=True))
    runs = []
    for _ in range(options.times):
        await client.write_event(Transcribe(name=options.name, language=options.language).event())
        for event in sound:
            await client.write_event(event.event())
        read = await events(client, {"transcript-stop", "error"})
        chunks = "".join(event.data["text"] for event in read if event.type == "transcript-chunk")
        whole = [Transcript.from_event(event).text for event in read if Transcript.is_type(event.type)]
        runs.append({"told": told(read), "chunks": chunks, "transcript": whole, "error": failure(read)})
    return {"runs": runs}


async def synthesize(client, options):
    voice = SynthesizeVoice(name=options.name) if options.name else None
    runs = []
    for _ in range(options.times):
        if options.streaming:
            await client.write_event(SynthesizeStart(voice=voice).event())
            for word in options.text.split(" "):
                await client.write_event(SynthesizeChunk(text=word + " ").event())
            # For servers that know no streams.
            await client.write_event(Synthesize(text=options.text, voice=voice).event())
            await client.write_event(SynthesizeStop().event())
            last = SynthesizeStopped().event().type
        else:
            await client.write_event(Synthesize(text=options.text, voice=voice).event())
            last = AudioStop().event().type
        read = await events(client, {last, "error"})
        chunks = [AudioChunk.from_event(event) for event in read if AudioChunk.is_type(event.type)]
        starts = [AudioStart.from_event(event) for event in read if AudioStart.is_type(event.type)]
        runs.append(
            {
                "told": told(read),
                "seconds": sum(chunk.seconds for chunk in chunks),
                "formats": sorted({(s.rate, s.width, s.channels) for s in [*starts, *chunks]}),
                "error": failure(read),
            }
        )
    return {"runs": runs}


async def run(options):
    async with AsyncClient.from_uri(f"tcp://{options.address}") as client:
        parts = {"describe": describe, "transcribe": transcribe, "synthesize": synthesize, "oddities": oddities}
        return await parts[options.what](client, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("what", choices=["describe", "transcribe", "synthesize", "oddities"])
    parser.add_argument("--name")
    parser.add_argument("--language")
    parser.add_argument("--wav")
    parser.add_argument("--text", default="")
    parser.add_argument("--streaming", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(asyncio.wait_for(run(options), TIMEOUT))))


main()
