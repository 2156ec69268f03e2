"""Sends a 16-bit mono WAV file through a pipeline over WebSocket and writes what comes back.

    pip install websockets
    python voice.py ws://127.0.0.1:8080/v1/pipelines/echo/ws in.wav out.wav
"""

import argparse
import asyncio
import json
import sys
import wave

import websockets


class Failed(Exception):
    """What a person is told; the program ends with 1."""


def read(path: str) -> tuple[int, bytes]:
    """Rate and samples of a file."""
    with wave.open(path) as wav:
        if (wav.getnchannels(), wav.getsampwidth()) != (1, 2):
            raise Failed(f"{path} is not 16-bit mono: ffmpeg -i {path} -ac 1 -c:a pcm_s16le mono.wav")
        return wav.getframerate(), wav.readframes(wav.getnframes())


def check(opened: dict, arguments: argparse.Namespace) -> None:
    """Whether the pipeline has the ports that were named."""
    for option, direction, name in (("--input", "input", arguments.input), ("--output", "output", arguments.output)):
        names = [p["name"] for p in opened["ports"] if (p["direction"], p["kind"]) == (direction, "audio")]
        if name not in names:
            raise Failed(f"no audio {direction} '{name}': give {option} one of {', '.join(names) or 'none, there is none'}")


async def through(ws, sound: bytes, step: int, arguments: argparse.Namespace) -> bytes:
    """Sends the samples and gives what came back."""

    async def send() -> None:
        for start in range(0, len(sound), step):
            await ws.send(sound[start : start + step])
        await ws.send(json.dumps({"end": {}}))

    sender, answer = asyncio.create_task(send()), bytearray()
    try:
        async for message in ws:  # bytes are audio, text is everything else
            if isinstance(message, bytes):
                answer += message
                continue
            print(message)
            kind, body = next(iter(json.loads(message).items()))
            if kind == "opened":
                check(body, arguments)
            if kind == "error":
                raise Failed(f"{body['code']}: {body['message']}")
        return bytes(answer)
    finally:
        sender.cancel()  # done already, unless the session failed
        await asyncio.gather(sender, return_exceptions=True)


async def main(arguments: argparse.Namespace) -> None:
    rate, sound = read(arguments.source)
    audio = {"audio": {"codec": "pcm_s16", "sample_rate": rate, "channels": 1}}
    ports = {"inputs": [{"port": arguments.input, **audio}], "outputs": [{"port": arguments.output, **audio}]}
    raw = {"input": arguments.input, "output": arguments.output}
    headers = {"Authorization": f"Bearer {arguments.token}"} if arguments.token else {}
    options = {"subprotocols": ["tidegate.v1.json"], "additional_headers": headers, "max_size": None}
    async with websockets.connect(arguments.url, **options) as ws:
        await ws.send(json.dumps({"open": {"mode": "waits", "raw": raw, **ports}}))
        answer = await through(ws, sound, rate // 50 * 2, arguments)  # 20 ms
    with wave.open(arguments.target, "wb") as wav:
        wav.setparams((1, 2, rate, 0, "NONE", ""))
        wav.writeframes(answer)


def refusal(error: websockets.InvalidStatus) -> str:
    """What the gateway says where it refuses the connection."""
    try:
        return json.loads(error.response.body)["detail"]
    except (TypeError, ValueError, KeyError):
        return str(error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("source", help="a 16-bit mono WAV file")
    parser.add_argument("target", help="the WAV file to write")
    parser.add_argument("--input", default="mic", help="the pipeline's audio input (default: mic)")
    parser.add_argument("--output", default="speaker", help="the pipeline's audio output (default: speaker)")
    parser.add_argument("--token", help="the gateway's bearer token")
    try:
        asyncio.run(main(parser.parse_args()))
    except websockets.InvalidStatus as error:
        sys.exit(f"the gateway refuses: {refusal(error)}")
    except websockets.ConnectionClosed as error:
        sys.exit(f"the connection was closed: {error}")
    except (Failed, OSError, EOFError, wave.Error, websockets.InvalidURI) as error:
        sys.exit(str(error) or "the file ends too early to be a WAV")
