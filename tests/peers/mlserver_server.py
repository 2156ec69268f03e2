"""A real MLServer with a model that says words back, one by one where it is asked by a stream.

Prints its gRPC address as a JSON object on a line once it is ready, and serves until it is killed.
"""

import asyncio
import json
import socket
import sys

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Words(MLModel):
    """`TEXT` in, `SAID` out: upper case; by a stream each word as a response of its own."""

    async def load(self):
        """Nothing to load."""
        return True

    def answer(self, request, said):
        """A response with one text."""
        return InferenceResponse(
            id=request.id,
            model_name=self.name,
            outputs=[StringCodec.encode_output("SAID", [said], use_bytes=False)],
        )

    async def predict(self, payload):
        """The whole text."""
        text = StringCodec.decode_input(payload.inputs[0])[0]
        return self.answer(payload, text.upper())

    async def predict_stream(self, payloads):
        """Each word."""
        async for payload in payloads:
            for word in StringCodec.decode_input(payload.inputs[0])[0].split():
                yield self.answer(payload, word.upper())


class Double(MLModel):
    """`INPUT` in, `OUTPUT` out: twice as large."""

    async def load(self):
        """Nothing to load."""
        return True

    async def predict(self, payload):
        """Each number twice as large."""
        numbers = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("OUTPUT", np.asarray(numbers * 2))
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])


def ports(count):
    """Free ports of the operating system's choice."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


async def main():
    """Serves."""
    http, grpc, metrics = ports(3)
    settings = Settings(
        host="127.0.0.1", http_port=http, grpc_port=grpc, metrics_port=metrics, parallel_workers=0, debug=False,
        metrics_endpoint=None,
    )
    server = MLServer(settings)
    models = [ModelSettings(name="words", implementation=Words), ModelSettings(name="double", implementation=Double)]
    serving = asyncio.create_task(server.start(models))
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", grpc)
            writer.close()
            break
        except OSError:
            if serving.done():
                serving.result()
                sys.exit("the server ended before it was ready")
            await asyncio.sleep(0.05)
    print(json.dumps({"grpc": f"127.0.0.1:{grpc}"}), flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main())
