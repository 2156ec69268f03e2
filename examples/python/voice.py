"""Sends a 16-bit mono WAV file through a pipeline over WebSocket and writes what comes back.

    pip install websockets
    python voice.py ws://127.0.0.1:8080/v1/pipelines/echo/ws in.wav out.wav
"""

import asyncio
import json
import sys
import wave

import websockets


async def main(url: str, source: str, target: str) -> None:
    with wave.open(source) as wav:
        rate, sound = wav.getframerate(), wav.readframes(wav.getnframes())
    audio = {"audio": {"codec": "pcm_s16", "sample_rate": rate, "channels": 1}}
    ports = {"inputs": [{"port": "mic", **audio}], "outputs": [{"port": "speaker", **audio}]}
    raw = {"input": "mic", "output": "speaker"}
    async with websockets.connect(url, subprotocols=["tidegate.v1.json"], max_size=None) as ws:
        await ws.send(json.dumps({"open": {"mode": "waits", "raw": raw, **ports}}))

        async def send() -> None:
            step = rate // 50 * 2  # 20 ms
            for start in range(0, len(sound), step):
                await ws.send(sound[start : start + step])
            await ws.send(json.dumps({"end": {}}))

        sender, answer = asyncio.create_task(send()), bytearray()
        async for message in ws:  # bytes are audio, text is everything else
            if isinstance(message, bytes):
                answer += message
            else:
                print(message)
        await sender
    with wave.open(target, "wb") as wav:
        wav.setparams((1, 2, rate, 0, "NONE", ""))
        wav.writeframes(answer)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
