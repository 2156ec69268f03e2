"""A server of speech to text over a plain WebSocket, as Vosk's speaks it, over a real recogniser: samples in, JSON out.

A process of its own, so that it can be killed.
"""

from __future__ import annotations

import json

import numpy as np
from tidegate_sdk import Samples
from websockets.sync.server import ServerConnection, serve

from tidegate_services.stt import Recogniser

_PARTIAL_BYTES = 2 * 16_000  # a second


def listen(connection: ServerConnection, recogniser: Recogniser) -> None:
    """One utterance."""
    sound, said = b"", 0
    for message in connection:
        if isinstance(message, bytes):
            sound += message
            if len(sound) - said >= _PARTIAL_BYTES:
                said = len(sound)
                connection.send(json.dumps({"partial": words(sound, recogniser)}))
        elif "eof" in message:
            connection.send(json.dumps({"text": words(sound, recogniser)}))
            return


def words(sound: bytes, recogniser: Recogniser) -> str:
    """What is said."""
    samples: Samples = np.frombuffer(sound, np.int16)
    return recogniser.recognise(samples, "en")


def main() -> None:
    """Serves until it is ended."""
    recogniser = Recogniser("tiny.en")
    with serve(lambda connection: listen(connection, recogniser), "127.0.0.1", 0) as server:
        print(f"Ready at http://127.0.0.1:{server.socket.getsockname()[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
