"""The `openai` package against the audio endpoints. Prints one JSON object; judges nothing."""

import argparse
import base64
import io
import json
import math
import time

import av
import numpy as np
import openai


FORMATS = {"mp3": "mp3", "opus": "ogg", "aac": "aac", "flac": "flac", "wav": "wav"}


def refused(call):
    """What a client hears of a refusal."""
    try:
        call()
    except openai.APIStatusError as error:
        return {"status": error.status_code, "type": error.type, "param": error.param, "code": error.code, "message": error.message}
    return None


def heard(data, kind):
    """A sound file as others read it: its rate, length and pitch."""
    if kind == "pcm":
        samples, rate = np.frombuffer(data, "<i2").astype(np.float64), 24_000
    else:
        # So short a file is not recognised by itself.
        with av.open(io.BytesIO(data), format=FORMATS[kind]) as file:
            frames = [frame for frame in file.decode(audio=0)]
        rate = frames[0].sample_rate
        parts = [frame.to_ndarray().reshape(-1).astype(np.float64) for frame in frames]
        samples = np.concatenate(parts)
    # Finer than the sound is long.
    size = 1 << 16
    pitch = float(np.argmax(np.abs(np.fft.rfft(samples, size)))) * rate / size
    return {"rate": rate, "seconds": len(samples) / rate, "pitch": pitch if math.isfinite(pitch) else 0}


def transcribe(client, model, wav, **more):
    with open(wav, "rb") as file:
        return client.audio.transcriptions.create(model=model, file=file, **more)


def speak(client, model, kind, **more):
    with client.audio.speech.with_streaming_response.create(model=model, input="Hello.", response_format=kind, **more) as response:
        data = b"".join(response.iter_bytes())
        return heard(data, kind) | {"type": response.headers["content-type"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--wav", required=True)
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=f"http://{arguments.address}/v1", api_key="none", max_retries=0, timeout=60)
    wav = arguments.wav
    models = list(client.models.list())
    report = {"models": sorted(model.id for model in models), "now": time.time()}
    report["model"] = client.models.retrieve("writes").to_dict()
    report["listed"] = next(model.to_dict() for model in models if model.id == "writes")

    plain = transcribe(client, "writes", wav, language="en", prompt="heard", temperature=0)
    report["json"] = plain.text
    report["text"] = transcribe(client, "writes", wav, response_format="text")
    report["srt"] = transcribe(client, "writes", wav, response_format="srt")
    report["vtt"] = transcribe(client, "writes", wav, response_format="vtt")
    verbose = transcribe(client, "writes", wav, response_format="verbose_json", timestamp_granularities=["segment"], language="en")
    report["verbose"] = {"duration": verbose.duration, "language": verbose.language, "segments": len(verbose.segments)}
    events = list(transcribe(client, "writes", wav, stream=True))
    report["stream"] = {
        "deltas": "".join(event.delta for event in events if event.type == "transcript.text.delta"),
        "done": [event.text for event in events if event.type == "transcript.text.done"],
    }

    report["speech"] = {kind: speak(client, "speaks", kind, voice="440") for kind in ("mp3", "opus", "aac", "flac", "wav", "pcm")}
    # What it takes if nothing is said of a format, and another voice.
    usual = client.audio.speech.create(model="speaks", input="Hello.", voice="880")
    report["usual"] = heard(usual.read(), "mp3")
    with client.audio.speech.with_streaming_response.create(
        model="speaks", input="Hello.", voice="440", response_format="pcm", stream_format="sse"
    ) as response:
        events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
    sound = b"".join(base64.b64decode(event["audio"]) for event in events if event["type"] == "speech.audio.delta")
    report["events"] = heard(sound, "pcm") | {"last": events[-1]["type"]}

    report["refused"] = {
        "no_model": refused(lambda: client.models.retrieve("sums")),
        "nobody": refused(lambda: client.models.retrieve("nobody")),
        "model": refused(lambda: transcribe(client, "nobody", wav)),
        "port": refused(lambda: transcribe(client, "speaks", wav)),
        "language": refused(lambda: transcribe(client, "writes", wav, language="xx")),
        "words": refused(lambda: transcribe(client, "writes", wav, response_format="verbose_json", timestamp_granularities=["word"])),
        "file": refused(lambda: client.audio.transcriptions.create(model="writes", file=("a.wav", b"no sound"))),
        "voice": refused(lambda: speak(client, "beeps", "pcm", voice="alloy")),
        "only_voice": refused(lambda: speak(client, "beeps", "pcm", voice="default")),
        "own_voice": refused(lambda: speak(client, "speaks", "pcm", voice="default")),
        "speed": refused(lambda: speak(client, "speaks", "pcm", voice="440", speed=2)),
        "format": refused(lambda: speak(client, "speaks", "vorbis", voice="440")),
        "long": refused(lambda: client.audio.speech.create(model="speaks", voice="440", input="x" * 4097)),
    }
    print(json.dumps(report))


main()
