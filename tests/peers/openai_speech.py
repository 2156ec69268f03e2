"""The `openai` package at pipelines with real models: recordings that are written down, and texts that are spoken and written down again.

Prints one JSON object; judges nothing.
"""

import argparse
import json

import numpy as np
from openai import OpenAI

# Each written down from a file of that kind.
KINDS = ("mp3", "opus", "aac", "flac", "wav")
RATE = 24_000


def recordings(client, files):
    """Each as JSON, and the first one in all other forms."""
    create = client.audio.transcriptions.create
    report = {"json": []}
    for name in files:
        with open(name, "rb") as file:
            report["json"].append(create(model="transcribe", file=file).text)
    ask = lambda **more: create(model="transcribe", file=open(files[0], "rb"), **more)
    report["srt"] = ask(response_format="srt")
    report["verbose"] = ask(response_format="verbose_json").to_dict()
    report["stream"] = [event.to_dict() for event in ask(stream=True)]
    return report


def speech(client, text):
    """In each format there and back, and how much and how loud it is in each voice."""
    report = {"heard": {}, "voices": {}}
    for kind in KINDS:
        said = client.audio.speech.create(model="speak", voice="default", input=text, response_format=kind)
        file = (f"said.{'ogg' if kind == 'opus' else kind}", said.read())
        report["heard"][kind] = client.audio.transcriptions.create(model="transcribe", file=file).text
    for voice in ("en", "es"):
        asked = client.audio.speech.with_streaming_response
        with asked.create(model="speak", voice=voice, input=text, response_format="pcm") as response:
            pieces = list(response.iter_bytes())
        samples = np.frombuffer(b"".join(pieces), "<i2") / 32768
        report["voices"][voice] = {"seconds": len(samples) / RATE, "rms": float(np.sqrt(np.mean(samples**2)))}
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="what the package takes for OpenAI: http://…/v1")
    parser.add_argument("--text")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    client = OpenAI(base_url=options.url, api_key="none", max_retries=0, timeout=120)
    print(json.dumps(speech(client, options.text) if options.text else recordings(client, options.files)))


main()
